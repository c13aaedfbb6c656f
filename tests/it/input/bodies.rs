//! Bodies that are no events, or whose events are wrong.

use serde_json::{Value, json};

use super::{EVENTS, JSON, LINES, MAX_BATCH_EVENTS, MAX_BODY_BYTES, MAX_EVENT_BYTES, Target, event_of};
use crate::support::http::Headers;

const GOOD: &str = r#"{"type":"t","source_type":"user","source_id":"42"}"#;

const CLOUD_EVENT: Headers<'static> = &[("content-type", "application/cloudevents+json")];
const CLOUD_EVENTS: Headers<'static> = &[("content-type", "application/cloudevents-batch+json")];

// Goal: bad JSON is refused with the byte where it goes wrong, counted from the start of the body, and with the event that it is in.
#[test]
fn bad_json_is_refused_with_its_place() {
    let mut target = Target::start("bad-json");
    // `!` marks the byte that is wrong once the mark itself is gone.
    for (headers, template, index) in [
        (JSON, r#"{"type":!}"#, None),
        (JSON, r#"{"type":"t" !"source_type":"user"}"#, None),
        (JSON, r#"{"type":"t"}!{"type":"t"}"#, None),
        (JSON, "!hello", None),
        (JSON, "[{},!]", Some(1)),
        (JSON, "[{} !{}]", Some(0)),
        (JSON, "\n {\n\"type\": \"t\",\n\"payload\": [1, !]}", None),
        (LINES, "{}\n{}\n{\"a\":!}\n{}", Some(2)),
        (LINES, "{}\r\n{} !{}\r\n", Some(1)),
        (CLOUD_EVENT, r#"{"id":"1",!}"#, None),
        (CLOUD_EVENTS, "!{}", None),
        (CLOUD_EVENTS, r#"[{"id":tru!}]"#, Some(0)),
    ] {
        let at = template.find('!').expect("a mark");
        let body = template.replacen('!', "", 1);
        let problem = target.refused(400, "malformed", headers, &body);
        let detail = problem["detail"].as_str().unwrap();
        let place = index.map_or_else(String::new, |index: u32| format!(", in event {index}"));
        assert!(detail.starts_with(&format!("bad JSON at byte {at}{place}: ")), "{body:?} is wrong at {at}{place}, told was {detail:?}");
        assert_eq!(problem["errors"][0]["index"], json!(index), "{problem}");
    }
    target.check_unharmed(&[]);
}

// Goal: bytes that are not UTF-8 are refused with the first such byte, in every format whose value would be text.
#[test]
fn bytes_that_are_not_utf8_are_refused_with_their_place() {
    let mut target = Target::start("utf-8");
    let mut body = GOOD.replace("42", "4?2").into_bytes();
    let at = body.iter().position(|byte| *byte == b'?').unwrap();
    body[at] = 0xff;
    let overlong = [&GOOD.as_bytes()[..at], &[0xc0, 0xaf], &GOOD.as_bytes()[at..]].concat();
    let surrogate = [&GOOD.as_bytes()[..at], &[0xed, 0xa0, 0x80], &GOOD.as_bytes()[at..]].concat();
    for headers in [JSON, LINES, CLOUD_EVENT, CLOUD_EVENTS] {
        for body in [&body, &overlong, &surrogate] {
            let problem = target.refused(400, "malformed", headers, body);
            assert_eq!(problem["detail"], format!("not UTF-8 at byte {at}"), "{problem}");
        }
    }
    target.check_unharmed(&[]);
}

// Goal: one wrong event among forty refuses all forty, and the reply names that event and the field; several are all named.
#[test]
fn a_missing_field_is_named_and_nothing_of_the_request_is_stored() {
    let mut target = Target::start("missing-field");
    let mut events: Vec<Value> = (0..40).map(|_| serde_json::from_str(GOOD).unwrap()).collect();
    events[17].as_object_mut().unwrap().remove("source_id");
    let lines: Vec<_> = events.iter().map(Value::to_string).collect();
    for (headers, body) in [(JSON, json!(events).to_string()), (LINES, lines.join("\n"))] {
        let problem = target.refused(422, "invalid", headers, body);
        assert_eq!(problem["errors"], json!([{"index": 17, "field": "source_id", "problem": "is required"}]));
    }

    events[3]["type"] = json!(7);
    events[39]["time"] = json!("yesterday");
    let problem = target.refused(422, "invalid", JSON, json!(events).to_string());
    let named: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|error| (error["index"].clone(), error["field"].clone())).collect();
    assert_eq!(named, [(json!(3), json!("type")), (json!(17), json!("source_id")), (json!(39), json!("time"))]);
    let invalid = target.relay.metric(r#"ingest_events_total{result="invalid"}"#);
    assert_eq!(invalid, 120.0, "three times forty");
    target.check_unharmed(&[]);
}

// Goal: a field that is empty, of the wrong type, given twice, too long or unprintable is refused by its name.
#[test]
fn a_wrong_field_is_refused_by_its_name() {
    let mut target = Target::start("wrong-field");
    let long = format!(r#""{}""#, "x".repeat(1025));
    for (field, value, part) in [
        ("source_id", r#""""#, "must not be empty"),
        ("source_type", r#""""#, "must not be empty"),
        ("type", r#""""#, "must not be empty"),
        ("id", r#""""#, "must not be empty"),
        ("source_id", "42", "must be a string, not a number"),
        ("source_id", "null", "must be a string, not null"),
        ("type", "[\"t\"]", "must be a string, not an array"),
        ("id", "7", "must be a string, not a number"),
        ("time", r#""2026-02-30T00:00:00Z""#, "must be an RFC 3339 time"),
        ("time", "1767225600", "must be a string, not a number"),
        ("source_id", &long, "is 1025 bytes long, the limit is 1024"),
        ("source_type", r#""a\u0000b""#, "must not hold control characters"),
    ] {
        let mut event: Value = serde_json::from_str(GOOD).unwrap();
        event[field] = serde_json::from_str(value).unwrap();
        let problem = target.refused(422, "invalid", JSON, event.to_string());
        let errors = problem["errors"].as_array().unwrap();
        assert_eq!(errors.len(), 1, "{problem}");
        assert_eq!((&errors[0]["index"], &errors[0]["field"]), (&json!(0), &json!(field)), "{problem}");
        assert!(errors[0]["problem"].as_str().unwrap().starts_with(part), "{problem}");
    }
    let twice = GOOD.replacen('{', r#"{"source_id":"1","#, 1);
    let problem = target.refused(422, "invalid", JSON, twice);
    assert_eq!(problem["errors"], json!([{"index": 0, "field": "source_id", "problem": "is given more than once"}]));
    target.check_unharmed(&[]);
}

// Goal: JSON that is no event at all, and a request without an event, are told as such.
#[test]
fn what_is_no_event_is_refused() {
    let mut target = Target::start("no-event");
    for body in ["7", "\"text\"", "null", "true", "[7]", "[[]]"] {
        let problem = target.refused(422, "invalid", JSON, body);
        assert_eq!(problem["errors"], json!([{"index": 0, "field": "event", "problem": "must be a JSON object"}]), "{body}");
    }
    let _ = target.refused(422, "empty", JSON, "[ ]");
    let _ = target.refused(422, "empty", LINES, "\n\r\n  \n");
    let _ = target.refused(422, "empty", LINES, "");
    let _ = target.refused(422, "empty", CLOUD_EVENTS, "[]");
    let _ = target.refused(400, "malformed", JSON, "");
    let deep = GOOD.replacen('{', &format!(r#"{{"payload":{}{},"#, "[".repeat(127), "]".repeat(127)), 1);
    let problem = target.refused(422, "invalid", JSON, deep);
    assert!(problem["errors"][0]["problem"].as_str().unwrap().contains("nested deeper than 127"), "{problem}");
    target.check_unharmed(&[]);
}

// Goal: what is too large, as an event, as a batch or as a body, is refused with the limit that it breaks; what just fits is taken.
#[test]
fn what_is_too_large_is_refused_with_the_limit() {
    let mut target = Target::start("too-large");
    let large = event_of(MAX_EVENT_BYTES + 1);
    let problem = target.refused(413, "too-large", JSON, format!("[{GOOD},{large}]"));
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.starts_with("event 1 is ") && detail.contains(&format!("{MAX_EVENT_BYTES} (ingest.max_event_bytes)")), "{detail}");
    assert_eq!(problem["errors"][0]["index"], 1, "{problem}");
    // With the id and the time that the relay adds it is over the limit.
    let almost = event_of(MAX_EVENT_BYTES);
    let _ = target.refused(413, "too-large", JSON, &almost[..]);

    let many = format!("[{}]", vec![GOOD; MAX_BATCH_EVENTS + 1].join(","));
    let problem = target.refused(413, "too-large", JSON, &many);
    assert!(problem["detail"].as_str().unwrap().contains(&format!("more than {MAX_BATCH_EVENTS} events")), "{problem}");
    let _ = target.refused(413, "too-large", LINES, format!("{GOOD}\n").repeat(MAX_BATCH_EVENTS + 1));

    let body = format!("{}{GOOD}", " ".repeat(MAX_BODY_BYTES));
    let problem = target.refused(413, "too-large", JSON, &body);
    let limit = format!("larger than {MAX_BODY_BYTES} bytes (ingest.max_body_bytes)");
    assert!(problem["detail"].as_str().unwrap().contains(&limit), "{problem}");
    // Nobody says how long this one is.
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let head = format!("POST {EVENTS} HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n");
    let mut raw = crate::support::raw::Raw::connect(&target.relay.ingest());
    // It may stop reading before the end.
    drop(raw.send(head + &chunked));
    let response = raw.response().expect("an answer");
    let _ = target.count_refusal(&response, 413, "too-large");

    let fits = GOOD.replacen('{', "{\"id\":\"fits\",", 1);
    let fits = format!("{}{fits}", " ".repeat(MAX_BODY_BYTES - fits.len()));
    let response = target.client.request("POST", EVENTS, JSON, &fits);
    target.count_accepted(&response, 202, "fits");
    target.check_unharmed(&[]);
}

// Goal: a wrong CloudEvent is refused in the words of CloudEvents: by its attribute, or by its header.
#[test]
fn a_wrong_cloud_event_is_refused_by_attribute_or_header() {
    let mut target = Target::start("wrong-cloud-event");
    let event = json!({"specversion": "1.0", "id": "1", "type": "t", "source": "/user/42"});
    for (field, value) in [
        ("id", json!("")),
        ("id", json!(null)),
        ("type", json!(7)),
        ("source", json!("user/42")),
        ("source", json!("/user/")),
        ("specversion", json!("0.3")),
        ("time", json!("now")),
        ("data_base64", json!("*")),
    ] {
        let mut wrong = event.clone();
        wrong[field] = value;
        let problem = target.refused(422, "invalid", CLOUD_EVENT, wrong.to_string());
        assert_eq!(problem["errors"][0]["field"], field, "{problem}");
        let problem = target.refused(422, "invalid", CLOUD_EVENTS, json!([event, wrong]).to_string());
        assert_eq!((&problem["errors"][0]["index"], &problem["errors"][0]["field"]), (&json!(1), &json!(field)), "{problem}");
    }
    let problem = target.refused(422, "invalid", &[("ce-id", "1"), ("ce-source", "x"), ("ce-type", "t")], "");
    let fields: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["ce-specversion", "ce-source"], "{problem}");
    let binary: Headers<'_> =
        &[("content-type", "application/json"), ("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-type", "t"), ("ce-source", "/user/42")];
    let problem = target.refused(400, "malformed", binary, "{\"a\":}");
    assert!(problem["detail"].as_str().unwrap().starts_with("bad JSON at byte 5: "), "{problem}");
    target.check_unharmed(&[]);
}
