//! A plain consumer, for looking into Kafka: partitions are assigned by hand, no group is joined and nothing is committed.

use super::super::resume::KeepGoing;
use super::super::sink::Refusal;
use super::context::Context;
use super::security::Security;
use super::unusable;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::time::{Duration, Instant};

/// How long one question may take.
pub(super) const ANSWER: Duration = Duration::from_secs(5);
/// Between two questions while Kafka does not answer, and between two looks at whether to go on.
pub(super) const SLICE: Duration = Duration::from_millis(100);

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
const CONSUMER: [(&str, &str); 6] = [
    // librdkafka wants a name; nothing is stored under it.
    ("group.id", "dualstream-reconcile"),
    ("enable.auto.commit", "false"),
    ("enable.partition.eof", "true"),
    ("auto.offset.reset", "earliest"),
    // Memory.
    ("queued.max.messages.kbytes", "4096"),
    ("fetch.message.max.bytes", "1048576"),
];

impl ConsumerContext for Context {}

/// Told to stop.
#[derive(Debug, thiserror::Error)]
#[error("told to stop")]
pub(super) struct Stopped;

/// How to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading<'a> {
    /// The producer's settings.
    pub(super) client: &'a ClientConfig,
    pub(super) security: &'a Security,
    /// Only what is committed, and only up to where that is known.
    pub(super) committed: bool,
}

impl Reading<'_> {
    /// A consumer that Kafka answers; as long as it does not, nothing could be sent either.
    pub(super) fn connect(&self, topic: &str, keep_going: KeepGoing<'_>) -> Result<BaseConsumer<Context>, Stopped> {
        loop {
            // A new one each time: files of secrets may have been put right.
            let trouble = match self.consumer() {
                Ok(consumer) if consumer.fetch_metadata(Some(topic), ANSWER).is_ok() => return Ok(consumer),
                Ok(consumer) => {
                    drop(consumer.poll(SLICE));
                    consumer.context().take_trouble()
                }
                Err(refusal) => Some(refusal),
            };
            if !keep_going(trouble) {
                return Err(Stopped);
            }
            rest(SLICE, keep_going)?;
        }
    }

    fn consumer(&self) -> Result<BaseConsumer<Context>, Refusal> {
        let with_secrets = self.security.with_secrets(self.client).map_err(|error| unusable(&error, self.security))?;
        let mut client = ClientConfig::new();
        let of_connections = |name: &str| OF_CONNECTIONS.iter().any(|part| name.starts_with(part));
        // The map has a placeholder where a value is secret; asked by its name, the value is the real one.
        for name in with_secrets.config_map().keys().filter(|name| of_connections(name)) {
            let _ = client.set(*name, with_secrets.get(name).unwrap_or_default());
        }
        for (name, value) in CONSUMER {
            let _ = client.set(name, value);
        }
        let _ = client.set("isolation.level", if self.committed { "read_committed" } else { "read_uncommitted" });
        let consumer = client.create_with_context(Context::new(self.security.token()));
        let consumer: BaseConsumer<Context> = consumer.map_err(|error| unusable(&error, self.security))?;
        // A token of OAUTHBEARER is asked for when the handle is polled.
        drop(consumer.poll(SLICE));
        Ok(consumer)
    }
}

/// Whether the topic may be read, for `check`: reads from its end. `None` when Kafka does not say so in time.
pub(super) fn may_read(client: &ClientConfig, security: &Security, topic: &str, timeout: Duration) -> Option<bool> {
    let consumer = Reading { client, security, committed: false }.consumer().ok()?;
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

/// Waits.
pub(super) fn rest(span: Duration, keep_going: KeepGoing<'_>) -> Result<(), Stopped> {
    let end = Instant::now() + span;
    loop {
        if !keep_going(None) {
            return Err(Stopped);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(SLICE));
    }
}

/// Whether the client goes on by itself. That the group may not be used is no matter: it is not.
pub(super) fn is_passing(error: &KafkaError) -> bool {
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
