//! Dead letters in their topic: every one of them, in order, with the reason, and never at the expense of anything else.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::{SOON, drained, operate, with_socket};
use crate::support::{
    command::dualstream,
    consume::{Record, read_count, read_topic},
    dense::dense_text,
    kafka::{Kafka, unique},
    load::{Load, Plan},
    order::{assert_ordered, dedup},
    relay::Relay,
    relay_builder::Builder,
    wait,
};

/// Larger than the topics of these tests take.
pub(super) const TOO_LARGE: usize = 20_000;

/// A topic of events that takes 10 kB, the name of a dead-letter topic that is not there yet, and a relay that knows both.
pub(super) fn setting(kafka: &Kafka, name: &str) -> (String, String, Builder) {
    let name = unique(name);
    let (events, dead) = (format!("{name}-load"), format!("{name}.dead"));
    kafka.create_topic(&events, 2, 1, &[("max.message.bytes", "10000")]);
    // The limit of a topic that depends on the event is not known when the event is handed in.
    let relay = Relay::builder().kafka(&kafka.bootstrap(), &format!("{name}-{{type}}"));
    let relay = relay.set("kafka.dead_letter_topic", dead.as_str()).kafka_property("topic.metadata.propagation.max.ms", "2000");
    (events, dead, relay.kafka_property("topic.metadata.refresh.interval.ms", "2000"))
}

pub(super) fn event(id: &str, bytes: usize) -> Value {
    let text = dense_text(bytes as u64 + id.len() as u64, bytes);
    json!({"id": id, "type": "load", "source_type": "user", "source_id": "s", "payload": text})
}

pub(super) fn post(relay: &Relay, event: &Value) {
    relay.client().post_json("/v1/events", event).expect(202);
}

fn header(record: &Record, name: &str) -> String {
    String::from_utf8(record.header(name).unwrap_or_default().to_vec()).unwrap()
}

fn copies(relay: &Relay) -> Value {
    relay.status()["dead_letters"]["copies"].clone()
}

/// Waits until the topic has all of them.
fn copied(relay: &Relay) {
    relay.wait_metric("dead_letters_uncopied", SOON, |waiting| waiting == 0.0);
}

