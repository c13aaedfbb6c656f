//! `dualstream buffer`: a look at what waits on disk, of a running relay or of a directory.
//!
//! A directory (`--dir`) is read without its lock and without changing anything, so that a relay may be running on it.

mod directory;
mod info;
mod peek;

use super::exit::{Exit, Failure};
use super::output::Output;
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::path::PathBuf;

/// Look at what waits on disk
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  dualstream buffer info                            of the running relay
  dualstream buffer info --dir /var/lib/dualstream  of a directory, relay running or not
  dualstream buffer peek --limit 20")]
pub(super) struct BufferArgs {
    #[command(subcommand)]
    command: BufferCommand,
}

#[derive(Debug, Subcommand)]
enum BufferCommand {
    Info(info::InfoArgs),
    Peek(peek::PeekArgs),
}

/// Where to look.
#[derive(Args, Clone, Debug)]
struct WhereArgs {
    /// Read this buffer directory instead of asking the relay; nothing in it is changed
    #[arg(long, value_name = "DIR", conflicts_with_all = ["url", "socket"])]
    dir: Option<PathBuf>,
}

/// One waiting event, as `GET /v1/buffer/events` gives it.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct WaitingEvent {
    /// Its place in the buffer.
    seq: u64,
    /// When it was accepted, in Unix milliseconds.
    accepted_ms: u64,
    /// Its id.
    id: String,
    /// Its type.
    #[serde(rename = "type")]
    kind: String,
    /// What kind of thing the source is.
    source_type: String,
    /// Which one: the Kafka key.
    source_id: String,
    /// Size of its value in bytes.
    bytes: u64,
    /// The full event; absent when the answer would grow too large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<Box<RawValue>>,
}

/// Runs the subcommand.
pub(super) fn run(args: &BufferArgs, out: &mut Output) -> Result<Exit, Failure> {
    match &args.command {
        BufferCommand::Info(args) => info::run(args, out),
        BufferCommand::Peek(args) => peek::run(args, out),
    }
}
