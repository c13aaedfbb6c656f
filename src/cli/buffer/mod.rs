//! `dualstream buffer`: what waits on disk, of a running relay or of a directory; and what to do about it.
//!
//! What only looks at a directory takes no lock and changes nothing, so that a relay may be running on it. What changes something says
//! first what it would do, and does it only with `--yes`: in a directory under its lock, in a running relay through ops.

mod adopt;
mod directory;
mod export;
mod info;
mod pages;
mod peek;
mod place;
mod purge;
mod repair;
mod verify;
mod words;

use super::exit::{Exit, Failure};
use super::output::Output;
use clap::{Args, Subcommand};
use place::DirArgs;

pub(super) use export::Sink;
pub(super) use pages::percent_encode;
pub(super) use place::{WhereArgs, failure};
pub(super) use words::{events, moment};

/// Look at what waits on disk, check it, save it, mend it, give it up
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  dualstream buffer info                              of the running relay
  dualstream buffer info --dir /var/lib/dualstream    of a directory, relay running or not
  dualstream buffer peek --limit 20
  dualstream buffer export --output events.ndjson     everything that waits, byte for byte
  dualstream buffer verify --dir /var/lib/dualstream  every byte and the books
  dualstream buffer repair --dir /var/lib/dualstream  what a repair would do
  dualstream buffer purge --to-seq 1000               what a purge would give up")]
pub(super) struct BufferArgs {
    #[command(subcommand)]
    command: BufferCommand,
}

#[derive(Debug, Subcommand)]
enum BufferCommand {
    Info(info::InfoArgs),
    Peek(peek::PeekArgs),
    Export(export::ExportArgs),
    Verify(verify::VerifyArgs),
    Repair(repair::RepairArgs),
    Purge(purge::PurgeArgs),
    Adopt(adopt::AdoptArgs),
}

/// Runs the subcommand.
pub(super) fn run(args: &BufferArgs, out: &mut Output) -> Result<Exit, Failure> {
    match &args.command {
        BufferCommand::Info(args) => info::run(args, out),
        BufferCommand::Peek(args) => peek::run(args, out),
        BufferCommand::Export(args) => export::run(args, out),
        BufferCommand::Verify(args) => verify::run(args, out),
        BufferCommand::Repair(args) => repair::run(args, out),
        BufferCommand::Purge(args) => purge::run(args, out),
        BufferCommand::Adopt(args) => adopt::run(args, out),
    }
}

/// A value as JSON.
pub(super) fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::new(Exit::Failed, error.to_string()))
}
