//! The consumer of what must not be lost: reads the topic from its beginning, while it is written.

use super::numbered::number;
use super::relay::TOPIC;
use super::shared::{Consumer, Shared};
use super::witness::{Ends, PARTITIONS, Place};
use crate::cli::exit::{Exit, Failure};
use crate::cli::human::plain;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for the next record.
const POLL: Duration = Duration::from_millis(20);

/// Longest wait for Kafka to say where a partition ends.
const ASK: Duration = Duration::from_millis(300);

/// Starts reading.
pub(super) fn start(brokers: &str, shared: &Arc<Shared>) -> Result<Consumer, Failure> {
    let failed = |error: &dyn std::error::Error| Failure::new(Exit::Failed, format!("cannot read from Kafka: {error}"));
    let consumer = open(brokers).map_err(|error| failed(&error))?;
    let shared = Arc::clone(shared);
    Consumer::spawn("reader", move || read(&consumer, &shared)).map_err(|error| failed(&error))
}

/// Without a group: this reader wants all partitions, and to remember nothing.
fn open(brokers: &str) -> KafkaResult<BaseConsumer> {
    let settings = [
        ("bootstrap.servers", brokers),
        // librdkafka wants a name all the same.
        ("group.id", "demo"),
        ("enable.auto.commit", "false"),
        ("auto.offset.reset", "earliest"),
        // The mock broker lets a fetch wait to the end, also when there is something to read before.
        ("fetch.wait.max.ms", "10"),
        ("reconnect.backoff.ms", "20"),
        ("reconnect.backoff.max.ms", "200"),
    ];
    let mut config = ClientConfig::new();
    config.extend(settings.map(|(key, value)| (key.to_owned(), value.to_owned())));
    let consumer: BaseConsumer = config.create()?;
    let mut partitions = TopicPartitionList::new();
    for partition in 0..PARTITIONS as i32 {
        partitions.add_partition_offset(TOPIC, partition, Offset::Beginning)?;
    }
    consumer.assign(&partitions)?;
    Ok(consumer)
}

fn read(consumer: &BaseConsumer, shared: &Shared) {
    while !shared.stopping() {
        match consumer.poll(POLL) {
            Some(Ok(message)) => record(&message, shared),
            // Kafka going away is part of the story; librdkafka reconnects, and what stays missing is told at the end.
            Some(Err(error)) => tracing::info!(%error, "the demo's consumer waits for Kafka"),
            None => {}
        }
        ask_where_it_ends(consumer, shared);
    }
}

fn record(message: &BorrowedMessage<'_>, shared: &Shared) {
    let (Some(place), value) = (place(message), message.payload().unwrap_or_default()) else {
        return shared.fail(format!("a record at {}/{} has no dualstream header", message.partition(), message.offset()));
    };
    if !shared.witness().is_new(place) {
        return;
    }
    match number(value, shared.events) {
        Some(number) => shared.witness().read(number, place),
        None => {
            let (key, value) = (String::from_utf8_lossy(message.key().unwrap_or_default()), String::from_utf8_lossy(value));
            let place = format!("{TOPIC}/{}@{}", place.partition, place.offset);
            shared.overhear(format!("Kafka  {place}  key {}  {}", plain(&key), plain(&value)));
        }
    }
}

/// Where the record is, and which of the relay's events it says it is.
fn place(message: &BorrowedMessage<'_>) -> Option<Place> {
    let header = message.headers()?.iter().find(|header| header.key == "dualstream")?.value?;
    let (_relay, seq) = std::str::from_utf8(header).ok()?.split_once('/')?;
    let partition = usize::try_from(message.partition()).ok().filter(|partition| *partition < PARTITIONS)?;
    Some(Place { partition, offset: message.offset(), seq: seq.parse().ok()? })
}

/// For events that were notified and not yet read. An answer that does not come, because Kafka is away, is asked for again.
fn ask_where_it_ends(consumer: &BaseConsumer, shared: &Shared) {
    let open = shared.witness().open_questions();
    if open.is_empty() {
        return;
    }
    let mut ends: Ends = [0; PARTITIONS];
    for (partition, end) in ends.iter_mut().enumerate() {
        match consumer.fetch_watermarks(TOPIC, partition as i32, ASK) {
            Ok((_, high)) => *end = high,
            Err(_) => return,
        }
    }
    shared.witness().answer(&open, ends);
}
