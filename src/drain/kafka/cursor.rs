//! This relay's cursor in Kafka: the newest record under its relay-id in a compacted topic (`kafka.cursor_topic`), written inside each
//! transaction, read before the first.
//!
//! ```text
//! key    relay-id
//! value  {"seq":123,"id":"…","accepted_ms":1767225600000}      the newest event of the transaction
//! ```
//! A relay stays on one partition, the one that its own books name, so that a topic which got more partitions hides no cursor. A record without a
//! value removes the cursor. Reading begins behind the newest place in the books, and only without one at the beginning of the topic.

use super::super::classify::{Class, classify};
use super::super::reconcile::key_print;
use super::super::resume::{Committed, KeepGoing, Known};
use super::super::sink::Refusal;
use super::consumer::{ANSWER, Reading, SLICE, Stopped, is_passing, rest};
use super::context::Context;
use super::security::Security;
use crate::error::{Disposition, chain};
use crate::event::Seq;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::metadata::{MetadataPartition, MetadataTopic};
use rdkafka::producer::BaseRecord;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// The topic does not exist.
const NO_TOPIC: Class = Class {
    disposition: Disposition::Block,
    reason: "unknown_topic",
    meaning: "the topic of kafka.cursor_topic does not exist; create it with cleanup.policy=compact",
};

/// It may not be read.
const NO_RIGHT: Class = Class {
    disposition: Disposition::Block,
    reason: "authorization",
    meaning: "this user may not read the topic of kafka.cursor_topic; grant READ, WRITE and DESCRIBE",
};

/// Somebody else wrote there.
const NO_CURSOR: Class = Class {
    disposition: Disposition::Block,
    reason: "incompatible",
    meaning: "the record under this relay's id in the topic of kafka.cursor_topic is no cursor; give the relays a topic of their own",
};

/// The record's value.
#[derive(Debug, Deserialize)]
struct Value<'a> {
    seq: u64,
    #[serde(borrow)]
    id: std::borrow::Cow<'a, str>,
    accepted_ms: u64,
}

/// Reads and writes the cursor.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    client: ClientConfig,
    security: Security,
    topic: String,
    relay_id: String,
    /// Where it is; known once it was looked for.
    partition: Option<i32>,
    value: Vec<u8>,
}

/// Partitions, each with where reading begins and ends.
type Spans = BTreeMap<i32, (i64, i64)>;

impl Cursor {
    pub(super) fn new(client: ClientConfig, security: Security, topic: String, relay_id: String) -> Self {
        Self { client, security, topic, relay_id, partition: None, value: Vec::new() }
    }

