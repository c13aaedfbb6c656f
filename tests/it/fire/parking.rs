//! `kafka.on_blocked = "park"`: a topic that Kafka refuses does not hold the others, loses nothing, and gets its events in order when it is back.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use super::{
    SOON, drained, operate,
    rights::{ACLS, guarded},
    with_socket,
};
use crate::support::{
    consume::{Record, read_topic},
    dense::dense_text,
    kafka::{Kafka, unique},
    load::{Load, Plan},
    order::{assert_ordered, dedup},
    relay::Relay,
    relay_builder::Builder,
    report::Report,
    wait,
};

/// More than the drain can run ahead of an event that is not at its end.
const FAR: u64 = 70_000;

fn parking(kafka: &Kafka, name: &str) -> Builder {
    Relay::builder().kafka(&kafka.bootstrap(), &format!("{name}.{{type}}")).set("kafka.on_blocked", "park")
}

/// A load of events of a type, which is the second half of their topic's name.
fn load(relay: &Relay, kind: &'static str, first_writer: usize, batch: usize) -> Load {
    let pause = Duration::from_millis(2);
    Load::start(relay.ingest_socket(), &Plan { writers: 2, first_writer, sources: 3, batch, spread: true, kind, pause, ..Plan::default() })
}

/// The topic that is refused, as status tells it; null when none is.
fn blocked(relay: &Relay) -> Value {
    relay.status()["drain"]["blocked_topics"][0].clone()
}

#[track_caller]
fn wait_blocked(relay: &Relay, topic: &str) -> Value {
    wait::until(&format!("topic {topic} is parked"), SOON, || Some(blocked(relay)).filter(|blocked| blocked["topic"] == topic))
}

#[track_caller]
fn wait_free(relay: &Relay) {
    wait::until_ok("no topic is refused", SOON, || match blocked(relay) {
        Value::Null => Ok(()),
        blocked => Err(blocked.to_string()),
    });
    assert_eq!(relay.metric("drain_blocked_topics"), 0.0);
}

#[track_caller]
fn assert_delivered(kafka: &Kafka, topic: &str, report: &Report) -> usize {
    report.assert_delivered(&read_topic(&kafka.bootstrap(), topic))
}

