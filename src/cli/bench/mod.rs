//! `dualstream bench`: what this machine can do, and how near the relay comes to it.
//!
//! Absolute figures say more about the machine than about the relay. So every measurement runs the bare means beside the relay, in
//! alternate rounds of the same run, with the same bytes: a `write` + `fdatasync` loop, a librdkafka producer loop, a hyper server that
//! only answers. What counts is the ratio of the medians.
//!
//! ```text
//! disk     Buffer::append, a reader acking behind it        write + fdatasync, growing file      both in this process
//! ingest   the relay, Kafka away                            hyper that answers 202               both in a child, load from here
//! drain    the drain, a standing backlog                    BaseProducer with its settings       both in this process
//! e2e      the relay, until Kafka's last acknowledgement    the slower of hyper and librdkafka   child, load from here
//! rss      the relay's peak memory with a large backlog     64 MiB                               child, load from here
//! start    opening a buffer with a huge backlog, cold       a second of processor time           child; only when named
//! ```
//! An exception to the rule that `rdkafka` is named only in `drain/`: the bare producer and the mock cluster are what it is compared
//! with and to.

mod child;
mod disk;
mod drain;
mod e2e;
mod error;
mod figure;
mod histogram;
mod ingest;
mod kafka;
mod load;
mod machine;
mod memory;
mod plan;
mod report;
mod response;
mod rig;
mod rounds;
mod server;
mod start;
mod workload;

use super::exit::{Exit, Failure};
use super::output::Output;
use super::target::time;
use crate::config::units::parse_size;
use clap::{Args, ValueEnum};
use error::BenchError;
use figure::Figure;
use kafka::Cluster;
use machine::Machine;
use plan::Plan;
use report::Report;
use std::path::PathBuf;
use std::time::Duration;

/// Measure this machine: ingest, disk, drain, end to end, memory, start-up, each beside its own ceiling
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  dualstream bench                                              everything, with a mock Kafka in this process
  dualstream bench --brokers 127.0.0.1:9092 --dir /var/lib      a real Kafka, and the volume that the buffer will be on
  dualstream bench --only disk,ingest --rounds 9
  dualstream bench --only start                                 opening a buffer that holds 10 GiB: needs that much disk
  dualstream bench --quick --json | jq '.figures[] | {what, ratio}'

Makes a directory and topics of its own and removes them. Figures depend on the machine and on who else uses it; the ratios less so.
Exit code 0: measured; with --check 1: a ratio missed its target.")]
pub(super) struct BenchArgs {
    /// What to measure [default: all but start]
    #[arg(long, value_name = "WHAT,…", value_delimiter = ',')]
    only: Vec<Section>,

    /// Length of a round
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds)]
    seconds: f64,

    /// Rounds of each side; the median counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,

    /// Directory on the volume to measure
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,

    /// Kafka bootstrap servers [default: a mock cluster in this process]
    #[arg(long, value_name = "HOST:PORT,…")]
    brokers: Option<String>,

    /// What the names of the topics begin with
    #[arg(long, value_name = "NAME", default_value = "dualstream-bench")]
    topic_prefix: String,

    /// Redis to notify in the end-to-end measurement [default: no notifications]
    #[arg(long, value_name = "URL")]
    redis_url: Option<String>,

    /// Backlog under which memory is measured
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = parse_size)]
    backlog_bytes: u64,

    /// Backlog with which a buffer is opened; a tenth of it is tried first
    #[arg(long, value_name = "SIZE", default_value = "10GiB", value_parser = parse_size)]
    start_backlog_bytes: u64,

    /// Short rounds and a small backlog: shows that it works, not how fast
    #[arg(long)]
    quick: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,

    /// Fail when a ratio misses its target
    #[arg(long)]
    check: bool,

    /// For itself: be the server under test
    #[arg(long, hide = true, value_name = "KIND", conflicts_with_all = ["only", "json", "check"])]
    internal_server: Option<server::Kind>,

    /// For itself: the server's settings
    #[arg(long, hide = true, value_name = "FILE", requires = "internal_server")]
    internal_config: Option<PathBuf>,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Section {
    /// Durable appends
    Disk,
    /// Requests
    Ingest,
    /// A backlog into Kafka
    Drain,
    /// From the request to Kafka's acknowledgement
    E2e,
    /// Memory under a backlog
    Rss,
    /// Opening a buffer with a huge backlog
    Start,
}

/// Measures and prints.
pub(super) fn run(args: &BenchArgs, out: &mut Output) -> Result<Exit, Failure> {
    if let Some(kind) = args.internal_server {
        return server::run(kind, args.internal_config.as_deref(), out);
    }
    let plan = Plan::new(args)?;
    let machine = Machine::look(&plan.dir)?;
    let figures = measure(&plan, out)?;
    let report = Report { machine, kafka: plan.kafka_name(), figures };
    if args.json {
        out.line(report.json())?;
    } else {
        for line in report.table(out) {
            out.line(line)?;
        }
    }
    let missed = report.figures.iter().any(|figure| figure.met() == Some(false));
    Ok(if args.check && missed { Exit::Failed } else { Exit::Done })
}

fn measure(plan: &Plan, out: &mut Output) -> Result<Vec<Figure>, BenchError> {
    let mut figures = Vec::new();
    if plan.has(Section::Disk) {
        disk::measure(plan, &mut figures, out)?;
    }
    if plan.has(Section::Ingest) {
        ingest::measure(plan, &mut figures, out)?;
    }
    if plan.has(Section::Start) {
        start::measure(plan, &mut figures, out)?;
    }
    let needs_kafka = [Section::Drain, Section::E2e, Section::Rss].into_iter().any(|section| plan.has(section));
    if !needs_kafka {
        return Ok(figures);
    }
    let mut cluster = Cluster::start(plan)?;
    let done = measure_with_kafka(plan, &mut cluster, &mut figures, out);
    // Also after a failure: topics of ours must not stay in somebody's cluster.
    let cleaned = cluster.clean_up();
    done.and(cleaned).map(|()| figures)
}

fn measure_with_kafka(plan: &Plan, cluster: &mut Cluster, figures: &mut Vec<Figure>, out: &mut Output) -> Result<(), BenchError> {
    if plan.has(Section::Drain) {
        drain::measure(plan, cluster, figures, out)?;
    }
    if plan.has(Section::E2e) {
        e2e::measure(plan, cluster, figures, out)?;
    }
    if plan.has(Section::Rss) {
        memory::measure(plan, cluster, figures, out)?;
    }
    Ok(())
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().ok().or_else(|| time(text).ok().map(|time| time.as_secs_f64()));
    let allowed = Duration::from_millis(50).as_secs_f64()..=600.0;
    seconds.filter(|seconds| allowed.contains(seconds)).ok_or_else(|| "give seconds from 0.05 to 600".to_owned())
}
