//! The largest record that Kafka's topic takes, as far as it is known: the drain finds out, ingest refuses what can never be delivered.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A topic's `max.message.bytes`, shared between the stages; unknown until somebody has asked Kafka.
#[derive(Debug, Default)]
pub struct TopicLimit {
    /// 0: unknown.
    max_bytes: AtomicU64,
    about: OnceLock<About>,
}

/// What does not change while the relay runs.
#[derive(Debug)]
struct About {
    topic: String,
    overhead_bytes: u64,
}

/// An event that the topic never takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{record_bytes} bytes as a record of Kafka's topic {topic:?}, which takes {max_bytes} (max.message.bytes); raise the topic's limit, or send less"
)]
pub struct TooLargeForTopic {
    /// Its record, before compression.
    pub record_bytes: u64,
    /// What the topic takes.
    pub max_bytes: u64,
    /// The topic.
    pub topic: String,
}

impl TopicLimit {
    /// Says which topic it is about, and what a record of it needs beside key and value, at most. Only the first call counts.
    pub fn describe(&self, topic: &str, overhead_bytes: u64) {
        let _ = self.about.get_or_init(|| About { topic: topic.to_owned(), overhead_bytes });
    }

    /// Remembers the limit; gives the one before.
    pub fn set(&self, max_bytes: Option<u64>) -> Option<u64> {
        known(self.max_bytes.swap(max_bytes.unwrap_or_default(), Ordering::Relaxed))
    }

    /// The limit, when it is known.
    pub fn get(&self) -> Option<u64> {
        known(self.max_bytes.load(Ordering::Relaxed))
    }

    /// Judges an event by the length of its key and value. What is not known refuses nothing.
    ///
    /// # Errors
    /// [`TooLargeForTopic`]: Kafka would never take it, unless it compresses well.
    pub fn check(&self, key_bytes: usize, value_bytes: usize) -> Result<(), TooLargeForTopic> {
        let (Some(max_bytes), Some(about)) = (self.get(), self.about.get()) else { return Ok(()) };
        let record_bytes = key_bytes as u64 + value_bytes as u64 + about.overhead_bytes;
        if record_bytes <= max_bytes { Ok(()) } else { Err(TooLargeForTopic { record_bytes, max_bytes, topic: about.topic.clone() }) }
    }
}

fn known(bytes: u64) -> Option<u64> {
    (bytes > 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: an event that my topic can never take is refused, with the figures; as long as the limit is not known, nothing is.
    #[test]
    fn the_limit_counts_once_it_is_known() {
        let limit = TopicLimit::default();
        assert_eq!(limit.check(10, 1 << 30), Ok(()));
        limit.describe("orders", 100);
        assert_eq!(limit.check(10, 1 << 30), Ok(()));
        assert_eq!(limit.set(Some(1_000)), None);
        assert_eq!(limit.check(10, 890), Ok(()));
        let refused = limit.check(10, 891).unwrap_err();
        assert_eq!((refused.record_bytes, refused.max_bytes), (1_001, 1_000));
        assert!(refused.to_string().contains("\"orders\", which takes 1000"), "{refused}");
        assert_eq!(limit.set(None), Some(1_000));
        assert_eq!(limit.check(10, 1 << 30), Ok(()));
    }
}
