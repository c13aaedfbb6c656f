//! `dualstream send`: hands events to a running relay, one from flags or many from standard input.

mod event;
mod lines;
mod post;

use super::exit::{Exit, Failure};
use super::output::Output;
use super::target::{Door, TargetArgs, block_on, time};
use clap::{Args, ValueEnum};
use event::EventArgs;
use lines::Batches;
use post::{Poster, Sent};
use std::io::{self, BufRead, IsTerminal};
use std::time::Duration;

/// Send one event given by flags, or NDJSON from standard input
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  dualstream send --type order.created --source-type user --source-id 42 --payload '{\"total\":7}'
  dualstream send --type order.created --source-type user --source-id 42 --payload @order.json --ack kafka
  dualstream send < events.ndjson
  dualstream send --retry 10 --batch 5000 < events.ndjson

Prints the relay's reply to each request, one JSON object a line.
Exit code 0: all accepted; 1: refused, with the reasons; 2: wrong usage; 3: the relay cannot be reached.")]
pub(super) struct SendArgs {
    /// What to wait for [default: as the relay is set]
    #[arg(long, value_enum)]
    ack: Option<Ack>,

    /// How long the relay may wait for room, and for Kafka [default: as the relay is set]
    #[arg(long, value_name = "TIME", value_parser = time)]
    timeout: Option<Duration>,

    /// When the relay is full, try again this many times, each after the wait it asks for
    #[arg(long, value_name = "N", default_value_t = 0)]
    retry: u32,

    /// Events per request, from standard input
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    batch: u32,

    #[command(flatten)]
    event: EventArgs,

    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Ack {
    /// On disk, synced
    Buffered,
    /// Acknowledged by Kafka
    Kafka,
}

/// The relay's own wait may last this long when none is given: the longest that the settings allow.
const LONGEST_DEFAULT_WAIT: Duration = Duration::from_secs(300);

/// What an answer may take on top of the wait that the relay was asked for.
const ANSWER_SLACK: Duration = Duration::from_secs(10);

/// Sends.
pub(super) fn run(args: &SendArgs, out: &mut Output) -> Result<Exit, Failure> {
    let single = args.event.build()?;
    let stdin = io::stdin();
    if single.is_none() && stdin.is_terminal() {
        let text = "nothing to send: give --type, --source-type and --source-id, or NDJSON on standard input (see --help)";
        return Err(Failure::new(Exit::Usage, text));
    }
    let wait = args.timeout.unwrap_or(LONGEST_DEFAULT_WAIT);
    let client = args.target.client(Door::Ingest, wait + ANSWER_SLACK)?;
    let poster = Poster::new(client, target(args.ack, args.timeout), args.retry, args.ack == Some(Ack::Kafka));
    block_on(async {
        match single {
            Some(event) => poster.post("application/json", event.into(), out).await.and_then(|sent| sent.or_fail("")),
            None => send_lines(stdin.lock(), args.batch, &poster, out).await,
        }
    })?;
    Ok(Exit::Done)
}

async fn send_lines(input: impl BufRead, max_events: u32, poster: &Poster, out: &mut Output) -> Result<(), Failure> {
    let mut batches = Batches::new(input, max_events as usize);
    let (mut sent, mut known) = (0, 0);
    while let Some(batch) = batches.next()? {
        let events = batch.line_numbers.len() as u64;
        let before = |failure: Failure| match sent {
            0 => failure,
            _ => Failure::new(failure.exit, format!("{}\nthe {sent} events before it were accepted", failure.message)),
        };
        match poster.post("application/x-ndjson", batch.body, out).await.map_err(before)? {
            Sent::Accepted { known: more } => (sent, known) = (sent + events, known + more),
            refused @ Sent::Refused(_) => {
                return refused.name_lines(&batch.line_numbers).or_fail(&format!(" from line {}", batch.line_numbers[0])).map_err(before);
            }
        }
    }
    out.note(tally(sent, known));
    Ok(())
}

/// What became of events that the relay has now.
fn tally(sent: u64, known: u64) -> String {
    let before = if known > 0 { format!(", {known} known before and not stored again") } else { String::new() };
    format!("{} events accepted{before}", sent.saturating_sub(known))
}

fn target(ack: Option<Ack>, timeout: Option<Duration>) -> String {
    let ack = ack.map(|ack| format!("ack={}", if ack == Ack::Kafka { "kafka" } else { "buffered" }));
    let timeout = timeout.map(|timeout| format!("timeout={}ms", timeout.as_millis()));
    let query: Vec<_> = [ack, timeout].into_iter().flatten().collect();
    if query.is_empty() { "/v1/events".to_owned() } else { format!("/v1/events?{}", query.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: whoever sends a file twice sees that nothing of it was stored twice.
    #[test]
    fn tallies() {
        assert_eq!(tally(5, 0), "5 events accepted");
        assert_eq!(tally(5, 3), "2 events accepted, 3 known before and not stored again");
    }

    // Goal: what the user asks for reaches the relay; what is not asked for is left to its settings.
    #[test]
    fn targets() {
        let wait = Some(Duration::from_millis(90_500));
        assert_eq!(target(None, None), "/v1/events");
        assert_eq!(target(Some(Ack::Kafka), wait), "/v1/events?ack=kafka&timeout=90500ms");
        assert_eq!(target(Some(Ack::Buffered), None), "/v1/events?ack=buffered");
    }
}
