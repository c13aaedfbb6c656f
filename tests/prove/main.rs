//! The proofs of the buffer: crashes, faults and rot on a simulated disk (see `docs/proofs.md`).
//!
//! `cargo test --test prove` tries a slice; `cargo test --release --test prove -- --full` everything. `--only NAME` one proof, `--seed N` one case of
//! it, `--jobs N` on so many threads.
#![allow(unreachable_pub, missing_docs, reason = "a test binary has no outside: `pub` only says what is meant for the other files")]
#![allow(clippy::print_stdout, reason = "the table is what it is for")]
#![allow(clippy::missing_panics_doc, reason = "a panic is how a case fails")]

mod chance;
mod crash;
mod disk;
mod faults;
mod life;
mod model;
mod proof;
mod rot;
mod table;
mod told;

use proof::{Line, Scope};
use std::process::ExitCode;

/// A proof by its name.
type Proof = (&'static str, fn(&Scope) -> Line);

const PROOFS: [Proof; 5] = [
    (crash::EVERY, crash::every),
    (crash::RANDOM, crash::random),
    (faults::NAME, faults::prove),
    (rot::NAME, rot::prove),
    (model::NAME, model::prove),
];

/// Seeds that failed once.
const KEPT: &str = include_str!("seeds");

fn main() -> ExitCode {
    let (scope, only) = match arguments(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(problem) => {
            println!("{problem}");
            return ExitCode::from(2);
        }
    };
    // A panic is caught and told with its case.
    std::panic::set_hook(Box::new(|_| {}));
    told::listen();
    let chosen = PROOFS.iter().filter(|(name, _)| only.as_ref().is_none_or(|only| name.starts_with(only.as_str())));
    let lines: Vec<Line> = chosen.map(|(_, prove)| prove(&scope)).collect();
    table::print(&lines, &scope);
    let is_proven = !lines.is_empty() && lines.iter().all(|line| line.tally.failures.is_empty() && line.tally.cases > 0);
    if is_proven { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn arguments(mut arguments: impl Iterator<Item = String>) -> Result<(Scope, Option<String>), String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut scope = Scope { full: false, seed: None, kept: kept()?, jobs: cores };
    let mut only = None;
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse::<u64>().ok()).ok_or(format!("{argument} takes a number"));
        match argument.as_str() {
            "--full" => scope.full = true,
            "--seed" => scope.seed = Some(number()?),
            "--jobs" => scope.jobs = usize::try_from(number()?).map_or(1, |jobs| jobs.max(1)),
            "--only" => only = Some(arguments.next().ok_or("--only takes the name of a proof")?),
            other => return Err(format!("there is no {other}; there are --full, --only NAME, --seed N, --jobs N")),
        }
    }
    let names: Vec<_> = PROOFS.iter().map(|(name, _)| *name).collect();
    match &only {
        Some(only) if !names.iter().any(|name| name.starts_with(only.as_str())) => {
            Err(format!("no proof is called {only}; there are {names:?}"))
        }
        _ => Ok((scope, only)),
    }
}

fn kept() -> Result<Vec<(String, u64)>, String> {
    let lines = KEPT.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let seed = |line: &str| {
        let (name, rest) = line.split_once(' ')?;
        Some((name.to_owned(), rest.split_whitespace().next()?.parse().ok()?))
    };
    lines.map(|line| seed(line).ok_or_else(|| format!("tests/prove/seeds: {line:?} is not a proof and a seed"))).collect()
}
