//! Records for consumers that speak `CloudEvents`: what the Kafka protocol binding (1.0) says of each mode, read from a real Kafka.

use serde_json::{Value, json};

use super::{SOON, relay_id};
use crate::support::{
    consume::{Record, read_count},
    kafka::Kafka,
    relay::Relay,
};

const TIME: &str = "2026-01-02T03:04:05Z";
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const BYTES: &[u8] = b"\x00\xff no text";

/// One event of each kind: native, structured with text, binary with bytes, binary without data.
fn send(relay: &Relay) {
    let mut client = relay.client();
    let native = format!(
        r#"{{"id":"native","type":"order.made","source_type":"a/b","source_id":"jane doe/ü","time":"{TIME}","payload":{{ "total": 12.50 }},"tenant":"acme","attempt":3,"notLegal":1,"list":[1]}}"#
    );
    client.post("/v1/events", "application/json", &[("traceparent", TRACE)], native).expect(202);
    let text = json!({
        "specversion": "1.0", "id": "text", "source": "/repo/owner/name", "type": "note", "time": TIME, "subject": "readme",
        "datacontenttype": "text/plain", "data": "say \"hi\"\n",
    });
    client.post("/v1/events", "application/cloudevents+json", &[], text.to_string()).expect(202);
    let attributes = |id| [("ce-specversion", "1.0"), ("ce-id", id), ("ce-source", "/user/7"), ("ce-type", "picture"), ("ce-time", TIME)];
    let with_type = [&attributes("bytes")[..], &[("content-type", "image/x"), ("ce-tenant", "acme")]].concat();
    client.request("POST", "/v1/events", &with_type, BYTES).expect(202);
    client.request("POST", "/v1/events", &attributes("empty"), b"").expect(202);
}

/// What came of [`send`], in its order.
fn records(format: &str) -> (Vec<Record>, String) {
    let kafka = Kafka::shared();
    let topic = kafka.topic("cloudevents", 1);
    let mut headers = toml::Table::new();
    headers.insert("environment".into(), "test".into());
    let relay = Relay::builder()
        .kafka(&kafka.bootstrap(), &topic)
        .set("kafka.format", format)
        .set("kafka.headers", headers)
        .set("kafka.compression", "zstd")
        .start();
    send(&relay);
    let records = read_count(&kafka.bootstrap(), &topic, 4, SOON);
    let relay = relay_id(&relay);
    for (seq, record) in (1..).zip(&records) {
        assert_eq!(record.header("dualstream"), Some(format!("{relay}/{seq}").as_bytes()));
        assert_eq!(record.header("environment"), Some(&b"test"[..]));
    }
    assert_eq!(records[0].header("traceparent"), Some(TRACE.as_bytes()));
    let keys: Vec<_> = records.iter().map(Record::key_str).collect();
    assert_eq!(keys, ["jane doe/ü", "owner/name", "7", "7"], "the key stays the source, so that formats can change on a topic");
    (records, relay)
}

// Goal: a consumer with an SDK of CloudEvents reads the attributes from ce_ headers and the data as the producer gave it, whichever
// format it was posted in.
#[test]
fn binary_mode_follows_the_kafka_binding() {
    let (records, _) = records("cloudevents-binary");
    let attributes = |record: &Record| -> Vec<(String, String)> {
        let of_events = record.headers.iter().filter(|(name, _)| name.starts_with("ce_"));
        let mut found: Vec<_> = of_events.map(|(name, value)| (name.clone(), String::from_utf8(value.clone()).unwrap())).collect();
        found.sort();
        found
    };
    let wanted = |id: &str, kind: &str, source: &str, more: &[(&str, &str)]| {
        let common = [("ce_specversion", "1.0"), ("ce_id", id), ("ce_type", kind), ("ce_source", source), ("ce_time", TIME)];
        let mut wanted: Vec<_> = common.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        wanted.sort();
        wanted
    };
    let native = wanted("native", "order.made", "/a%2Fb/jane%20doe/%C3%BC", &[("ce_tenant", "acme"), ("ce_attempt", "3")]);
    assert_eq!(attributes(&records[0]), native);
    assert_eq!(attributes(&records[1]), wanted("text", "note", "/repo/owner/name", &[("ce_subject", "readme")]));
    assert_eq!(attributes(&records[2]), wanted("bytes", "picture", "/user/7", &[("ce_tenant", "acme")]));
    assert_eq!(attributes(&records[3]), wanted("empty", "picture", "/user/7", &[]));
    let data: Vec<_> = records.iter().map(|record| (record.header("content-type"), record.value.as_slice())).collect();
    assert_eq!(data[0], (Some(&b"application/json"[..]), &b"{ \"total\": 12.50 }"[..]));
    assert_eq!(data[1], (Some(&b"text/plain"[..]), &b"say \"hi\"\n"[..]));
    assert_eq!(data[2], (Some(&b"image/x"[..]), BYTES));
    assert_eq!(data[3], (None, &b""[..]));
}

// Goal: a consumer of CloudEvents JSON reads the whole event from the value.
#[test]
fn structured_mode_follows_the_kafka_binding() {
    let (records, _) = records("cloudevents-structured");
    for record in &records {
        assert_eq!(record.header("content-type"), Some(&b"application/cloudevents+json; charset=UTF-8"[..]));
        assert!(record.headers.iter().all(|(name, _)| !name.starts_with("ce_")), "{record:?}");
    }
    let event = |id: &str, kind: &str, source: &str, more: Value| {
        let mut event = json!({"specversion": "1.0", "id": id, "type": kind, "source": source, "time": TIME});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    let wanted = [
        event("native", "order.made", "/a%2Fb/jane%20doe/%C3%BC", json!({"tenant": "acme", "attempt": 3, "data": {"total": 12.5}})),
        event("text", "note", "/repo/owner/name", json!({"subject": "readme", "datacontenttype": "text/plain", "data": "say \"hi\"\n"})),
        event("bytes", "picture", "/user/7", json!({"tenant": "acme", "datacontenttype": "image/x", "data_base64": "AP8gbm8gdGV4dA=="})),
        event("empty", "picture", "/user/7", json!({})),
    ];
    let read: Vec<_> = records.iter().map(Record::json).collect();
    assert_eq!(read, wanted);
    // What a structured consumer reads, it can post again: the same source, the same data.
    assert!(String::from_utf8(records[0].value.clone()).unwrap().contains(r#""data":{ "total": 12.50 }"#));
}
