//! The command line, and the settings it stands for.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::engine::{Kind, Limits};
use crate::runner::Case;
use crate::workload::Workload;
use crate::{EVENT_BYTES, MB};

/// Compares stores for a bounded durable FIFO of 300-byte events: events per second, latency, memory and disk.
///
/// Every append is durable before it returns. See README.md for how to read the tables.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Args {
    /// What to run: events per append, "x", megabytes kept waiting [default: 100x64,1000x256; quick: 100x8,1000x16]
    #[arg(long, value_delimiter = ',', value_name = "BATCHxMB,..", value_parser = parse_case)]
    cases: Option<Vec<Case>>,
    /// Which engines [default: all]
    #[arg(long, value_delimiter = ',', value_enum, value_name = "ENGINE,..")]
    engines: Option<Vec<Kind>>,
    /// How often each engine is measured; the report has the medians [default: 3; quick: 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// With the backlog standing, replace it at most this many times [default: 2]
    #[arg(long, allow_negative_numbers = true, value_parser = parse_positive, value_name = "TIMES")]
    turnover: Option<f64>,
    /// With the backlog standing, go on for at most this many seconds [default: 3; quick: 0.5]
    #[arg(long, allow_negative_numbers = true, value_parser = parse_positive)]
    seconds: Option<f64>,
    /// Start no further round that would end after this many seconds, and cut phases short that take too long
    /// [default: 170; quick: 25]
    #[arg(long, allow_negative_numbers = true, value_parser = parse_positive, value_name = "SECONDS")]
    limit: Option<f64>,
    /// Cache for the stores that have one, in MiB
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..=65_536), value_name = "MIB")]
    cache: u64,
    /// A directory on the disk to be measured; all data goes into a new directory inside, and is removed
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// Small and short: a smoke test, not a measurement
    #[arg(long)]
    quick: bool,
    /// Print the report as JSON, every round included
    #[arg(long)]
    pub(crate) json: bool,
    /// Measure this one engine in this process, in the empty directory --dir, and print its figures as JSON
    #[arg(long, value_enum, conflicts_with_all = ["engines", "rounds"])]
    pub(crate) engine: Option<Kind>,
}

/// The command line with its defaults filled in.
pub(crate) struct Settings {
    pub(crate) cases: Vec<Case>,
    pub(crate) engines: Vec<Kind>,
    pub(crate) rounds: u32,
    pub(crate) turnover: f64,
    pub(crate) held_time: Duration,
    pub(crate) limit: Duration,
    pub(crate) cache_mib: u64,
    pub(crate) dir: PathBuf,
}

impl Settings {
    /// Fills in the defaults and checks what clap cannot.
    pub(crate) fn new(args: &Args) -> Result<Self> {
        let case = |batch, backlog_mb| Case { batch, backlog_mb };
        let (cases, rounds, seconds, limit) = if args.quick {
            (vec![case(100, 8), case(1000, 16)], 1, 0.5, 25.0)
        } else {
            (vec![case(100, 64), case(1000, 256)], 3, 3.0, 170.0)
        };
        let everything = <Kind as clap::ValueEnum>::value_variants().to_vec();
        let mut engines = args.engines.clone().unwrap_or(everything);
        engines.sort_unstable();
        engines.dedup();
        let settings = Self {
            cases: args.cases.clone().unwrap_or(cases),
            engines,
            rounds: args.rounds.unwrap_or(rounds),
            turnover: args.turnover.unwrap_or(2.0),
            held_time: Duration::from_secs_f64(args.seconds.unwrap_or(seconds)),
            limit: Duration::from_secs_f64(args.limit.unwrap_or(limit)),
            cache_mib: args.cache,
            dir: args.dir.clone(),
        };
        ensure!(settings.dir.is_dir(), "--dir: {} is not a directory", settings.dir.display());
        let twice = (1..settings.cases.len()).any(|at| settings.cases[..at].contains(&settings.cases[at]));
        ensure!(!twice, "--cases: each case only once");
        if args.engine.is_some() {
            ensure!(settings.cases.len() == 1, "--engine needs exactly one case: --cases 100x64");
            let empty = settings.dir.read_dir().context("--dir")?.next().is_none();
            ensure!(empty, "--engine needs an empty directory, --dir {} is not", settings.dir.display());
        }
        Ok(settings)
    }

    /// What an engine has to do in this case.
    pub(crate) fn workload(&self, case: Case) -> Workload {
        let backlog = case.backlog_mb * MB / EVENT_BYTES as u64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive count of events")]
        let held_events = (backlog as f64 * self.turnover) as u64;
        let cache_bytes = self.cache_mib * 1024 * 1024;
        let limits = Limits { batch: case.batch, event_bytes: EVENT_BYTES, backlog, cache_bytes };
        Workload { limits, held_events, held_time: self.held_time, cap: self.limit }
    }
}

fn parse_case(text: &str) -> Result<Case, String> {
    let (batch, backlog_mb) = text.split_once('x').ok_or("expected BATCHxMB, like 100x64")?;
    let batch = batch.parse().ok().filter(|n| (1..=100_000).contains(n)).ok_or("BATCH is a number from 1 to 100000")?;
    let backlog_mb = backlog_mb.parse().ok().filter(|n| (1..=100_000).contains(n)).ok_or("MB is a number from 1 to 100000")?;
    Ok(Case { batch, backlog_mb })
}

fn parse_positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|n| (1e-3..=1e6).contains(n));
    number.ok_or_else(|| "expected a number from 0.001 to 1000000".into())
}
