//! `dualstream dead-letters list`, `show` and `export`.

use super::super::buffer::{Sink, WhereArgs, json, moment};
use super::super::exit::{Exit, Failure};
use super::super::human::{count, plain};
use super::super::output::Output;
use super::super::target::{TargetArgs, block_on, time};
use super::letters::Letters;
use crate::buffer::dead_letters::DeadLetterView;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// One line each, oldest first
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  dualstream dead-letters list
  dualstream dead-letters list --source user/42 --json
  dualstream dead-letters list --dir /var/lib/dualstream")]
pub(super) struct ListArgs {
    /// Begin at this seq
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    from: u64,

    /// Show at most this many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100)]
    limit: u64,

    /// Only of this source: an id, or TYPE/ID
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,

    /// Print one JSON object a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    from_where: FromArgs,
}

/// One of them, whole
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  dualstream dead-letters show 4711
  dualstream dead-letters show 4711 --json | jq .event.value")]
pub(super) struct ShowArgs {
    /// Its seq
    #[arg(value_name = "SEQ")]
    seq: u64,

    /// Print it as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    from_where: FromArgs,
}

/// Save them as NDJSON: one object a line, with the cause and the whole event
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  dualstream dead-letters export --output dead.ndjson
  dualstream dead-letters export | jq -c .event.value

A file is there whole or not at all.")]
pub(super) struct ExportArgs {
    /// Begin at this seq
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    from_seq: u64,

    /// Save at most this many
    #[arg(long, short = 'n', value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    limit: u64,

    /// Only of this source: an id, or TYPE/ID
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,

    /// Write to this file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    from_where: FromArgs,
}

#[derive(Args, Debug)]
struct FromArgs {
    /// Wait this long for each answer of the relay
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    timeout: Duration,

    #[command(flatten)]
    place: WhereArgs,

    #[command(flatten)]
    target: TargetArgs,
}

impl FromArgs {
    fn letters(&self) -> Result<Letters, Failure> {
        Letters::of(&self.place, &self.target, self.timeout)
    }
}

/// Lists.
pub(super) fn list(args: &ListArgs, out: &mut Output) -> Result<Exit, Failure> {
    let letters = args.from_where.letters()?;
    let mut left = args.limit;
    if left > 0 {
        block_on(letters.each(args.from, args.source.as_deref(), &mut |letter| {
            out.line(if args.json { json_line(letter)? } else { line(letter) })?;
            left -= 1;
            Ok(left > 0)
        }))?;
    }
    Ok(Exit::Done)
}

/// Shows one.
pub(super) fn show(args: &ShowArgs, out: &mut Output) -> Result<Exit, Failure> {
    let letter = block_on(args.from_where.letters()?.one(args.seq))?;
    if args.json {
        out.line(json_line(&letter)?)?;
    } else {
        for line in lines(&letter) {
            out.line(line)?;
        }
    }
    Ok(Exit::Done)
}

/// Exports.
pub(super) fn export(args: &ExportArgs, out: &mut Output) -> Result<Exit, Failure> {
    let letters = args.from_where.letters()?;
    let mut sink = Sink::open(args.output.as_deref(), args.limit)?;
    if args.limit > 0 {
        block_on(async {
            let mut cut_short = Vec::new();
            letters
                .each(args.from_seq, args.source.as_deref(), &mut |letter| {
                    if letter.event.value.is_none() {
                        cut_short.push(letter.event.seq);
                    } else if cut_short.is_empty() {
                        sink.put(letter.event.seq, &json_line(letter)?, out)?;
                    }
                    Ok(cut_short.is_empty() && !sink.is_full())
                })
                .await?;
            // The relay leaves out what would make one answer too large: ask for those one by one.
            let Some(mut from) = cut_short.first().copied() else { return Ok(()) };
            while !sink.is_full() {
                let mut next = None;
                letters
                    .each(from, args.source.as_deref(), &mut |letter| {
                        next = Some(letter.event.seq);
                        Ok(false)
                    })
                    .await?;
                let Some(seq) = next else { break };
                sink.put(seq, &json_line(&letters.one(seq).await?)?, out)?;
                from = seq + 1;
            }
            Ok(())
        })?;
    }
    let summary = sink.finish(out)?;
    out.note(summary);
    Ok(Exit::Done)
}

fn json_line(letter: &DeadLetterView) -> Result<String, Failure> {
    // A line end can only stand between the words of a value, never in them: a blank says the same.
    Ok(json(letter)?.replace(['\n', '\r'], " "))
}

fn line(letter: &DeadLetterView) -> String {
    let DeadLetterView { cause, event, .. } = letter;
    let [id, kind, source_type, source_id, reason] =
        [&event.id, &event.kind, &event.source_type, &event.source_id, &cause.reason].map(|text| plain(text));
    let (time, bytes) = (moment(cause.dead_ms), count(event.bytes));
    let copied = if letter.copied { "  copied" } else { "" };
    format!("{:>10}  {time}  {reason}  {kind}  {source_type}/{source_id}  {id}  {bytes} bytes{copied}", event.seq)
}

fn lines(letter: &DeadLetterView) -> Vec<String> {
    let DeadLetterView { cause, copied, event } = letter;
    let pairs = [
        ("seq", event.seq.to_string()),
        ("id", plain(&event.id)),
        ("type", plain(&event.kind)),
        ("source", format!("{}/{}", plain(&event.source_type), plain(&event.source_id))),
        ("accepted", moment(event.accepted_ms)),
        ("refused", format!("{} times since {}", cause.attempts, moment(cause.first_refused_ms))),
        ("dead since", moment(cause.dead_ms)),
        ("reason", plain(&cause.reason)),
        ("detail", plain(&cause.text)),
        ("copied", if *copied { "yes: the dead-letter topic has it" } else { "no" }.to_owned()),
        ("event", event.value.as_ref().map_or_else(|| "cannot be shown as JSON".to_owned(), |value| plain(value.get()))),
    ];
    pairs.into_iter().map(|(name, value)| format!("{name:<11} {value}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: a dead letter says which event it is, why it is dead, since when, and nothing in it can make two lines of one.
    #[test]
    fn a_letter_in_words() {
        let json = r#"{"cause":{"reason":"too_large","text":"larger than the topic takes","attempts":3,"first_refused_ms":1700000000000,
            "dead_ms":1700000000123},"event":{"seq":7,"accepted_ms":1700000000000,"id":"a\nb","type":"order.created","source_type":"user",
            "source_id":"42","bytes":1234,"value":{"n":1.10}}}"#;
        let letter: DeadLetterView = serde_json::from_str(json).unwrap();
        assert_eq!(line(&letter), "         7  2023-11-14T22:13:20.123Z  too_large  order.created  user/42  a\\nb  1,234 bytes");
        let shown = lines(&letter);
        assert!(shown.contains(&"refused     3 times since 2023-11-14T22:13:20.000Z".to_owned()), "{shown:?}");
        assert!(shown.contains(&"copied      no".to_owned()), "{shown:?}");
        let copied = DeadLetterView { copied: true, ..letter.clone() };
        assert!(line(&copied).ends_with("1,234 bytes  copied") && lines(&copied).iter().any(|line| line.starts_with("copied      yes")));
        assert!(json_line(&letter).unwrap().contains(r#""value":{"n":1.10}"#));
    }
}
