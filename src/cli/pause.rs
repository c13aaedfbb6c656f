//! `dualstream pause` and `dualstream resume`: the drain of a running relay.

use super::exit::{Exit, Failure};
use super::output::Output;
use super::status::{parse, post};
use super::target::{TargetArgs, block_on, time};
use clap::Args;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// Send nothing more to Kafka until `resume`; events are still accepted, as long as the buffer has room
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  dualstream pause                                    the relay of this machine's settings
  dualstream pause --socket /run/dualstream/ops.sock

What is on its way is confirmed first. A restart ends the pause. The relay is asked over its Unix socket (ops.socket), or over TCP
with the token (ops.token_file).
Exit code 0: paused, also when it was already; 1: refused; 3: the relay cannot be reached.")]
pub(super) struct PauseArgs {
    #[command(flatten)]
    who: WhoArgs,
}

/// Go on sending to Kafka
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  dualstream resume
  dualstream resume --url http://127.0.0.1:7411 --token-file /run/secrets/token")]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    who: WhoArgs,
}

#[derive(Args, Debug)]
struct WhoArgs {
    /// File with the token of a running relay [default: by the settings]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Wait this long for the relay's answer
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = time)]
    timeout: Duration,

    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Deserialize)]
struct Answer {
    changed: bool,
}

/// Pauses.
pub(super) fn pause(args: &PauseArgs, out: &mut Output) -> Result<Exit, Failure> {
    let words = if ask(&args.who, "/v1/drain/pause")? {
        "Paused: nothing is sent to Kafka until `dualstream resume`."
    } else {
        "It was paused already."
    };
    out.line(words)?;
    Ok(Exit::Done)
}

/// Resumes.
pub(super) fn resume(args: &ResumeArgs, out: &mut Output) -> Result<Exit, Failure> {
    let words = if ask(&args.who, "/v1/drain/resume")? { "Resumed: events go to Kafka again." } else { "It was not paused." };
    out.line(words)?;
    Ok(Exit::Done)
}

fn ask(who: &WhoArgs, path: &str) -> Result<bool, Failure> {
    let client = who.target.control_client(who.token_file.as_deref(), who.timeout)?;
    let reply = block_on(post(&client, path))?;
    Ok(parse::<Answer>(&client, &reply)?.changed)
}
