//! `dualstream buffer purge`

use super::super::exit::{Exit, Failure};
use super::super::output::Output;
use super::super::selection::{SelectionArgs, request};
use super::super::status::{parse, post};
use super::super::target::{self, TargetArgs, block_on};
use super::place::failure;
use super::words::{events, moment};
use super::{WhereArgs, json};
use crate::buffer::Keyring;
use crate::buffer::log::storage::DiskStorage;
use crate::buffer::offline;
use crate::buffer::purge::{PurgeError, Purged, Selection, select};
use crate::error::chain;
use clap::Args;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Give up waiting events for good
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  dualstream buffer purge --from-seq 42 --to-seq 42               what giving up one event would do
  dualstream buffer purge --from-seq 42 --to-seq 42 --yes
  dualstream buffer purge --source user/42 --older-than 1h --yes
  dualstream buffer purge --dir /old/buffer --all --yes           of a stopped relay

Purged events never reach Kafka. They are counted as purged, durably, so that the books still balance. Conditions add up: an event
must meet all of them. A running relay is asked over its Unix socket (ops.socket), or over TCP with the token (ops.token_file); what
it has handed to Kafka and not confirmed yet may still arrive. Export first what may be needed.
Exit code 0: done, or shown; 1: refused or failed; 2: wrong usage, or not a buffer; 3: the relay cannot be reached.")]
pub(super) struct PurgeArgs {
    #[command(flatten)]
    which: SelectionArgs,

    /// Do it; without, it only says what it would do
    #[arg(long)]
    yes: bool,

    /// Only say what it would do, which is the default
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,

    /// Print it as JSON
    #[arg(long)]
    json: bool,

    /// File with the token of a running relay [default: by the settings]
    #[arg(long, value_name = "FILE", conflicts_with = "dir")]
    token_file: Option<PathBuf>,

    /// Wait this long for the relay's answer
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = target::time)]
    timeout: Duration,

    #[command(flatten)]
    place: WhereArgs,

    #[command(flatten)]
    target: TargetArgs,
}

/// Purges, or says what a purge would do.
pub(super) fn run(args: &PurgeArgs, out: &mut Output) -> Result<Exit, Failure> {
    let selection = args.which.selection();
    let purged = match &args.place.dir {
        Some(dir) => of_directory(dir, &args.target.keyring()?, &selection, args.yes)?,
        None => of_relay(args, &selection)?,
    };
    if args.json {
        let mut value = serde_json::to_value(&purged).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        value["dry_run"] = (!args.yes).into();
        out.line(json(&value)?)?;
    } else {
        out.line(sentence(&selection, &purged, args.yes))?;
    }
    Ok(Exit::Done)
}

fn of_directory(dir: &Path, keyring: &Keyring, selection: &Selection, yes: bool) -> Result<Purged, Failure> {
    let storage = DiskStorage::new(dir);
    let purged = if yes {
        offline::purge(&storage, keyring, selection)
    } else {
        select(&storage, keyring, selection).map(|selected| selected.plan())
    };
    purged.map_err(|error| match error {
        PurgeError::Open(error @ crate::buffer::OpenError::Locked { .. }) => {
            let text = format!("{}; leave out --dir to ask that relay, or stop it first", chain(&error));
            Failure::new(Exit::Failed, text)
        }
        PurgeError::Open(error) => failure(&error),
        error => Failure::new(Exit::Failed, chain(&error)),
    })
}

fn of_relay(args: &PurgeArgs, selection: &Selection) -> Result<Purged, Failure> {
    let client = args.target.control_client(args.token_file.as_deref(), args.timeout)?;
    let reply = block_on(post(&client, &request("/v1/buffer/purge", selection, args.yes)))?;
    parse(&client, &reply)
}

fn sentence(selection: &Selection, purged: &Purged, yes: bool) -> String {
    let older = selection.before_ms.map(|ms| format!(", accepted before {}", moment(ms))).unwrap_or_default();
    let what = match (purged.first_seq, purged.last_seq) {
        (Some(first), Some(last)) => format!("{}, seq {first} to {last}{older}", events(purged.events)),
        _ => "no event".to_owned(),
    };
    if yes { format!("Purged {what}.") } else { format!("Would purge {what}. Nothing was changed: run it again with --yes to do it.") }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: it is clear what was done, or would be.
    #[test]
    fn sentences() {
        let purged = Purged { events: 3, first_seq: Some(5), last_seq: Some(9) };
        assert_eq!(sentence(&Selection::default(), &purged, true), "Purged 3 events, seq 5 to 9.");
        let old = Selection { before_ms: Some(0), ..Selection::default() };
        let would = "Would purge 3 events, seq 5 to 9, accepted before 1970-01-01T00:00:00.000Z. Nothing was changed: run it again with --yes \
                     to do it.";
        assert_eq!(sentence(&old, &purged, false), would);
        assert_eq!(sentence(&old, &Purged::default(), true), "Purged no event.");
    }
}
