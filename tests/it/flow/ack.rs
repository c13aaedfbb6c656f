//! `ack=kafka`: the reply names the level that was reached, and says where each event is.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{SOON, relay_id};
use crate::support::{
    consume::{read_count, read_topic},
    kafka::Kafka,
    relay::Relay,
    wait,
};

fn events(name: &str, count: usize) -> Value {
    (0..count)
        .map(|n| json!({"id": format!("{name}-{n}"), "type": "t", "source_type": "user", "source_id": format!("s{}", n % 7)}))
        .collect()
}

// Goal: when I ask for Kafka's confirmation, the reply comes only with it, and its receipts are right: a consumer finds each event
// at the partition and offset that the reply names.
#[test]
fn receipts_are_where_a_consumer_finds_the_events() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("receipts", 4);
    let relay = Relay::builder().kafka(&kafka.bootstrap(), &topic).start();
    let by_default = Relay::builder().kafka(&kafka.bootstrap(), &topic).set("ingest.ack", "kafka").start();
    let replies = [
        (relay_id(&relay), relay.client().post_json("/v1/events?ack=kafka", &events("tcp", 40)).expect(200).json()),
        (relay_id(&relay), relay.uds_client().post_json("/v1/events?ack=kafka&timeout=30s", &events("socket", 1)[0]).expect(200).json()),
        (relay_id(&by_default), by_default.client().post_json("/v1/events?timeout=30s", &events("default", 9)).expect(200).json()),
    ];

    // No waiting here: they must be there already.
    let records = read_topic(&kafka.bootstrap(), &topic);

    assert_eq!(records.len(), 50);
    for (relay, reply) in &replies {
        assert_eq!(reply["ack"], "kafka", "{reply}");
        let receipts = reply["receipts"].as_array().expect("receipts");
        assert_eq!(receipts.len() as u64, reply["accepted"].as_u64().unwrap(), "{reply}");
        for (seq, receipt) in (reply["first_seq"].as_u64().unwrap()..).zip(receipts) {
            let place =
                |record: &&crate::support::consume::Record| receipt["partition"] == record.partition && receipt["offset"] == record.offset;
            let record = records.iter().find(place).unwrap_or_else(|| panic!("nothing at {receipt}"));
            assert_eq!(record.json()["id"], receipt["id"], "{receipt}");
            assert_eq!(receipt["topic"], json!(topic), "{receipt}");
            assert_eq!(receipt["seq"], seq, "receipts are in the order of the request");
            assert_eq!(record.header("dualstream"), Some(format!("{relay}/{seq}").as_bytes()), "{receipt}");
        }
    }
}

// Goal: Kafka is down and I asked for its confirmation: after my timeout, not much later, I am told the truth (it is on disk, and
// will be delivered), and it is delivered once, when Kafka is back.
#[test]
fn without_kafka_the_reply_says_buffered_within_the_timeout() {
    const TIMEOUT: Duration = Duration::from_millis(1500);
    // For the machine, which runs a compiler beside the tests.
    const SLACK: Duration = Duration::from_secs(5);
    let kafka = Kafka::start(1);
    kafka.create_topic("events", 2, 1, &[]);
    let relay = Relay::builder().kafka(&kafka.bootstrap(), "events").start();
    relay.client().post_json("/v1/events?ack=kafka&timeout=60s", &events("up", 3)).expect(200);
    kafka.stop_broker(0);

    let started = Instant::now();
    let reply = relay.client().post_json("/v1/events?ack=kafka&timeout=1500ms", &events("down", 3)).expect(202).json();
    let took = started.elapsed();

    assert!((TIMEOUT..TIMEOUT + SLACK).contains(&took), "{took:?}");
    assert_eq!((&reply["ack"], &reply["durable"], &reply["accepted"]), (&json!("buffered"), &json!(true), &json!(3)), "{reply}");
    assert_eq!(reply.get("receipts"), None, "{reply}");
    kafka.start_broker(0);
    read_count(&kafka.bootstrap(), "events", 6, SOON);
    relay.wait_metric("buffer_events", SOON, |backlog| backlog == 0.0);
    wait::until_eq("each event once", SOON, &6, || read_topic(&kafka.bootstrap(), "events").len());
}
