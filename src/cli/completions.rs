//! `dualstream completions`: the shell's half of the command line.

use super::exit::{Exit, Failure};
use super::output::Output;
use clap::{Args, Command};
use clap_complete::{Shell, generate};

/// Print a completion script for a shell
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  dualstream completions bash > /etc/bash_completion.d/dualstream
  dualstream completions zsh > \"${fpath[1]}/_dualstream\"
  dualstream completions fish > ~/.config/fish/completions/dualstream.fish")]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints it.
pub(super) fn run(args: &CompletionsArgs, mut command: Command, out: &mut Output) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    generate(args.shell, &mut command, "dualstream", &mut script);
    out.bytes(&script)?;
    Ok(Exit::Done)
}
