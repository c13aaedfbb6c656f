//! Why the buffer is a segment log: the same bounded durable FIFO on four stores, side by side.
//!
//! Without `--engine` this is the parent, which runs itself again for every measurement ([`runner`]) and prints the report;
//! with it, it measures that one engine in this process ([`workload`]) and prints the figures as JSON.

mod cli;
mod engine;
mod events;
mod report;
mod runner;
mod sample;
mod table;
mod usage;
mod workload;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use crate::cli::{Args, Settings};
use crate::engine::Kind;

/// Bytes of one event.
const EVENT_BYTES: usize = 300;
const MB: u64 = 1_000_000;

fn main() -> ExitCode {
    let args = Args::parse();
    let settings = Settings::new(&args).unwrap_or_else(|error| {
        let usage = Args::command().error(ErrorKind::ValueValidation, format!("{error:#}"));
        usage.exit()
    });
    match args.engine.map_or_else(|| compare(&settings, args.json), |engine| measure(engine, &settings)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The child: one engine, once.
fn measure(engine: Kind, settings: &Settings) -> Result<ExitCode> {
    let sample = workload::run(engine, &settings.dir, &settings.workload(settings.cases[0]))?;
    print(&serde_json::to_string(&sample)?)?;
    Ok(ExitCode::SUCCESS)
}

/// The parent: all engines, in turns.
fn compare(settings: &Settings, json: bool) -> Result<ExitCode> {
    let (file_system, durable) = usage::file_system(&settings.dir)?;
    if !durable {
        eprintln!("warning: {file_system} keeps nothing through a power loss; syncs cost nothing here. Choose another --dir.");
    }
    let measured = runner::run(settings)?;
    let report = report::Report::new(settings, file_system, &measured);
    print(&if json { serde_json::to_string_pretty(&report)? } else { report.to_string() })?;
    let failed = measured.iter().any(|m| !m.failures.is_empty());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Prints to stdout; a reader that has seen enough is no failure.
fn print(text: &str) -> Result<()> {
    match writeln!(std::io::stdout(), "{}", text.trim_end()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("print the report"),
    }
}