    /// The record that moves it.
    pub(super) fn record(&mut self, to: &Committed, opaque: usize) -> BaseRecord<'_, str, [u8], usize> {
        self.value = serde_json::json!({ "seq": to.seq.0, "id": to.id, "accepted_ms": to.accepted_ms }).to_string().into_bytes();
        let record = BaseRecord::with_opaque_to(&self.topic, opaque).key(self.relay_id.as_str()).payload(self.value.as_slice());
        match self.partition {
            Some(partition) => record.partition(partition),
            None => record,
        }
    }

    /// The newest one that was committed. The transactions of earlier handles must have ended: then nothing of ours is open.
    pub(super) fn newest(&mut self, known: &Known, keep_going: KeepGoing<'_>) -> Result<Option<Committed>, Refusal> {
        let spans = self.spans(known, keep_going)?;
        if spans.values().all(|(from, end)| from >= end) {
            return Ok(None);
        }
        let reading = Reading { client: &self.client, security: &self.security, committed: true };
        let consumer = reading.connect(&self.topic, keep_going).map_err(|Stopped| Refusal::stopped())?;
        self.wait_until_known(&consumer, &spans, keep_going)?;
        let found = self.read(&consumer, &spans, keep_going)?;
        let newest = found.into_iter().max_by_key(|(_, committed)| committed.seq);
        Ok(newest.map(|(partition, committed)| {
            self.partition = Some(partition);
            committed
        }))
    }

    /// Which partitions to read, from where to where; settles on the one to write to.
    fn spans(&mut self, known: &Known, keep_going: KeepGoing<'_>) -> Result<Spans, Refusal> {
        let reading = Reading { client: &self.client, security: &self.security, committed: false };
        let consumer = reading.connect(&self.topic, keep_going).map_err(|Stopped| Refusal::stopped())?;
        let partitions = self.partitions(&consumer)?;
        let places = known.places.iter().filter(|place| *place.topic == self.topic && partitions.contains(&place.partition));
        let from: BTreeMap<i32, i64> = places.map(|place| (place.partition, place.offset + 1)).collect();
        let any = usize::try_from(key_print(self.relay_id.as_bytes()) % partitions.len() as u64).unwrap_or_default();
        let own = from.keys().next().copied().or(self.partition).or_else(|| partitions.iter().nth(any).copied());
        self.partition = own;
        let to_read: Vec<i32> = match (from.is_empty(), known.complete) {
            (false, _) => from.keys().copied().collect(),
            (true, true) => Vec::new(),
            (true, false) => partitions.into_iter().collect(),
        };
        let mut spans = Spans::new();
        for partition in to_read {
            let (low, high) = consumer.fetch_watermarks(&self.topic, partition, ANSWER).map_err(|error| self.refused(&error))?;
            // A place beyond the end is of a topic that was deleted and created again.
            let begin = from.get(&partition).copied().filter(|offset| *offset <= high).unwrap_or(low).max(low);
            let _ = spans.insert(partition, (begin, high));
        }
        Ok(spans)
    }

    fn partitions(&self, consumer: &BaseConsumer<Context>) -> Result<BTreeSet<i32>, Refusal> {
        let metadata = consumer.fetch_metadata(Some(&self.topic), ANSWER).map_err(|error| self.refused(&error))?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == self.topic);
        if let Some(code) = topic.and_then(MetadataTopic::error).map(RDKafkaErrorCode::from) {
            return Err(self.refused(&KafkaError::MetadataFetch(code)));
        }
        let partitions: BTreeSet<i32> = topic.into_iter().flat_map(MetadataTopic::partitions).map(MetadataPartition::id).collect();
        if partitions.is_empty() {
            return Err(Refusal { class: NO_TOPIC, detail: format!("no topic {:?}", self.topic) });
        }
        Ok(partitions)
    }

    /// Waits until everything up to the ends is known to be committed or not: relays that share a partition have their transactions there, too.
    fn wait_until_known(&self, consumer: &BaseConsumer<Context>, spans: &Spans, keep_going: KeepGoing<'_>) -> Result<(), Refusal> {
        let mut told = false;
        for (partition, (_, end)) in spans {
            loop {
                match consumer.fetch_watermarks(&self.topic, *partition, ANSWER) {
                    Ok((_, known)) if known >= *end => break,
                    Err(error) if !is_passing(&error) => return Err(self.refused(&error)),
                    Ok(_) if !told => {
                        told = true;
                        tracing::info!(
                            topic = self.topic,
                            partition,
                            "another relay's transaction is open in the cursors' topic: waiting for its end"
                        );
                    }
                    Ok(_) | Err(_) => {}
                }
                rest(SLICE, keep_going).map_err(|Stopped| Refusal::stopped())?;
            }
        }
        Ok(())
    }

    fn read(
        &self,
        consumer: &BaseConsumer<Context>,
        spans: &Spans,
        keep_going: KeepGoing<'_>,
    ) -> Result<BTreeMap<i32, Committed>, Refusal> {
        let mut from = TopicPartitionList::new();
        for (partition, (begin, _)) in spans {
            from.add_partition_offset(&self.topic, *partition, Offset::Offset(*begin)).map_err(|error| self.refused(&error))?;
        }
        consumer.assign(&from).map_err(|error| self.refused(&error))?;
        let mut left: BTreeSet<i32> = spans.keys().copied().collect();
        let mut found = BTreeMap::new();
        while !left.is_empty() {
            if !keep_going(None) {
                return Err(Refusal::stopped());
            }
            match consumer.poll(SLICE) {
                Some(Ok(message)) if message.key() == Some(self.relay_id.as_bytes()) => {
                    let _ = match message.payload() {
                        None => found.remove(&message.partition()),
                        Some(value) => found.insert(message.partition(), committed(value, message.partition(), message.offset())?),
                    };
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(left.remove(&partition)),
                Some(Err(error)) if !is_passing(&error) => return Err(self.refused(&error)),
                None | Some(Ok(_) | Err(_)) => {}
            }
        }
        Ok(found)
    }

    fn refused(&self, error: &KafkaError) -> Refusal {
        let class = match error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown) {
            RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition => NO_TOPIC,
            RDKafkaErrorCode::TopicAuthorizationFailed => NO_RIGHT,
            code => classify(code),
        };
        Refusal { class, detail: format!("topic {:?}: {}", self.topic, chain(error)) }
    }
}

fn committed(value: &[u8], partition: i32, offset: i64) -> Result<Committed, Refusal> {
    let Value { seq, id, accepted_ms } = serde_json::from_slice(value)
        .map_err(|error| Refusal { class: NO_CURSOR, detail: format!("partition {partition}, offset {offset}: {error}") })?;
    Ok(Committed { seq: Seq(seq), id: id.into_owned(), accepted_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: what a relay writes about itself it understands again, whatever is in an id; what others wrote there is no cursor, and said to be none.
    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let security = Security::of(&crate::config::KafkaConfig::default());
        let mut cursor = Cursor::new(ClientConfig::new(), security, "cursors".into(), "relay".into());
        let to = Committed { seq: Seq(u64::MAX), id: "a \"quoted\"\\ id\n\u{1F600}".into(), accepted_ms: 1 };
        let record = cursor.record(&to, 0);
        assert_eq!((record.topic, record.key, record.partition), ("cursors", Some("relay"), None));
        let value = record.payload.unwrap().to_vec();
        assert_eq!(committed(&value, 0, 0), Ok(to));
        let refusal = committed(b"{\"offset\":1}", 3, 42).unwrap_err();
        assert_eq!(refusal.class.disposition, Disposition::Block);
        assert!(refusal.detail.starts_with("partition 3, offset 42: missing field"), "{}", refusal.detail);
    }
}
