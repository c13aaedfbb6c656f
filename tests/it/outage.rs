//! Guarantees G2, G3 and G7 while Kafka is away: writes go on, everybody can see it, memory stays flat, and nothing is lost, repeated
//! or reordered when it is back.

use std::time::Duration;

use serde_json::json;

use crate::{
    crash::WINDOW,
    support::{
        consume::{Record, read_topic},
        kafka::{Kafka, unique},
        load::{Load, Plan},
        relay::Relay,
        report::{Attempt, Outcome, Report},
        wait,
    },
};

const SOON: Duration = Duration::from_secs(120);

/// By this much the relay's resident memory may grow from steady work through an outage and the catching up: the window and what the
/// disk has not taken yet (measured: 11 to 25 MiB)...
const GROWTH_KIB: u64 = 40 << 10;
/// ...while this many events more, of over 1 KB each, wait for Kafka.
const BACKLOG_EVENTS: f64 = 80_000.0;

/// The number of the writer of events posted by hand.
const BY_HAND: usize = 99;

const STALLED: &str = r#"degraded{reason="drain_stalled"}"#;

// Goal: Kafka stops and comes back later: the application notices nothing, the operator sees it, everything arrives in order.
#[test]
fn a_stopped_kafka_is_waited_out() {
    let kafka = Kafka::start(1);
    outage(&kafka, || kafka.stop_broker(0), || kafka.start_broker(0));
}

// Goal: the same when Kafka freezes with its connections open, until requests to it time out.
#[test]
fn a_frozen_kafka_is_waited_out() {
    let kafka = Kafka::start(1);
    outage(&kafka, || kafka.pause(0), || kafka.resume(0));
}

// Goal: the death of a partition's leader under load, and then of the next one's, loses and reorders nothing.
#[test]
fn the_loss_of_leaders_is_survived() {
    let kafka = Kafka::start(3);
    let topic = unique("leaders");
    kafka.create_topic(&topic, 3, 3, &[("min.insync.replicas", "2")]);
    let relay = Relay::builder().kafka(&kafka.bootstrap(), &topic).start();
    let load = Load::start(
        relay.ingest_socket(),
        &Plan { sources: 3, spread: true, batch: 20, pause: Duration::from_millis(2), ..Plan::default() },
    );
    for partition in [0, 1] {
        load.wait_accepted(2_000, SOON);
        wait_acked_beyond(&relay, 0);
        let leader = kafka.leader(&topic, partition);
        kafka.kill_broker(leader);
        load.wait_accepted(2_000, SOON);
        wait_acked_beyond(&relay, marks(&relay).1);
        kafka.start_broker(leader);
    }
    let report = load.stop();
    finish(&kafka, &topic, &relay, &report);
}

