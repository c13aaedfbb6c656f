//! Why a measurement has no result.

use super::super::exit::{Exit, Failure};
use crate::buffer::{AppendError, OpenError, ReadError};
use crate::drain::BuildError;
use crate::error::chain;
use rdkafka::error::KafkaError;
use std::io;
use std::time::Duration;

/// Why a measurement has no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum BenchError {
    /// The system refused something.
    #[error("cannot {what}")]
    Io { what: String, source: io::Error },
    /// Kafka refused something.
    #[error("cannot {what}")]
    Kafka { what: String, source: KafkaError },
    /// The buffer under test.
    #[error("cannot open the buffer under test")]
    Open(#[source] OpenError),
    /// The buffer under test took no batch.
    #[error("the buffer under test refused a batch")]
    Append(#[source] AppendError),
    /// The buffer under test gave no frame.
    #[error("the buffer under test cannot be read")]
    Read(#[source] ReadError),
    /// The drain under test.
    #[error("cannot set up the drain under test")]
    Drain(#[source] BuildError),
    /// A reply that is not a success.
    #[error("a server under test answered {status}: {body}")]
    Refused { status: u16, body: String },
    /// The other process is not what it should be.
    #[error("the server under test {0}")]
    Child(String),
    /// Something took too long.
    #[error("{what} took longer than {after:?}")]
    Late { what: &'static str, after: Duration },
    /// Events came to no good end.
    #[error("{left} of {sent} events were not acknowledged by Kafka")]
    Undelivered { left: u64, sent: u64 },
    /// A thread of the measurement panicked.
    #[error("the {0} thread panicked")]
    Panicked(&'static str),
    /// SIGINT or SIGTERM.
    #[error("interrupted")]
    Interrupted,
}

impl BenchError {
    /// For `map_err`: what could not be done, in words that follow "cannot".
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what: what.into(), source }
    }

    /// The same for Kafka's errors.
    pub(super) fn kafka(what: impl Into<String>) -> impl FnOnce(KafkaError) -> Self {
        move |source| Self::Kafka { what: what.into(), source }
    }
}

impl From<BenchError> for Failure {
    fn from(error: BenchError) -> Self {
        let exit = match &error {
            BenchError::Kafka { .. } => Exit::Unreachable,
            BenchError::Open(OpenError::Settings(_)) | BenchError::Drain(_) => Exit::Usage,
            _ => Exit::Failed,
        };
        Self::new(exit, chain(&error))
    }
}
