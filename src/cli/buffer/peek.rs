//! `dualstream buffer peek`

use super::super::exit::{Exit, Failure};
use super::super::human::{count, plain};
use super::super::output::Output;
use super::super::target::{self, Door, TargetArgs, block_on};
use super::pages::{PAGE_EVENTS, Pages};
use super::words::moment;
use super::{WhereArgs, json};
use crate::buffer::inspect::WaitingEvent;
use clap::Args;
use std::time::Duration;

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

/// Looks and prints.
pub(super) fn run(args: &PeekArgs, out: &mut Output) -> Result<Exit, Failure> {
    let pages = match &args.place.dir {
        Some(dir) => Pages::Directory(dir.clone(), args.target.keyring()?),
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

fn json_line(event: &WaitingEvent) -> Result<String, Failure> {
    // A line end can only stand between the words of a value, never in them: a blank says the same.
    Ok(json(event)?.replace(['\n', '\r'], " "))
}

fn line(event: &WaitingEvent) -> String {
    let [id, kind, source_type, source_id] = [&event.id, &event.kind, &event.source_type, &event.source_id].map(|text| plain(text));
    let (time, bytes) = (moment(event.accepted_ms), count(event.bytes));
    format!("{:>10}  {time}  {kind}  {source_type}/{source_id}  {id}  {bytes} bytes", event.seq)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: an event is one line, and nothing in it can make two of it.
    #[test]
    fn an_event_is_one_line() {
        let json = r#"{"seq":7,"accepted_ms":1700000000123,"id":"a\nb","type":"order.created","source_type":"user","source_id":"42",
            "bytes":1234,"value":{"n":
1.10},"more":1}"#;
        let event: WaitingEvent = serde_json::from_str(json).unwrap();
        assert_eq!(line(&event), "         7  2023-11-14T22:13:20.123Z  order.created  user/42  a\\nb  1,234 bytes");
        assert!(json_line(&event).unwrap().ends_with(r#""value":{"n": 1.10}}"#));
    }
}
