//! The topic's limit is known at the door.

use std::time::Duration;

use serde_json::{Value, json};

use super::SOON;
use crate::support::{
    consume::read_count,
    kafka::{Kafka, unique},
    relay::Relay,
    wait,
};

/// Long enough for two looks of the relay.
const TWO_LOOKS: Duration = Duration::from_secs(75);

fn event(bytes: usize) -> Value {
    json!({"type": "t", "source_type": "user", "source_id": "1", "payload": "x".repeat(bytes)})
}

fn wait_limit(relay: &Relay, bytes: u64, deadline: Duration) {
    wait::until_eq("the topic's limit in the status", deadline, &json!(bytes), || relay.status()["drain"]["topic_max_bytes"].clone());
}

// Goal: an event that my topic can never take is refused when I send it, with the topic's limit in the answer, instead of stopping
// the line later; what fits goes through, in batches that the topic takes; and when somebody lowers the limit, I am told soon.
#[test]
fn what_the_topic_never_takes_is_refused_at_the_door() {
    let kafka = Kafka::shared();
    let topic = unique("limit");
    kafka.create_topic(&topic, 1, 1, &[("max.message.bytes", "65536")]);
    let relay = Relay::builder().kafka(&kafka.bootstrap(), &topic).set("kafka.compression", "none").start();
    wait_limit(&relay, 65_536, SOON);

    let refused = relay.client().post_json("/v1/events", &json!([event(10), event(66_000)])).expect(413).json();
    assert!(refused["type"].as_str().unwrap().ends_with("/too-large"), "{refused}");
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("event 1") && detail.contains(&topic) && detail.contains("takes 65536"), "{refused}");
    assert_eq!(refused["errors"][0]["index"], 1, "{refused}");

    let fitting: Vec<_> = (0..200).map(|_| event(20_000)).chain([event(64_900)]).collect();
    relay.client().post_json("/v1/events", &json!(fitting)).expect(202);
    let records = read_count(&kafka.bootstrap(), &topic, fitting.len(), SOON);
    assert_eq!(records.len(), fitting.len());
    relay.wait_metric("drain_blocked", SOON, |blocked| blocked == 0.0);
    assert_eq!(relay.status()["drain"]["retries"]["rejected"], 0, "no batch was refused");

    kafka.set_topic(&topic, &[("max.message.bytes", "16384")]);
    wait_limit(&relay, 16_384, TWO_LOOKS);
    relay.client().post_json("/v1/events", &event(20_000)).expect(413);
    let small: Vec<_> = (0..50).map(|_| event(10_000)).collect();
    relay.client().post_json("/v1/events", &json!(small)).expect(202);
    read_count(&kafka.bootstrap(), &topic, fitting.len() + small.len(), SOON);
}
