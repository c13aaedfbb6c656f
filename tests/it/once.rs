//! Each id once: a retry is not stored again, whatever happened in between; and what became of an event can be asked by its id.

use std::{thread, time::Duration};

use serde_json::{Value, json};

use crate::support::{
    consume::{read_count, read_topic},
    http::Client,
    kafka::Kafka,
    redis::Redis,
    relay::Relay,
    wait,
};

const SOON: Duration = Duration::from_secs(60);

fn event(id: &str) -> Value {
    json!({"id": id, "type": "t", "source_type": "user", "source_id": "42", "payload": {"of": id}})
}

fn events(ids: impl IntoIterator<Item = u32>) -> Value {
    ids.into_iter().map(|n| event(&format!("e{n}"))).collect()
}

/// `accepted`, `duplicates`, `first_seq` and `last_seq` of a reply.
fn counts(reply: &Value) -> [u64; 4] {
    ["accepted", "duplicates", "first_seq", "last_seq"].map(|field| reply[field].as_u64().unwrap_or_else(|| panic!("{field} in {reply}")))
}

#[track_caller]
fn conflict(client: &mut Client, body: &Value, index: u64) {
    let problem = client.post_json("/v1/events", body).expect(409).json();
    assert_eq!(problem["type"], "urn:dualstream:problem/id-conflict", "{problem}");
    assert_eq!((&problem["errors"][0]["index"], &problem["errors"][0]["field"]), (&json!(index), &json!("id")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().ends_with("nothing was stored"), "{problem}");
}

// Goal: I did not get an answer and send my request again: it is answered with the seqs that the first one got, and Kafka has each event
// once. An event without a time counts as the same although the relay gave each of them its own.
#[test]
fn a_retry_is_not_stored_again() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("once", 3);
    let relay = Relay::builder().kafka(&kafka.bootstrap(), &topic).start();
    let mut client = relay.client();
    assert_eq!(counts(&client.post_json("/v1/events", &events(0..10)).expect(202).json()), [10, 0, 1, 10]);
    assert_eq!(counts(&client.post_json("/v1/events", &events(0..10)).expect(202).json()), [0, 10, 1, 10]);
    assert_eq!(counts(&relay.uds_client().post_json("/v1/events", &event("e4")).expect(202).json()), [0, 1, 5, 5]);
    // Some are new, and one of those comes twice in one request.
    assert_eq!(counts(&client.post_json("/v1/events", &events([8, 10, 3, 11, 10])).expect(202).json()), [2, 3, 11, 12]);
    let cloud = json!({"specversion": "1.0", "id": "c1", "type": "t", "source": "/user/42", "data": {"a": 1}}).to_string();
    for expected in [[1, 0, 13, 13], [0, 1, 13, 13]] {
        let reply = client.post("/v1/events", "application/cloudevents+json", &[], &cloud).expect(202).json();
        assert_eq!(counts(&reply), expected);
    }

    let records = read_count(&kafka.bootstrap(), &topic, 13, SOON);
    relay.wait_metric("buffer_events", SOON, |backlog| backlog == 0.0);
    assert_eq!(read_topic(&kafka.bootstrap(), &topic).len(), 13);
    assert_eq!(relay.metric("ingest_events_total{result=\"duplicate\"}"), 15.0);
    assert_eq!(relay.metric("ingest_events_total{result=\"accepted\"}"), 13.0);

    // Kafka's word about what was there before: the same receipts, in the order of the request, and a consumer finds the events there.
    let reply = client.post_json("/v1/events?ack=kafka&timeout=60s", &events([11, 20, 2])).expect(200).json();
    assert_eq!((counts(&reply), &reply["ack"]), ([1, 2, 14, 14], &json!("kafka")), "{reply}");
    let receipts = reply["receipts"].as_array().unwrap();
    assert_eq!(receipts.iter().map(|receipt| receipt["seq"].as_u64().unwrap()).collect::<Vec<_>>(), [12, 14, 3]);
    let records = [records, read_topic(&kafka.bootstrap(), &topic)].concat();
    for receipt in receipts {
        let found = records.iter().find(|record| receipt["partition"] == record.partition && receipt["offset"] == record.offset);
        assert_eq!(found.map(|record| record.json()["id"].clone()), Some(receipt["id"].clone()), "{receipt}");
    }
}

// Goal: an id that is used for two different events is told, by its place in my request, and nothing of that request is stored.
#[test]
fn an_id_of_another_event_is_refused() {
    let relay = Relay::builder().start();
    let mut client = relay.client();
    client.post_json("/v1/events", &events(0..3)).expect(202);
    let mut other = event("e1");
    other["payload"] = json!("another");
    conflict(&mut client, &json!([event("new"), event("e0"), other]), 2);
    let mut twin = event("new");
    twin["type"] = json!("u");
    conflict(&mut client, &json!([event("new"), twin]), 1);
    assert_eq!(counts(&client.post_json("/v1/events", &event("new")).expect(202).json()), [1, 0, 4, 4]);
    assert_eq!(relay.metric("ingest_events_total{result=\"conflict\"}"), 5.0);
    assert_eq!(relay.metric("buffer_events"), 4.0);
}

// Goal: many clients that send the same events at the same time store each of them once, and all of them get the same seqs.
#[test]
fn at_the_same_time() {
    const CLIENTS: usize = 24;
    const ROUNDS: u32 = 40;
    let relay = Relay::builder().start();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let address = relay.ingest_socket();
            thread::spawn(move || {
                let mut client = Client::new(address);
                let reply = |round| counts(&client.post_json("/v1/events", &events(round * 3..round * 3 + 3)).expect(202).json());
                (0..ROUNDS).map(reply).collect::<Vec<_>>()
            })
        })
        .collect();
    let replies: Vec<Vec<[u64; 4]>> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    for round in 0..ROUNDS as usize {
        let first = replies[0][round][2];
        assert!(replies.iter().all(|replies| replies[round][2..] == [first, first + 2]), "round {round}: {replies:?}");
        assert_eq!(replies.iter().map(|replies| replies[round][0]).sum::<u64>(), 3, "round {round} was stored once");
    }
    assert_eq!(relay.metric("buffer_events"), f64::from(ROUNDS * 3));
}

