//! `dualstream demo`: everything in one process, nothing to install.
//!
//! ```text
//!  producer ──HTTP/UDS──▶ relay (crate::app) ──▶ Kafka (librdkafka's mock) ──▶ reader
//!                            buffer in /tmp  └─▶ Redis (pubsub)            ──▶ listener      witness: do they agree?
//! ```
//! The relay is the real one, reached by its real doors; only Kafka and Redis are played. Kafka is taken away and brought back, and
//! what was sent, read and notified must be the same.
//!
//! An exception by nature from the rule that only `drain` names `rdkafka` and only `notify` names `redis`: the demo plays their
//! servers and the consumers of both streams.
//!
//! Deliberately absent: a look at the network, durability of the played Kafka, and anything that outlives the process.

mod auditor;
mod kafka;
mod keep;
mod listener;
mod numbered;
mod plan;
mod producer;
mod pubsub;
mod reader;
mod relay;
mod shared;
mod story;
mod table;
mod tally;
mod witness;
mod words;
mod world;

use super::exit::{Exit, Failure};
use super::logging;
use super::output::{Output, Paint};
use super::target::time;
use crate::app::Outcome;
use crate::config::LogConfig;
use clap::Args;
use plan::{MAX_EVENTS, Plan};
use std::time::Duration;
use story::{Halt, Teller};
use tally::Tally;
use words::{Places, opening};
use world::World;

/// See it work: an outage of Kafka, the backlog, the recovery, the tally
///
/// Everything runs in this one process, on loopback and in a temporary directory: a mock of Kafka, a small Redis Pub/Sub server, the
/// relay, a producer and a consumer of each stream. Nothing is installed and nothing is left behind.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  dualstream demo                                            a quarter of a minute, then the tally
  dualstream demo --keep                                     stays up for curl, kcat and redis-cli
  dualstream demo --json                                     for scripts
  dualstream demo --events 50000 --rate 5000 --outage 8s     more of everything

The tally: sent = consumed from Kafka = notified through Redis, in order per source, and nothing
notified before it was in Kafka.
Exit code 0: it adds up; 1: it does not, with what differs; 2: wrong usage.")]
pub(super) struct DemoArgs {
    /// Stay up after the tally, for requests by hand, until Ctrl-C
    #[arg(long)]
    keep: bool,

    /// Print only the tally, as one line of JSON
    #[arg(long, conflicts_with = "keep")]
    json: bool,

    /// How many events are sent
    #[arg(long, value_name = "N", default_value_t = 6_000, value_parser = clap::value_parser!(u32).range(100..=i64::from(MAX_EVENTS)))]
    events: u32,

    /// How many events are sent in a second
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(10..=10_000))]
    rate: u32,

    /// How long Kafka is away: 100ms to 60s
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = outage)]
    outage: Duration,

    /// Show what the relay logs, on standard error; only warnings otherwise
    #[arg(short, long)]
    verbose: bool,
}

fn outage(text: &str) -> Result<Duration, String> {
    let outage = time(text)?;
    let allowed = Duration::from_millis(100)..=Duration::from_secs(60);
    if allowed.contains(&outage) { Ok(outage) } else { Err("it must be from 100ms to 60s".to_owned()) }
}

/// Plays it.
pub(super) fn run(args: &DemoArgs, out: &mut Output) -> Result<Exit, Failure> {
    logging::init(&LogConfig { level: log_filter(args.verbose).to_owned(), ..LogConfig::default() })?;
    let plan = Plan { events: args.events, rate: args.rate, outage: args.outage };
    let world = World::start(&plan)?;
    let played = if args.json { play_for_machines(&world, &plan, out) } else { play_for_people(&world, &plan, args.keep, out) };
    let ended = world.end();
    played?;
    judge_end(&ended?)?;
    if args.keep {
        out.line("Stopped. The buffer was empty; nothing is left behind.")?;
    }
    Ok(Exit::Done)
}

/// That Kafka goes away is the story and no news for the log, and on which volume the buffer is stands above the table.
fn log_filter(verbose: bool) -> &'static str {
    if verbose { "info,rdkafka=off" } else { "warn,librdkafka=off,rdkafka=off,dualstream::buffer::open=error" }
}

fn play_for_machines(world: &World, plan: &Plan, out: &mut Output) -> Result<(), Failure> {
    let (tally, told) = play(world, plan, None)?;
    out.line(tally.json())?;
    verdict(&tally, told)
}

