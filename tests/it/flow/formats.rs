//! Every format through every door: what a consumer of Kafka and a subscriber of Redis see of each event.

use std::{collections::HashMap, fmt::Write as _, time::SystemTime};

use serde_json::{Value, json};

use super::{SOON, Stream, doors::Door, relay_id};
use crate::support::{
    consume::{Record, read_count},
    http::Response,
    subscriber::Message,
};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A request, and what must come of it.
struct Case {
    name: &'static str,
    headers: Vec<(&'static str, String)>,
    body: String,
    events: Vec<Event>,
}

/// An event and where it must be found.
struct Event {
    /// The key.
    source_id: &'static str,
    channel: &'static str,
    value: Wanted,
}

/// What the Kafka value must be.
enum Wanted {
    /// These bytes, and an id and a time where they are absent.
    Same(String),
    /// This JSON, and a time when it has none; these bytes are somewhere in it.
    Json(Value, &'static str),
}

// `@` stands for something that no other request has.
const WHOLE: &str = r#"{"type":"push","id":"whole-@", "time":"2026-01-02T03:04:05.006+01:00","source_type":"repo","source_id":"owner/repo",
  "payload":{"n":1.10,"big":12345678901234567890123,"text":"caf\u00e9 \ud83d\ude00 ü","n2":-0.0e-7} , "other":[1, 2 ,{"id":7}] }"#;
const WHOLE_LINE: &str = r#"{"source_id":"owner/repo","source_type":"repo","time":"2026-01-02T03:04:05z","id":"line-@","type":"push"}"#;
const BARE: &str = r#"{"type":"star","source_type":"user","source_id":"octocat","payload":null}"#;
const ID_ONLY: &str = r#"{"source_id":"octocat","id":"id-only-@","source_type":"user","type":"star"}"#;
const TIME_ONLY: &str = r#"{ "time":"2026-01-02T03:04:05Z","type":"star","source_type":"user","source_id":"octocat","payload":[[],{}]}"#;
const STRUCTURED: &str = r#"{"specversion":"1.0","id":"@","type":"push","source":"/repo/owner/repo","time":"2026-01-02T03:04:05Z",
    "subject":"main","data":{"n": 1.10,"s":"\u00e9"}}"#;
const UNTIMED: &str = r#"{"specversion":"1.0","id":"@","type":"star","source":"/user/octocat","data_base64":"aGk="}"#;

/// The payload of the `CloudEvents` as it was sent.
const DATA: &str = r#"{"n": 1.10,"s":"\u00e9"}"#;
const PAYLOAD: &str = r#""payload":{"n": 1.10,"s":"\u00e9"}"#;

fn octocat(value: Wanted) -> Event {
    Event { source_id: "octocat", channel: "events:user:octocat", value }
}

fn repo(value: Wanted) -> Event {
    Event { source_id: "owner/repo", channel: "events:repo:owner/repo", value }
}

/// What becomes of [`STRUCTURED`].
fn push_of_cloud_event(id: &str) -> Value {
    json!({"id": id, "type": "push", "source_type": "repo", "source_id": "owner/repo", "specversion": "1.0",
        "time": "2026-01-02T03:04:05Z", "subject": "main", "payload": {"n": 1.10, "s": "é"}})
}

fn headers(content_type: &str, more: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    let more = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
    std::iter::once(("content-type", content_type.to_owned())).chain(more).collect()
}

fn cases(door: Door) -> Vec<Case> {
    [native_cases(door), cloud_event_cases(door)].into_iter().flatten().collect()
}

fn native_cases(door: Door) -> Vec<Case> {
    let tagged = |text: &str, tag: &str| text.replace('@', &format!("{tag}-{door:?}"));
    let same = |text: &str| Wanted::Same(text.to_owned());
    let [whole, in_array] = ["object", "array"].map(|tag| tagged(WHOLE, tag));
    let [line, id_only] = [WHOLE_LINE, ID_ONLY].map(|text| tagged(text, "line"));
    let whole_line = Case {
        name: "NDJSON whose events are whole",
        headers: headers("application/x-ndjson", &[]),
        body: format!("{line}\n{id_only}\n"),
        events: vec![repo(same(&line)), octocat(same(&id_only))],
    };
    vec![
        Case {
            name: "a JSON object",
            headers: headers("application/json", &[("traceparent", TRACE)]),
            body: format!(" {whole}\n"),
            events: vec![repo(same(&whole))],
        },
        Case {
            name: "a JSON array",
            headers: headers("application/json; charset=utf-8", &[]),
            body: format!("[{BARE},\n {in_array} ,{TIME_ONLY}]"),
            events: vec![octocat(same(BARE)), repo(same(&in_array)), octocat(same(TIME_ONLY))],
        },
        Case {
            name: "NDJSON",
            headers: headers("application/x-ndjson", &[("traceparent", TRACE)]),
            body: format!("{TIME_ONLY}\r\n\n{BARE}"),
            events: vec![octocat(same(TIME_ONLY)), octocat(same(BARE))],
        },
        whole_line,
    ]
}