// Goal: where I want no dead letters, an event that Kafka refuses holds the line, named, and nothing overtakes it; once Kafka takes it, all
// arrives in order.
#[test]
fn a_refused_event_holds_the_line() {
    let kafka = Kafka::shared();
    let name = unique("refused");
    let topic = format!("{name}-load");
    kafka.create_topic(&topic, 3, 1, &[("max.message.bytes", "200000")]);
    // The limit of a topic that depends on the event is not known when the event is handed in.
    let relay = Relay::builder().kafka(&kafka.bootstrap(), &format!("{name}-{{type}}")).set("kafka.on_rejected", "block").start();
    let plan = Plan { writers: 2, sources: 3, batch: 3, spread: true, padding: 10, pause: Duration::from_millis(5), ..Plan::default() };
    let load = Load::start(relay.ingest_socket(), &plan);
    load.wait_accepted(300, SOON);
    // Letters that do not compress: Kafka's limit is on what is sent.
    let large: String = std::iter::repeat_with(fastrand::alphanumeric).take(400_000).collect();
    let by_hand: Vec<_> = (0..).zip(["small", &large, "small"]).map(|(n, padding)| post_by_hand(&relay, n, padding)).collect();

    relay.wait_metric(r#"drain_blocked{reason="rejected"}"#, SOON, |blocked| blocked > 0.0);
    let error = relay.status()["drain"]["detail"].to_string();
    assert!(error.contains(":large)"), "the event is named: {error}");
    load.wait_accepted(300, SOON);
    let before: Vec<_> = read_topic(&kafka.bootstrap(), &topic).iter().filter(|r| r.key_str() == "large").map(Record::json).collect();
    assert!(before.iter().all(|event| event["payload"]["n"] == 0), "something overtook it: {} records", before.len());
    relay.probe_client().get("/readyz").expect(200);

    kafka.set_topic(&topic, &[("max.message.bytes", "2000000")]);
    load.wait_accepted(300, SOON);
    let report = Report::join([load.stop(), Report { attempts: by_hand }]);
    // Counted once everything that was on its way has its answer.
    relay.wait_metric("drain_retries_total", SOON, |stops| stops > 0.0);
    finish(kafka, &topic, &relay, &report);
}

/// An event as [`Load`] makes them, of a writer that is none of its.
fn post_by_hand(relay: &Relay, n: u64, padding: &str) -> Attempt {
    let payload = json!({"w": BY_HAND, "n": n, "padding": padding});
    let event = json!({"type": "load", "source_type": "writer", "source_id": "large", "payload": payload});
    relay.client().post_json("/v1/events", &event).expect(202);
    Attempt { writer: BY_HAND, source: "large".into(), first: n, count: 1, outcome: Outcome::Accepted { status: 202, seqs: None } }
}

fn outage(kafka: &Kafka, away: impl FnOnce(), back: impl FnOnce()) {
    let topic = kafka.topic("outage", 4);
    // Few known ids: their memory is bounded by the setting, and would fill up while this looks at the backlog's.
    let settings = Relay::builder().kafka(&kafka.bootstrap(), &topic).set("ops.stall_after", "1s").set("ingest.dedup_window_events", 1000);
    // Shorter than the outage, so that frozen requests do time out.
    let relay = settings.kafka_property("socket.timeout.ms", "3000").kafka_property("request.timeout.ms", "2000").start();
    let plan = Plan { sources: 3, spread: true, batch: 50, padding: 1_000, pause: Duration::from_millis(2), ..Plan::default() };
    let load = Load::start(relay.ingest_socket(), &plan);
    load.wait_accepted(10_000, SOON);
    wait_acked_beyond(&relay, 5_000);
    let mut memory = Memory::start(&relay);

    away();
    watch(&relay, &mut memory, "degraded", || relay.metric(STALLED) > 0.0);
    let first = Sight::of(&relay);
    let accepted = load.accepted();
    let deep = |now: &Sight| now.age > first.age.max(5.0) && now.depth > first.depth + BACKLOG_EVENTS;
    watch(&relay, &mut memory, "a deep and old backlog", || deep(&Sight::of(&relay)));
    assert!(load.accepted() > accepted, "writes go on");
    assert_told(&relay, &first);

    back();
    load.wait_accepted(1_000, SOON);
    let report = load.stop();
    watch(&relay, &mut memory, "an empty buffer", || relay.metric("buffer_events") == 0.0);
    relay.wait_metric(STALLED, SOON, |stalled| stalled == 0.0);
    assert_eq!(relay.status()["drain"]["state"], "running");
    assert!(report.statuses().keys().eq([&202]), "the application noticed: {:?}", report.statuses());
    memory.assert_flat();
    finish(kafka, &topic, &relay, &report);
}

/// Polls, and with every look: still ready, still alive, and how much memory.
#[track_caller]
fn watch(relay: &Relay, memory: &mut Memory, what: &str, mut done: impl FnMut() -> bool) {
    wait::until(what, SOON, || {
        memory.look(relay);
        let mut probe = relay.probe_client();
        probe.get("/readyz").expect(200);
        probe.get("/livez").expect(200);
        done().then_some(())
    });
}

/// The status, the metrics and the log say what goes on, and agree.
#[track_caller]
fn assert_told(relay: &Relay, first: &Sight) {
    let status = relay.status();
    let health = &status["health"];
    assert_eq!((&health["ready"], &health["degraded"]), (&true.into(), &true.into()), "{health}");
    let reasons = health["degraded_reasons"].as_array().unwrap();
    let stalled = reasons.iter().find(|reason| reason["reason"] == "drain_stalled").unwrap_or_else(|| panic!("{health}"));
    assert!(stalled["detail"].as_str().unwrap().starts_with("Kafka has acknowledged nothing for "), "{stalled}");
    let buffer = &status["buffer"];
    assert!(buffer["ledger"]["backlog"].as_f64().unwrap() > first.depth, "{buffer}");
    assert!(buffer["oldest_age_seconds"].as_f64().unwrap() > first.age, "{buffer}");
    let logged = |line: &serde_json::Value| line["message"] == "degraded" && line["reason"] == "drain_stalled";
    assert!(relay.json_logs().iter().any(logged), "the log says nothing");
}

/// Depth and age of the backlog, from the metrics.
struct Sight {
    depth: f64,
    age: f64,
}

impl Sight {
    #[track_caller]
    fn of(relay: &Relay) -> Self {
        Self { depth: relay.metric("buffer_events"), age: relay.metric("buffer_oldest_age_seconds") }
    }
}

/// Resident memory over time.
struct Memory {
    before_kib: u64,
    most_kib: u64,
}

impl Memory {
    fn start(relay: &Relay) -> Self {
        let now = relay.rss_kib();
        Self { before_kib: now, most_kib: now }
    }

    fn look(&mut self, relay: &Relay) {
        self.most_kib = self.most_kib.max(relay.rss_kib());
    }

    fn assert_flat(&self) {
        let Self { before_kib, most_kib } = self;
        show(&format!("resident memory: {before_kib} KiB before, {most_kib} KiB at most"));
        assert!(most_kib - before_kib < GROWTH_KIB, "memory grew from {before_kib} to {most_kib} KiB");
    }
}

/// Drains, stops, and compares with Kafka. A repeat needs a line that was stopped, and is no more than was on its way.
#[track_caller]
fn finish(kafka: &Kafka, topic: &str, relay: &Relay, report: &Report) {
    relay.wait_metric("buffer_events", SOON, |backlog| backlog == 0.0);
    assert_eq!(relay.status()["health"]["conservation_error"], 0);
    let stops = relay.metric("drain_retries_total");
    assert_eq!(relay.stop(SOON), 0);
    let duplicates = report.assert_delivered(&read_topic(&kafka.bootstrap(), topic));
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let within = duplicates as f64 <= stops * WINDOW as f64;
    show(&format!("{} events, {duplicates} duplicates, the line was stopped {stops} times", report.accepted()));
    assert!(within, "{duplicates} duplicates, the line was stopped {stops} times");
}

/// Waits until Kafka has everything up to a seq, and something beyond.
#[track_caller]
fn wait_acked_beyond(relay: &Relay, seq: u64) {
    wait::until_ok(&format!("an ack beyond {seq}"), SOON, || {
        let (acked, durable) = marks(relay);
        if acked > seq { Ok(()) } else { Err(format!("{acked} of {durable}: {}", relay.status()["drain"])) }
    });
}

/// The acked and the durable mark.
#[track_caller]
fn marks(relay: &Relay) -> (u64, u64) {
    let status = relay.status();
    let mark = |name: &str| status["buffer"][name].as_u64().unwrap_or_else(|| panic!("no {name} in {status}"));
    (mark("acked_seq"), mark("durable_seq"))
}

#[expect(clippy::print_stdout, reason = "figures for who runs it with --nocapture")]
fn show(figures: &str) {
    println!("{figures}");
}
