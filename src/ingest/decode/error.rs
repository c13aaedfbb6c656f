//! What can be wrong with the bytes of a request.

use crate::lifecycle::TooLargeForTopic;
use std::borrow::Cow;

/// Most wrong fields that one refusal lists; the rest is counted.
pub const FIELD_ERRORS_LISTED_MAX: usize = 100;

/// Why a request body does not become a batch. Nothing of the request is stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// JSON is UTF-8.
    #[error("not UTF-8 at byte {at}")]
    NotUtf8 {
        /// Byte offset within the body.
        at: usize,
    },
    /// No JSON; where events follow each other, those behind it cannot be found.
    #[error("{0}")]
    Malformed(Malformed),
    /// There is no event in it.
    #[error("there is no event in the request")]
    Empty,
    /// One event is over `ingest.max_event_bytes`.
    #[error("event {index} is {bytes} bytes of JSON as stored, the limit is {max_bytes} (ingest.max_event_bytes)")]
    EventTooLarge {
        /// Which event of the request, from 0.
        index: u32,
        /// Its size, with the `id` and `time` that the relay adds.
        bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// One event is over what Kafka's topic takes.
    #[error("event {index} is {excess}")]
    TooLargeForTopic {
        /// Which event of the request, from 0.
        index: u32,
        /// Its size and the limit.
        excess: TooLargeForTopic,
    },
    /// More events than `ingest.max_batch_events`.
    #[error("the request holds more than {max} events (ingest.max_batch_events)")]
    TooManyEvents {
        /// The limit.
        max: u32,
    },
    /// The JSON is fine but fields are wrong.
    #[error("{}", .0.summary())]
    Invalid(FieldErrors),
}

impl DecodeError {
    /// How many events are refused by it, as far as they were counted; at least 1.
    pub fn events(&self) -> u32 {
        match self {
            Self::NotUtf8 { .. } | Self::Empty => 1,
            Self::Malformed(malformed) => malformed.index.unwrap_or_default() + 1,
            Self::EventTooLarge { index, .. } | Self::TooLargeForTopic { index, .. } => index + 1,
            Self::TooManyEvents { max } => max + 1,
            Self::Invalid(errors) => errors.events,
        }
    }
}

/// Bytes that are no JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Byte offset within the body.
    pub at: usize,
    /// Which event of the request, from 0, where a request may hold several.
    pub index: Option<u32>,
    /// What was expected there.
    pub reason: String,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "bad JSON at byte {}", self.at)?;
        if let Some(index) = self.index {
            write!(f, ", in event {index}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// One wrong field.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FieldError {
    /// Which event of the request, from 0.
    pub index: u32,
    /// The field, or the header, by its name; `event` for the whole.
    pub field: &'static str,
    /// What is wrong with it, to be read after the name.
    pub problem: Cow<'static, str>,
}

/// All wrong fields of a request, listed up to [`FIELD_ERRORS_LISTED_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldErrors {
    /// The first ones, by index.
    pub listed: Vec<FieldError>,
    /// How many there are.
    pub total: u64,
    /// How many events the request holds, right and wrong.
    pub events: u32,
}

impl FieldErrors {
    fn summary(&self) -> String {
        match self.total {
            1 => "1 field is wrong".to_owned(),
            total => format!("{total} fields are wrong"),
        }
    }

    /// Adds one.
    pub(super) fn push(&mut self, index: u32, field: &'static str, problem: impl Into<Cow<'static, str>>) {
        self.total += 1;
        if self.listed.len() < FIELD_ERRORS_LISTED_MAX {
            self.listed.push(FieldError { index, field, problem: problem.into() });
        }
    }
}
