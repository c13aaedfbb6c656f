//! The command line: one file per subcommand.
//!
//! Results go to standard output and words for people to standard error; `--json` where a machine may read; exit codes have
//! meanings ([`Exit`]). Commands about a running relay only talk HTTP to it.

mod assembly;
mod bench;
mod buffer;
mod check;
mod completions;
mod config_reference;
mod dead_letters;
mod demo;
mod drain_only;
mod exit;
mod healthcheck;
mod http_client;
mod human;
mod inject;
mod logging;
mod look;
mod man;
mod output;
mod pause;
mod run;
mod selection;
mod send;
mod settings;
mod status;
mod target;

use clap::{CommandFactory, Parser, Subcommand};
use std::ffi::OsString;

pub use check::{Check, Verdict};
pub use exit::{Exit, Failure};
pub use output::Output;

/// Dual-stream publishing beside any application: Kafka for what must not be lost, Redis Pub/Sub for what must be seen now.
#[derive(Debug, Parser)]
#[command(
    name = "dualstream",
    version,
    infer_subcommands = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  dualstream demo                                               see it work, nothing to install
  dualstream run --brokers 127.0.0.1:9092 --topic events        run the relay
  dualstream send --type order.created --source-type user --source-id 42 --payload '{}'
  dualstream status                                             how full, how old, how fast, why stuck
  dualstream check --config relay.toml --connect                before it goes live

Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 relay or peer cannot be reached, 4 data damaged,
5 deadline passed with events still on disk."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::DemoArgs),
    Run(run::RunArgs),
    Check(check::CheckArgs),
    Status(status::StatusArgs),
    Send(send::SendArgs),
    Buffer(buffer::BufferArgs),
    DeadLetters(dead_letters::DeadLettersArgs),
    Pause(pause::PauseArgs),
    Resume(pause::ResumeArgs),
    DrainOnly(drain_only::DrainOnlyArgs),
    Bench(bench::BenchArgs),
    Healthcheck(healthcheck::HealthcheckArgs),
    Inject(inject::InjectArgs),
    ConfigReference(config_reference::ConfigReferenceArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

/// Runs the command that the arguments (the program's name first) ask for, with the process's own streams.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let mut out = Output::of_process();
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help for a reader that has gone is help enough.
            drop(error.print());
            return if error.exit_code() == 0 { Exit::Done } else { Exit::Usage };
        }
    };
    finish(dispatch(&cli.command, &mut out), &mut out)
}

fn dispatch(command: &Command, out: &mut Output) -> Result<Exit, Failure> {
    match command {
        Command::Demo(args) => demo::run(args, out),
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::run(args, out),
        Command::Status(args) => status::run(args, out),
        Command::Send(args) => send::run(args, out),
        Command::Buffer(args) => buffer::run(args, out),
        Command::DeadLetters(args) => dead_letters::run(args, out),
        Command::Pause(args) => pause::pause(args, out),
        Command::Resume(args) => pause::resume(args, out),
        Command::DrainOnly(args) => drain_only::run(args, out),
        Command::Bench(args) => bench::run(args, out),
        Command::Healthcheck(args) => healthcheck::run(args, out),
        Command::Inject(args) => inject::run(args, out),
        Command::ConfigReference(args) => config_reference::run(args, out),
        Command::Completions(args) => completions::run(args, Cli::command(), out),
        Command::Man(args) => man::run(args, Cli::command(), out),
    }
}

fn finish(result: Result<Exit, Failure>, out: &mut Output) -> Exit {
    let flushed = |exit| out.flush().map(|()| exit);
    match result.and_then(flushed) {
        Ok(exit) => exit,
        Err(failure) => {
            if !failure.message.is_empty() {
                out.note(format_args!("dualstream: {failure}"));
            }
            failure.exit
        }
    }
}

#[cfg(test)]
mod fake_relay;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_relay;
