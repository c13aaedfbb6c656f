//! `dualstream buffer adopt`

use super::super::exit::{Exit, Failure};
use super::super::output::Output;
use super::place::{DirArgs, failure};
use crate::buffer::log::storage::DiskStorage;
use crate::buffer::offline;
use clap::Args;

/// Make a copy of a buffer directory usable, once the original is gone
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  dualstream buffer adopt --dir /restored/buffer          is it a copy?
  dualstream buffer adopt --dir /restored/buffer --yes    the original is gone for good

A relay refuses a directory that was copied, or restored from a backup: two relays on copies of one directory would deliver everything in it
twice, under one name. A directory that was moved, or whose volume was, is no copy.
Exit code 0: done, or nothing to do; 1: refused or failed; 2: not a buffer.")]
pub(super) struct AdoptArgs {
    #[command(flatten)]
    dir: DirArgs,

    /// Do it; without, it only says what it would do
    #[arg(long)]
    yes: bool,
}

/// Adopts, or says what that would do.
pub(super) fn run(args: &AdoptArgs, out: &mut Output) -> Result<Exit, Failure> {
    let dir = args.dir.dir()?;
    let copy = offline::adopt(&DiskStorage::new(&dir), args.yes).map_err(|error| failure(&error))?;
    out.line(match (copy, args.yes) {
        (false, _) => "It is no copy: there is nothing to do.",
        (true, true) => "Adopted: a relay takes it now. See to it that the original is never run again.",
        (true, false) => "It is a copy. Nothing was changed: run it again with --yes once the original is gone for good.",
    })?;
    Ok(Exit::Done)
}
