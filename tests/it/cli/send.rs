//! `dualstream send`

use std::fs;

use serde_json::json;

use super::{SOON, nowhere, url};
use crate::support::{
    command::dualstream,
    consume::{Record, read_count, read_topic},
    kafka::Kafka,
    relay::Relay,
    scratch,
    socket::Address,
};

fn relay(name: &str) -> (&'static Kafka, String, Relay) {
    let kafka = Kafka::shared();
    let topic = kafka.topic(name, 1);
    let relay = Relay::builder().kafka(&kafka.bootstrap(), &topic).start();
    (kafka, topic, relay)
}

fn ids(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| record.json()["id"].as_str().expect("an id").to_owned()).collect()
}

// Goal: I can send one event from the command line, wait for Kafka, and read where it is.
#[test]
fn one_event_from_flags() {
    let (kafka, topic, relay) = relay("send");
    let dir = scratch::dir("send");
    let payload = dir.path().join("payload.json");
    fs::write(&payload, "{\"total\": 12.50}\n").unwrap();
    let event = ["--type", "order.created", "--source-type", "user", "--source-id", "42"];
    let Address::Unix(socket) = relay.ingest_socket() else { unreachable!("a socket has a path") };
    let (tcp, socket, payload) = (url(&relay, "ingest"), socket.to_str().unwrap().to_owned(), format!("@{}", payload.display()));

    let flags =
        [&["send", "--url", &tcp, "--ack", "kafka", "--timeout", "30s", "--id", "a1", "--payload", &payload][..], &event[..]].concat();
    let reply = dualstream(flags).run().expect(0).json();
    let second = dualstream([&["send", "--socket", &socket, "--payload", "[1]"][..], &event[..]].concat()).run().expect(0).json();

    assert_eq!(reply["ack"], "kafka", "{reply}");
    assert_eq!(reply["receipts"], json!([{"id": "a1", "seq": 1, "topic": topic, "partition": 0, "offset": 0}]));
    assert_eq!((&second["ack"], &second["first_seq"]), (&json!("buffered"), &json!(2)), "{second}");
    let records = read_count(&kafka.bootstrap(), &topic, 2, SOON);
    assert_eq!(ids(&records), ["a1", second["ids"][0].as_str().unwrap()]);
    assert_eq!((records[0].json()["payload"].clone(), records[0].key_str()), (json!({"total": 12.5}), "42"));
    assert!(String::from_utf8_lossy(&records[0].value).contains(r#""payload":{"total": 12.50}"#), "digits stay as they were typed");
}

// Goal: a file of events goes in, in order, in requests of the size I choose, each answered on a line of its own; sent again, nothing is stored
// twice, and I am told so.
#[test]
fn lines_from_standard_input() {
    let (kafka, topic, relay) = relay("send-lines");
    let line = |n: usize| format!("{{\"id\":\"l{n}\",\"type\":\"t\",\"source_type\":\"user\",\"source_id\":\"1\"}}\n");
    let text: String = (0..5).map(|n| line(n) + "\n").collect();

    let ended = dualstream(["send", "--url", &url(&relay, "ingest"), "--batch", "2"]).stdin(&text).run().expect(0);

    let accepted: Vec<_> = ended.json_lines().iter().map(|reply| reply["accepted"].as_u64().unwrap()).collect();
    assert_eq!(accepted, [2, 2, 1]);
    assert!(ended.stderr.contains("5 events accepted"), "{ended:#?}");
    let records = read_count(&kafka.bootstrap(), &topic, 5, SOON);
    assert_eq!(ids(&records), ["l0", "l1", "l2", "l3", "l4"]);

    let again = dualstream(["send", "--url", &url(&relay, "ingest")]).stdin(&(text + &line(5))).run().expect(0);
    assert!(again.stderr.contains("1 events accepted, 5 known before and not stored again"), "{again:#?}");
}

// Goal: when a line is wrong I learn which, that nothing of its request was stored, and how much before it was.
#[test]
fn a_wrong_line_is_named() {
    let (kafka, topic, relay) = relay("send-wrong");
    let good = |n: usize| format!("{{\"id\":\"g{n}\",\"type\":\"t\",\"source_type\":\"user\",\"source_id\":\"1\"}}\n");
    let wrong = "{\"id\":\"w\",\"type\":\"t\",\"source_type\":\"user\"}\n";
    let text = [good(0), good(1), good(2), wrong.to_owned(), good(4)].concat();

    let ended = dualstream(["send", "--url", &url(&relay, "ingest"), "--batch", "2", "--ack", "kafka"]).stdin(&text).run().expect(1);

    for part in ["line 4: source_id: is required", "422", "the 2 events before it were accepted"] {
        assert!(ended.stderr.contains(part), "{part} in {ended:#?}");
    }
    assert_eq!(ids(&read_topic(&kafka.bootstrap(), &topic)), ["g0", "g1"]);
    let malformed = dualstream(["send", "--url", &url(&relay, "ingest")]).stdin("{\"id\":\"x\"\n").run().expect(1);
    assert!(malformed.stderr.contains("bad JSON at byte"), "{malformed:#?}");
}

// Goal: wrong usage is told before anything is sent, and nobody at the other end is told apart from a refusal.
#[test]
fn wrong_usage_and_nobody_there_have_codes_of_their_own() {
    let nowhere = format!("http://{}", nowhere());
    let event = ["--type", "t", "--source-type", "user", "--source-id", "42"];
    let wrong = dualstream([&["send", "--url", &nowhere, "--payload", "hello"][..], &event[..]].concat()).run().expect(2);
    assert!(wrong.stderr.contains("--payload is not JSON"), "{wrong:#?}");
    dualstream(["send", "--url", &nowhere, "--type", "t"]).run().expect(2);
    for ended in [
        dualstream([&["send", "--url", &nowhere][..], &event[..]].concat()).run(),
        dualstream(["send", "--url", &nowhere]).stdin("{}\n").run(),
        dualstream([&["send", "--socket", "/nonexistent/ingest.sock"][..], &event[..]].concat()).run(),
    ] {
        let ended = ended.expect(3);
        assert!(ended.stderr.contains("cannot reach the relay at"), "{ended:#?}");
        assert_eq!(ended.stdout, "");
    }
}
