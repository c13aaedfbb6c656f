//! Events in our own format: `application/json` and `application/x-ndjson`.

use super::*;
use crate::ingest::decode::Format::{Json, JsonLines};

const WHOLE: &str = r#"{"id":"a","type":"t","source_type":"u","source_id":"1","time":"2026-01-01T00:00:00Z","payload":{"x":[1,2]}}"#;

/// The rest of an event that has all required fields, to be put behind something of interest.
const REST: &str = r#""type":"t","source_type":"u","source_id":"1","time":"2026-01-01T00:00:00Z"}"#;

// Goal: what I send is what arrives in Kafka, byte for byte.
#[test]
fn a_whole_event_is_kept_verbatim() {
    check(Json, WHOLE, &format!("a t u 1 {WHOLE}"));
    check(Json, format!("\r\n\t {WHOLE} \n"), &format!("a t u 1 {WHOLE}"));
    let odd = "{ \"unknown\" : [ { } ],\n \"source_id\":\"1\", \"time\" : \"2026-01-01T00:00:00Z\",\"type\":\"t\" ,\"source_type\":\"u\",\"id\":\"a\" }";
    check(Json, odd, &format!("a t u 1 {odd}"));
    let unicode = WHOLE.replace("\"1\"", "\"Zürich 東京 🦀\"");
    check(Json, &unicode, &format!("a t u Zürich 東京 🦀 {unicode}"));
    let number = WHOLE.replace("[1,2]", "1e999999");
    check(Json, &number, &format!("a t u 1 {number}"));
}

