//! `dualstream dead-letters retry` and `purge`.

use super::super::buffer::{WhereArgs, events, failure, json};
use super::super::exit::{Exit, Failure};
use super::super::output::Output;
use super::super::selection::{SelectionArgs, request};
use super::super::status::{delete, parse, post};
use super::super::target::{TargetArgs, block_on, time};
use crate::buffer::dead_letters::Retried;
use crate::buffer::log::storage::DiskStorage;
use crate::buffer::offline;
use crate::buffer::purge::Purged;
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

/// Put dead letters into the buffer again, as new events
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  dualstream dead-letters retry --all                 what a retry would do
  dualstream dead-letters retry --all --yes           after the topic takes larger events, for instance
  dualstream dead-letters retry --from-seq 42 --to-seq 42 --yes

They get new seqs, in the order of the old ones, and are sent like any event; what Kafka refuses again is a dead letter again. A running
relay is asked over its Unix socket (ops.socket), or over TCP with the token (ops.token_file).
Exit code 0: done, or shown; 1: refused or failed; 3: the relay cannot be reached.")]
pub(super) struct RetryArgs {
    #[command(flatten)]
    how: HowArgs,
}

/// Remove dead letters for good
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  dualstream dead-letters purge --from-seq 42 --to-seq 42               what it would do
  dualstream dead-letters purge --source user/42 --older-than 7d --yes
  dualstream dead-letters purge --dir /old/buffer --all --yes           of a stopped relay

Export first what may be needed. A running relay is asked over its Unix socket (ops.socket), or over TCP with the token
(ops.token_file).
Exit code 0: done, or shown; 1: refused or failed; 2: not a buffer; 3: the relay cannot be reached.")]
pub(super) struct PurgeArgs {
    #[command(flatten)]
    how: HowArgs,

    #[command(flatten)]
    place: WhereArgs,
}

#[derive(Args, Debug)]
struct HowArgs {
    #[command(flatten)]
    which: SelectionArgs,

    /// Do it; without, it only says what it would do
    #[arg(long)]
    yes: bool,

    /// Print it as JSON
    #[arg(long)]
    json: bool,

    /// File with the token of a running relay [default: by the settings]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Wait this long for the relay's answer
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    timeout: Duration,

    #[command(flatten)]
    target: TargetArgs,
}

/// Retries, or says what that would do.
pub(super) fn retry(args: &RetryArgs, out: &mut Output) -> Result<Exit, Failure> {
    let how = &args.how;
    let client = how.target.control_client(how.token_file.as_deref(), how.timeout)?;
    let reply = block_on(post(&client, &request("/v1/dead-letters/retry", &how.which.selection(), how.yes)))?;
    let retried: Retried = parse(&client, &reply)?;
    how.print(out, &retried, &retry_sentence(&retried, how.yes))
}

/// Purges, or says what that would do.
pub(super) fn purge(args: &PurgeArgs, out: &mut Output) -> Result<Exit, Failure> {
    let how = &args.how;
    let selection = how.which.selection();
    let purged: Purged = if let Some(dir) = &args.place.dir {
        let keyring = how.target.keyring()?;
        offline::purge_dead_letters(&DiskStorage::new(dir), &keyring, &selection, !how.yes).map_err(|error| failure(&error))?
    } else {
        let client = how.target.control_client(how.token_file.as_deref(), how.timeout)?;
        let reply = block_on(delete(&client, &request("/v1/dead-letters", &selection, how.yes)))?;
        parse(&client, &reply)?
    };
    how.print(out, &purged, &purge_sentence(&purged, how.yes))
}

impl HowArgs {
    fn print(&self, out: &mut Output, done: &impl Serialize, sentence: &str) -> Result<Exit, Failure> {
        if self.json {
            let mut value = serde_json::to_value(done).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
            value["dry_run"] = (!self.yes).into();
            out.line(json(&value)?)?;
        } else {
            out.line(sentence)?;
        }
        Ok(Exit::Done)
    }
}

const HINT: &str = "Nothing was changed: run it again with --yes to do it.";

fn retry_sentence(retried: &Retried, yes: bool) -> String {
    let what = if retried.events == 0 { "no dead letter".to_owned() } else { events(retried.events) };
    match (yes, retried.first_seq, retried.last_seq) {
        (false, ..) => format!("Would put {what} into the buffer again. {HINT}"),
        (true, Some(first), Some(last)) => format!("Put {what} into the buffer again, between seq {first} and {last}."),
        (true, ..) => format!("Put {what} into the buffer again."),
    }
}

fn purge_sentence(purged: &Purged, yes: bool) -> String {
    let what = match (purged.first_seq, purged.last_seq) {
        (Some(first), Some(last)) => format!("{}, seq {first} to {last}", events(purged.events)),
        _ => "no dead letter".to_owned(),
    };
    if yes { format!("Removed {what}.") } else { format!("Would remove {what}. {HINT}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: it is clear what was done, or would be.
    #[test]
    fn sentences() {
        let retried = Retried { events: 2, first_seq: Some(5), last_seq: Some(6) };
        assert_eq!(retry_sentence(&retried, true), "Put 2 events into the buffer again, between seq 5 and 6.");
        assert_eq!(retry_sentence(&Retried::default(), true), "Put no dead letter into the buffer again.");
        assert!(retry_sentence(&Retried { events: 1, ..Retried::default() }, false).starts_with("Would put 1 event into"));
        let purged = Purged { events: 3, first_seq: Some(5), last_seq: Some(9) };
        assert_eq!(purge_sentence(&purged, true), "Removed 3 events, seq 5 to 9.");
        assert_eq!(purge_sentence(&Purged::default(), false), format!("Would remove no dead letter. {HINT}"));
    }
}
