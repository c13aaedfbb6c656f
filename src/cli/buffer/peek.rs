//! `dualstream buffer peek`

use super::super::exit::{Exit, Failure};
use super::super::http_client::Client;
use super::super::human::{count, plain};
use super::super::output::Output;
use super::super::status::{get, parse};
use super::super::target::{self, Door, TargetArgs, block_on};
use super::{WaitingEvent, WhereArgs, directory};
use clap::Args;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// Most events that are asked for at once: the most that a relay gives.
const PAGE_EVENTS: usize = 1000;

/// Show waiting events, oldest first, without taking them
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  dualstream buffer peek                                 the ten oldest
  dualstream buffer peek --limit 100 --source user/42
  dualstream buffer peek --json | jq .value.payload
  dualstream buffer peek --dir /var/lib/dualstream --from 1000")]
pub(super) struct PeekArgs {
    /// Begin at this seq
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    from: u64,

    /// Show at most this many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10)]
    limit: usize,

    /// Only of this source: an id, or TYPE/ID
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,

    /// Print one JSON object a line, with the full event
    #[arg(long)]
    json: bool,

    /// Wait this long for each answer of the relay
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = target::time)]
    timeout: Duration,

    #[command(flatten)]
    place: WhereArgs,

    #[command(flatten)]
    target: TargetArgs,
}

/// The relay's answer. Read from its text, not from a tree, so that events are shown as they were sent.
#[derive(Deserialize)]
struct Page {
    events: Vec<WaitingEvent>,
}

/// Where pages of events come from.
enum Pages {
    Directory(PathBuf),
    Relay(Client),
}

/// Looks and prints.
pub(super) fn run(args: &PeekArgs, out: &mut Output) -> Result<Exit, Failure> {
    let pages = match &args.place.dir {
        Some(dir) => Pages::Directory(dir.clone()),
        None => Pages::Relay(args.target.client(Door::Ops, args.timeout)?),
    };
    block_on(async {
        let mut from = args.from;
        let mut left = args.limit;
        while left > 0 {
            let limit = left.min(PAGE_EVENTS);
            let events = pages.page(from, limit, args.source.as_deref()).await?;
            for event in &events {
                out.line(if args.json { json_line(event)? } else { line(event) })?;
            }
            let Some(last) = events.last().filter(|_| events.len() == limit) else { break };
            from = last.seq.saturating_add(1);
            left -= limit;
        }
        Ok(Exit::Done)
    })
}

impl Pages {
    async fn page(&self, from: u64, limit: usize, source: Option<&str>) -> Result<Vec<WaitingEvent>, Failure> {
        match self {
            Self::Directory(dir) => directory::events(dir, from, limit, source),
            Self::Relay(client) => {
                let source = source.map(|source| format!("&source={}", percent_encode(source))).unwrap_or_default();
                let body = get(client, &format!("/v1/buffer/events?from={from}&limit={limit}{source}")).await?;
                Ok(parse::<Page>(client, &body)?.events)
            }
        }
    }
}

fn json_line(event: &WaitingEvent) -> Result<String, Failure> {
    serde_json::to_string(event).map_err(|error| Failure::new(Exit::Failed, error.to_string()))
}

fn line(event: &WaitingEvent) -> String {
    let time = i64::try_from(event.accepted_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let time = time.unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let [id, kind, source_type, source_id] = [&event.id, &event.kind, &event.source_type, &event.source_id].map(|text| plain(text));
    format!("{:>10}  {time:.3}  {kind}  {source_type}/{source_id}  {id}  {} bytes", event.seq, count(event.bytes))
}

/// For the value of a query: everything but letters, digits and `-._~`.
fn percent_encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: any source can be asked for, whatever is in its id.
    #[test]
    fn queries() {
        assert_eq!(percent_encode("user/42"), "user%2F42");
        assert_eq!(percent_encode("a&b=ü %"), "a%26b%3D%C3%BC%20%25");
    }

    // Goal: an event is one line, and nothing in it can make two of it.
    #[test]
    fn an_event_is_one_line() {
        let json = r#"{"seq":7,"accepted_ms":1700000000123,"id":"a\nb","type":"order.created","source_type":"user","source_id":"42",
            "bytes":1234,"value":{"n":1.10},"more":1}"#;
        let event: WaitingEvent = serde_json::from_str(json).unwrap();
        assert_eq!(line(&event), "         7  2023-11-14T22:13:20.123Z  order.created  user/42  a\\nb  1,234 bytes");
        assert!(json_line(&event).unwrap().ends_with(r#""value":{"n":1.10}}"#));
    }
}
