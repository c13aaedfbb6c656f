//! `dualstream status`: one look at a running relay.

mod screen;

use super::exit::{Exit, Failure};
use super::http_client::{Client, Content, Reply};
use super::look::Look;
use super::output::Output;
use super::target::{Door, TargetArgs, block_on, time};
use bytes::Bytes;
use clap::Args;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;

/// Show how full, how old, how fast, and why stuck
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  dualstream status                                  the relay of this machine's settings
  dualstream status --url http://127.0.0.1:7411
  dualstream status --socket /run/dualstream/ops.sock
  dualstream status --json | jq .buffer.fill

Exit code 0: the relay answered, whatever it said; 3: it cannot be reached.")]
pub(super) struct StatusArgs {
    /// Print the relay's snapshot as JSON
    #[arg(long)]
    json: bool,

    /// Wait this long for the answer
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = time)]
    timeout: Duration,

    #[command(flatten)]
    target: TargetArgs,
}

/// Asks and prints.
pub(super) fn run(args: &StatusArgs, out: &mut Output) -> Result<Exit, Failure> {
    let client = args.target.client(Door::Ops, args.timeout)?;
    let body = block_on(get(&client, "/v1/status"))?;
    let snapshot: Value = parse(&client, &body)?;
    if args.json {
        // As the relay wrote it: numbers keep their digits.
        out.bytes(body.trim_ascii())?;
        out.line("")?;
    } else {
        for line in screen::lines(Look(&snapshot), out) {
            out.line(line)?;
        }
    }
    Ok(Exit::Done)
}

/// Gets something from a relay, or says why not.
pub(super) async fn get(client: &Client, target: &str) -> Result<Bytes, Failure> {
    let reply = client.get(target).await?;
    if reply.status.is_success() { Ok(reply.body) } else { Err(refused(client, &reply)) }
}

/// Asks a relay for a change, or says why it was not made.
pub(super) async fn post(client: &Client, target: &str) -> Result<Bytes, Failure> {
    let reply = client.post(target, Content { content_type: "application/json", bytes: Bytes::new() }).await?;
    if reply.status.is_success() { Ok(reply.body) } else { Err(refused(client, &reply)) }
}

/// Asks a relay to remove something, or says why it was not removed.
pub(super) async fn delete(client: &Client, target: &str) -> Result<Bytes, Failure> {
    let reply = client.delete(target).await?;
    if reply.status.is_success() { Ok(reply.body) } else { Err(refused(client, &reply)) }
}

/// Reads the JSON that a relay sent.
pub(super) fn parse<T: DeserializeOwned>(client: &Client, body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| {
        let text = format!("what answers at {} is not a dualstream relay: its reply is not understood ({error})", client.endpoint());
        Failure::new(Exit::Unreachable, text)
    })
}

fn refused(client: &Client, reply: &Reply) -> Failure {
    let problem: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let detail = Look(&problem).text("detail").map(|detail| format!(": {}", super::human::plain(detail))).unwrap_or_default();
    Failure::new(Exit::Failed, format!("{} answered {}{detail}", client.endpoint(), reply.status))
}