// Goal: who watches the dead-letter topic has the event as it was posted, under its key, and all that is known about it; the relay's operator sees
// that it is there, and can retry and purge it as before.
#[test]
fn a_copy_has_the_event_and_the_reason() {
    let kafka = Kafka::shared();
    let (events, dead, relay) = setting(kafka, "copied");
    kafka.create_topic(&dead, 1, 1, &[]);
    let headers = toml::Table::from_iter([("environment".to_owned(), "test".into())]);
    let (relay, socket) = with_socket(relay.set("kafka.headers", headers).set("kafka.format", "cloudevents-binary"));
    let text = dense_text(1, TOO_LARGE);
    let posted = format!(
        r#"{{ "id":"p1","type":"load", "source_type":"user","source_id":"42","time":"2026-01-02T03:04:05Z", "payload":{{"n":1.10,"t":"{text}"}} }}"#
    );
    let parsed: Value = serde_json::from_str(&posted).unwrap();
    assert!(parsed["payload"]["t"].as_str().is_some_and(|t| t.len() == text.len()));
    let answer = relay.client().post("/v1/events", "application/json", &[], posted.as_bytes()).expect(202).json();
    let seq = answer["first_seq"].to_string();
    post(&relay, &event("g1", 100));
    let found = read_count(&kafka.bootstrap(), &dead, 1, SOON);
    let record = &found[0];
    assert_eq!((record.key_str(), record.value.as_slice()), ("42", posted.trim().as_bytes()), "byte for byte");
    let relay_id = relay.status()["relay"]["relay_id"].as_str().unwrap().to_owned();
    for (name, value) in [
        ("dualstream", format!("{relay_id}/{seq}")),
        ("content-type", "application/json".into()),
        ("environment", "test".into()),
        ("dualstream-error", "too_large".into()),
        ("dualstream-topic", events.clone()),
    ] {
        assert_eq!(header(record, name), value, "{name}");
    }
    copied(&relay);
    drained(&relay);
    let shown: Value = serde_json::from_str(&operate(&socket, &["dead-letters", "show", &seq, "--json"])).unwrap();
    assert_eq!(shown["copied"], true);
    assert_eq!(record.timestamp_ms, shown["event"]["accepted_ms"]);
    assert_eq!(header(record, "dualstream-error-attempts"), shown["cause"]["attempts"].to_string());
    assert_eq!(header(record, "dualstream-error-text"), shown["cause"]["text"].as_str().unwrap());
    let moment = |ms: &Value| ms.as_i64().map(|ms| format!("{:.3}", jiff::Timestamp::from_millisecond(ms).unwrap())).unwrap();
    assert_eq!(header(record, "dualstream-first-refused"), moment(&shown["cause"]["first_refused_ms"]));
    assert_eq!(header(record, "dualstream-dead"), moment(&shown["cause"]["dead_ms"]));
    assert!(operate(&socket, &["dead-letters", "list"]).trim_end().ends_with("copied"));
    assert_eq!(relay.metric(r#"dead_letter_copies_total{result="copied"}"#), 1.0);

    // Refused again, it is a new letter, which is copied, too.
    assert!(operate(&socket, &["dead-letters", "retry", "--all", "--yes"]).starts_with("Put 1 event"));
    let found = read_count(&kafka.bootstrap(), &dead, 2, SOON);
    assert!(found[0].value == found[1].value && header(&found[0], "dualstream") != header(&found[1], "dualstream"));
    copied(&relay);
    assert!(operate(&socket, &["dead-letters", "purge", "--all", "--yes"]).starts_with("Removed 1 event"));
    assert_eq!(relay.stop(SOON), 0);
}

// Goal: a dead-letter topic that is not there holds nothing up, is told of with the cure, and gets everything once and in order when it is made.
#[test]
fn a_missing_dead_letter_topic_holds_nothing_up() {
    let kafka = Kafka::shared();
    let (events, dead, relay) = setting(kafka, "no-dead");
    let (relay, socket) = with_socket(relay.set("ops.stall_after", "1s"));
    let plan = Plan { writers: 2, sources: 2, batch: 20, spread: true, padding: 100, pause: Duration::from_millis(5), ..Plan::default() };
    let load = Load::start(relay.ingest_socket(), &plan);
    for n in 0..20 {
        post(&relay, &event(&format!("p{n}"), TOO_LARGE));
    }
    relay.wait_metric("dead_letters", SOON, |letters| letters == 20.0);
    relay.wait_metric(r#"degraded{reason="dead_letters_uncopied"}"#, SOON, |degraded| degraded == 1.0);
    load.wait_accepted(1_000, SOON);
    let report = load.stop();
    drained(&relay);
    let status = relay.status();
    assert_eq!((&status["drain"]["state"], &status["health"]["ready"]), (&"running".into(), &true.into()));
    assert_eq!(status["buffer"]["ledger"]["dead_lettered"], 20);
    let shown = copies(&relay);
    assert_eq!(
        (&shown["topic"], &shown["waiting"], &shown["blocked"]["reason"]),
        (&dead.as_str().into(), &20.into(), &"unknown_topic".into())
    );
    assert!(shown["blocked"]["detail"].as_str().is_some_and(|text| text.contains("kafka.dead_letter_topic")), "{shown}");
    let [brokers, topic, dead_topic] = [("brokers", kafka.bootstrap()), ("topic", events.clone()), ("dead_letter_topic", dead.clone())]
        .map(|(key, value)| format!("kafka.{key}={value}"));
    let check = dualstream(["check", "--connect", "--set", &brokers, "--set", &topic, "--set", &dead_topic]).run();
    assert!(check.stdout.contains("kafka.dead_letter_topic) does not exist"), "{check:#?}");

    kafka.create_topic(&dead, 1, 1, &[]);
    copied(&relay);
    assert_eq!(relay.metric(r#"degraded{reason="dead_letters_uncopied"}"#), 0.0);
    let found = read_topic(&kafka.bootstrap(), &dead);
    let ids: Vec<String> = found.iter().map(|record| record.json()["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, (0..20).map(|n| format!("p{n}")).collect::<Vec<_>>(), "once, in order");
    assert!(!operate(&socket, &["dead-letters", "list", "--json"]).contains(r#""copied":false"#));
    let (unique, _) = dedup(&read_topic(&kafka.bootstrap(), &events));
    assert_ordered(&unique);
    report.assert_delivered(&unique);
    assert_eq!(relay.stop(SOON), 0);
}

// Goal: kill -9 at any moment leaves no dead letter without its copy; what is there twice has the same header and the same bytes.
#[test]
fn copies_survive_kill_9() {
    let kafka = Kafka::shared();
    let (_, dead, relay) = setting(kafka, "killed-dead");
    let mut relay = relay.start();
    for n in 0..24 {
        post(&relay, &event(&format!("p{n}"), TOO_LARGE));
    }
    relay.wait_metric("dead_letters", SOON, |letters| letters == 24.0);
    relay.kill9();
    kafka.create_topic(&dead, 1, 1, &[]);
    // Killed each time while it copies: as soon as some more are there.
    let (mut waiting, mut kills) = (24.0, 0);
    while waiting > 0.0 {
        relay.restart();
        let some_more = |left: f64| left < waiting - 3.0 || left == 0.0;
        waiting = relay.wait_metric("dead_letters_uncopied", SOON, some_more);
        relay.kill9();
        kills += usize::from(waiting > 0.0);
    }
    assert!(kills >= 2, "only {kills} kills in the middle of it");
    relay.restart();
    copied(&relay);
    let found = read_topic(&kafka.bootstrap(), &dead);
    let mut values: BTreeMap<String, &[u8]> = BTreeMap::new();
    for record in &found {
        let before = values.insert(header(record, "dualstream"), &record.value);
        assert!(before.is_none_or(|value| value == record.value), "a repeat is the same record");
    }
    let (unique, _) = dedup(&found);
    let ids: Vec<String> = unique.iter().map(|record| record.json()["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, (0..24).map(|n| format!("p{n}")).collect::<Vec<_>>());
    assert_eq!(values.len(), 24);
    let repeats = found.len() - 24;
    assert!(repeats <= kills + 2, "one for each kill at most: {repeats} repeats, {kills} kills");
    assert_eq!(relay.stop(SOON), 0);
}

// Goal: an event that the dead-letter topic does not take either is told of there all the same, without its value, and others are not held up by it.
#[test]
fn what_the_dead_letter_topic_does_not_take_goes_without_its_value() {
    let kafka = Kafka::shared();
    let (_, dead, relay) = setting(kafka, "large-dead");
    kafka.create_topic(&dead, 1, 1, &[("max.message.bytes", "30000")]);
    let relay = relay.start();
    for (id, bytes) in [("p1", TOO_LARGE), ("p2", 60_000), ("p3", TOO_LARGE)] {
        post(&relay, &event(id, bytes));
    }
    let found = read_count(&kafka.bootstrap(), &dead, 3, SOON);
    copied(&relay);
    assert_eq!(found.iter().map(|record| record.value.is_empty()).collect::<Vec<_>>(), [false, true, false]);
    let left_out = header(&found[1], "dualstream-error-value");
    let bytes: usize = left_out.trim_start_matches("left out: ").trim_end_matches(" bytes").parse().expect(&left_out);
    assert!((60_000..61_000).contains(&bytes), "{left_out}");
    assert_eq!((found[1].key_str(), header(&found[1], "dualstream-error").as_str()), ("s", "too_large"));
    assert!(found[0].header("dualstream-error-value").is_none());
    assert_eq!(relay.metric(r#"dead_letter_copies_total{result="copied_without_value"}"#), 1.0);
    assert_eq!(relay.metric("dead_letters"), 3.0, "the whole event is still on disk");
    assert_eq!(relay.stop(SOON), 0);
}

// Goal: with "block", full dead letters hold the drain up only until their copies are made; nothing is dropped, and everything is in the topic.
#[test]
fn copied_letters_make_room() {
    let kafka = Kafka::shared();
    let (events, dead, relay) = setting(kafka, "full-dead");
    let relay = relay.set("buffer.dead_letter_bytes", "64KiB").set("buffer.dead_letters_full", "block").start();
    for n in 0..12 {
        post(&relay, &event(&format!("p{n}"), TOO_LARGE));
        post(&relay, &event(&format!("g{n}"), 100));
    }
    relay.wait_metric(r#"drain_blocked{reason="dead_letters_full"}"#, SOON, |blocked| blocked == 1.0);
    assert!(relay.metric("dead_letters") <= 3.0);
    kafka.create_topic(&dead, 1, 1, &[]);
    drained(&relay);
    copied(&relay);
    let status = relay.status();
    assert_eq!((&status["dead_letters"]["dropped"], &status["buffer"]["ledger"]["dead_lettered"]), (&0.into(), &12.into()));
    assert!(status["dead_letters"]["gave_way"].as_u64() >= Some(9), "{}", status["dead_letters"]);
    let ids = |records: &[Record]| records.iter().map(|record| record.json()["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(&read_topic(&kafka.bootstrap(), &dead)), (0..12).map(|n| format!("p{n}")).collect::<Vec<_>>());
    let (unique, _) = dedup(&read_topic(&kafka.bootstrap(), &events));
    assert_eq!(ids(&unique), (0..12).map(|n| format!("g{n}")).collect::<Vec<_>>());
    assert_eq!(relay.stop(SOON), 0);
}

// Goal: emptying an orphaned buffer succeeds when its log is empty, whatever becomes of the copies of its dead letters; those that are left are copied by
// the next attempt.
#[test]
fn drain_only_copies_what_it_can() {
    let kafka = Kafka::shared();
    let (events, dead, relay) = setting(kafka, "orphan-dead");
    let (relay, socket) = with_socket(relay);
    assert!(operate(&socket, &["pause"]).starts_with("Paused"));
    post(&relay, &event("g1", 100));
    post(&relay, &event("p1", TOO_LARGE));
    relay.kill9();
    let template = events.replace("-load", "-{type}");
    let drain_only = |timeout: &str| {
        let words = ["drain-only", "--dir", relay.buffer_dir().to_str().unwrap(), "--brokers", &kafka.bootstrap(), "--topic", &template];
        let copies_to = format!("kafka.dead_letter_topic={dead}");
        dualstream([words.as_slice(), &["--timeout", timeout, "--set", &copies_to]].concat()).run().expect(0)
    };
    let ended = drain_only("20s");
    assert!(ended.stderr.contains("the buffer is empty"), "{ended:#?}");
    let list = |words: &[&str]| {
        dualstream([&["dead-letters", "list", "--json", "--dir", relay.buffer_dir().to_str().unwrap()], words].concat()).run()
    };
    assert!(list(&[]).expect(0).stdout.contains(r#""copied":false"#));
    kafka.create_topic(&dead, 1, 1, &[]);
    let _ = drain_only("60s");
    assert!(list(&[]).expect(0).stdout.contains(r#""copied":true"#));
    let found = read_topic(&kafka.bootstrap(), &dead);
    assert_eq!(found.iter().map(|record| record.json()["id"].clone()).collect::<Vec<_>>(), ["p1"]);
    wait::until("only the good one", SOON, || (read_topic(&kafka.bootstrap(), &events).len() == 1).then_some(()));
}
