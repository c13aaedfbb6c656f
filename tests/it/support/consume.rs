//! What is in a Kafka topic: every partition from the beginning, without a consumer group.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::{BorrowedMessage, Headers},
};

use super::wait;

/// For a broker that answers; reading itself is bounded by the caller's deadline.
const ANSWER: Duration = Duration::from_secs(30);
const READ_ALL: Duration = Duration::from_secs(120);

/// One record as a consumer sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Vec<u8>,
    pub timestamp_ms: i64,
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    /// The key as text; empty when there is none.
    pub fn key_str(&self) -> &str {
        std::str::from_utf8(self.key.as_deref().unwrap_or_default()).expect("a key is text")
    }

    /// The value as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.value).expect("a value is JSON")
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let mut found = self.headers.iter().filter(|(key, _)| key == name);
        found.next().map(|(_, value)| value.as_slice())
    }
}

/// Everything in the topic up to the high watermarks of now. Only committed transactions are seen.
#[track_caller]
pub fn read_topic(bootstrap: &str, topic: &str) -> Vec<Record> {
    let mut reader = Reader::open(bootstrap, topic);
    let mut records = Vec::new();
    let end = Instant::now() + READ_ALL;
    while !reader.is_at_end() {
        assert!(Instant::now() < end, "read {} records of {topic} in {READ_ALL:?} and did not reach its end", records.len());
        records.extend(reader.next());
    }
    records
}

/// Reads from the beginning, and goes on with what arrives, until `enough` says so; panics at the deadline.
#[track_caller]
pub fn read_until(bootstrap: &str, topic: &str, deadline: Duration, enough: impl Fn(&[Record]) -> bool) -> Vec<Record> {
    let end = Instant::now() + deadline;
    let mut reader = Reader::open(bootstrap, topic);
    let mut records = Vec::new();
    while !enough(&records) {
        assert!(
            Instant::now() < end,
            "{topic} had only {} records after {deadline:?}, the last of them {:?}",
            records.len(),
            records.last()
        );
        records.extend(reader.next());
    }
    records
}

/// Reads until there are `count` records or more.
#[track_caller]
pub fn read_count(bootstrap: &str, topic: &str, count: usize, deadline: Duration) -> Vec<Record> {
    read_until(bootstrap, topic, deadline, |records| records.len() >= count)
}

struct Reader {
    consumer: BaseConsumer,
    /// The partitions whose end at the time of opening is not reached yet.
    left: BTreeMap<i32, i64>,
}

impl Reader {
    #[track_caller]
    fn open(bootstrap: &str, topic: &str) -> Self {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            // Assigned by hand and never committed; librdkafka wants a name all the same.
            .set("group.id", "reader")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", "50")
            .set("reconnect.backoff.max.ms", "500")
            .set("log_level", "0")
            .create()
            .expect("a consumer can be made");
        let left = wait::until_ok(&format!("watermarks of {topic}"), ANSWER, || watermarks(&consumer, topic));
        let mut assignment = TopicPartitionList::new();
        for partition in left.keys() {
            assignment.add_partition_offset(topic, *partition, Offset::Beginning).expect("Beginning is an offset");
        }
        consumer.assign(&assignment).expect("partitions exist");
        let left = left.into_iter().filter(|(_, end)| *end > 0).collect();
        Self { consumer, left }
    }

    fn is_at_end(&self) -> bool {
        self.left.is_empty()
    }

    /// The next record, if one is here soon. What goes wrong on the way is retried: the caller has a deadline.
    fn next(&mut self) -> Option<Record> {
        match self.consumer.poll(Duration::from_millis(100))? {
            Ok(message) => {
                let (partition, offset) = (message.partition(), message.offset());
                if self.left.get(&partition).is_some_and(|end| offset >= end - 1) {
                    self.left.remove(&partition);
                }
                Some(record(&message))
            }
            // The last offsets may be a transaction's markers, or deleted: no record ever arrives for those.
            Err(KafkaError::PartitionEOF(partition)) => {
                self.left.remove(&partition);
                None
            }
            Err(_) => None,
        }
    }
}

fn watermarks(consumer: &BaseConsumer, topic: &str) -> Result<BTreeMap<i32, i64>, KafkaError> {
    let ask = Duration::from_secs(5);
    let metadata = consumer.fetch_metadata(Some(topic), ask)?;
    let topic_metadata = &metadata.topics()[0];
    if let Some(error) = topic_metadata.error() {
        return Err(KafkaError::MetadataFetch(error.into()));
    }
    let partitions = topic_metadata.partitions().iter();
    partitions
        .map(|p| {
            let (_, high) = consumer.fetch_watermarks(topic, p.id(), ask)?;
            Ok((p.id(), high))
        })
        .collect()
}

fn record(message: &BorrowedMessage<'_>) -> Record {
    let headers = message.headers().map(|headers| {
        let named = headers.iter();
        named.map(|h| (h.key.to_owned(), h.value.unwrap_or_default().to_vec())).collect()
    });
    Record {
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().unwrap_or_default().to_vec(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
        headers: headers.unwrap_or_default(),
    }
}
