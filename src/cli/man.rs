//! `dualstream man`: manual pages.

use super::exit::{Exit, Failure};
use super::output::Output;
use clap::{Args, Command};
use std::path::PathBuf;

/// Print the manual page, or write one per command into a directory
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  dualstream man | man -l -
  dualstream man --dir /usr/local/share/man/man1")]
pub(super) struct ManArgs {
    /// Write a page per command into this directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Prints or writes.
pub(super) fn run(args: &ManArgs, command: Command, out: &mut Output) -> Result<Exit, Failure> {
    if let Some(dir) = &args.dir {
        let failed = |error| Failure::new(Exit::Failed, format!("cannot write manual pages into {}: {error}", dir.display()));
        clap_mangen::generate_to(command, dir).map_err(failed)?;
        return Ok(Exit::Done);
    }
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(command).render(&mut page);
    rendered.map_err(|error| Failure::new(Exit::Failed, format!("cannot render the manual page: {error}")))?;
    out.bytes(&page)?;
    Ok(Exit::Done)
}
