//! Puts checked events into a batch, within the limits on their number and size, and under a topic that Kafka can have.

use super::check::Checker;
use super::error::{DecodeError, FieldErrors};
use super::{Context, Decoded, Decoder};
use crate::config::topic_name_problem;
use crate::event::{BatchBuilder, EventParts, EventRef, Field};
use std::fmt::Write;
use uuid::Uuid;

/// Room in the batch for what an event may get besides its own bytes: lengths, offsets, id, time, trace.
const EXTRA_BYTES: usize = 192;

/// A time in RFC 3339, to the millisecond.
const TIME_BYTES: usize = "2026-01-02T03:04:05.678Z".len();

/// A text field of an event, and where the stored record finds it.
#[derive(Clone, Copy)]
pub(super) struct Name<'a> {
    text: &'a str,
    field: Field<'a>,
}

impl<'a> Name<'a> {
    /// A text that stands at `offset` of the stored value, verbatim.
    pub(super) fn at(offset: usize, text: &'a str) -> Self {
        Self { text, field: Field::Span { offset, len: text.len() } }
    }

    /// A text that does not stand in the value as it is.
    pub(super) fn beside(text: &'a str) -> Self {
        Self { text, field: Field::Text(text) }
    }

    /// A text read from `json`, which stands in the stored value moved by `shift` bytes: a span when `text` is a slice of it, and
    /// beside it when the text had escapes.
    pub(super) fn read_from(json: &str, shift: usize, text: &'a str) -> Self {
        match text.as_ptr().addr().checked_sub(json.as_ptr().addr()) {
            Some(offset) if offset + text.len() <= json.len() => Self::at(offset + shift, text),
            _ => Self::beside(text),
        }
    }
}

/// An event ready to be stored.
pub(super) struct Ready<'a> {
    /// The Kafka value.
    pub value: &'a [u8],
    /// The hash of what the client posted, where the value holds something besides that: a retry is known by what it posts.
    pub posted: Option<u64>,
    /// `id`
    pub id: Name<'a>,
    /// `type`
    pub kind: Name<'a>,
    /// `source_type`
    pub source_type: Name<'a>,
    /// `source_id`
    pub source_id: Name<'a>,
}

/// A batch in the making.
pub(super) struct Assembly<'d> {
    decoder: &'d Decoder,
    context: &'d Context<'d>,
    builder: BatchBuilder,
    errors: FieldErrors,
    made_ids: bool,
    /// The accept time as text, written when the first event lacks a time.
    time_now: Option<String>,
    topic_name: String,
}

impl<'d> Assembly<'d> {
    /// For a body of about `body_bytes`.
    pub(super) fn new(decoder: &'d Decoder, context: &'d Context<'d>, body_bytes: usize) -> Self {
        Self {
            decoder,
            context,
            builder: BatchBuilder::with_capacity(body_bytes + body_bytes / 8 + EXTRA_BYTES),
            errors: FieldErrors::default(),
            made_ids: false,
            time_now: None,
            topic_name: String::new(),
        }
    }

    /// Counts one more event of `bytes` bytes and gives the checker of its fields.
    pub(super) fn begin(&mut self, index: u32, bytes: usize) -> Result<Checker<'_>, DecodeError> {
        if index >= self.decoder.max_batch_events {
            return Err(DecodeError::TooManyEvents { max: self.decoder.max_batch_events });
        }
        self.errors.events = index + 1;
        self.check_size(index, bytes)?;
        Ok(self.checker(index))
    }

    /// The checker of an event's fields.
    pub(super) fn checker(&mut self, index: u32) -> Checker<'_> {
        Checker::new(&mut self.errors, index)
    }

    /// A new id, written into `buffer`.
    pub(super) fn new_id<'b>(&mut self, buffer: &'b mut [u8]) -> &'b str {
        self.made_ids = true;
        Uuid::now_v7().hyphenated().encode_lower(buffer)
    }

    /// The accept time in RFC 3339, to the millisecond.
    pub(super) fn time_now(&mut self) -> &str {
        let now = self.context.now;
        self.time_now.get_or_insert_with(|| {
            let mut text = String::with_capacity(TIME_BYTES);
            let written = write!(text, "{now:.3}");
            debug_assert!(written.is_ok(), "a string takes what is written");
            text
        })
    }

    /// Adds an event, unless its topic cannot be; that is noted.
    pub(super) fn push(&mut self, index: u32, event: &Ready<'_>) -> Result<(), DecodeError> {
        self.check_size(index, event.value.len())?;
        let limit = self.decoder.topic_limit.check(event.source_id.text.len(), event.value.len());
        limit.map_err(|excess| DecodeError::TooLargeForTopic { index, excess })?;
        self.check_topic(index, event);
        if self.errors.total == 0 {
            let parts = EventParts {
                value: event.value,
                id: event.id.field,
                kind: event.kind.field,
                source_type: event.source_type.field,
                source_id: event.source_id.field,
                traceparent: self.context.traceparent.map_or(Field::Absent, Field::Text),
            };
            self.builder.push_posted(&parts, event.posted);
        }
        Ok(())
    }

    /// The batch, or everything that was wrong.
    pub(super) fn finish(self) -> Result<Decoded, DecodeError> {
        if self.errors.total > 0 {
            return Err(DecodeError::Invalid(self.errors));
        }
        if self.builder.is_empty() {
            return Err(DecodeError::Empty);
        }
        Ok(Decoded { batch: self.builder.finish(), made_ids: self.made_ids })
    }

    fn check_size(&self, index: u32, bytes: usize) -> Result<(), DecodeError> {
        let max_bytes = self.decoder.max_event_bytes;
        if bytes > max_bytes { Err(DecodeError::EventTooLarge { index, bytes, max_bytes }) } else { Ok(()) }
    }

    fn check_topic(&mut self, index: u32, event: &Ready<'_>) {
        let Some(template) = &self.decoder.topic else { return };
        self.topic_name.clear();
        let event = EventRef {
            id: event.id.text,
            kind: event.kind.text,
            source_type: event.source_type.text,
            source_id: event.source_id.text,
            traceparent: None,
            value: event.value,
        };
        template.render_into(&event, &mut self.topic_name);
        if let Some(problem) = topic_name_problem(&self.topic_name) {
            let problem = format!("would be {:?}, which {problem} (kafka.topic is made from fields of the event)", self.topic_name);
            self.errors.push(index, "topic", problem);
        }
    }
}