fn cloud_event_cases(door: Door) -> Vec<Case> {
    let [structured, first, second, binary] = ["structured", "first", "second", "binary"].map(|tag| format!("{tag}-{door:?}"));
    let untimed = json!({"id": second, "type": "star", "source_type": "user", "source_id": "octocat", "specversion": "1.0",
        "payload_base64": "aGk="});
    let mut of_binary = push_of_cloud_event(&binary);
    of_binary["datacontenttype"] = json!("application/json");
    let attributes = [
        ("ce-specversion", "1.0"),
        ("ce-id", &binary),
        ("ce-type", "push"),
        ("ce-source", "/repo/owner/repo"),
        ("ce-time", "2026-01-02T03:04:05Z"),
        ("ce-subject", "main"),
        ("traceparent", TRACE),
    ];
    vec![
        Case {
            name: "CloudEvents, structured",
            headers: headers("application/cloudevents+json", &[]),
            body: STRUCTURED.replace('@', &structured),
            events: vec![repo(Wanted::Json(push_of_cloud_event(&structured), PAYLOAD))],
        },
        Case {
            name: "CloudEvents, batch",
            headers: headers("application/cloudevents-batch+json", &[("traceparent", TRACE)]),
            body: format!("[{}, {}]", STRUCTURED.replace('@', &first), UNTIMED.replace('@', &second)),
            events: vec![repo(Wanted::Json(push_of_cloud_event(&first), PAYLOAD)), octocat(Wanted::Json(untimed, ""))],
        },
        Case {
            name: "CloudEvents, binary",
            headers: headers("application/json", &attributes),
            body: DATA.to_owned(),
            events: vec![repo(Wanted::Json(of_binary, PAYLOAD))],
        },
    ]
}

/// A request that was accepted.
struct Sent {
    label: String,
    case: Case,
    reply: Value,
    /// Unix milliseconds before the request and after its reply.
    between: (i64, i64),
}

// Goal: whatever format and whichever door I use, Kafka has my event byte for byte under its source as key, with the time of
// acceptance, its number and my trace; id and time are added only where I left them out; and a subscriber is told of exactly
// id, type and source on the channel of that source.
#[test]
fn every_format_through_every_door_comes_out_as_it_went_in() {
    let stream = Stream::start("formats", 3);
    let mut sent = Vec::new();
    for door in Door::ALL {
        sent.extend(cases(door).into_iter().map(|case| post(&stream, door, case)));
    }
    let total: usize = sent.iter().map(|sent| sent.case.events.len()).sum();

    let records = read_count(&stream.kafka.bootstrap(), &stream.topic, total, SOON);
    let messages = stream.notifications(total);

    assert_eq!(records.len(), total);
    let relay = relay_id(&stream.relay);
    for sent in &sent {
        sent.check(&relay, &records, &messages);
    }
}

fn post(stream: &Stream, door: Door, case: Case) -> Sent {
    let label = format!("{} through {door:?}", case.name);
    let headers: Vec<_> = case.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let before = now_ms();
    let Response { status, body, .. } = door.post(&stream.relay, &headers, &case.body);
    let reply: Value = serde_json::from_slice(&body).unwrap_or_default();
    assert_eq!(status, 202, "{label}: {reply}");
    Sent { label, case, reply, between: (before, now_ms()) }
}

