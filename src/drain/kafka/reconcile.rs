//! Reads the ends of the partitions for records of our own relay-id, with a plain consumer: partitions are assigned by hand, no group is
//! joined and nothing is committed. It needs the right READ on the topic.
//!
//! The topic of all events is waited for when it is missing: nothing could be sent either. Of several topics, those that are missing are passed over.
//!
//! Bounded in time by `kafka.reconcile_timeout`, counted from when Kafka answers: while it does not, nothing could be sent either, so that is
//! waited out. Bounded in memory by the seqs that are wanted.

use super::super::reconcile::{Found, Tail, Wanted, key_print};
use super::super::sink::Refusal;
use super::context::Context;
use super::record::IDENTITY_HEADER;
use super::security::Security;
use super::unusable;
use crate::error::chain;
use crate::event::{Place, Seq};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::metadata::{Metadata, MetadataPartition, MetadataTopic};
use rdkafka::{ClientConfig, Offset, Timestamp, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the killed process had written into its sockets may arrive a moment later than we do.
const SETTLE: Duration = Duration::from_secs(2);
/// How long one question may take.
const ANSWER: Duration = Duration::from_secs(5);
/// Between two questions while Kafka does not answer, and between two looks at whether to go on.
const SLICE: Duration = Duration::from_millis(100);
/// How far clocks may differ: records are looked for from this long before the oldest event was accepted.
const CLOCKS_MS: u64 = 60_000;

/// Which of the producer's settings a consumer needs: those of connections.
const OF_CONNECTIONS: [&str; 11] = [
    "bootstrap.servers",
    "security.",
    "ssl.",
    "sasl.",
    "enable.ssl.",
    "enable.sasl.",
    "socket.",
    "broker.address.",
    "reconnect.",
    "client.id",
    "client.dns.lookup",
];

/// What a consumer needs besides.
const CONSUMER: [(&str, &str); 7] = [
    // librdkafka wants a name; nothing is stored under it.
    ("group.id", "dualstream-reconcile"),
    ("enable.auto.commit", "false"),
    ("enable.partition.eof", "true"),
    ("auto.offset.reset", "earliest"),
    // Open transactions of others must not hide our records.
    ("isolation.level", "read_uncommitted"),
    // Memory.
    ("queued.max.messages.kbytes", "4096"),
    ("fetch.message.max.bytes", "1048576"),
];

impl ConsumerContext for Context {}

/// Whether to go on; told what is in the way.
type KeepGoing<'a> = &'a mut dyn FnMut(Option<Refusal>) -> bool;

/// How to read.
#[derive(Debug)]
pub(super) struct Look<'a> {
    pub(super) client: &'a ClientConfig,
    pub(super) security: &'a Security,
    /// The topic, when it does not depend on the event.
    pub(super) topic: Option<&'a str>,
    /// `{relay-id}/`
    pub(super) identity: &'a [u8],
    pub(super) timeout: Duration,
}

/// Why nothing can be read.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error("this user may not read topic {topic:?}; grant READ, or set kafka.recovery = \"checkpoint\"")]
    NotAuthorized { topic: String },
    #[error("cannot read topic {topic:?}")]
    Refused {
        topic: String,
        #[source]
        source: KafkaError,
    },
    #[error("told to stop")]
    Stopped,
}

