//! `kafka.delivery = "exactly-once"`: who reads what is committed gets every event once, whatever happens on the way.

use std::{collections::BTreeSet, process::Command, time::Duration};

use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer},
};
use serde_json::{Value, json};

use crate::{
    crash::{Trial, rounds},
    fire::drained,
    support::{
        command::dualstream,
        consume::{Record, read_topic},
        kafka::{Kafka, unique},
        load::{Load, Plan},
        order,
        relay::Relay,
        relay_builder::Builder,
        scratch,
        seed::Seed,
        wait,
    },
};

const SOON: Duration = Duration::from_secs(120);

/// A topic for cursors, as an operator makes it.
fn cursors(kafka: &Kafka) -> String {
    let name = unique("cursors");
    kafka.create_topic(&name, 2, 1, &[("cleanup.policy", "compact")]);
    name
}

fn exactly_once(builder: Builder, cursors: &str) -> Builder {
    builder.set("kafka.delivery", "exactly-once").set("kafka.cursor_topic", cursors)
}

fn plan() -> Plan {
    Plan { writers: 3, sources: 3, batch: 20, spread: true, pause: Duration::from_millis(2), ..Plan::default() }
}

fn event(id: &str, source: &str) -> Value {
    json!({"id": id, "type": "t", "source_type": "user", "source_id": source})
}

/// The seqs of all records; none twice.
#[track_caller]
fn seqs_once(records: &[Record]) -> BTreeSet<u64> {
    let seqs: BTreeSet<u64> = records.iter().map(|record| order::origin(record).expect("an origin").seq).collect();
    assert_eq!(seqs.len(), records.len(), "each event once");
    seqs
}

// Goal: kill -9 under load, at any moment and again during recovery: a consumer that reads what is committed finds every event that was
// answered with 2xx, once, in order, without dropping anything itself.
#[test]
fn nothing_comes_twice_after_a_kill() {
    let mut seed = Seed::take();
    let cursors = cursors(Kafka::shared());
    let mut left = rounds(10);
    while left > 0 {
        // The long loop begins with a new buffer now and then: all that a buffer ever delivered is held in memory.
        let now = left.min(50);
        let mut trial = Trial::start(Kafka::shared(), |builder| exactly_once(builder, &cursors));
        for _ in 0..now {
            // So that something is on its way: the kill comes in the middle of sending, some time after the last recovery.
            let before = trial.relay.metric("drain_acked_total");
            trial.relay.wait_metric("drain_acked_total", SOON, |acked| acked > before);
            trial.kill_and_recover(&mut seed, 0..=1);
        }
        assert_eq!(trial.end().duplicates, 0);
        left -= now;
    }
}

// Goal: Kafka has committed and the connection breaks before it can say so, again and again, and so for the events themselves: each is there
// once, and nothing is missing.
#[test]
fn an_answer_that_is_lost_makes_no_duplicate() {
    let (kafka, proxy) = Kafka::start_proxied();
    let topic = unique("once");
    kafka.create_topic(&topic, 3, 1, &[]);
    let builder = Relay::builder().kafka(proxy.address(), &topic).kafka_property("socket.timeout.ms", "3000");
    let builder = builder.kafka_property("request.timeout.ms", "2000");
    let relay = exactly_once(builder, &cursors(&kafka)).start();
    let load = Load::start(relay.ingest_socket(), &plan());
    load.wait_accepted(1_000, SOON);
    proxy.cut_produce_answers(5);
    wait::until("5 answers to events are swallowed", SOON, || (proxy.was_cut() == 5).then_some(()));
    proxy.cut_commit_answers(5);
    wait::until("5 answers to commits are swallowed", SOON, || (proxy.was_cut() == 10).then_some(()));
    load.wait_accepted(1_000, SOON);
    let report = load.stop();
    drained(&relay);
    assert_eq!(report.assert_delivered(&read_topic(&kafka.bootstrap(), &topic)), 0);
    assert_eq!(relay.stop(SOON), 0);
}

// Goal: Kafka is away for a while, in the middle of a transaction: writes go on, and everything arrives afterwards, once, in order.
#[test]
fn an_outage_is_waited_out() {
    let kafka = Kafka::start(1);
    let topic = kafka.topic("outage", 3);
    let relay = exactly_once(Relay::builder().kafka(&kafka.bootstrap(), &topic), &cursors(&kafka)).start();
    let load = Load::start(relay.ingest_socket(), &plan());
    load.wait_accepted(1_000, SOON);
    relay.wait_metric("drain_acked_total", SOON, |acked| acked > 0.0);
    kafka.kill_broker(0);
    load.wait_accepted(3_000, SOON);
    // Long enough for a handle to be given up: the transaction's own timeout is over.
    relay.wait_metric("drain_retries_total", SOON, |retries| retries > 0.0);
    kafka.start_broker(0);
    load.wait_accepted(1_000, SOON);
    let report = load.stop();
    drained(&relay);
    assert_eq!(report.assert_delivered(&read_topic(&kafka.bootstrap(), &topic)), 0);
    assert_eq!(relay.stop(SOON), 0);
}

