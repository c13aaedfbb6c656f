//! Decoding as a table: what a client sends, and what comes of it.

use super::*;
use crate::config::Placeholder;
use crate::event::Records;
use std::fmt::Write as _;

mod binary;
mod cloudevents;
mod fuzz;
mod json;
mod properties;

const NOW: &str = "2026-01-02T03:04:05.678Z";

fn decoder(topic: &str) -> Decoder {
    let config = IngestConfig { max_event_bytes: 4096, max_batch_events: 200, ..IngestConfig::default() };
    Decoder::new(&config, &Template::parse(topic, &[Placeholder::Type, Placeholder::SourceType]).unwrap(), Arc::default())
}

fn decode(format: Format, headers: &HeaderMap, body: &[u8]) -> Result<Decoded, DecodeError> {
    let context = Context { headers, traceparent: None, now: NOW.parse().unwrap() };
    decoder("events").decode(format, body, &context)
}

/// What the tests read from a stored value; the rest is only checked to be JSON.
#[derive(serde::Deserialize)]
struct Stored {
    id: String,
}

/// A line `id type source_type source_id value` per event, with `<id>` for an id the relay made; or a line per problem.
fn render(body: &[u8], result: Result<Decoded, DecodeError>) -> String {
    let mut text = String::new();
    match result {
        Ok(decoded) => {
            let mut made = 0;
            for record in Records::new(decoded.batch.payload()).map(Result::unwrap) {
                let value = std::str::from_utf8(record.value).unwrap();
                let parsed: Stored = serde_json::from_str(value).unwrap();
                assert_eq!(parsed.id, record.id, "the id beside the event is the one in it");
                let mut line = format!("{} {} {} {} {value}", record.id, record.kind, record.source_type, record.source_id);
                if uuid::Uuid::parse_str(record.id).is_ok_and(|id| id.get_version_num() == 7) {
                    made += 1;
                    line = line.replace(record.id, "<id>");
                }
                writeln!(text, "{line}").unwrap();
            }
            assert_eq!(decoded.made_ids, made > 0, "for {:?}", String::from_utf8_lossy(body));
        }
        Err(DecodeError::Invalid(errors)) => {
            for FieldError { index, field, problem } in &errors.listed {
                writeln!(text, "{index} {field} {problem}").unwrap();
            }
        }
        Err(other) => writeln!(text, "{other}").unwrap(),
    }
    text
}

/// Checks what comes of a body.
#[track_caller]
fn check(format: Format, body: impl AsRef<[u8]>, expect: &str) {
    let body = body.as_ref();
    let got = render(body, decode(format, &HeaderMap::new(), body));
    assert_eq!(got.trim_end(), expect.trim(), "for {:?}", String::from_utf8_lossy(body));
}
