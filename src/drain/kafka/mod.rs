//! The librdkafka adapter: a [`Sink`] over one idempotent, gapless producer handle.
//!
//! `BaseProducer`, not `FutureProducer`: the seq travels as the message's opaque pointer, so a message costs no allocation beyond
//! librdkafka's own, and nothing reorders when the queue is full (docs/decisions/0004-kafka-client.md).
//!
//! Only the drain's thread calls in here. librdkafka's own threads never call back: reports, logs, statistics and errors are events that
//! [`Sink::poll`] serves.

mod cloudevents;
mod consumer;
mod context;
mod copies;
mod cursor;
mod diagnosis;
mod handle;
mod limits;
mod log;
mod probe;
mod reconcile;
mod record;
mod security;
mod settings;
mod token;
mod transactions;

use self::consumer::Reading;
use self::context::Context;
use self::cursor::Cursor;
use self::record::Recorder;
use self::security::{FileWatch, ROTATED, SecretError, Security};
use self::transactions::Transacting;
use super::clock::SystemClock;
use super::reconcile::{Tail, Wanted};
use super::resume::KeepGoing;
use super::sink::{Purge, Refusal, Report, SendOutcome, Sink, SinkFactory};
use super::transactional::{Size, Transactional};
use crate::config::{Delivery, KafkaConfig, Recovery};
use crate::error::chain;
use crate::event::{EventRef, Seq};
use crate::lifecycle::TopicLimit;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, PurgeConfig};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use copies::KafkaCourier;
pub use handle::KafkaHandle;
pub use probe::{CursorFacts, DeadLetterTopic, KafkaFacts, ProbeError, probe};
pub use settings::{BuildError, Unusable, check_properties, producer_settings};

/// Taking a handle apart can block inside librdkafka, so it happens on a thread of its own; no more than this many at once.
const MAX_CLOSING: usize = 4;
/// The least that is worth a request.
const MIN_BATCH_BYTES: u64 = 4096;
/// Events served per poll before the reports are looked at; one event carries the reports of one batch.
const MAX_EVENTS_PER_POLL: usize = 256;
/// How often to look for the first report while waiting, at most. Not the wait of rdkafka's own `poll`: that one spins through the last
/// millisecond of its timeout, on a core that the broker may need.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Makes [`KafkaHandle`]s.
pub struct KafkaFactory {
    /// Without the secrets, which are read for each handle.
    client: ClientConfig,
    security: Security,
    recorder: Recorder,
    /// How long to look for our own records after an unclean stop; `None`: not at all.
    reconcile: Option<Duration>,
    exactly_once: Option<ExactlyOnce>,
    limit: Arc<TopicLimit>,
    /// Keeps the limit up to date as long as this is here.
    watching: Option<limits::Watching>,
    /// Made while building, so that settings which librdkafka refuses are found before anything runs.
    first: Option<KafkaSink>,
    closing: Arc<()>,
}

/// What is asked for with `delivery = "exactly-once"`.
#[derive(Debug)]
struct ExactlyOnce {
    relay_id: String,
    cursor_topic: String,
    interval: Duration,
    size: Size,
}

impl ExactlyOnce {
    fn of(config: &KafkaConfig, relay_id: &str) -> Option<Self> {
        (config.delivery == Delivery::ExactlyOnce).then(|| Self {
            relay_id: relay_id.to_owned(),
            cursor_topic: config.cursor_topic.clone(),
            interval: config.transaction_interval,
            size: Size::default(),
        })
    }
}

impl KafkaFactory {
    /// Checks the settings and makes the first handle.
    pub(super) fn build(config: &KafkaConfig, relay_id: &str, limit: &Arc<TopicLimit>) -> Result<Self, BuildError> {
        let mut factory = Self::unopened(config, relay_id, Arc::clone(limit))?;
        match factory.open() {
            Ok(sink) => factory.first = Some(sink),
            Err(OpenError::Client(error)) if !factory.security.has_files() => return Err(BuildError::Client(error)),
            // `connect` meets it again and says so, until the file is put right.
            Err(error) => tracing::debug!(error = chain(&error), "no Kafka handle yet"),
        }
        factory.watch_limit();
        Ok(factory)
    }

