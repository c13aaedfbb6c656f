//! The librdkafka adapter: a [`Sink`] over one idempotent, gapless producer handle.
//!
//! `BaseProducer`, not `FutureProducer`: the seq travels as the message's opaque pointer, so a message costs no allocation beyond
//! librdkafka's own, and nothing reorders when the queue is full (docs/decisions/0004-kafka-client.md).
//!
//! Only the drain's thread calls in here. librdkafka's own threads never call back: reports, logs, statistics and errors are events that
//! [`Sink::poll`] serves.

mod context;
mod log;
mod probe;
mod record;
mod settings;

use self::context::Context;
use self::record::Recorder;
use super::sink::{Purge, Refusal, Report, SendOutcome, Sink, SinkFactory};
use crate::config::KafkaConfig;
use crate::event::{EventRef, Seq};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer, PurgeConfig};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use probe::{KafkaFacts, ProbeError, probe};
pub use settings::{BuildError, check_properties, client_config as producer_settings};

/// Taking a handle apart can block inside librdkafka, so it happens on a thread of its own; no more than this many at once.
const MAX_CLOSING: usize = 4;
/// librdkafka's own, and the least that is worth a request.
const DEFAULT_BATCH_BYTES: u64 = 1_000_000;
const MIN_BATCH_BYTES: u64 = 4096;
/// Events served per poll before the reports are looked at; one event carries the reports of one batch.
const MAX_EVENTS_PER_POLL: usize = 256;
/// How often to look for the first report while waiting. Not the wait of rdkafka's own `poll`: that one spins through the last
/// millisecond of its timeout, on a core that the broker may need.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Makes [`KafkaSink`]s.
pub struct KafkaFactory {
    client: ClientConfig,
    recorder: Recorder,
    /// Made while building, so that settings which librdkafka refuses are found before anything runs.
    first: Option<KafkaSink>,
    closing: Arc<()>,
    /// What later handles are limited to, once batches were found too large.
    batch_bytes: Option<u64>,
}

impl KafkaFactory {
    /// Checks the settings and makes the first handle.
    pub(super) fn build(config: &KafkaConfig, relay_id: &str) -> Result<Self, BuildError> {
        let client = settings::client_config(config, relay_id)?;
        let recorder = Recorder::new(settings::topic(config)?, relay_id);
        let mut factory = Self { client, recorder, first: None, closing: Arc::new(()), batch_bytes: None };
        factory.first = Some(factory.open().map_err(BuildError::from)?);
        Ok(factory)
    }

    fn open(&self) -> Result<KafkaSink, KafkaError> {
        let producer = self.client.create_with_context(Context::default())?;
        Ok(KafkaSink { producer, recorder: self.recorder.clone(), _closing: Arc::clone(&self.closing) })
    }
}

impl SinkFactory for KafkaFactory {
    type Sink = KafkaSink;

    fn connect(&mut self) -> Result<KafkaSink, Refusal> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        // The factory holds one reference, every handle that is open or still being taken apart another.
        if Arc::strong_count(&self.closing) > MAX_CLOSING {
            let detail = format!("{MAX_CLOSING} earlier handles are still being taken apart");
            return Err(Refusal::new(RDKafkaErrorCode::PreviousInProgress, detail));
        }
        self.open().map_err(|error| {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::CriticalSystemResource);
            Refusal::new(code, format!("cannot make a Kafka handle: {error}"))
        })
    }

    fn halve_batches(&mut self) -> u64 {
        let set = || self.client.get("batch.size").and_then(|text| text.parse().ok());
        let bytes = (self.batch_bytes.or_else(set).unwrap_or(DEFAULT_BATCH_BYTES) / 2).max(MIN_BATCH_BYTES);
        self.batch_bytes = Some(bytes);
        let _ = self.client.set("batch.size", bytes.to_string());
        bytes
    }
}

impl fmt::Debug for KafkaFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaFactory").field("recorder", &self.recorder).finish_non_exhaustive()
    }
}

/// One librdkafka producer handle.
pub struct KafkaSink {
    producer: BaseProducer<Context>,
    recorder: Recorder,
    /// Gone when this handle is: how the factory counts those that are still being taken apart. Last, so that it goes last.
    _closing: Arc<()>,
}

impl KafkaSink {
    fn context(&self) -> &Context {
        self.producer.context()
    }

    /// Serves events until none is left. rdkafka's `poll` does not say whether there was one; the context counts them.
    fn serve(&self) {
        for _ in 0..MAX_EVENTS_PER_POLL {
            let before = self.context().served();
            self.producer.poll(Duration::ZERO);
            if self.context().served() == before {
                break;
            }
        }
    }
}

impl Sink for KafkaSink {
    fn send(&mut self, event: &EventRef<'_>, seq: Seq, accepted_ms: u64) -> SendOutcome {
        let record = match self.recorder.record(event, seq, accepted_ms) {
            Ok(record) => record,
            Err(refusal) => return SendOutcome::Refused(refusal),
        };
        match self.producer.send(record) {
            Ok(()) => SendOutcome::Sent,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => SendOutcome::Full,
            Err((error, _)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::InvalidArgument);
                let why = self.producer.client().fatal_error().map(|(code, text)| Refusal::new(code, text));
                SendOutcome::Refused(why.unwrap_or_else(|| Refusal::new(code, code.to_string())))
            }
        }
    }

    fn poll(&mut self, timeout: Duration, reports: &mut Vec<Report>) {
        let deadline = Instant::now() + timeout;
        loop {
            self.serve();
            self.context().take_reports(reports);
            let left = deadline.saturating_duration_since(Instant::now());
            if !reports.is_empty() || left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(LOOK_EVERY));
        }
    }

    fn connected(&self) -> bool {
        self.context().connected()
    }

    fn fatal(&self) -> Option<Refusal> {
        if !self.context().saw_fatal() {
            return None;
        }
        self.producer.client().fatal_error().map(|(code, text)| Refusal::new(code, text))
    }

    fn take_trouble(&mut self) -> Option<Refusal> {
        self.context().take_trouble()
    }

    fn purge(&mut self, scope: Purge) {
        let flags = PurgeConfig::default().queue();
        self.producer.purge(if scope == Purge::All { flags.inflight() } else { flags });
    }

    fn discard(self) {
        let thread = std::thread::Builder::new().name("kafka-discard".into());
        // Without a thread to spare, the handle was dropped with the closure, here, and we waited for it.
        if let Err(error) = thread.spawn(move || drop(self)) {
            tracing::debug!(%error, "took a Kafka handle apart on the drain's thread");
        }
    }
}

impl fmt::Debug for KafkaSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSink").field("recorder", &self.recorder).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
