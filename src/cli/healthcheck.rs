//! `dualstream healthcheck`: a probe for where no HTTP client is at hand.

use super::exit::{Exit, Failure};
use super::human::plain;
use super::look::Look;
use super::output::Output;
use super::target::{Door, TargetArgs, block_on, time};
use clap::Args;
use http::StatusCode;
use serde_json::Value;
use std::time::Duration;

/// Ask a running relay whether it can take a write now
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  dualstream healthcheck                 ready: can a write be accepted now?
  dualstream healthcheck --live          live: do its loops tick?
  docker run --health-cmd 'dualstream healthcheck --live' …

Exit code 0: yes; 1: no, with the reasons; 3: the relay cannot be reached.")]
pub(super) struct HealthcheckArgs {
    /// Ask whether it is live, not whether it is ready
    #[arg(long, conflicts_with = "started")]
    live: bool,

    /// Ask whether it has started: buffer recovered, listeners bound
    #[arg(long)]
    started: bool,

    /// Wait this long for the answer
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = time)]
    timeout: Duration,

    #[command(flatten)]
    target: TargetArgs,
}

/// Asks, prints the answer, and ends with it.
pub(super) fn run(args: &HealthcheckArgs, out: &mut Output) -> Result<Exit, Failure> {
    let path = match (args.live, args.started) {
        (true, _) => "/livez",
        (false, true) => "/startupz",
        (false, false) => "/readyz",
    };
    let client = args.target.client(Door::Probe, args.timeout)?;
    let reply = block_on(async { Ok(client.get(path).await?) })?;
    let answer: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let answer = Look(&answer);
    // A proxy or another program on the port answers, too; only these two are a relay's.
    let exit = match reply.status {
        StatusCode::OK => Exit::Done,
        StatusCode::SERVICE_UNAVAILABLE => Exit::Failed,
        status => {
            let text = format!("what answers {path} at {} is not a dualstream relay: it says {status}", client.endpoint());
            return Err(Failure::new(Exit::Unreachable, text));
        }
    };
    out.line(plain(answer.text("status").unwrap_or(if exit == Exit::Done { "ok" } else { "not ok" })))?;
    for list in ["reasons", "degraded_reasons"] {
        for reason in answer.items(list) {
            let [name, detail] = ["reason", "detail"].map(|part| plain(reason.text(part).unwrap_or_default()));
            out.line(format_args!("{name}: {detail}"))?;
        }
    }
    Ok(exit)
}