    /// Checks the settings; there is no handle before somebody asks for one.
    pub(super) fn unopened(config: &KafkaConfig, relay_id: &str, limit: Arc<TopicLimit>) -> Result<Self, BuildError> {
        let client = settings::client_config(config, relay_id)?;
        let recorder = Recorder::new(settings::topic(config)?, config, relay_id);
        let exactly_once = ExactlyOnce::of(config, relay_id);
        // Kafka's cursor tells more than the ends of the partitions.
        let reconciles = config.recovery == Recovery::Reconcile && exactly_once.is_none();
        let reconcile = reconciles.then_some(config.reconcile_timeout);
        let security = Security::of(config);
        Ok(Self { client, security, recorder, reconcile, exactly_once, limit, watching: None, first: None, closing: Arc::new(()) })
    }

    fn watch_limit(&mut self) {
        let Some(topic) = self.recorder.constant_topic() else { return };
        // The client library's admin part asks nobody for a token, and would try in vain.
        if self.security.token().is_some() {
            tracing::info!(
                topic,
                "the topic's max.message.bytes is not looked up with OAUTHBEARER; what it refuses is found out when it is sent"
            );
            return;
        }
        self.limit.describe(topic, self.recorder.overhead_bytes());
        self.watching = limits::watch(self.client.clone(), self.security.clone(), topic.to_owned(), Arc::clone(&self.limit));
    }

    fn open(&self) -> Result<KafkaSink, OpenError> {
        // Before the files are read: a change from here on is noticed.
        let watch = self.security.watch(Instant::now()).map(Mutex::new);
        let mut client = self.security.with_secrets(&self.client)?;
        let batch_bytes = limits::batch_bytes(&client, self.limit.get());
        let _ = client.set("batch.size", batch_bytes.to_string());
        let producer = client.create_with_context(Context::new(self.security.token()))?;
        let limit = Arc::clone(&self.limit);
        let transacting = self.exactly_once.as_ref().map(|asked| {
            let cursor = Cursor::new(self.client.clone(), self.security.clone(), asked.cursor_topic.clone(), asked.relay_id.clone());
            Transacting::new(cursor)
        });
        let (recorder, closing) = (self.recorder.clone(), Arc::clone(&self.closing));
        Ok(KafkaSink { producer, recorder, watch, limit, batch_bytes, transacting, _closing: closing })
    }

    /// A fresh handle to librdkafka.
    fn sink(&mut self) -> Result<KafkaSink, Refusal> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        // The factory holds one reference, every handle that is open or still being taken apart another.
        if Arc::strong_count(&self.closing) > MAX_CLOSING {
            let detail = format!("{MAX_CLOSING} earlier handles are still being taken apart");
            return Err(Refusal::new(RDKafkaErrorCode::PreviousInProgress, detail));
        }
        self.open().map_err(|error| match &error {
            // The settings were tried when the relay started, or could not be for the same file.
            OpenError::Client(client) if !self.security.has_files() => {
                let code = client.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::CriticalSystemResource);
                Refusal::new(code, chain(&error))
            }
            _ => unusable(&error, &self.security),
        })
    }

    /// A handle of the kind that is asked for.
    fn handle(&self, sink: KafkaSink) -> KafkaHandle {
        match &self.exactly_once {
            None => KafkaHandle::Plain(Box::new(sink)),
            Some(asked) => KafkaHandle::Transactional(Box::new(Transactional::new(sink, SystemClock, asked.interval, asked.size.clone()))),
        }
    }
}

/// Why a handle cannot be made.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("cannot make a Kafka handle")]
    Client(#[from] KafkaError),
}

/// What a handle cannot be made for, in words.
fn unusable(error: &dyn std::error::Error, security: &Security) -> Refusal {
    let detail = chain(error);
    Refusal { class: diagnosis::unusable(&detail, security.key_is_locked()), detail }
}

