//! `kafka.recovery = "reconcile"`: after kill -9 nothing comes twice, because the relay looks into Kafka before it sends.

use std::time::Duration;

use serde_json::json;

use crate::crash::{Trial, rounds};
use crate::support::{consume::read_topic, kafka::Kafka, order, relay::Relay, seed::Seed, wait};

const SOON: Duration = Duration::from_secs(60);

/// Kills under load; how many records came twice in the end. Nothing is lost and the order is kept.
fn duplicates(recovery: &str, kills: u64) -> usize {
    let mut seed = Seed::take();
    let mut trial = Trial::start(Kafka::shared(), |builder| builder.set("kafka.recovery", recovery));
    for _ in 0..kills {
        // So that something is on its way: the kill comes in the middle of sending, some time after the last recovery.
        let before = trial.relay.metric("drain_acked_total");
        trial.relay.wait_metric("drain_acked_total", SOON, |acked| acked > before);
        trial.kill_and_recover(&mut seed, 0..=1);
    }
    trial.end().duplicates
}

// Goal: with recovery = "reconcile", kill -9 under load repeats no event at all, loses none and keeps the order.
#[test]
fn nothing_comes_twice_after_a_kill() {
    let mut left = rounds(10);
    while left > 0 {
        // The long loop begins with a new buffer now and then: all that a buffer ever delivered is held in memory.
        let now = left.min(50);
        assert_eq!(duplicates("reconcile", now), 0);
        left -= now;
    }
}

// Goal: the proof above would see repeats: the same kills without looking into Kafka make some.
#[test]
fn without_looking_some_come_twice() {
    assert!(duplicates("checkpoint", 10) > 0);
}

// Goal: after a clean stop nothing has to be looked up, and after a kill it is said what was found.
#[test]
fn it_looks_only_after_an_unclean_stop() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("reconcile", 3);
    let mut relay = Relay::builder().kafka(&kafka.bootstrap(), &topic).set("kafka.recovery", "reconcile").start();
    let events: Vec<_> = (0..100).map(|n| json!({"type": "t", "source_type": "user", "source_id": n.to_string()})).collect();
    let looks = |relay: &Relay| {
        let looked = |line: &serde_json::Value| line["message"].as_str().is_some_and(|text| text.starts_with("looked for our own records"));
        relay.json_logs().into_iter().filter(looked).collect::<Vec<_>>()
    };
    relay.client().post_json("/v1/events", &json!(events)).expect(202);
    relay.wait_metric("buffer_events", SOON, |backlog| backlog == 0.0);
    assert_eq!(relay.stop(SOON), 0);
    relay.restart();
    relay.client().post_json("/v1/events?ack=kafka", &json!(events)).expect(200);
    relay.kill9();
    relay.restart();
    relay.client().post_json("/v1/events", &json!(events)).expect(202);
    relay.wait_metric("buffer_events", SOON, |backlog| backlog == 0.0);
    wait::until("all to be in Kafka once", SOON, || (read_topic(&kafka.bootstrap(), &topic).len() == 300).then_some(()));
    let seqs: std::collections::BTreeSet<_> =
        read_topic(&kafka.bootstrap(), &topic).iter().map(|record| order::origin(record).expect("an origin").seq).collect();
    assert_eq!(seqs.len(), 300, "each event once");
    // The last kill came right after Kafka's acknowledgement; whether a checkpoint was written in between, nobody can say.
    assert!(looks(&relay).len() <= 1, "{:#?}", looks(&relay));
}