fn play_for_people(world: &World, plan: &Plan, keep: bool, out: &mut Output) -> Result<(), Failure> {
    let (kafka, relay) = (world.kafka(), world.relay().addresses());
    let program = std::env::args().next().unwrap_or_else(|| "dualstream".to_owned());
    let places = Places { kafka: &kafka, redis: world.redis(), relay, program: &program };
    for line in opening(&places, plan, &buffer_place(world)) {
        out.line(line)?;
    }
    let (tally, told) = play(world, plan, Some(out))?;
    out.line("")?;
    for line in tally.lines() {
        out.line(line)?;
    }
    out.line("")?;
    verdict(&tally, told)?;
    out.line(out.paint(Paint::Good, "  sent = consumed = notified"))?;
    if keep {
        keep::stay(world, &places, out)?;
    }
    Ok(())
}

fn buffer_place(world: &World) -> String {
    let (directory, buffer) = (world.directory().display(), world.relay().buffer());
    let durable = if buffer.durable { "" } else { ", not durable" };
    format!("{directory} ({}{durable}; temporary)", buffer.filesystem)
}

/// The story and its tally. Who stops it wants no tally.
fn play(world: &World, plan: &Plan, out: Option<&mut Output>) -> Result<(Tally, Result<(), Halt>), Failure> {
    match Teller::new(world, plan, out).tell() {
        (_, Err(Halt::Interrupted)) => Err(Failure::new(Exit::Failed, Halt::Interrupted.to_string())),
        (_, Err(Halt::Failed(failure))) => Err(failure),
        (outage, told) => Ok((Tally::new(plan.events, &world.shared().witness(), outage), told)),
    }
}

/// Whether it adds up.
fn verdict(tally: &Tally, told: Result<(), Halt>) -> Result<(), Failure> {
    let mut problems: Vec<_> = told.err().map(|halt| halt.to_string()).into_iter().collect();
    problems.extend(tally.problems());
    if problems.is_empty() { Ok(()) } else { Err(Failure::new(Exit::Failed, problems.join("\n  "))) }
}

/// Whether the relay ended as it should.
fn judge_end(outcome: &Outcome) -> Result<(), Failure> {
    match (&outcome.failed, outcome.left) {
        (Some(reason), _) => Err(Failure::new(Exit::Failed, format!("the relay failed: {reason}"))),
        (None, 0) => Ok(()),
        (None, left) => Err(Failure::new(Exit::Failed, format!("the relay stopped with {left} events in its buffer"))),
    }
}

#[cfg(test)]
mod tests {
    use super::tally::Outage;
    use super::witness::Witness;
    use super::*;

    // Goal: an outage that nobody would wait for, or that nobody would see, is refused with the bounds.
    #[test]
    fn outages() {
        assert_eq!(outage("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(outage("100ms"), Ok(Duration::from_millis(100)));
        for text in ["99ms", "61s", "5", "soon"] {
            assert!(outage(text).is_err(), "{text}");
        }
    }

    // Goal: when the story does not come to its end, it says what it waited for and what is missing.
    #[test]
    fn a_story_without_its_end() {
        let mut witness = Witness::new(2);
        witness.sent(&[0, 1]);
        let tally = Tally::new(2, &witness, Outage::default());
        let stuck = Halt::Stuck { events: 2, counts: witness.counts(), depth: 2 };
        let failure = verdict(&tally, Err(stuck)).unwrap_err();
        let expect =
            "nothing has moved for 20.0s: the relay has confirmed 2 of 2 events, 0 were consumed from Kafka, 0 notified, 2 wait on disk
  2 were sent, 0 were consumed from Kafka; the first that was not: demo-000000
  2 were sent, 0 were notified; the first that was not: demo-000000";
        assert_eq!((failure.exit, failure.message.as_str()), (Exit::Failed, expect));
    }

    // Goal: a relay that leaves events behind, or fails, is not told as a success.
    #[test]
    fn the_end_is_judged() {
        let judged = |left, failed: Option<&str>| {
            judge_end(&Outcome { left, failed: failed.map(ToOwned::to_owned), ..Outcome::default() }).map_err(|failure| failure.message)
        };
        assert_eq!(judged(0, None), Ok(()));
        assert_eq!(judged(3, None), Err("the relay stopped with 3 events in its buffer".into()));
        assert_eq!(judged(3, Some("the disk failed")), Err("the relay failed: the disk failed".into()));
    }
}
