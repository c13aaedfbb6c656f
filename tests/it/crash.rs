//! Guarantees G2, G3, G4 and G9 under kill -9: at any moment, again during recovery, and while Kafka is down.

use std::{
    collections::HashMap,
    env,
    ops::RangeInclusive,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use crate::support::{
    consume::{Record, read_topic},
    kafka::{Kafka, unique},
    mixed::Mixed,
    order,
    relay::Relay,
    relay_builder::Builder,
    report::Report,
    seed::Seed,
    wait,
};

const SOON: Duration = Duration::from_secs(60);

/// Most events that the drain has on their way: `drain::window`.
pub const WINDOW: u64 = 16_384;

/// The checkpoint is written every 100 ms. Twice that, and the rest for the writing itself on a busy disk.
const TWO_CHECKPOINTS: Duration = Duration::from_millis(500);

/// `DUALSTREAM_CRASH_ROUNDS`: how many kills, for who has the time.
pub fn rounds(usual: u64) -> u64 {
    env::var("DUALSTREAM_CRASH_ROUNDS").map_or(usual, |text| text.parse().expect("DUALSTREAM_CRASH_ROUNDS is a number"))
}

// Goal: kill -9 at any moment under load loses nothing that was answered with 2xx, keeps every source's order, stores unanswered
// requests whole or not at all, and repeats no more than what was in flight and acknowledged since the last checkpoint.
#[test]
fn killed_at_random_moments_under_load() {
    let mut seed = Seed::take();
    let mut left = rounds(20);
    while left > 0 {
        // The long loop begins with a new buffer now and then: all that a buffer ever delivered is held in memory.
        let now = left.min(50);
        kill_at_random_moments(&mut seed, now);
        left -= now;
    }
}

fn kill_at_random_moments(seed: &mut Seed, rounds: u64) {
    let first_ms = now_ms();
    let mut trial = Trial::start(Kafka::shared(), |builder| builder);
    let mut lives = Vec::new();
    for round in 1..=rounds {
        let started_ms = if round == 1 { first_ms } else { now_ms() };
        if round > 1 {
            trial.relay.restart();
        }
        lives.push(Life::live(started_ms, &trial.relay, seed.millis(1..=1_200)));
    }
    let last_ms = now_ms();
    trial.relay.restart();
    let ended = trial.end();
    let statuses = ended.report.statuses();
    assert!(statuses.contains_key(&202) && statuses.contains_key(&200), "both levels of acknowledgement: {statuses:?}");
    assert_repeats(&lives, last_ms, &ended.records);
}

// Goal: a crash while the relay recovers from a crash is just another crash.
#[test]
fn killed_again_while_it_recovers() {
    let mut seed = Seed::take();
    let mut trial = Trial::start(Kafka::shared(), |builder| builder);
    for _ in 0..rounds(8) {
        trial.kill_and_recover(&mut seed, 1..=4);
    }
    let _ = trial.end();
}

// Goal: kill -9 while Kafka is down, and again during the recovery of a long backlog, loses nothing and keeps the order.
#[test]
fn killed_while_kafka_is_down() {
    let mut seed = Seed::take();
    let kafka = Kafka::start(1);
    // Small segments, so that the backlog has many.
    let mut trial = Trial::start(&kafka, |builder| {
        let settings = builder.set("buffer.segment_bytes", "1MiB").set("ingest.max_body_bytes", "512KiB");
        settings.set("ingest.max_event_bytes", "512KiB").set("ingest.max_batch_events", 1000)
    });
    trial.load.wait_accepted(SOON);
    trial.relay.wait_metric("drain_acked_total", SOON, |acked| acked > 0.0);
    kafka.stop_broker(0);
    wait::until_ok("a checkpoint of the last ack", SOON, || {
        let (here, on_disk) = (acked(&trial.relay.status()["buffer"]["ledger"]), acked(&trial.relay.buffer_info()["ends"]));
        if here == on_disk { Ok(()) } else { Err(format!("{on_disk} of {here}")) }
    });
    for _ in 0..rounds(6) {
        trial.kill_and_recover(&mut seed, 0..=2);
    }
    trial.load.wait_accepted(SOON);
    let segments = trial.relay.status()["buffer"]["segments"].as_u64().unwrap();
    assert!(segments > 5, "a long backlog, not {segments} segments");
    kafka.start_broker(0);
    let ended = trial.end();
    // Every ack was in a checkpoint before the first kill, so only what was in flight can have come twice.
    assert!(ended.duplicates as u64 <= WINDOW, "{} duplicates", ended.duplicates);
}

/// A relay under mixed load that is going to be killed.
pub struct Trial<'a> {
    kafka: &'a Kafka,
    topic: String,
    pub relay: Relay,
    load: Mixed,
}

/// What was there in the end; nothing was lost and the order was kept.
pub struct Ended {
    report: Report,
    records: Vec<Record>,
    pub duplicates: usize,
}

impl<'a> Trial<'a> {
    #[track_caller]
    pub fn start(kafka: &'a Kafka, settings: impl Fn(Builder) -> Builder) -> Self {
        let topic = topic(kafka);
        let relay = settings(Relay::builder().kafka(&kafka.bootstrap(), &topic)).start();
        let load = Mixed::start(&relay);
        Self { kafka, topic, relay, load }
    }

    /// A kill under load, as many more during recovery, and a start that lasts.
    #[track_caller]
    pub fn kill_and_recover(&mut self, seed: &mut Seed, again: RangeInclusive<u64>) {
        self.load.wait_accepted(SOON);
        self.relay.kill9();
        for _ in 0..seed.number(again) {
            self.relay.restart_and_kill(seed.millis(0..=100));
        }
        self.relay.restart();
    }

