//! `dualstream dead-letters`: events that Kafka will never take, of a running relay or of a directory.

mod change;
mod letters;
mod look;

use super::exit::{Exit, Failure};
use super::output::Output;
use clap::{Args, Subcommand};

/// Look at what Kafka will never take; try it again, save it, remove it
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  dualstream dead-letters list
  dualstream dead-letters show 4711
  dualstream dead-letters export --output dead.ndjson
  dualstream dead-letters retry --all                 what a retry would do
  dualstream dead-letters retry --source user/42 --yes
  dualstream dead-letters purge --to-seq 1000 --yes

A dead letter is an event that Kafka refused for what it is (too large, against a schema or a policy), alone and again; all others go on.
A retry puts it into the buffer as a new event with a new seq, in the old order of its source.")]
pub(super) struct DeadLettersArgs {
    #[command(subcommand)]
    command: DeadLettersCommand,
}

#[derive(Debug, Subcommand)]
enum DeadLettersCommand {
    List(look::ListArgs),
    Show(look::ShowArgs),
    Export(look::ExportArgs),
    Retry(change::RetryArgs),
    Purge(change::PurgeArgs),
}

/// Runs the subcommand.
pub(super) fn run(args: &DeadLettersArgs, out: &mut Output) -> Result<Exit, Failure> {
    match &args.command {
        DeadLettersCommand::List(args) => look::list(args, out),
        DeadLettersCommand::Show(args) => look::show(args, out),
        DeadLettersCommand::Export(args) => look::export(args, out),
        DeadLettersCommand::Retry(args) => change::retry(args, out),
        DeadLettersCommand::Purge(args) => change::purge(args, out),
    }
}
