//! The consumer of what must not be lost: reads the topic from its beginning, while it is written.

use super::kafka::client;
use super::numbered::number;
use super::relay::TOPIC;
use super::shared::{Consumer, Shared};
use super::witness::{PARTITIONS, Place};
use crate::cli::exit::{Exit, Failure};
use crate::cli::human::plain;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest wait for the next record.
const POLL: Duration = Duration::from_millis(20);

/// Longest wait for the first answer of all partitions.
const OPEN: Duration = Duration::from_secs(10);

/// Why there is nothing to read from.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("{0}")]
    Kafka(#[from] KafkaError),
    #[error("partitions {partitions:?} of topic {TOPIC} did not answer within {OPEN:?}")]
    Silent { partitions: BTreeSet<i32> },
}

/// Starts reading. The topic must be empty: it is at its end before anything is sent.
pub(super) fn start(brokers: &str, shared: &Arc<Shared>) -> Result<Consumer, Failure> {
    let failed = |error: &dyn std::error::Error| Failure::new(Exit::Failed, format!("cannot read from Kafka: {error}"));
    let consumer = open(brokers).map_err(|error| failed(&error))?;
    Consumer::spawn("reader", shared, move |shared| read(&consumer, shared)).map_err(|error| failed(&error))
}

fn open(brokers: &str) -> Result<BaseConsumer, OpenError> {
    let consumer = client(brokers)?;
    let mut assigned = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assigned.add_partition_offset(TOPIC, partition, Offset::Beginning)?;
    }
    consumer.assign(&assigned)?;
    let mut partitions: BTreeSet<i32> = (0..PARTITIONS).collect();
    let end = Instant::now() + OPEN;
    while !partitions.is_empty() {
        if Instant::now() >= end {
            return Err(OpenError::Silent { partitions });
        }
        if let Some(Err(KafkaError::PartitionEOF(partition))) = consumer.poll(POLL) {
            let _silent = partitions.remove(&partition);
        }
    }
    Ok(consumer)
}

fn read(consumer: &BaseConsumer, shared: &Shared) {
    while !shared.stopping() {
        match consumer.poll(POLL) {
            Some(Ok(message)) => record(&message, shared),
            None | Some(Err(KafkaError::PartitionEOF(_))) => {}
            // Kafka going away is part of the story; librdkafka reconnects, and what stays missing is told at the end.
            Some(Err(error)) => tracing::info!(%error, "the demo's consumer waits for Kafka"),
        }
    }
}

fn record(message: &BorrowedMessage<'_>, shared: &Shared) {
    let (Some(place), value) = (place(message), message.payload().unwrap_or_default()) else {
        return shared.fail(format!("a record at {}/{} has no dualstream header", message.partition(), message.offset()));
    };
    if !shared.witness().is_new(place) {
        return;
    }
    if let Some(number) = number(value, shared.events) {
        shared.witness().read(number, place);
    } else {
        let (key, value) = (String::from_utf8_lossy(message.key().unwrap_or_default()), String::from_utf8_lossy(value));
        let place = format!("{TOPIC}/{}@{}", place.partition, place.offset);
        shared.overhear(format!("Kafka  {place}  key {}  {}", plain(&key), plain(&value)));
    }
}

/// Where the record is, and which of the relay's events it says it is.
fn place(message: &BorrowedMessage<'_>) -> Option<Place> {
    let header = message.headers()?.iter().find(|header| header.key == "dualstream")?.value?;
    let (_relay, seq) = std::str::from_utf8(header).ok()?.split_once('/')?;
    Some(Place { partition: message.partition(), offset: message.offset(), seq: seq.parse().ok()? })
}