// Goal: kill -9 between my request and its repetition changes nothing: neither while the events still wait, nor when Kafka has them and
// their place on disk was used again.
#[test]
fn known_after_kill_9() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("once-killed", 1);
    let builder = Relay::builder().kafka(&kafka.bootstrap(), &topic).set("buffer.segment_bytes", "64KiB").set("buffer.max_bytes", "4MiB");
    let mut relay = builder.set("ingest.max_body_bytes", "32KiB").set("ingest.max_event_bytes", "32KiB").start();
    let mut first_seqs = Vec::new();
    for round in 0..40_u32 {
        let mut batch = events(round * 10..round * 10 + 10);
        batch.as_array_mut().unwrap().iter_mut().for_each(|event| event["pad"] = json!("x".repeat(1000)));
        first_seqs.push((counts(&relay.client().post_json("/v1/events", &batch).expect(202).json())[2], batch));
        if round % 13 == 12 {
            relay.restart();
        }
    }
    relay.wait_metric("buffer_events", SOON, |backlog| backlog == 0.0);
    wait::until_ok("segments to be freed", SOON, || match relay.status()["buffer"]["segments"].as_u64() {
        Some(few) if few <= 3 => Ok(()),
        other => Err(format!("{other:?}")),
    });
    for _ in 0..2 {
        relay.restart();
        let mut client = relay.client();
        for (first_seq, batch) in &first_seqs {
            assert_eq!(counts(&client.post_json("/v1/events", batch).expect(202).json()), [0, 10, *first_seq, first_seq + 9]);
        }
        let mut other = event("e7");
        other["pad"] = json!("another");
        conflict(&mut client, &other, 0);
    }
    assert_eq!(read_topic(&kafka.bootstrap(), &topic).len(), 400);
}

// Goal: exactly as many ids are remembered as I set, and with 0 none.
#[test]
fn the_window_is_as_long_as_it_is_set() {
    let relay = Relay::builder().set("ingest.dedup_window_events", 20).start();
    let mut client = relay.client();
    client.post_json("/v1/events", &events(0..10)).expect(202);
    client.post_json("/v1/events", &events(10..25)).expect(202);
    assert_eq!(counts(&client.post_json("/v1/events", &event("e5")).expect(202).json()), [0, 1, 6, 6]);
    assert_eq!(counts(&client.post_json("/v1/events", &event("e4")).expect(202).json()), [1, 0, 26, 26]);
    client.get("/v1/events/e3").expect(404);

    let off = Relay::builder().set("ingest.dedup_window_events", 0).start();
    let mut client = off.client();
    for seq in 1..=2 {
        assert_eq!(counts(&client.post_json("/v1/events", &event("e")).expect(202).json()), [1, 0, seq, seq]);
    }
    assert!(client.get("/v1/events/e").expect(404).text().contains("dedup_window_events = 0"));
    assert!(!off.buffer_dir().join("ids").exists());
}

// Goal: I can ask by its id what became of an event: on disk, in Kafka at a place where a consumer finds it, told to Redis; after a restart
// nothing is made up; and an id that nobody sent is not found.
#[test]
fn a_receipt_follows_the_event() {
    let kafka = Kafka::start(1);
    kafka.create_topic("events", 4, 1, &[]);
    let redis = Redis::start();
    let mut relay = Relay::builder().kafka(&kafka.bootstrap(), "events").redis(&redis.url()).start();
    kafka.pause(0);
    let mut client = relay.client();
    client.post_json("/v1/events", &json!([event("one"), event("a b/ü")])).expect(202);
    let receipt = client.get("/v1/events/one").expect(200).json();
    assert_eq!((&receipt["id"], &receipt["seq"], &receipt["state"]), (&json!("one"), &json!(1), &json!("buffered")), "{receipt}");
    assert!(receipt["buffered"]["at"].as_str().unwrap().ends_with('Z'), "{receipt}");
    assert_eq!(receipt.get("acked"), None, "{receipt}");
    kafka.resume(0);

    let receipt = wait::until_ok("Redis to have it", SOON, || {
        let receipt = client.get("/v1/events/a%20b%2F%C3%BC").expect(200).json();
        if receipt["state"] == "notified" { Ok(receipt) } else { Err(receipt) }
    });
    let records = read_topic(&kafka.bootstrap(), "events");
    let place = &receipt["acked"];
    let found = records.iter().find(|record| place["partition"] == record.partition && place["offset"] == record.offset);
    assert_eq!(found.map(|record| record.json()["id"].clone()), Some(json!("a b/ü")), "{receipt}");
    assert_eq!(place["topic"], "events", "{receipt}");
    let at = |part: &str| receipt[part]["at"].as_str().unwrap().to_owned();
    assert!(at("buffered") <= at("acked") && at("acked") <= at("notified"), "{receipt}");

    client.get("/v1/events/nobody").expect(404);
    client.post("/v1/events/one", "application/json", &[], "{}").expect(405);
    relay.wait_metric("buffer_events", SOON, |backlog| backlog == 0.0);
    relay.stop(SOON);
    relay.restart();
    let receipt = relay.client().get("/v1/events/one").expect(200).json();
    assert_eq!((&receipt["state"], &receipt["acked"]["offset"]), (&json!("acked"), &Value::Null), "{receipt}");
}
