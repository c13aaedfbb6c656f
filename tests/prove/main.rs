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
mod flags;
mod life;
mod model;
mod proof;
mod rot;
mod table;
mod told;

use flags::{flags, kept};
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

fn arguments(arguments: impl Iterator<Item = String>) -> Result<(Scope, Option<String>), String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut scope = Scope { full: false, seed: None, kept: kept(KEPT, "tests/prove/seeds", "proof")?, jobs: cores };
    let only = flags(arguments, &mut scope, "proof")?;
    let names: Vec<_> = PROOFS.iter().map(|(name, _)| *name).collect();
    match &only {
        Some(only) if !names.iter().any(|name| name.starts_with(only.as_str())) => {
            Err(format!("no proof is called {only}; there are {names:?}"))
        }
        _ => Ok((scope, only)),
    }
}
