//! One waiting event as people and scripts see it: in `GET /v1/buffer/events`, and in what the command line prints.

use crate::event::EventRef;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// One waiting event.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct WaitingEvent {
    /// Its place in the buffer.
    pub seq: u64,
    /// When it was accepted, in Unix milliseconds.
    pub accepted_ms: u64,
    /// Its id.
    pub id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// What kind of thing the source is.
    pub source_type: String,
    /// Which one: the Kafka key.
    pub source_id: String,
    /// The W3C `traceparent` of the request that brought it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Size of its value in bytes.
    pub bytes: u64,
    /// The topic for which it is parked, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parked: Option<String>,
    /// The full event; absent when the answer would grow too large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Box<RawValue>>,
}

impl WaitingEvent {
    /// What `event` shows of itself; its value only when asked for.
    pub fn new(seq: u64, accepted_ms: u64, event: &EventRef<'_>, with_value: bool) -> Self {
        let text = with_value.then(|| std::str::from_utf8(event.value).ok()).flatten();
        Self {
            seq,
            accepted_ms,
            id: event.id.to_owned(),
            kind: event.kind.to_owned(),
            source_type: event.source_type.to_owned(),
            source_id: event.source_id.to_owned(),
            traceparent: event.traceparent.map(ToOwned::to_owned),
            bytes: event.value.len() as u64,
            parked: None,
            value: text.and_then(|text| RawValue::from_string(text.to_owned()).ok()),
        }
    }
}