// Goal: I need not make ids and times; they are put in at the front and nothing else of my event moves.
#[test]
fn id_and_time_are_put_in_when_absent() {
    let tail = r#""type":"t","source_type":"u","source_id":"1","payload":null}"#;
    check(Json, format!("{{{tail}"), &format!(r#"<id> t u 1 {{"id":"<id>","time":"{NOW}",{tail}"#));
    check(Json, format!(r#"{{"id":"a",{tail}"#), &format!(r#"a t u 1 {{"time":"{NOW}","id":"a",{tail}"#));
    check(Json, format!("{{ {REST}"), &format!(r#"<id> t u 1 {{"id":"<id>", {REST}"#));
}

// Goal: a text with JSON escapes means the text, as the Kafka key and in the channel, while the event keeps my spelling.
#[test]
fn escapes_are_resolved_beside_the_event() {
    let escaped = r#"{"id":"a\"b","type":"\u0074","source_type":"u\/v","source_id":"\ud83e\udd80","time":"2026-01-01T00:00:00Z"}"#;
    check(Json, escaped, &format!("a\"b t u/v 🦀 {escaped}"));
    let escaped_key = r#"{"\u0069d":"a","type":"t","source_type":"u","source_id":"1","time":"2026-01-01T00:00:00Z"}"#;
    check(Json, escaped_key, &format!("a t u 1 {escaped_key}"));
    check(Json, format!(r#"{{"\u0069d":"a","id":"b",{REST}"#), "0 id is given more than once");
}

// Goal: one request carries many events, and they stay in order.
#[test]
fn arrays() {
    let two = |between: &str| format!("[{WHOLE}{between}{}]", WHOLE.replace("\"a\"", "\"b\""));
    let expect = format!("a t u 1 {WHOLE}\nb t u 1 {}", WHOLE.replace("\"a\"", "\"b\""));
    check(Json, two(","), &expect);
    check(Json, format!(" {} \n", two(" ,\n ")), &expect);
    check(Json, format!("[\n{WHOLE}\n]"), &format!("a t u 1 {WHOLE}"));
}

// Goal: NDJSON as tools really write it: CRLF, blank lines, with or without a last newline.
#[test]
fn lines() {
    let other = WHOLE.replace("\"a\"", "\"b\"");
    let expect = format!("a t u 1 {WHOLE}\nb t u 1 {other}");
    for body in [
        format!("{WHOLE}\n{other}"),
        format!("{WHOLE}\n{other}\n"),
        format!("{WHOLE}\r\n{other}\r\n"),
        format!("\n\n{WHOLE}\n  \n\t{other} \n\n"),
    ] {
        check(JsonLines, body, &expect);
    }
    check(
        JsonLines,
        format!("{WHOLE}{other}"),
        &format!("bad JSON at byte {}, in event 0: more follows on the line; each event is a line of its own", WHOLE.len()),
    );
    check(JsonLines, format!("[{WHOLE}]"), "0 event must be a JSON object");
    // A million blank lines are a moment's work, not a million looks at the rest.
    let blank = "\n".repeat(1_000_000);
    check(JsonLines, format!("{blank}{WHOLE}{blank}"), &format!("a t u 1 {WHOLE}"));
    let broken = format!("{WHOLE}\n{{\"id\":\n\"a\"}}");
    check(JsonLines, &broken, &format!("bad JSON at byte {}, in event 1: EOF while parsing a value", WHOLE.len() + 7));
}

// Goal: an empty request is told so, rather than accepted as nothing.
#[test]
fn nothing() {
    check(Json, "[]", "there is no event in the request");
    check(Json, " [ ] ", "there is no event in the request");
    check(JsonLines, "", "there is no event in the request");
    check(JsonLines, "\n \r\n", "there is no event in the request");
    check(Json, "", "bad JSON at byte 0: expected an event, found the end");
    check(Json, "  \n", "bad JSON at byte 3: expected an event, found the end");
}

// Goal: the reply points at the byte where my JSON is broken.
#[test]
fn malformed() {
    check(Json, "{", "bad JSON at byte 1: EOF while parsing an object");
    check(Json, "{\"id\":\"a\"", "bad JSON at byte 9: EOF while parsing an object");
    check(Json, "{\"id\":tru}", "bad JSON at byte 9: expected ident");
    check(Json, "{\"id\":\"a\" \"type\"}", "bad JSON at byte 10: expected `,` or `}`");
    check(Json, "{\"id\":\"a\",}", "bad JSON at byte 10: trailing comma");
    check(Json, "{\n\"id\":\n x}", "bad JSON at byte 9: expected value");
    check(Json, "{\"id\":\"a\nb\"}", "bad JSON at byte 8: control character (\\u0000-\\u001F) found while parsing a string");
    check(Json, "{\"payload\":\"a\nb\"}", "bad JSON at byte 13: control character (\\u0000-\\u001F) found while parsing a string");
    check(Json, "{\"id\":\"\\ud800\"}", "bad JSON at byte 13: unexpected end of hex escape");
    check(Json, "{\"id\":\"\\x\"}", "bad JSON at byte 8: invalid escape");
    check(Json, "{\"payload\":01}", "bad JSON at byte 12: invalid number");
    check(Json, "{'id':1}", "bad JSON at byte 1: key must be a string");
    check(Json, "\u{feff}{}", "bad JSON at byte 0: expected value");
    check(Json, "hello", "bad JSON at byte 0: expected value");
    let rest = "more follows after the end; send one object, one array, or application/x-ndjson with an event per line";
    check(Json, format!("{WHOLE}\n{WHOLE}"), &format!("bad JSON at byte {}: {rest}", WHOLE.len() + 1));
    check(Json, format!("{WHOLE}]"), &format!("bad JSON at byte {}: {rest}", WHOLE.len()));
    let at = WHOLE.len() + 1;
    check(Json, format!("[{WHOLE}"), &format!("bad JSON at byte {at}, in event 0: the array is not closed"));
    check(Json, format!("[{WHOLE},"), &format!("bad JSON at byte {}, in event 1: expected an event, found the end", at + 1));
    check(Json, format!("[{WHOLE},]"), &format!("bad JSON at byte {}, in event 1: expected value", at + 1));
    check(Json, format!("[{WHOLE}{WHOLE}]"), &format!("bad JSON at byte {at}, in event 0: expected `,` or `]` after the event"));
    check(Json, format!("[{WHOLE},{{\"id\":}}]"), &format!("bad JSON at byte {}, in event 1: expected value", at + 7));
}

// Goal: bytes that are no text are refused with their place, for Kafka consumers expect UTF-8.
#[test]
fn not_utf8() {
    check(Json, b"{\"id\":\"\xff\"}", "not UTF-8 at byte 7");
    check(JsonLines, b"{}\n\xc3", "not UTF-8 at byte 3");
}

// Goal: one reply tells me everything that is wrong with my events.
#[test]
fn every_wrong_field_is_named() {
    check(Json, "{}", "0 type is required\n0 source_type is required\n0 source_id is required");
    check(
        Json,
        "[1,\"a\",null,[{}],{\"id\":1.5,\"type\":true,\"source_type\":[[]],\"source_id\":{\"a\":{}},\"time\":null}]",
        "
0 event must be a JSON object
1 event must be a JSON object
2 event must be a JSON object
3 event must be a JSON object
4 id must be a string, not a number
4 type must be a string, not a boolean
4 source_type must be a string, not an array
4 source_id must be a string, not an object
4 time must be a string, not null",
    );
    check(
        JsonLines,
        format!("{WHOLE}\n{{\"id\":\"\",\"type\":\"\",\"source_type\":\"a\\u0000\",\"source_id\":\"\\u007f\",\"time\":\"today\"}}"),
        "
1 id must not be empty
1 type must not be empty
1 source_type must not hold control characters
1 source_id must not hold control characters
1 time must be an RFC 3339 time such as 2026-01-02T03:04:05Z, no finer than nanoseconds",
    );
    let twice = r#"{"payload":1,"payload":2,"type":"t","type":"t","source_type":"u","source_id":"1"}"#;
    check(Json, twice, "0 payload is given more than once\n0 type is given more than once");
    check(Json, format!("{{\"id\":\"{}\",{REST}", "x".repeat(1025)), "0 id is 1025 bytes long, the limit is 1024");
}

// Goal: a thousand wrong events do not make an endless reply, but their number is told.
#[test]
fn the_list_of_wrong_fields_is_bounded() {
    let body = "{\"type\":1}\n".repeat(150);
    let Err(DecodeError::Invalid(errors)) = decode(JsonLines, &HeaderMap::new(), body.as_bytes()) else { panic!("accepted") };
    assert_eq!((errors.listed.len(), errors.total, errors.events), (FIELD_ERRORS_LISTED_MAX, 450, 150));
    assert_eq!(errors.listed[99].index, 33);
}

// Goal: limits are named together with what broke them.
#[test]
fn limits() {
    let long = |length: usize| {
        let head = format!("{{\"id\":\"a\",\"payload\":\"\",{REST}").len();
        format!("{{\"id\":\"a\",\"payload\":\"{}\",{REST}", "x".repeat(length - head))
    };
    check(Json, long(4096), &format!("a t u 1 {}", long(4096)));
    check(Json, format!("[{WHOLE},{}]", long(4097)), "event 1 is 4097 bytes of JSON as stored, the limit is 4096 (ingest.max_event_bytes)");
    let without_id = long(4096).replace("\"id\":\"a\",", "\"ix\":\"a\",");
    check(Json, without_id, "event 0 is 4140 bytes of JSON as stored, the limit is 4096 (ingest.max_event_bytes)");
    assert_eq!(decode(JsonLines, &HeaderMap::new(), format!("{WHOLE}\n").repeat(200).as_bytes()).unwrap().batch.count(), 200);
    check(JsonLines, format!("{WHOLE}\n").repeat(201), "the request holds more than 200 events (ingest.max_batch_events)");
}

// Goal: JSON so deep that a consumer's parser would fail on it is refused here.
#[test]
fn depth() {
    let nested = |levels: usize| format!("{{\"id\":\"a\",\"payload\":{}{},{REST}", "[".repeat(levels), "]".repeat(levels));
    check(Json, nested(126), &format!("a t u 1 {}", nested(126)));
    check(Json, nested(127), "0 event is nested deeper than 127 levels");
    check(Json, nested(2000), "0 event is nested deeper than 127 levels");
}

// Goal: an event whose topic Kafka would refuse is refused at the door, while somebody listens.
#[test]
fn topic_names() {
    let decode = |topic: &str, kind: &str| {
        let body = WHOLE.replace("\"t\"", &format!("\"{kind}\""));
        let headers = HeaderMap::new();
        let context = Context { headers: &headers, traceparent: None, now: NOW.parse().unwrap() };
        render(body.as_bytes(), decoder(topic).decode(Json, body.as_bytes(), &context))
    };
    assert!(decode("events", "a b").starts_with("a a b u 1"));
    assert!(decode("{source_type}.{type}", "order.created").starts_with("a order.created"));
    assert_eq!(
        decode("{source_type}.{type}", "a b").trim_end(),
        "0 topic would be \"u.a b\", which may hold only letters, digits, '.', '_' and '-' (kafka.topic is made from fields of the event)"
    );
    assert!(decode("{type}", "..").contains("must not be"));
}

// Goal: the trace of my request goes with every event of it.
#[test]
fn traceparent() {
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = HeaderMap::new();
    let context = Context { headers: &headers, traceparent: Some(trace), now: NOW.parse().unwrap() };
    let decoded = decoder("events").decode(JsonLines, format!("{WHOLE}\n{WHOLE}").as_bytes(), &context).unwrap();
    let traces: Vec<_> = Records::new(decoded.batch.payload()).map(|record| record.unwrap().traceparent).collect();
    assert_eq!(traces, [Some(trace), Some(trace)]);
}
