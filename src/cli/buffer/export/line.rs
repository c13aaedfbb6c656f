//! One exported event. Pure.

use super::super::super::exit::Failure;
use super::super::json;
use super::super::words::moment;
use crate::buffer::inspect::WaitingEvent;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;

#[derive(Serialize)]
struct Line<'a> {
    seq: u64,
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    source: String,
    source_type: &'a str,
    source_id: &'a str,
    time: String,
    accepted_ms: u64,
    headers: Headers<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

/// As in the Kafka record.
#[derive(Serialize)]
struct Headers<'a> {
    dualstream: String,
    #[serde(rename = "content-type")]
    content_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
}

/// The line of an event whose value is these bytes.
pub(super) fn line(relay_id: &str, event: &WaitingEvent, value: &[u8]) -> Result<String, Failure> {
    // As it is, when it is JSON and can stand on a line; whatever else is there comes through, too, and is marked.
    let text = std::str::from_utf8(value).ok().filter(|text| !text.contains(['\n', '\r']));
    let raw: Option<&RawValue> =
        text.and_then(|text| serde_json::from_str(text).ok()).filter(|raw: &&RawValue| raw.get().len() == value.len());
    json(&Line {
        seq: event.seq,
        id: &event.id,
        kind: &event.kind,
        source: format!("/{}/{}", event.source_type, event.source_id),
        source_type: &event.source_type,
        source_id: &event.source_id,
        time: moment(event.accepted_ms),
        accepted_ms: event.accepted_ms,
        headers: Headers {
            dualstream: format!("{relay_id}/{}", event.seq),
            content_type: "application/json",
            traceparent: event.traceparent.as_deref(),
        },
        value: raw,
        value_base64: raw.is_none().then(|| STANDARD.encode(value)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventRef;

    // Goal: what was sent can be had back byte for byte, one event a line, whatever the bytes are.
    #[test]
    fn every_byte_comes_through() {
        let event = |value| EventRef { id: "i\n", kind: "t", source_type: "user", source_id: "4/2", traceparent: Some("00-a"), value };
        for (value, as_it_is) in [
            (&b"{\"n\": 1.10,\"\\u0041\":1}"[..], true),
            (b"{\"n\":\n1}", false),
            (b"{} ", false),
            (b"not json", false),
            (b"\xff\x00", false),
            (b"", false),
        ] {
            let line = line("r", &WaitingEvent::new(7, 0, &event(value), false), value).unwrap();
            assert!(!line.contains('\n'), "{line}");
            assert!(line.starts_with(
                r#"{"seq":7,"id":"i\n","type":"t","source":"/user/4/2","source_type":"user","source_id":"4/2","time":"1970-"#
            ));
            assert!(line.contains(r#""headers":{"dualstream":"r/7","content-type":"application/json","traceparent":"00-a"}"#), "{line}");
            if as_it_is {
                assert!(line.ends_with(&format!("\"value\":{}}}", std::str::from_utf8(value).unwrap())), "{line}");
            } else {
                let read: serde_json::Value = serde_json::from_str(&line).unwrap();
                assert_eq!(STANDARD.decode(read["value_base64"].as_str().unwrap()).unwrap(), value);
            }
        }
    }
}
