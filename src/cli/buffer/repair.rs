//! `dualstream buffer repair`

use super::super::exit::{Exit, Failure};
use super::super::human::count;
use super::super::output::Output;
use super::place::failure;
use super::verify::{check, exit_of, print};
use super::words::events;
use super::{DirArgs, json};
use crate::buffer::log::storage::DiskStorage;
use crate::buffer::offline::{self, Repair, Repaired};
use crate::buffer::verify::{Report, Verdict};
use clap::Args;
use serde::Serialize;

/// Set damage aside in the buffer of a stopped relay
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  dualstream buffer repair --dir /var/lib/dualstream               what it would do
  dualstream buffer repair --dir /var/lib/dualstream --yes
  dualstream buffer repair --dir /var/lib/dualstream --yes --delete

Copies damaged bytes to quarantine/ with a note of the events that were in them, reports those lost in the ledger, cuts off the
unfinished write of a crash, and writes the cursor anew: what the relay would do by itself while it starts and reads. Nothing is
deleted without --delete. Needs the directory for itself: stop the relay first.
Exit code 0: sound now, or nothing was to be changed; 4: still damaged; 2: not a buffer; 1: failed, or a relay runs on it.")]
#[expect(clippy::struct_excessive_bools, reason = "flags are independent")]
pub(super) struct RepairArgs {
    /// Do it; without, it only says what it would do
    #[arg(long)]
    yes: bool,

    /// Only say what it would do, which is the default
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,

    /// Then remove everything in quarantine/ for good
    #[arg(long)]
    delete: bool,

    /// Print it as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    place: DirArgs,
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Outcome<'a> {
    dry_run: bool,
    before: &'a Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    repaired: Option<&'a Repaired>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<&'a Report>,
}

/// Repairs, or says what a repair would do.
pub(super) fn run(args: &RepairArgs, out: &mut Output) -> Result<Exit, Failure> {
    let dir = args.place.dir()?;
    let before = check(&dir)?;
    if !args.yes {
        if args.json {
            out.line(json(&Outcome { dry_run: true, before: &before, repaired: None, after: None })?)?;
        } else {
            print(&dir, &before, out)?;
            plan(args, &before).iter().try_for_each(|line| out.line(line))?;
        }
        return Ok(Exit::Done);
    }
    let how = Repair { delete_quarantined: args.delete };
    let repaired = offline::repair(&DiskStorage::new(&dir), how).map_err(|error| failure(&error))?;
    let after = check(&dir)?;
    if args.json {
        out.line(json(&Outcome { dry_run: false, before: &before, repaired: Some(&repaired), after: Some(&after) })?)?;
    } else {
        print(&dir, &after, out)?;
        out.line(done(&repaired))?;
    }
    Ok(exit_of(after.verdict))
}

fn plan(args: &RepairArgs, before: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    if before.verdict == Verdict::Sound {
        lines.push("There is nothing to repair.".to_owned());
    }
    if args.delete {
        lines.push(format!("With --delete, the {} entries of quarantine/ would be removed for good.", count(before.quarantined)));
    }
    let stop = if before.in_use { " Stop the relay first." } else { "" };
    lines.push(format!("Nothing was changed: run it again with --yes to do it.{stop}"));
    lines
}

fn done(repaired: &Repaired) -> String {
    let Repaired { lost_events, torn_bytes, quarantined, deleted } = repaired;
    let deleted = if *deleted > 0 { format!(", {} removed from it", count(*deleted)) } else { String::new() };
    format!(
        "Done: {} reported lost, {} bytes of an unfinished write cut off, {} entries in quarantine{deleted}.",
        events(*lost_events),
        count(*torn_bytes),
        count(*quarantined)
    )
}