// Goal: an event that Kafka never takes is set aside alone; its neighbours, whose transactions it broke, arrive once, in order.
#[test]
fn only_poison_is_set_aside() {
    let kafka = Kafka::shared();
    let topic = unique("once");
    kafka.create_topic(&topic, 2, 1, &[("max.message.bytes", "20000")]);
    // The limit of a topic that depends on the event is not known when the event is handed in.
    let template = format!("{topic}{{type}}");
    let relay =
        exactly_once(Relay::builder().kafka(&kafka.bootstrap(), &template).set("kafka.compression", "none"), &cursors(kafka)).start();
    let named =
        |id: String, bytes: usize| json!({"id": id, "type": "", "source_type": "user", "source_id": "1", "text": "x".repeat(bytes)});
    let mut events: Vec<Value> = (0..300).map(|n| named(format!("good-{n}"), 100)).collect();
    for place in [250, 100, 99, 0] {
        events.insert(place, named(format!("poison-{place}"), 30_000));
    }
    // An empty type is none: the topic is named by it, so each event says it.
    for event in &mut events {
        event["type"] = json!("-t");
    }
    kafka.create_topic(&format!("{topic}-t"), 2, 1, &[("max.message.bytes", "20000")]);
    relay.client().post_json("/v1/events", &json!(events)).expect(202);
    drained(&relay);
    assert!((relay.metric("dead_letters") - 4.0).abs() < f64::EPSILON);
    let records = read_topic(&kafka.bootstrap(), &format!("{topic}-t"));
    assert_eq!(seqs_once(&records).len(), 300);
    let ids: Vec<String> = records.iter().map(|record| record.json()["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, (0..300).map(|n| format!("good-{n}")).collect::<Vec<_>>());
    assert_eq!(relay.stop(SOON), 0);
}

// Goal: under a quota that lets no large transaction through in its time, transactions get smaller, and everything arrives, once.
#[test]
fn a_quota_is_lived_with() {
    let kafka = Kafka::start(1);
    let topic = kafka.topic("quota", 2);
    let quota = ["--alter", "--entity-type", "clients", "--entity-default", "--add-config", "producer_byte_rate=200000"];
    kafka.tool("kafka.admin.ConfigCommand", &quota);
    let builder = Relay::builder().kafka(&kafka.bootstrap(), &topic).set("kafka.compression", "none");
    let relay = exactly_once(builder, &cursors(&kafka)).start();
    // Of one transaction, and more than the quota lets through in its 15 s.
    let padded = |n: u32| json!({"type": "t", "source_type": "user", "source_id": n.to_string(), "payload": "x".repeat(18_000)});
    relay.client().post_json("/v1/events", &json!((0..300).map(padded).collect::<Vec<_>>())).expect(202);
    drained(&relay);
    assert!(relay.metric("drain_retries_total") > 0.0, "no transaction was too large");
    assert_eq!(seqs_once(&read_topic(&kafka.bootstrap(), &topic)).len(), 300);
    assert_eq!(relay.stop(SOON), 0);
}

// Goal: without the cursors' topic nothing is sent and nothing lost, status names what to create, and once it is there everything arrives.
#[test]
fn a_missing_cursor_topic_is_said() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("once", 1);
    let missing = unique("cursors");
    let relay = exactly_once(Relay::builder().kafka(&kafka.bootstrap(), &topic), &missing).start();
    relay.client().post_json("/v1/events", &event("e", "1")).expect(202);
    relay.wait_metric(r#"drain_blocked{reason="unknown_topic"}"#, SOON, |blocked| blocked == 1.0);
    let said = relay.status()["drain"].to_string();
    assert!(said.contains("kafka.cursor_topic") && said.contains("cleanup.policy=compact") && said.contains(&missing), "{said}");
    let config = relay.dir().join("dualstream.toml").display().to_string();
    let check = || dualstream(["check", "--connect", "--config", &config]).run();
    let told = check().expect(3).stdout;
    assert!(told.contains(&missing) && told.contains("cleanup.policy=compact"), "{told}");
    kafka.create_topic(&missing, 1, 1, &[]);
    drained(&relay);
    let told = check().expect(0).stdout;
    assert!(told.contains(&missing) && told.contains("forgets old records"), "{told}");
    assert_eq!(read_topic(&kafka.bootstrap(), &topic).len(), 1);
    assert_eq!(relay.stop(SOON), 0);
}

// Goal: relays share the cursors' topic: while another one's transaction is open there, a relay that starts waits until it knows where it
// stands, says so, and then goes on.
#[test]
fn transactions_of_others_are_waited_for() {
    let kafka = Kafka::shared();
    let (topic, cursors) = (kafka.topic("once", 1), unique("cursors"));
    kafka.create_topic(&cursors, 1, 1, &[("cleanup.policy", "compact")]);
    let mut relay = exactly_once(Relay::builder().kafka(&kafka.bootstrap(), &topic), &cursors).start();
    relay.client().post_json("/v1/events", &event("first", "1")).expect(202);
    drained(&relay);
    assert_eq!(relay.stop(SOON), 0);

    let mut other = ClientConfig::new();
    other.set("bootstrap.servers", kafka.bootstrap()).set("transactional.id", unique("other"));
    let other: BaseProducer = other.create().unwrap();
    other.init_transactions(SOON).unwrap();
    other.begin_transaction().unwrap();
    other.send(BaseRecord::to(&cursors).key("another relay").payload("{}")).map_err(|(error, _)| error).unwrap();
    other.flush(SOON).unwrap();

    relay.restart();
    relay.client().post_json("/v1/events", &event("second", "1")).expect(202);
    let waits = |line: &Value| line["message"].as_str().is_some_and(|text| text.starts_with("another relay's transaction is open"));
    wait::until("it says that it waits", SOON, || relay.json_logs().iter().any(waits).then_some(()));
    assert_eq!(relay.status()["buffer"]["ledger"]["backlog"], 1, "nothing is sent meanwhile");
    other.abort_transaction(SOON).unwrap();
    drained(&relay);
    assert_eq!(seqs_once(&read_topic(&kafka.bootstrap(), &topic)).len(), 2);
    assert_eq!(relay.stop(SOON), 0);
}

// Goal: two relays on copies of one buffer directory, each with events of its own since: one goes on and delivers everything once; the other
// delivers nothing, loses nothing, and says why.
#[test]
fn a_zombie_is_fenced_and_says_why() {
    let kafka = Kafka::shared();
    let (topic, cursors) = (kafka.topic("zombie", 3), cursors(kafka));
    let relay = |builder: Builder| exactly_once(builder.kafka(&kafka.bootstrap(), &topic), &cursors).set("shutdown.grace", "2s");
    let original = relay(Relay::builder()).start();
    let post = |relay: &Relay, from: u64, to: u64, who: &str| {
        let events: Vec<_> = (from..to).map(|n| event(&format!("{who}-{n}"), &n.to_string())).collect();
        relay.client().post_json("/v1/events", &json!(events)).expect(202);
    };
    post(&original, 0, 50, "original");
    drained(&original);
    let folder = scratch::dir("copy");
    let copy = folder.path().join("buffer");
    let copied = Command::new("cp").arg("-a").arg(original.buffer_dir()).arg(&copy).status().unwrap();
    assert!(copied.success());
    let copy = copy.display().to_string();
    // Somebody says that the original is gone, and is wrong.
    dualstream(["buffer", "adopt", "--dir", &copy, "--yes"]).run().expect(0);
    post(&original, 50, 100, "original");
    drained(&original);

    let zombie = relay(Relay::builder().set("buffer.dir", copy.as_str())).start();
    post(&zombie, 0, 80, "zombie");
    zombie.wait_metric(r#"drain_blocked{reason="another_relay"}"#, SOON, |blocked| blocked == 1.0);
    let said = zombie.status()["drain"].to_string();
    assert!(said.contains("copy of this buffer directory") && said.contains("event 100"), "{said}");
    // The zombie's coming has shut out the original's handle: it takes another, and finds its own cursor.
    post(&original, 100, 150, "original");
    drained(&original);
    post(&original, 150, 200, "original");
    drained(&original);

    assert!(zombie.status()["buffer"]["ledger"]["backlog"].as_u64() >= Some(80), "its own events wait");
    let records = read_topic(&kafka.bootstrap(), &topic);
    assert_eq!(seqs_once(&records).len(), 200);
    assert!(records.iter().all(|record| record.json()["id"].as_str().unwrap().starts_with("original")));
    assert_eq!(original.stop(SOON), 0);
    assert_eq!(zombie.stop(SOON), 5, "what waits there is said");
}
