//! What the copier tells about itself.

use crate::buffer::dead_letters::Copied;
use crate::config::KafkaConfig;
use crate::lifecycle::Counter;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The closed set of `dead_letter_copies_total{result}`.
pub const COPY_RESULTS: [&str; 2] = ["copied", "copied_without_value"];

/// Counters and troubles of the copier.
#[derive(Debug, Default)]
pub struct CopyStats {
    topic: String,
    /// Copies that the topic has, since the process started, by result (see [`COPY_RESULTS`]).
    pub copied: [Counter; COPY_RESULTS.len()],
    trouble: Mutex<Option<CopyTrouble>>,
    /// The newest error, with Unix milliseconds.
    pub last_error: Mutex<Option<(u64, String)>>,
}

/// Letters wait, and the last attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyTrouble {
    /// Since when a letter has waited without any being copied.
    pub since: Instant,
    /// A short label: one of the reasons of the drain.
    pub reason: &'static str,
    /// In words, with Kafka's own text.
    pub detail: String,
}

impl CopyStats {
    /// Those of the topic that the settings name; `None` when letters are not copied.
    pub fn of(config: &KafkaConfig) -> Option<Arc<Self>> {
        let topic = config.dead_letter_topic.clone()?;
        Some(Arc::new(Self { topic, ..Self::default() }))
    }

    /// Where letters are copied to.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// What is wrong; `None` when the last attempt went well, or nothing is to be copied.
    pub fn trouble(&self) -> Option<CopyTrouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn show(&self, trouble: Option<CopyTrouble>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    pub(super) fn count(&self, how: Copied) {
        let index = match how {
            Copied::Whole => 0,
            Copied::WithoutValue => 1,
        };
        self.copied[index].add(1);
    }
}