impl Look<'_> {
    /// Reads. The error is a sentence for the log.
    pub(super) fn read(&self, wanted: &Wanted, keep_going: KeepGoing<'_>) -> Result<Tail, String> {
        self.look(wanted, keep_going).map_err(|error| chain(&error))
    }

    fn look(&self, wanted: &Wanted, keep_going: KeepGoing<'_>) -> Result<Tail, LookError> {
        let mut topics: BTreeSet<&str> = wanted.places.iter().map(|place| &*place.topic).collect();
        topics.extend(self.topic);
        let Some(first) = self.topic.or(topics.first().copied()) else { return Ok(Tail::default()) };
        let consumer = self.connect(first, keep_going)?;
        let deadline = Instant::now() + self.timeout;
        rest(SETTLE.min(self.timeout), keep_going)?;
        let mut tail = Tail::default();
        for topic in topics {
            let name = Arc::from(topic);
            let mut left = starts(&consumer, topic, wanted).map_err(|error| refused(topic, error))?;
            while !left.is_empty() {
                if !keep_going(None) {
                    return Err(LookError::Stopped);
                }
                if Instant::now() >= deadline {
                    return Ok(Tail { cut_short: Some("kafka.reconcile_timeout is over"), ..tail });
                }
                match consumer.poll(SLICE) {
                    None => {}
                    Some(Ok(message)) => {
                        tail.found.extend(self.own(&name, &message, wanted));
                        let done = left.get(&message.partition()).is_some_and(|end| message.offset() + 1 >= *end);
                        if done {
                            let _ = left.remove(&message.partition());
                        }
                    }
                    Some(Err(KafkaError::PartitionEOF(partition))) => drop(left.remove(&partition)),
                    Some(Err(error)) if is_passing(&error) => {}
                    Some(Err(error)) => return Err(refused(topic, error)),
                }
            }
        }
        Ok(tail)
    }

    /// A consumer that Kafka answers; as long as it does not, nothing could be sent either.
    fn connect(&self, topic: &str, keep_going: KeepGoing<'_>) -> Result<BaseConsumer<Context>, LookError> {
        loop {
            // A new one each time: files of secrets may have been put right.
            let trouble = match consumer(self.client, self.security) {
                Ok(consumer) => match consumer.fetch_metadata(Some(topic), ANSWER) {
                    // What cannot be sent to for now may come back with what is in it.
                    Ok(metadata) if self.topic.is_some() && is_missing(&metadata) => {
                        Some(Refusal::new(RDKafkaErrorCode::UnknownTopicOrPartition, format!("{topic:?}")))
                    }
                    Ok(_) => return Ok(consumer),
                    Err(_) => {
                        drop(consumer.poll(SLICE));
                        consumer.context().take_trouble()
                    }
                },
                Err(refusal) => Some(refusal),
            };
            if !keep_going(trouble) {
                return Err(LookError::Stopped);
            }
            rest(SLICE, keep_going)?;
        }
    }

    /// The record, when it is one of ours and wanted.
    fn own(&self, topic: &Arc<str>, message: &BorrowedMessage<'_>, wanted: &Wanted) -> Option<Found> {
        let mut headers = message.headers()?.iter();
        let identity = headers.find(|header| header.key == IDENTITY_HEADER)?.value?;
        let seq = std::str::from_utf8(identity.strip_prefix(self.identity)?).ok()?.parse().ok().map(Seq)?;
        let accepted_ms = match message.timestamp() {
            Timestamp::CreateTime(ms) => u64::try_from(ms).ok(),
            Timestamp::LogAppendTime(_) | Timestamp::NotAvailable => None,
        };
        let place = Place { topic: Arc::clone(topic), partition: message.partition(), offset: message.offset() };
        let found = Found { seq, place, key_print: key_print(message.key().unwrap_or_default()), accepted_ms };
        (seq > wanted.above && seq <= wanted.up_to).then_some(found)
    }
}

/// A consumer that connects as the producer does.
fn consumer(client: &ClientConfig, security: &Security) -> Result<BaseConsumer<Context>, Refusal> {
    let with_secrets = security.with_secrets(client).map_err(|error| unusable(&error, security))?;
    let mut client = ClientConfig::new();
    let of_connections = |name: &str| OF_CONNECTIONS.iter().any(|part| name.starts_with(part));
    // The map has a placeholder where a value is secret; asked by its name, the value is the real one.
    for name in with_secrets.config_map().keys().filter(|name| of_connections(name)) {
        let _ = client.set(*name, with_secrets.get(name).unwrap_or_default());
    }
    for (name, value) in CONSUMER {
        let _ = client.set(name, value);
    }
    let consumer = client.create_with_context(Context::new(security.token()));
    let consumer: BaseConsumer<Context> = consumer.map_err(|error| unusable(&error, security))?;
    // A token of OAUTHBEARER is asked for when the handle is polled.
    drop(consumer.poll(SLICE));
    Ok(consumer)
}

