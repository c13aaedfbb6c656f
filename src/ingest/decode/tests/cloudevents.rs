//! `CloudEvents` in JSON: structured and batch.

use super::*;
use crate::ingest::decode::Format::{CloudEvent, CloudEventBatch};

// Goal: my CloudEvents producer works unchanged, and consumers see one format.
#[test]
fn becomes_our_format() {
    check(
        CloudEvent,
        r#"{"specversion":"1.0","id":"a","type":"t","source":"/repo/owner/name","data":{"x": 1},"subject":"s","time":"2026-01-01T00:00:00Z","n":[1]}"#,
        r#"a t repo owner/name {"id":"a","type":"t","source_type":"repo","source_id":"owner/name","time":"2026-01-01T00:00:00Z","payload":{"x": 1},"specversion":"1.0","subject":"s","n":[1]}"#,
    );
    check(
        CloudEvent,
        r#"{"specversion":"1.0","id":"a\"\u00e9","type":"t","source":"/user/jane%20doe","data_base64":"aGk="}"#,
        &format!(
            "a\"é t user jane doe {}",
            format_args!(
                r#"{{"id":"a\"é","type":"t","source_type":"user","source_id":"jane doe","time":"{NOW}","payload_base64":"aGk=","specversion":"1.0"}}"#
            )
        ),
    );
}

// Goal: null means absent, as the CloudEvents JSON format has it.
#[test]
fn null_is_absent() {
    check(
        CloudEvent,
        r#"{"specversion":"1.0","id":"a","type":"t","source":"/u/1","time":null,"data_base64":null,"data":null,"subject":null}"#,
        &format!(
            r#"a t u 1 {{"id":"a","type":"t","source_type":"u","source_id":"1","time":"{NOW}","payload":null,"specversion":"1.0","subject":null}}"#
        ),
    );
    check(CloudEvent, r#"{"specversion":"1.0","id":null,"type":"t","source":"/u/1"}"#, "0 id is required");
}

// Goal: a batch is an array, in order.
#[test]
fn batch() {
    let event = |id: &str| format!(r#"{{"specversion":"1.0","id":"{id}","type":"t","source":"/u/1","time":"2026-01-01T00:00:00Z"}}"#);
    let value = |id: &str| {
        format!(
            r#"{id} t u 1 {{"id":"{id}","type":"t","source_type":"u","source_id":"1","time":"2026-01-01T00:00:00Z","specversion":"1.0"}}"#
        )
    };
    check(CloudEventBatch, format!("[{},{}]", event("a"), event("b")), &format!("{}\n{}", value("a"), value("b")));
    check(CloudEventBatch, "[]", "there is no event in the request");
    check(CloudEventBatch, event("a"), "bad JSON at byte 0: expected an array of events");
    check(CloudEvent, format!("[{}]", event("a")), "0 event must be a JSON object");
}

// Goal: everything that is wrong is named as I wrote it.
#[test]
fn wrong_attributes() {
    check(CloudEvent, "{}", "0 id is required\n0 type is required\n0 source is required\n0 specversion is required");
    let with = |extra: &str| format!(r#"{{"specversion":"1.0","id":"a","type":"t","source":"/u/1"{extra}}}"#);
    check(CloudEvent, with("").replace("1.0", "0.3"), "0 specversion must be \"1.0\"");
    check(CloudEvent, with("").replace("/u/1", "urn:x"), "0 source must be /{source_type}/{source_id}, such as /user/42");
    check(CloudEvent, with("").replace("/u/1", "/u/%00"), "0 source names a source whose type or id must not hold control characters");
    check(CloudEvent, with(r#","data":1,"data":2"#), "0 data is given more than once");
    check(CloudEvent, with(r#","data":1,"data_base64":"aGk=""#), "0 data_base64 must not stand beside data");
    check(CloudEvent, with(r#","data_base64":"a*""#), "0 data_base64 is not base64");
    check(CloudEvent, with(r#","data_base64":7"#), "0 data_base64 must be a string, not a number");
    check(CloudEvent, with(r#","payload":7"#), "0 event has an attribute payload, a name that the relay uses itself");
    check(CloudEvent, with(r#","\u0070ayload":7"#), "0 event has an attribute payload, a name that the relay uses itself");
    check(CloudEvent, with(r#","id":"b""#), "0 id is given more than once");
    check(CloudEvent, with(&format!(r#","data":{}{}"#, "[".repeat(127), "]".repeat(127))), "0 event is nested deeper than 127 levels");
}
