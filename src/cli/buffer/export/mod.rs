//! `dualstream buffer export`: waiting events as NDJSON, byte for byte.

mod line;
mod sink;

use super::super::exit::{Exit, Failure};
use super::super::http_client::Client;
use super::super::output::Output;
use super::super::status::{get, parse};
use super::super::target::{self, Door, TargetArgs, block_on};
use super::pages::{PAGE_EVENTS, of_relay};
use super::{WhereArgs, directory};
use crate::buffer::inspect::WaitingEvent;
use clap::Args;
use line::line;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(in crate::cli) use sink::Sink;

/// Save waiting events as NDJSON, without taking them
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  dualstream buffer export --output events.ndjson
  dualstream buffer export --dir /var/lib/dualstream --source user/42 | jq .value.payload
  dualstream buffer export --from-seq 1000 --limit 500
  dualstream buffer export --dir /old/buffer | jq -c .value | dualstream send

One JSON object a line: seq, id, type, source, time, headers (as in Kafka), value. The value is exactly what was sent; one that
cannot stand on a line as it is comes as value_base64 instead. A file is there whole or not at all. What was exported is told
on standard error, with the seq to go on from.
Exit code 0: done; 1: failed; 2: not a buffer; 3: the relay cannot be reached.")]
pub(super) struct ExportArgs {
    /// Begin at this seq
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    from_seq: u64,

    /// End with this seq
    #[arg(long, value_name = "SEQ", default_value_t = u64::MAX, hide_default_value = true)]
    to_seq: u64,

    /// Save at most this many
    #[arg(long, short = 'n', value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    limit: u64,

    /// Only of this source: an id, or TYPE/ID
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,

    /// Write to this file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Wait this long for each answer of the relay
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = target::time)]
    timeout: Duration,

    #[command(flatten)]
    place: WhereArgs,

    #[command(flatten)]
    target: TargetArgs,
}

/// Exports and says how much.
pub(super) fn run(args: &ExportArgs, out: &mut Output) -> Result<Exit, Failure> {
    let mut sink = Sink::open(args.output.as_deref(), args.limit)?;
    if args.limit > 0 {
        match &args.place.dir {
            Some(dir) => from_directory(args, dir, &mut sink, out)?,
            None => block_on(from_relay(args, &args.target.client(Door::Ops, args.timeout)?, &mut sink, out))?,
        }
    }
    let summary = sink.finish(out)?;
    out.note(summary);
    Ok(Exit::Done)
}

fn from_directory(args: &ExportArgs, dir: &Path, sink: &mut Sink, out: &mut Output) -> Result<(), Failure> {
    let relay_id = directory::info(dir)?.relay_id.unwrap_or_default();
    let mut failed = None;
    directory::each(dir, &args.target.keyring()?, args.from_seq, &mut |seq, accepted_ms, event| {
        if seq > args.to_seq {
            return false;
        }
        if args.source.as_deref().is_some_and(|source| !event.is_of_source(source)) {
            return true;
        }
        let shown = WaitingEvent::new(seq, accepted_ms, event, false);
        let written = line(&relay_id, &shown, event.value).and_then(|line| sink.put(seq, &line, out));
        failed = written.err();
        failed.is_none() && !sink.is_full()
    })?;
    failed.map_or(Ok(()), Err)
}

async fn from_relay(args: &ExportArgs, client: &Client, sink: &mut Sink, out: &mut Output) -> Result<(), Failure> {
    let status: Value = parse(client, &get(client, "/v1/status").await?)?;
    let relay_id = status["relay"]["relay_id"].as_str().unwrap_or_default().to_owned();
    let (mut from, mut limit) = (args.from_seq, PAGE_EVENTS);
    loop {
        let events = of_relay(client, from, limit, args.source.as_deref()).await?;
        let asked = limit;
        limit = PAGE_EVENTS;
        for (index, event) in events.iter().enumerate() {
            if event.seq > args.to_seq || sink.is_full() {
                return Ok(());
            }
            let Some(value) = &event.value else {
                if index == 0 {
                    let text = format!("event {} is too large for the relay to show ({} bytes): export with --dir", event.seq, event.bytes);
                    return Err(Failure::new(Exit::Failed, text));
                }
                // The answer grew too large: ask again, from here on.
                limit = index.max(1);
                break;
            };
            sink.put(event.seq, &line(&relay_id, event, value.get().as_bytes())?, out)?;
            from = event.seq.saturating_add(1);
        }
        if events.len() < asked && limit == PAGE_EVENTS {
            return Ok(());
        }
    }
}