/// Whether the topic may be read, for `check`: reads from its end. `None` when Kafka does not say so in time.
pub(super) fn may_read(client: &ClientConfig, security: &Security, topic: &str, timeout: Duration) -> Option<bool> {
    let consumer = consumer(client, security).ok()?;
    let mut end = TopicPartitionList::new();
    end.add_partition_offset(topic, 0, Offset::End).ok()?;
    consumer.assign(&end).ok()?;
    let deadline = Instant::now() + timeout;
    while Instant::now() < deadline {
        match consumer.poll(SLICE) {
            Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => return Some(true),
            Some(Err(error)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::TopicAuthorizationFailed) => return Some(false),
            Some(Err(_)) | None => {}
        }
    }
    None
}

/// Assigns the partitions of a topic that may hold something, each from where it may begin; their ends.
fn starts(consumer: &BaseConsumer<Context>, topic: &str, wanted: &Wanted) -> Result<BTreeMap<i32, i64>, KafkaError> {
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER)?;
    let partitions: Vec<i32> = metadata.topics().iter().flat_map(MetadataTopic::partitions).map(MetadataPartition::id).collect();
    if is_missing(&metadata) {
        // Deleted, with what was in it.
        return Ok(BTreeMap::new());
    }
    let since = i64::try_from(wanted.since_ms.saturating_sub(CLOCKS_MS)).unwrap_or(i64::MAX);
    let mut times = TopicPartitionList::new();
    for partition in &partitions {
        times.add_partition_offset(topic, *partition, Offset::Offset(since))?;
    }
    let by_time = consumer.offsets_for_times(times, ANSWER)?;
    let (mut from, mut ends) = (TopicPartitionList::new(), BTreeMap::new());
    for partition in partitions {
        let (low, high) = consumer.fetch_watermarks(topic, partition, ANSWER)?;
        let by_time = match by_time.find_partition(topic, partition).map(|found| found.offset()) {
            Some(Offset::Offset(offset)) => offset,
            // Nothing is that young.
            _ => high,
        };
        let known = wanted.places.iter().find(|place| &*place.topic == topic && place.partition == partition).map(|place| place.offset + 1);
        // A place beyond the end is of a topic that was deleted and created again.
        let start = known.filter(|known| *known <= high).map_or(by_time, |known| known.max(by_time)).max(low);
        if start < high {
            from.add_partition_offset(topic, partition, Offset::Offset(start))?;
            let _ = ends.insert(partition, high);
        }
    }
    consumer.assign(&from)?;
    Ok(ends)
}

/// Whether the topic that was asked for does not exist.
fn is_missing(metadata: &Metadata) -> bool {
    let mut errors = metadata.topics().iter().filter_map(MetadataTopic::error).map(RDKafkaErrorCode::from);
    errors.any(|code| matches!(code, RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic))
}

fn rest(span: Duration, keep_going: KeepGoing<'_>) -> Result<(), LookError> {
    let end = Instant::now() + span;
    loop {
        if !keep_going(None) {
            return Err(LookError::Stopped);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(SLICE));
    }
}

fn refused(topic: &str, source: KafkaError) -> LookError {
    let topic = topic.to_owned();
    match source.rdkafka_error_code() {
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => LookError::NotAuthorized { topic },
        _ => LookError::Refused { topic, source },
    }
}

/// Whether the client goes on by itself. That the group may not be used is no matter: it is not.
fn is_passing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable
        )
    )
}