impl SinkFactory for KafkaFactory {
    type Sink = KafkaHandle;

    fn connect(&mut self) -> Result<KafkaHandle, Refusal> {
        self.sink().map(|sink| self.handle(sink))
    }

    fn halve_batches(&mut self) -> u64 {
        let bytes = (limits::batch_bytes(&self.client, self.limit.get()) / 2).max(MIN_BATCH_BYTES);
        let _ = self.client.set("batch.size", bytes.to_string());
        bytes
    }

    fn topic_of(&mut self, event: &EventRef<'_>, name: &mut String) {
        self.recorder.write_topic(event, name);
    }

    fn reconciles(&self) -> bool {
        self.reconcile.is_some()
    }

    fn own_records(&mut self, wanted: &Wanted, keep_going: KeepGoing<'_>) -> Result<Tail, String> {
        let look = reconcile::Look {
            reading: Reading { client: &self.client, security: &self.security, committed: false },
            topic: self.recorder.constant_topic(),
            identity: self.recorder.identity_prefix(),
            timeout: self.reconcile.unwrap_or_default(),
        };
        look.read(wanted, keep_going)
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
    /// The files that this handle was made with; `None` when there are none.
    watch: Option<Mutex<FileWatch>>,
    limit: Arc<TopicLimit>,
    /// The largest batch that it builds.
    batch_bytes: u64,
    /// With transactions only.
    transacting: Option<Transacting>,
    /// Gone when this handle is: how the factory counts those that are still being taken apart. Last, so that it goes last.
    _closing: Arc<()>,
}

impl KafkaSink {
    fn context(&self) -> &Context {
        self.producer.context()
    }

    /// Whether what this handle was made with has changed: a new handle takes it over.
    fn outdated(&self) -> Option<Refusal> {
        let limit = self.limit.get();
        if limit.is_some_and(|limit| self.batch_bytes >= limit) {
            return Some(Refusal { class: limits::SHRUNK, detail: format!("max.message.bytes is {}", limit.unwrap_or_default()) });
        }
        let watch = self.watch.as_ref()?;
        let mut watch = watch.lock().unwrap_or_else(PoisonError::into_inner);
        let (key, path) = watch.changed(Instant::now())?;
        Some(Refusal { class: ROTATED, detail: format!("{key} is {}", path.display()) })
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

/// Gives a record to a producer, or says why not.
fn hand_over(producer: &BaseProducer<Context>, record: BaseRecord<'_, str, [u8], usize>) -> SendOutcome {
    match producer.send(record) {
        Ok(()) => SendOutcome::Sent,
        Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => SendOutcome::Full,
        Err((error, _)) => {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::InvalidArgument);
            let why = producer.client().fatal_error().map(|(code, text)| Refusal::new(code, text));
            SendOutcome::Refused(why.unwrap_or_else(|| Refusal::new(code, code.to_string())))
        }
    }
}

impl Sink for KafkaSink {
    fn send(&mut self, event: &EventRef<'_>, seq: Seq, accepted_ms: u64) -> SendOutcome {
        let record = match self.recorder.record(event, seq, accepted_ms) {
            Ok(record) => record,
            Err(refusal) => return SendOutcome::Refused(refusal),
        };
        hand_over(&self.producer, record)
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
            // Whoever waits longer is in an outage, and in no hurry.
            std::thread::sleep(left.min(LOOK_EVERY.max(timeout / 4)));
        }
    }

    fn connected(&self) -> bool {
        self.context().connected()
    }

    fn fatal(&self) -> Option<Refusal> {
        if !self.context().saw_fatal() {
            return self.outdated();
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
        let end = move || {
            // Whoever reads what is committed need not wait until Kafka ends the transaction by itself. If this fails, it does.
            if self.transacting.as_ref().is_some_and(|transacting| transacting.open)
                && let Err(error) = self.producer.abort_transaction(transactions::ABORT)
            {
                tracing::debug!(%error, "an unfinished transaction is left to Kafka");
            }
            drop(self);
        };
        if let Err(error) = thread.spawn(end) {
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
