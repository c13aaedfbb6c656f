//! Transactions with librdkafka: each step is asked for again and again, a tenth of a second at a time, until it is done.
//!
//! The producer's transactional id is its relay-id's, so a new handle shuts out the one before it, in this process or in another.

use super::super::classify::{Class, classify};
use super::super::resume::{Committed, KeepGoing, Known};
use super::super::sink::{Refusal, SendOutcome};
use super::super::transactional::{CURSOR, Progress, Transactions};
use super::KafkaSink;
use super::cursor::Cursor;
use crate::error::Disposition;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::Producer;
use std::time::Duration;

/// How long one go may take.
const SLICE: Duration = Duration::from_millis(100);
/// How long the end of an unfinished transaction may take; after that, Kafka ends it by itself.
pub(super) const ABORT: Duration = Duration::from_secs(5);

/// What a handle needs for transactions.
#[derive(Debug)]
pub(super) struct Transacting {
    cursor: Cursor,
    /// Whether one is unfinished.
    pub(super) open: bool,
}

impl Transacting {
    pub(super) fn new(cursor: Cursor) -> Self {
        Self { cursor, open: false }
    }
}

impl Transactions for KafkaSink {
    fn initialise(&mut self) -> Progress {
        progress(self.producer.init_transactions(SLICE))
    }

    fn committed(&mut self, known: &Known, keep_going: KeepGoing<'_>) -> Result<Option<Committed>, Refusal> {
        match &mut self.transacting {
            Some(transacting) => transacting.cursor.newest(known, keep_going),
            None => Ok(None),
        }
    }

    fn open(&mut self) -> Result<(), Refusal> {
        self.producer.begin_transaction().map_err(|error| refusal(&error))?;
        if let Some(transacting) = &mut self.transacting {
            transacting.open = true;
        }
        Ok(())
    }

    fn send_cursor(&mut self, to: &Committed) -> SendOutcome {
        let Self { producer, transacting: Some(transacting), .. } = self else { return SendOutcome::Full };
        #[expect(clippy::cast_possible_truncation, reason = "a constant that fits")]
        let record = transacting.cursor.record(to, CURSOR.0 as usize);
        match producer.send(record) {
            Ok(()) => SendOutcome::Sent,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => SendOutcome::Full,
            Err((error, _)) => SendOutcome::Refused(Refusal::of_cursor(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown))),
        }
    }

    fn commit(&mut self) -> Progress {
        let progress = progress(self.producer.commit_transaction(SLICE));
        if let (Progress::Done, Some(transacting)) = (&progress, &mut self.transacting) {
            transacting.open = false;
        }
        progress
    }
}

fn progress(result: KafkaResult<()>) -> Progress {
    match result {
        Ok(()) => Progress::Done,
        Err(KafkaError::Transaction(error)) if error.is_retriable() => Progress::Pending,
        Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut)) => Progress::Pending,
        Err(error) => Progress::Failed(refusal(&error)),
    }
}

/// What a transaction met. No code speaks of an event here: it is never an event that is refused.
fn refusal(error: &KafkaError) -> Refusal {
    let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
    let class = match classify(code) {
        class if class.disposition == Disposition::DeadLetter => {
            Class { disposition: Disposition::Retry, reason: "cluster", meaning: "Kafka does not commit the transaction" }
        }
        class => class,
    };
    let detail = match error {
        KafkaError::Transaction(error) => error.to_string(),
        error => error.to_string(),
    };
    Refusal { class, detail }
}