    /// Lets everything arrive, stops the relay in good order, and compares what was answered with what Kafka has.
    #[track_caller]
    pub fn end(self) -> Ended {
        self.load.wait_accepted(SOON);
        let report = self.load.stop();
        let ledger = drained(&self.relay);
        assert_eq!(self.relay.stop(SOON), 0);
        let records = read_topic(&self.kafka.bootstrap(), &self.topic);
        let duplicates = report.assert_delivered(&records);
        assert_ledger(&ledger, &records, duplicates);
        assert_no_errors(&self.relay);
        show(&[format!("{} events accepted, {} without an answer, {duplicates} duplicates", report.accepted(), report.unknown())]);
        Ended { report, records, duplicates }
    }
}

/// Kafka stamps each record with the time of its arrival, which tells the life that sent it.
fn topic(kafka: &Kafka) -> String {
    let name = unique("crash");
    kafka.create_topic(&name, 6, 1, &[("message.timestamp.type", "LogAppendTime")]);
    name
}

/// From a start to a kill -9.
struct Life {
    started_ms: i64,
    /// Events acknowledged in this life, by the last look before the kill.
    acked: u64,
    /// Of these, how many were acknowledged after the last checkpoint.
    unsaved: u64,
}

impl Life {
    /// Watches the relay for `span`, kills it, and checks that its last checkpoint was not old.
    #[track_caller]
    fn live(started_ms: i64, relay: &Relay, span: Duration) -> Self {
        let end = Instant::now() + span;
        let mut looks = Vec::new();
        loop {
            // Dated before the look: what it shows was true no earlier.
            let at = Instant::now();
            let status = relay.status();
            assert_eq!(status["health"]["conservation_error"], 0, "{status}");
            looks.push((at, acked(&status["buffer"]["ledger"])));
            if Instant::now() >= end {
                break;
            }
        }
        let killed = Instant::now();
        relay.kill9();
        let saved = acked(&relay.buffer_info()["ends"]);
        let old = looks.iter().rev().find(|(at, _)| killed.duration_since(*at) > TWO_CHECKPOINTS);
        if let Some((_, acked)) = old {
            assert!(saved >= *acked, "the checkpoint knows of {saved} acks, two intervals before the kill there were {acked}");
        }
        let (first, last) = (looks[0].1, looks[looks.len() - 1].1);
        Self { started_ms, acked: last - first, unsaved: last.saturating_sub(saved) }
    }
}

/// Guarantee G4, per kill: what comes again was in flight, or acknowledged after the last checkpoint.
fn assert_repeats(lives: &[Life], last_ms: i64, records: &[Record]) {
    let starts: Vec<i64> = lives.iter().map(|life| life.started_ms).skip(1).chain([last_ms]).collect();
    let repeats = repeats_since(&starts, records);
    let mut exposed = 0;
    let mut table = Vec::new();
    for (life, repeats) in lives.iter().zip(repeats) {
        // A life that was too short to send all of it again leaves the rest to the next.
        let left = if life.acked < exposed { exposed } else { 0 };
        exposed = left.max(WINDOW + life.unsaved);
        table.push(format!("acked {} unsaved {} repeated {repeats} of at most {exposed}", life.acked, life.unsaved));
        assert!(repeats <= exposed, "too many duplicates after the last of these kills:\n{}", table.join("\n"));
    }
    show(&table);
}

#[expect(clippy::print_stdout, reason = "figures for who runs the long loop with --nocapture")]
fn show(table: &[String]) {
    println!("{}", table.join("\n"));
}

/// How many records that a consumer has to drop arrived from each of the moments to the next. Before the first, none may.
fn repeats_since(starts_ms: &[i64], records: &[Record]) -> Vec<u64> {
    let mut counts = vec![0; starts_ms.len()];
    let mut last: HashMap<i32, u64> = HashMap::new();
    for record in records {
        let seq = order::origin(record).expect("every record tells its origin").seq;
        let newest = last.entry(record.partition).or_default();
        if seq > *newest {
            *newest = seq;
            continue;
        }
        let life = starts_ms.partition_point(|start| *start <= record.timestamp_ms).checked_sub(1);
        let life = life.unwrap_or_else(|| panic!("seq {seq} came again before the first kill, at {}/{}", record.partition, record.offset));
        counts[life] += 1;
    }
    counts
}

/// Waits until Kafka has everything; the ledger then.
#[track_caller]
fn drained(relay: &Relay) -> Value {
    relay.wait_metric("buffer_events", SOON, |backlog| backlog == 0.0);
    assert!(relay.metric("conservation_error").abs() < f64::EPSILON);
    assert!(relay.metric("events_lost_total").abs() < f64::EPSILON);
    let mut status = relay.status();
    assert_eq!(status["health"]["conservation_error"], 0, "{status}");
    status["buffer"]["ledger"].take()
}

/// Guarantee G9, seen from both ends: the relay's books agree with what is in Kafka.
#[track_caller]
fn assert_ledger(ledger: &Value, records: &[Record], duplicates: usize) {
    let arrived = (records.len() - duplicates) as u64;
    assert_eq!((acked(ledger), ledger["accepted"].as_u64(), ledger["backlog"].as_u64()), (arrived, Some(arrived), Some(0)), "{ledger}");
}

/// No kill is worth an error: nothing was damaged, nothing is missing.
#[track_caller]
fn assert_no_errors(relay: &Relay) {
    let errors: Vec<Value> = relay.json_logs().into_iter().filter(|line| line["level"] == "ERROR").collect();
    assert!(errors.is_empty(), "{errors:?}");
}

fn acked(ends: &Value) -> u64 {
    ends["acked"].as_u64().unwrap_or_else(|| panic!("no acked in {ends}"))
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_millis()).expect("before the year 292 million")
}
