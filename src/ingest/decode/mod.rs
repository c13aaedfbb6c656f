//! Request bytes become a [`Batch`]. Pure: no I/O, no clock but the one given.
//!
//! ```text
//! body ─▶ framing (one, array, lines) ─▶ scan (native, cloudevents) ─▶ check (fields) ─▶ assemble (value, spans, topic) ─▶ Batch
//! ```
//! JSON is scanned once, where it stands, without building a tree. The value of an event in our format is exactly the client's bytes,
//! or those with `id` and `time` put in after the opening brace. A request is one unit: any wrong event refuses it whole, and the
//! refusal names all of them.
//!
//! Deliberately absent: schemas. A `payload` is any JSON, of which only the depth is bounded.

mod assemble;
mod binary;
mod check;
mod cloud_value;
mod cloudevents;
mod depth;
mod error;
mod fields;
mod framing;
mod native;
mod source;
mod text;

#[cfg(test)]
mod tests;

use crate::config::{IngestConfig, Template};
use crate::event::Batch;
use crate::lifecycle::TopicLimit;
use assemble::Assembly;
use framing::{Shape, each_in_json, each_line};
use http::HeaderMap;
use jiff::Timestamp;
use std::sync::Arc;

pub(crate) use binary::is_binary;
pub use error::{DecodeError, FIELD_ERRORS_LISTED_MAX, FieldError, FieldErrors, Malformed};

/// How the events of a body are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `application/json`: an object or an array of objects.
    Json,
    /// `application/x-ndjson`: an object per line.
    JsonLines,
    /// `application/cloudevents+json`: one event.
    CloudEvent,
    /// `application/cloudevents-batch+json`: an array of events.
    CloudEventBatch,
    /// Any other, with `ce-*` headers: one event, whose attributes are the headers.
    CloudEventBinary,
}

/// What a request says besides its body.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The headers; only binary events are read from them.
    pub headers: &'a HeaderMap,
    /// A valid W3C `traceparent`, stored with every event of the request.
    pub traceparent: Option<&'a str>,
    /// The `time` of events that have none.
    pub now: Timestamp,
}

/// A request's events, ready for the buffer.
#[derive(Debug)]
pub struct Decoded {
    /// The records.
    pub batch: Batch,
    /// Whether the relay made any of the ids.
    pub made_ids: bool,
}

/// Decodes requests within the configured limits.
#[derive(Clone, Debug)]
pub struct Decoder {
    max_event_bytes: usize,
    max_batch_events: u32,
    /// The topic template, when the topic depends on the event: then each name must be one that Kafka can have.
    topic: Option<Template>,
    /// What Kafka's topic takes.
    topic_limit: Arc<TopicLimit>,
}

impl Decoder {
    /// A decoder for the settings, the template of `kafka.topic`, and the largest record that the topic takes.
    pub fn new(config: &IngestConfig, topic: &Template, topic_limit: Arc<TopicLimit>) -> Self {
        Self {
            max_event_bytes: usize::try_from(config.max_event_bytes).unwrap_or(usize::MAX),
            max_batch_events: config.max_batch_events,
            topic: topic.constant().is_none().then(|| topic.clone()),
            topic_limit,
        }
    }

    /// Decodes a body.
    ///
    /// # Errors
    /// [`DecodeError`] says where it is malformed, which limit it breaks, or names all wrong fields of all events.
    pub fn decode(&self, format: Format, body: &[u8], context: &Context<'_>) -> Result<Decoded, DecodeError> {
        let mut assembly = Assembly::new(self, context, body.len());
        let mut scratch = String::new();
        match format {
            Format::Json => each_in_json(utf8(body)?, Shape::OneOrMany, |event| native::take(&mut assembly, &mut scratch, event)),
            Format::JsonLines => each_line(utf8(body)?, |event| native::take(&mut assembly, &mut scratch, event)),
            Format::CloudEvent => each_in_json(utf8(body)?, Shape::One, |event| cloudevents::take(&mut assembly, &mut scratch, event)),
            Format::CloudEventBatch => {
                each_in_json(utf8(body)?, Shape::Many, |event| cloudevents::take(&mut assembly, &mut scratch, event))
            }
            Format::CloudEventBinary => binary::take(&mut assembly, &mut scratch, context.headers, body),
        }?;
        assembly.finish()
    }
}

fn utf8(body: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(body).map_err(|error| DecodeError::NotUtf8 { at: error.valid_up_to() })
}
