//! Guarantee G2 for events that Kafka will never take: set aside, every one of them and no other, until somebody decides.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use super::{SOON, drained, operate, with_socket};
use crate::support::{
    consume::{Record, read_topic},
    dense::dense_text,
    kafka::{Kafka, unique},
    load::{Load, Plan},
    order::{assert_ordered, dedup},
    relay::Relay,
    wait,
};

fn event(id: &str, source: &str, bytes: usize) -> Value {
    let text = dense_text(bytes as u64 + id.len() as u64, bytes);
    json!({"id": id, "type": "load", "source_type": "user", "source_id": source, "payload": text})
}

fn ids(records: &[Record], prefix: &str) -> Vec<String> {
    let all = records.iter().map(|record| record.json()["id"].as_str().unwrap_or_default().to_owned());
    all.filter(|id| id.starts_with(prefix)).collect()
}

// Goal: events that Kafka will never take are set aside, each with the reason, and no other event with them, although batches are too large
// for this topic as well; the rest arrives in order. When the topic takes them, a retry delivers them, in order, once.
#[test]
fn true_poison_is_set_aside_and_can_be_retried() {
    let kafka = Kafka::shared();
    let name = unique("poison");
    let topic = format!("{name}-load");
    kafka.create_topic(&topic, 3, 1, &[("max.message.bytes", "20000")]);
    // The limit of a topic that depends on the event is not known when the event is handed in.
    let (relay, socket) = with_socket(Relay::builder().kafka(&kafka.bootstrap(), &format!("{name}-{{type}}")));
    let plan = Plan { writers: 2, sources: 3, batch: 40, spread: true, padding: 300, pause: Duration::from_millis(5), ..Plan::default() };
    let load = Load::start(relay.ingest_socket(), &plan);
    load.wait_accepted(2_000, SOON);
    for n in 0..6 {
        let poison = (0..2).map(|k| event(&format!("p{n}{k}"), ["a", "b"][k], 60_000));
        let good = (0..2).map(|k| event(&format!("g{n}{k}"), ["a", "b"][k], 200));
        let request: Vec<Value> = poison.chain(good).collect();
        relay.client().post_json("/v1/events", &json!(request)).expect(202);
    }
    relay.wait_metric("dead_letters", SOON, |letters| letters == 12.0);
    load.wait_accepted(500, SOON);
    let report = load.stop();
    drained(&relay);
    assert_eq!(relay.metric(r#"dead_letters_total{reason="too_large"}"#), 12.0);
    assert_eq!(relay.status()["buffer"]["ledger"]["dead_lettered"], 12);
    wait::until("the search is over", SOON, || (relay.status()["drain"]["state"] == "running").then_some(()));

    let listed: Vec<Value> =
        operate(&socket, &["dead-letters", "list", "--json"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let dead: BTreeSet<&str> = listed.iter().filter_map(|letter| letter["event"]["id"].as_str()).collect();
    assert_eq!(dead.len(), 12);
    assert!(dead.iter().all(|id| id.starts_with('p')), "only poison is set aside: {dead:?}");
    let seq = listed[0]["event"]["seq"].to_string();
    let shown = operate(&socket, &["dead-letters", "show", &seq]);
    assert!(shown.contains("max.message.bytes") && shown.contains("too_large"), "{shown}");

    let (unique, _) = dedup(&read_topic(&kafka.bootstrap(), &topic));
    assert_ordered(&unique);
    assert_eq!(ids(&unique, "p").len(), 0);
    assert_eq!(ids(&unique, "g").len(), 12);
    report.assert_delivered(&unique.iter().filter(|record| record.json()["source_type"] == "writer").cloned().collect::<Vec<_>>());

    kafka.set_topic(&topic, &[("max.message.bytes", "2000000")]);
    assert!(operate(&socket, &["dead-letters", "retry", "--all"]).starts_with("Would put 12 events"));
    assert!(operate(&socket, &["dead-letters", "retry", "--source", "user/a", "--yes"]).starts_with("Put 6 events"));
    assert!(operate(&socket, &["dead-letters", "retry", "--all", "--yes"]).starts_with("Put 6 events"));
    assert!(operate(&socket, &["dead-letters", "retry", "--all", "--yes"]).starts_with("Put no dead letter"));
    drained(&relay);
    let all = read_topic(&kafka.bootstrap(), &topic);
    for source in ["a", "b"] {
        let of_source: Vec<Record> = all.iter().filter(|record| record.key_str() == source).cloned().collect();
        let expect: Vec<String> = (0..6).map(|n| format!("p{n}{}", usize::from(source == "b"))).collect();
        assert_eq!(ids(&of_source, "p"), expect, "in their old order, once");
    }
    assert_ordered(&dedup(&all).0);
    assert_eq!(relay.metric("dead_letters"), 0.0);
    assert_eq!(relay.stop(SOON), 0);
}

// Goal: a limit that is lowered below events which wait already costs only those events, across a kill -9 in the middle of it.
#[test]
fn a_limit_lowered_under_the_backlog_costs_only_what_is_too_large() {
    let kafka = Kafka::shared();
    let name = unique("shrunk");
    let topic = format!("{name}-load");
    kafka.create_topic(&topic, 1, 1, &[("max.message.bytes", "2000000")]);
    let (mut relay, socket) = with_socket(Relay::builder().kafka(&kafka.bootstrap(), &format!("{name}-{{type}}")));
    assert!(operate(&socket, &["pause"]).starts_with("Paused"));
    assert!(operate(&socket, &["pause"]).starts_with("It was paused already"));
    let large = |n: usize| n % 25 == 7;
    let post = |relay: &Relay, range: std::ops::Range<usize>| {
        for n in range {
            let event = event(&format!("e{n}"), "s", if large(n) { 50_000 } else { 100 });
            relay.client().post_json("/v1/events", &event).expect(202);
        }
    };
    post(&relay, 0..150);
    assert_eq!(relay.metric("drain_paused"), 1.0);
    assert_eq!(relay.metric("buffer_events"), 150.0, "a paused drain sends nothing");
    kafka.set_topic(&topic, &[("max.message.bytes", "10000")]);
    assert!(operate(&socket, &["resume"]).starts_with("Resumed"));
    relay.wait_metric("dead_letters", SOON, |letters| letters >= 2.0);
    relay.restart();
    post(&relay, 150..200);
    relay.wait_metric("dead_letters", SOON, |letters| letters == 8.0);
    drained(&relay);
    let (unique, _) = dedup(&read_topic(&kafka.bootstrap(), &topic));
    assert_eq!(ids(&unique, "e"), (0..200).filter(|n| !large(*n)).map(|n| format!("e{n}")).collect::<Vec<_>>());
    let listed = operate(&socket, &["dead-letters", "export"]);
    let dead: Vec<Value> = listed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["event"]["value"].clone()).collect();
    assert_eq!(
        dead,
        (0..200)
            .filter(|n| large(*n))
            .map(|n| event(&format!("e{n}"), "s", 50_000))
            .collect::<Vec<_>>()
            .iter()
            .zip(&dead)
            .map(
                // The relay adds the time; the rest is as it was posted.
                |(posted, dead)| {
                    let mut posted = posted.clone();
                    posted["time"] = dead["time"].clone();
                    posted
                }
            )
            .collect::<Vec<_>>()
    );
    assert!(operate(&socket, &["dead-letters", "purge", "--all", "--yes"]).starts_with("Removed 8 events"));
    assert_eq!(relay.metric("dead_letters"), 0.0);
    assert_eq!(relay.stop(SOON), 0);
}
