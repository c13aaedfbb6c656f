//! The events that everything is measured with: 300 bytes of JSON, 256 sources, ids of their own.
//!
//! Both sides of a comparison get the same bytes. The filling is random letters, so that compression is given the same work in both.

use crate::event::{Batch, BatchBuilder, EventParts, Field};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Length of an event.
pub(super) const EVENT_BYTES: usize = 300;
/// Sources, and so Kafka keys.
pub(super) const SOURCES: usize = 256;
/// Different events; more than compression can remember.
const POOL: usize = 1024;

const ID_AT: usize = r#"{"id":""#.len();
const ID_BYTES: usize = 16;
const KIND: (usize, &str) = (ID_AT + ID_BYTES + r#"","type":""#.len(), "order.updated");
const SOURCE_TYPE: (usize, &str) = (KIND.0 + KIND.1.len() + r#"","source_type":""#.len(), "account");
const SOURCE_ID_AT: usize = SOURCE_TYPE.0 + SOURCE_TYPE.1.len() + r#"","source_id":""#.len();
const SOURCE_ID_BYTES: usize = "account-000".len();

/// One event as JSON.
pub(super) type EventJson = [u8; EVENT_BYTES];

/// An endless supply of events.
#[derive(Debug)]
pub(super) struct Workload {
    pool: Vec<EventJson>,
    next_id: AtomicU64,
}

/// A request as bytes, whose events get new ids each time it is sent.
#[derive(Clone, Debug)]
pub(super) struct Request {
    bytes: Vec<u8>,
    /// Where the events begin.
    events_at: Vec<usize>,
}

impl Workload {
    /// The same events each time, but for their ids.
    pub(super) fn new() -> Self {
        let mut rng = fastrand::Rng::with_seed(7);
        let micros = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
        let next_id = AtomicU64::new(u64::try_from(micros).unwrap_or(0) << 8);
        Self { pool: (0..POOL).map(|index| event(index, &mut rng)).collect(), next_id }
    }

    /// The event number `index`, with a new id.
    pub(super) fn event(&self, index: usize) -> EventJson {
        let mut json = self.pool[index % POOL];
        stamp(&mut json, self.next_id.fetch_add(1, Ordering::Relaxed));
        json
    }

    /// A batch as ingest would make it, of `count` events from number `first` on.
    pub(super) fn batch(&self, first: usize, count: usize) -> Batch {
        let mut builder = BatchBuilder::with_capacity(count * (EVENT_BYTES + 16));
        for index in first..first + count {
            let span = |(offset, text): (usize, &str)| Field::Span { offset, len: text.len() };
            builder.push(&EventParts {
                value: &self.event(index),
                id: Field::Span { offset: ID_AT, len: ID_BYTES },
                kind: span(KIND),
                source_type: span(SOURCE_TYPE),
                source_id: Field::Span { offset: SOURCE_ID_AT, len: SOURCE_ID_BYTES },
                traceparent: Field::Absent,
            });
        }
        builder.finish()
    }

    /// A request of `count` events from number `first` on: JSON for one, NDJSON for more.
    pub(super) fn request(&self, first: usize, count: usize) -> Request {
        let content_type = if count == 1 { "application/json" } else { "application/x-ndjson" };
        let length = count * (EVENT_BYTES + 1) - 1;
        let head =
            format!("POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n");
        let mut request = Request { bytes: head.into_bytes(), events_at: Vec::with_capacity(count) };
        for index in 0..count {
            if index > 0 {
                request.bytes.push(b'\n');
            }
            request.events_at.push(request.bytes.len());
            request.bytes.extend_from_slice(&self.event(first + index));
        }
        request
    }

    /// The request's bytes, its events stamped with new ids.
    pub(super) fn renew<'r>(&self, request: &'r mut Request) -> &'r [u8] {
        let first = self.next_id.fetch_add(request.events_at.len() as u64, Ordering::Relaxed);
        for (id, at) in (first..).zip(&request.events_at) {
            stamp(&mut request.bytes[*at..], id);
        }
        &request.bytes
    }
}

/// The Kafka key of an event.
pub(super) fn source_id(event: &EventJson) -> &[u8] {
    &event[SOURCE_ID_AT..SOURCE_ID_AT + SOURCE_ID_BYTES]
}

const END: &str = r#""}}"#;

fn event(index: usize, rng: &mut fastrand::Rng) -> EventJson {
    let (kind, source_type, source) = (KIND.1, SOURCE_TYPE.1, index % SOURCES);
    let mut text = format!(
        r#"{{"id":"{:ID_BYTES$}","type":"{kind}","source_type":"{source_type}","source_id":"account-{source:03}","payload":{{"note":""#,
        0
    );
    while text.len() < EVENT_BYTES - END.len() {
        text.push(rng.alphanumeric());
    }
    text.push_str(END);
    let mut json = [b' '; EVENT_BYTES];
    json.copy_from_slice(text.as_bytes());
    json
}

/// Writes an id, in hexadecimal, where the event has its own.
fn stamp(event: &mut [u8], mut id: u64) {
    for digit in event[ID_AT..ID_AT + ID_BYTES].iter_mut().rev() {
        *digit = b"0123456789abcdef"[(id & 0xf) as usize];
        id >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Records;
    use serde_json::Value;
    use std::collections::BTreeSet;

    // Goal: what is measured are events as the relay takes them: 300 bytes, valid, each with an id of its own, over 256 sources.
    #[test]
    fn events_are_what_they_say() {
        let workload = Workload::new();
        let (mut ids, mut sources) = (BTreeSet::new(), BTreeSet::new());
        for index in 0..2 * POOL {
            let json = workload.event(index);
            let event: Value = serde_json::from_slice(&json).unwrap();
            assert!(ids.insert(event["id"].as_str().unwrap().to_owned()));
            assert_eq!(event["source_id"].as_str().unwrap().as_bytes(), source_id(&json));
            let _ = sources.insert(source_id(&json).to_vec());
        }
        assert_eq!(sources.len(), SOURCES);
    }

    // Goal: the buffer and the drain are measured with what ingest would have stored.
    #[test]
    fn batches_read_back() {
        let batch = Workload::new().batch(5, 3);
        let events: Vec<_> = Records::new(batch.payload()).map(Result::unwrap).collect();
        assert_eq!(events.len(), 3);
        for (index, event) in events.iter().enumerate() {
            let json: Value = serde_json::from_slice(event.value).unwrap();
            let expect = [json["id"].as_str(), json["type"].as_str(), json["source_type"].as_str(), json["source_id"].as_str()];
            assert_eq!([event.id, event.kind, event.source_type, event.source_id].map(Some), expect);
            assert_eq!(event.source_id, format!("account-{:03}", index + 5));
        }
    }

    // Goal: a repeated request is a new one to the relay, not a duplicate.
    #[test]
    fn requests_are_renewed() {
        let workload = Workload::new();
        let mut request = workload.request(0, 3);
        let first = workload.renew(&mut request).to_vec();
        let second = workload.renew(&mut request).to_vec();
        assert_eq!(first.len(), second.len());
        let body = |bytes: &[u8]| {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
            body.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].to_string()).collect::<BTreeSet<_>>()
        };
        let (first, second) = (body(&first), body(&second));
        assert_eq!((first.len(), second.len(), first.intersection(&second).count()), (3, 3, 0));
    }
}