impl Sent {
    fn check(&self, relay: &str, records: &[Record], messages: &[Message]) {
        let Self { label, case, reply, .. } = self;
        let first_seq = reply["first_seq"].as_u64().expect("first_seq");
        assert_eq!(reply["accepted"], case.events.len(), "{label}: {reply}");
        assert_eq!(reply["last_seq"], first_seq + case.events.len() as u64 - 1, "{label}: {reply}");
        assert_eq!((&reply["ack"], &reply["durable"]), (&json!("buffered"), &json!(true)), "{label}: {reply}");
        let by_number: HashMap<_, _> = records.iter().map(|record| (record.header("dualstream").unwrap_or_default(), record)).collect();
        let mut ids = Vec::new();
        let mut made_ids = false;
        for (seq, event) in (first_seq..).zip(&case.events) {
            let number = format!("{relay}/{seq}");
            let record = by_number.get(number.as_bytes()).unwrap_or_else(|| panic!("{label}: no record {number}"));
            let json = record.json();
            self.check_record(event, record);
            made_ids |= self.check_value(event, record);
            check_notification(label, event, &json, messages);
            ids.push(json["id"].clone());
        }
        let told = reply.get("ids").cloned();
        assert_eq!(told, made_ids.then_some(Value::Array(ids)), "{label}: ids are told, in order, when the relay made any");
    }

    fn check_record(&self, event: &Event, record: &Record) {
        let label = &self.label;
        assert_eq!(record.key_str(), event.source_id, "{label}");
        let (before, after) = self.between;
        assert!((before..=after).contains(&record.timestamp_ms), "{label}: {} is not in {before}..={after}", record.timestamp_ms);
        let trace = self.case.headers.iter().find(|(name, _)| *name == "traceparent").map(|(_, value)| value.as_bytes());
        let names: Vec<_> = record.headers.iter().map(|(name, _)| name.as_str()).collect();
        let wanted = ["dualstream", "content-type", "traceparent"];
        assert_eq!(names, wanted[..2 + usize::from(trace.is_some())], "{label}");
        assert_eq!(record.header("content-type"), Some(&b"application/json"[..]), "{label}");
        assert_eq!(record.header("traceparent"), trace, "{label}");
    }

    /// Says whether the relay made the id.
    fn check_value(&self, event: &Event, record: &Record) -> bool {
        let label = &self.label;
        let value = String::from_utf8(record.value.clone()).expect("a value is text");
        let mut json = record.json();
        match &event.value {
            Wanted::Same(original) => {
                let (rest, made_id) = self.without_what_was_absent(original, value, &json);
                assert_eq!(rest, *original, "{label}");
                made_id
            }
            Wanted::Json(wanted, bytes) => {
                assert!(value.contains(bytes), "{label}: {value} has not {bytes}");
                if wanted.get("time").is_none() {
                    self.check_time(&json);
                    json.as_object_mut().unwrap().remove("time");
                }
                assert_eq!(json, *wanted, "{label}");
                false
            }
        }
    }

    /// The value without an id and a time that were not sent, which are looked at; and whether there was such an id.
    fn without_what_was_absent(&self, original: &str, mut value: String, json: &Value) -> (String, bool) {
        let sent: Value = serde_json::from_str(original).unwrap();
        let mut take_out = |field: &str| {
            let mut member = String::new();
            write!(member, "\"{field}\":{},", json[field]).unwrap();
            assert_eq!(value.matches(&member).count(), 1, "{}: {value} has not once {member}", self.label);
            value = value.replacen(&member, "", 1);
        };
        if sent.get("time").is_none() {
            take_out("time");
            self.check_time(json);
        }
        let made_id = sent.get("id").is_none();
        if made_id {
            take_out("id");
            let id = uuid::Uuid::parse_str(json["id"].as_str().unwrap()).unwrap();
            assert_eq!(id.get_version_num(), 7, "{}", self.label);
        }
        (value, made_id)
    }

    fn check_time(&self, json: &Value) {
        let time: jiff::Timestamp = json["time"].as_str().expect("a time").parse().expect("RFC 3339");
        let (before, after) = self.between;
        assert!((before..=after).contains(&time.as_millisecond()), "{}: {time} is not in {before}..={after}", self.label);
    }
}

fn check_notification(label: &str, event: &Event, json: &Value, messages: &[Message]) {
    let wanted = format!(r#"{{"id":{},"type":{},"source_id":{}}}"#, json["id"], json["type"], json["source_id"]);
    let told: Vec<_> = messages.iter().filter(|message| message.payload == wanted).collect();
    assert_eq!(told.len(), 1, "{label}: {wanted} in {messages:#?}");
    assert_eq!(told[0].channel, event.channel, "{label}");
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).unwrap()
}
