//! The whole relay from a seed: ingest's appends, the buffer, the drain, a Kafka that misbehaves, an operator, crashes (see `docs/proofs.md`).
//!
//! Everything that ships between the door and Kafka's client runs here without real time: the drain's loop has the thread, and wherever it waits the
//! others take their turns, the line that sends what is parked on a thread of its own (`baton.rs`). The same seed gives the same trace.
//!
//! `cargo test --test sim` runs some hundred seeds; `cargo test --release --test sim -- --full` thousands. `--only NAME` one scenario, `--jobs N`
//! on so many threads (a run has one), `--seed N` or `DUALSTREAM_SEED=N` one seed with its trace.
#![allow(unreachable_pub, missing_docs, reason = "a test binary has no outside: `pub` only says what is meant for the other files")]
#![allow(clippy::print_stdout, reason = "the table is what it is for")]
#![allow(clippy::missing_panics_doc, reason = "a panic is how a run fails")]

mod baton;
mod book;
#[allow(dead_code, reason = "the proofs of the buffer use all of it")]
#[path = "../prove/chance.rs"]
mod chance;
#[allow(dead_code, unused_imports, reason = "the proofs of the buffer use all of it")]
#[path = "../prove/disk/mod.rs"]
mod disk;
#[path = "../prove/flags.rs"]
mod flags;
mod kafka;
#[path = "../prove/proof.rs"]
mod proof;
mod relay;
mod run;
mod seams;
mod style;
mod table;
mod trace;
mod verify;
mod world;

use flags::{flags, kept};
use proof::{Line, Scope, Tally};
use std::process::ExitCode;
use style::{SCENARIOS, Scenario};

/// Runs of a scenario.
const SLICE: u64 = 80;
const FULL: u64 = 4_000;
/// Of so many runs one is done twice.
const TWICE: u64 = 8;

/// Seeds that failed once.
const KEPT: &str = include_str!("seeds");

fn main() -> ExitCode {
    let (scope, only) = match arguments(std::env::args().skip(1), std::env::var("DUALSTREAM_SEED").ok()) {
        Ok(arguments) => arguments,
        Err(problem) => {
            println!("{problem}");
            return ExitCode::from(2);
        }
    };
    // A panic is caught and told with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let chosen = SCENARIOS.iter().filter(|scenario| only.as_ref().is_none_or(|only| scenario.name == only));
    let lines: Vec<Line> = chosen.map(|scenario| simulate(*scenario, &scope)).collect();
    table::print(&lines, &scope);
    let is_proven = !lines.is_empty() && lines.iter().all(|line| line.tally.failures.is_empty() && line.tally.cases > 0);
    if is_proven { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn simulate(scenario: Scenario, scope: &Scope) -> Line {
    let is_one = scope.seed.is_some();
    proof::run(scenario.name, scope, &scope.seeds(scenario.name, SLICE, FULL), |seed, _| {
        let mut tally = Tally { cases: 1, ..Tally::default() };
        let outcome = run::run(scenario, seed, is_one);
        for words in &outcome.words {
            println!("{words}");
        }
        for (what, n) in &outcome.counts {
            tally.note(what, *n);
        }
        let _ = tally.states.insert(outcome.hash);
        if is_one {
            println!("{}, seed {seed}: trace {:016x}", scenario.name, outcome.hash);
        }
        if let Some(wrong) = outcome.wrong {
            tally.fail(seed, format!("trace {:016x}", outcome.hash), wrong);
        } else if is_one || seed.is_multiple_of(TWICE) {
            let again = run::run(scenario, seed, false);
            tally.note("runs done twice", 1);
            if again.hash != outcome.hash {
                tally.fail(seed, "done twice", format!("the traces are {:016x} and {:016x}", outcome.hash, again.hash));
            }
        }
        tally
    })
}

fn arguments(arguments: impl Iterator<Item = String>, seed: Option<String>) -> Result<(Scope, Option<String>), String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let seed = seed.map(|seed| seed.parse().map_err(|_| format!("DUALSTREAM_SEED is {seed:?}: it takes a number"))).transpose()?;
    let mut scope = Scope { full: false, seed, kept: kept(KEPT, "tests/sim/seeds", "scenario")?, jobs: cores };
    let only = flags(arguments, &mut scope, "scenario")?;
    let names: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
    match &only {
        Some(only) if !names.contains(&only.as_str()) => Err(format!("no scenario is called {only}; there are {names:?}")),
        _ => Ok((scope, only)),
    }
}