// Goal: one of my topics does not exist: the events of the others arrive all the same, however many there are, also after a kill -9; I am told which topic it
// is and how many events wait for it. It is created: its events arrive, all of them, in order, the new ones behind the old ones.
#[test]
fn a_missing_topic_does_not_hold_the_others() {
    let kafka = Kafka::shared();
    let name = unique("park");
    for kind in ["a", "b"] {
        kafka.create_topic(&format!("{name}.{kind}"), 3, 1, &[]);
    }
    let missing = format!("{name}.c");
    let mut relay = parking(kafka, &name).start();
    let loads = [load(&relay, "a", 0, 300), load(&relay, "b", 10, 10), load(&relay, "c", 20, 20)];
    let told = wait_blocked(&relay, &missing);
    assert_eq!(told["reason"], "unknown_topic");
    assert!(told["detail"].as_str().is_some_and(|detail| detail.contains("create it")), "{told}");
    let before = relay.status()["buffer"]["acked_seq"].as_u64().unwrap();
    wait::until_ok("far more events of the others are in Kafka", SOON, || {
        let acked = relay.status()["buffer"]["acked_seq"].as_u64().unwrap();
        if acked > before + FAR { Ok(()) } else { Err(acked) }
    });
    let status = relay.status();
    assert_eq!(relay.metric(r#"drain_blocked{reason="unknown_topic"}"#), 1.0);
    assert_eq!(status["health"]["degraded_reasons"][0]["reason"], "topic_parked", "{}", status["health"]);
    assert_eq!((&status["health"]["ready"], &status["health"]["conservation_error"]), (&json!(true), &json!(0)));
    let parked = &status["buffer"]["parked"];
    assert_eq!(parked["topics"][0]["topic"], missing.as_str());
    assert!(
        parked["events"].as_u64().is_some_and(|events| events > 100 && events <= status["buffer"]["ledger"]["backlog"].as_u64().unwrap())
    );

    relay.restart();
    let _ = wait_blocked(&relay, &missing);
    loads[2].wait_accepted(400, SOON);
    kafka.create_topic(&missing, 3, 1, &[]);
    wait_free(&relay);
    loads[2].wait_accepted(400, SOON);
    let reports = loads.map(Load::stop);
    drained(&relay);
    assert_eq!((relay.metric("dead_letters"), relay.metric("events_lost_total"), relay.metric("buffer_parked_events")), (0.0, 0.0, 0.0));
    for (kind, report) in ["a", "b", "c"].iter().zip(&reports) {
        assert_delivered(kafka, &format!("{name}.{kind}"), report);
    }
    assert_eq!(relay.stop(SOON), 0);
}

// Goal: the right to write to one topic is taken away under load and given back: the others go on meanwhile, nothing is lost or out of order. I stop the relay
// in between: it says what stays, and after the start nothing comes twice.
#[test]
fn a_revoked_right_parks_its_topic_only() {
    let kafka = guarded();
    let name = unique("parkright");
    for kind in ["open", "shut"] {
        kafka.create_topic(&format!("{name}.{kind}"), 3, 1, &[]);
    }
    let shut = format!("{name}.shut");
    let mut relay = parking(kafka, &name).set("shutdown.grace", "20s").start();
    let loads = [load(&relay, "open", 0, 20), load(&relay, "shut", 10, 20)];
    loads[1].wait_accepted(500, SOON);
    let deny = ["--deny-principal", "User:ANONYMOUS", "--operation", "Write", "--topic", shut.as_str()];
    kafka.tool(ACLS, &[&["--add", "--force"], &deny[..]].concat());
    let told = wait_blocked(&relay, &shut);
    assert!(told["reason"] == "authorization" && told["detail"].as_str().is_some_and(|detail| detail.contains("grant WRITE")), "{told}");
    let acked = relay.metric("drain_acked_total");
    relay.wait_metric("drain_acked_total", SOON, |now| now > acked + 2_000.0);
    loads[1].wait_accepted(500, SOON);
    let mut reports: Vec<Report> = loads.into_iter().map(Load::stop).collect();
    relay.wait_metric("buffer_parked_events", SOON, |parked| parked == relay.metric("buffer_events"));
    assert_eq!(relay.stop(SOON), 5, "events stay on disk");

    relay.restart();
    let more = load(&relay, "shut", 20, 20);
    more.wait_accepted(500, SOON);
    kafka.tool(ACLS, &[&["--remove", "--force"], &deny[..]].concat());
    wait_free(&relay);
    reports.push(more.stop());
    drained(&relay);
    assert_eq!(relay.metric("dead_letters"), 0.0);
    let to_shut = Report::join(reports.drain(1..));
    let _ = assert_delivered(kafka, &shut, &to_shut);
    let _ = assert_delivered(kafka, &format!("{name}.open"), &reports[0]);
    assert_eq!(relay.stop(SOON), 0);

    // Once more without anything in doubt: what was parked when a relay stopped in good order comes once.
    let before = read_topic(&kafka.bootstrap(), &shut).len();
    kafka.tool(ACLS, &[&["--add", "--force"], &deny[..]].concat());
    relay.restart();
    let events: Vec<Value> = (0..50)
        .map(|n| json!({"type": "shut", "source_type": "t", "source_id": format!("s{}", n % 3), "id": format!("once{n}")}))
        .collect();
    relay.client().post_json("/v1/events", &json!(events)).expect(202);
    relay.wait_metric("buffer_parked_events", SOON, |parked| parked == 50.0);
    assert_eq!(relay.stop(SOON), 5);
    relay.restart();
    relay.wait_metric("buffer_parked_events", SOON, |parked| parked == 50.0);
    kafka.tool(ACLS, &[&["--remove", "--force"], &deny[..]].concat());
    drained(&relay);
    assert_eq!(relay.stop(SOON), 0);
    relay.restart();
    drained(&relay);
    assert_eq!(read_topic(&kafka.bootstrap(), &shut).len() - before, 50, "each once");
    assert_eq!(relay.stop(SOON), 0);
}

// Goal: what is parked is bounded: when its place is full the line waits, and says so; nothing is refused that fits, nothing lost. Among the parked is an
// event that the topic, once it is there, will never take: that one is set aside, and no other.
#[test]
fn a_full_place_holds_the_line_and_poison_among_the_parked_is_found() {
    let kafka = Kafka::shared();
    let name = unique("parkfull");
    kafka.create_topic(&format!("{name}.a"), 1, 1, &[]);
    let missing = format!("{name}.c");
    let (relay, socket) = with_socket(parking(kafka, &name).set("buffer.max_bytes", "16MiB").set("buffer.parked_bytes", "256KiB"));
    let event = |n: u64, kind: &str, bytes: usize| json!({"id": format!("{kind}{n}"), "type": kind, "source_type": "t", "source_id": format!("s{}", n % 3), "payload": dense_text(n, bytes)});
    let post = |events: Vec<Value>| relay.client().post_json("/v1/events", &json!(events)).expect(202);
    let _ = post((0..20).map(|n| event(n, "c", if n == 7 { 30_000 } else { 500 })).collect());
    let _ = wait_blocked(&relay, &missing);
    let _ = post((20..400).map(|n| event(n, "c", 2_000)).collect());
    relay.wait_metric(r#"drain_blocked{reason="parked_full"}"#, SOON, |blocked| blocked > 0.0);
    let _ = post(vec![event(0, "a", 10)]);
    let status = relay.status();
    let parked = &status["buffer"]["parked"];
    assert!(parked["bytes"].as_u64() <= parked["max_bytes"].as_u64() && parked["max_bytes"] == 256 << 10, "{parked}");
    assert!(
        status["drain"]["detail"].as_str().is_some_and(|detail| detail.contains("buffer.parked_bytes") && detail.contains(&missing)),
        "{}",
        status["drain"]
    );
    // Operators see them beside the others.
    let info: Value = serde_json::from_str(&operate(&socket, &["buffer", "info", "--json"])).unwrap();
    assert!(info.to_string().contains(&missing), "{info}");
    let peeked = operate(&socket, &["buffer", "peek", "--json", "--limit", "1000"]);
    let lines: Vec<Value> = peeked.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 401, "all that wait, parked or not");
    assert!(lines.windows(2).all(|pair| pair[0]["seq"].as_u64() < pair[1]["seq"].as_u64()), "in seq order");
    assert!(lines.iter().any(|line| line["parked"] == missing.as_str()) && lines.iter().any(|line| line["parked"].is_null()));

    kafka.create_topic(&missing, 2, 1, &[("max.message.bytes", "20000")]);
    drained(&relay);
    wait_free(&relay);
    assert_eq!(relay.metric("dead_letters"), 1.0);
    assert!(operate(&socket, &["dead-letters", "list"]).contains("c7"));
    let records = read_topic(&kafka.bootstrap(), &missing);
    let (unique, _) = dedup(&records);
    assert_ordered(&unique);
    let ids = |source: &str| {
        unique.iter().filter(|record: &&Record| record.key_str() == source).map(|record| record.json()["id"].clone()).collect::<Vec<_>>()
    };
    for source in 0..3 {
        let expect: Vec<Value> = (0..400).filter(|n| n % 3 == source && *n != 7).map(|n| json!(format!("c{n}"))).collect();
        assert_eq!(ids(&format!("s{source}")), expect);
    }
    assert_eq!(read_topic(&kafka.bootstrap(), &format!("{name}.a")).len(), 1);
    assert_eq!(relay.stop(SOON), 0);
}

// Goal: I mend a wrong topic by correcting `kafka.topic`: what was parked under the old setting goes first, so that each source's order is kept, then the rest.
#[test]
fn after_another_topic_setting_the_parked_come_first() {
    let kafka = Kafka::shared();
    let name = unique("parkfirst");
    let all = format!("{name}.all");
    kafka.create_topic(&all, 2, 1, &[]);
    let mut relay = parking(kafka, &name).start();
    let event = |n: u64| json!({"id": format!("e{n}"), "type": "order", "source_type": "t", "source_id": "s"});
    for n in 0..100 {
        relay.client().post_json("/v1/events", &event(n)).expect(202);
    }
    relay.wait_metric("buffer_parked_events", SOON, |parked| parked == 100.0);
    assert_eq!(wait_blocked(&relay, &format!("{name}.order"))["reason"], "unknown_topic");
    assert_eq!(relay.stop(SOON), 5);
    let config = relay.dir().join("dualstream.toml");
    let settings = fs::read_to_string(&config).unwrap();
    fs::write(&config, settings.replace(&format!("{name}.{{type}}"), &all).replace("\"park\"", "\"wait\"")).unwrap();
    relay.restart();
    for n in 100..200 {
        relay.client().post_json("/v1/events", &event(n)).expect(202);
    }
    drained(&relay);
    let ids: Vec<Value> = read_topic(&kafka.bootstrap(), &all).iter().map(|record| record.json()["id"].clone()).collect();
    assert_eq!(ids, (0..200).map(|n| json!(format!("e{n}"))).collect::<Vec<_>>());
    assert_eq!(relay.stop(SOON), 0);
}
