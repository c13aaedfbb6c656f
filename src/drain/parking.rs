//! Events of blocked topics on their way out of the log: collected, then parked together, since each parking waits for the disk. Pure.
//!
//! What is collected is still in the log: whoever drops a batch has only to read it again. Invariant: while an event of a topic is in the batch,
//! nothing of that topic may be sent, whatever the buffer says of the topic meanwhile.

use super::classify::{Class, classify};
use crate::buffer::ParkedEvent;
use rdkafka::error::RDKafkaErrorCode as Code;
use std::time::{Duration, Instant};

/// A batch is parked when it holds so much,
const MAX_BYTES: usize = 512 << 10;
/// or so many events,
const MAX_EVENTS: usize = 2_048;
/// or its oldest event has waited so long: a trickle must not cost a file each.
const MAX_AGE: Duration = Duration::from_millis(200);

/// What to do about a topic that Kafka refuses in a way that waiting alone may not cure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Blocked {
    /// Wait, with everything behind it.
    #[default]
    Wait,
    /// Park its events from now on, and go on with the others: the drain of the log.
    Park,
    /// Turn to another topic, and come back later: the drain of what is parked.
    Rest,
}

/// Whether a refusal is about one topic, so that others may be taken. Rights on the cluster, and credentials, are about all of them.
pub(super) fn is_about_one_topic(class: Class) -> bool {
    [Code::UnknownTopic, Code::InvalidTopic, Code::TopicAuthorizationFailed].into_iter().any(|code| classify(code) == class)
}

/// Notes a topic once.
pub(super) fn note(topics: &mut Vec<String>, topic: &str) {
    if !topics.iter().any(|noted| noted == topic) {
        topics.push(topic.to_owned());
    }
}

/// The batch.
#[derive(Debug, Default)]
pub(super) struct ParkBatch {
    topics: Vec<(String, Vec<ParkedEvent>)>,
    bytes: usize,
    events: usize,
    since: Option<Instant>,
}

impl ParkBatch {
    pub(super) fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// Whether it holds an event of this topic.
    pub(super) fn holds(&self, topic: &str) -> bool {
        self.topics.iter().any(|(name, _)| name == topic)
    }

    /// Adds an event with a higher seq than those before.
    pub(super) fn push(&mut self, topic: &str, event: ParkedEvent, now: Instant) {
        self.bytes += event.record.len();
        self.events += 1;
        let _ = self.since.get_or_insert(now);
        match self.topics.iter_mut().find(|(name, _)| name == topic) {
            Some((_, events)) => events.push(event),
            None => self.topics.push((topic.to_owned(), vec![event])),
        }
    }

    /// Whether it holds as much as it may.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= MAX_BYTES || self.events >= MAX_EVENTS
    }

    /// Whether to park it now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.is_full() || self.since.is_some_and(|since| now.saturating_duration_since(since) >= MAX_AGE)
    }

    /// The events of one topic after the other; empties it.
    pub(super) fn take(&mut self) -> Vec<(String, Vec<ParkedEvent>)> {
        std::mem::take(self).topics
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn event(seq: u64, len: usize) -> ParkedEvent {
        ParkedEvent { seq, accepted_ms: 1, record: Bytes::from(vec![0; len]) }
    }

    // Goal: a trickle for a blocked topic is parked a few times a second, a flood in large pieces; memory is bounded either way.
    #[test]
    fn a_batch_is_parked_when_it_is_full_or_old() {
        let now = Instant::now();
        let mut batch = ParkBatch::default();
        assert!(!batch.is_due(now + Duration::from_secs(3_600)));
        batch.push("a", event(1, 10), now);
        assert!(!batch.is_due(now) && batch.is_due(now + MAX_AGE) && !batch.is_full());
        batch.push("b", event(2, MAX_BYTES), now + MAX_AGE);
        assert!(batch.is_due(now) && batch.is_full());
        let seqs = |events: &[ParkedEvent]| events.iter().map(|event| event.seq).collect::<Vec<_>>();
        let taken: Vec<_> = batch.take().iter().map(|(topic, events)| (topic.clone(), seqs(events))).collect();
        assert_eq!(taken, [("a".to_owned(), vec![1]), ("b".to_owned(), vec![2])]);
        assert!(batch.is_empty() && !batch.holds("a") && !batch.is_due(now + MAX_AGE));
        (1..=MAX_EVENTS as u64).for_each(|seq| batch.push("a", event(seq, 0), now));
        assert!(batch.is_full() && batch.holds("a") && !batch.holds("b"));
    }

    // Goal: only what is about one topic parks it; wrong credentials park nothing.
    #[test]
    fn only_topics_are_parked() {
        for code in [Code::UnknownTopic, Code::UnknownTopicOrPartition, Code::InvalidTopic, Code::TopicAuthorizationFailed] {
            assert!(is_about_one_topic(classify(code)), "{code:?}");
        }
        for code in [
            Code::ClusterAuthorizationFailed,
            Code::TransactionalIdAuthorizationFailed,
            Code::SaslAuthenticationFailed,
            Code::AllBrokersDown,
            Code::InvalidRecord,
            Code::UnsupportedVersion,
        ] {
            assert!(!is_about_one_topic(classify(code)), "{code:?}");
        }
    }
}
