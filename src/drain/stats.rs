//! What the drain tells about itself.

use super::classify::DEAD_REASONS;
use super::resting::RestingTopic;
use crate::lifecycle::{Counter, Gauge, Histogram, TopicLimit};
use serde::Serialize;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

/// What the drain is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum DrainState {
    /// Building a Kafka handle.
    #[default]
    Connecting,
    /// Sending, or ready to.
    Running,
    /// Stopped the line after a failure; will build a new handle and send again.
    Recovering {
        /// Why, in words.
        reason: String,
    },
    /// An operator paused it: nothing is sent, the backlog waits.
    Paused,
    /// Looking for the event that Kafka refuses, so that the others can go on.
    Isolating {
        /// Why, in words.
        reason: String,
    },
    /// Kafka refuses in a way that waiting alone may not cure; retrying with backoff, losing nothing.
    Blocked {
        /// A short label from a closed set: the metric's `reason`.
        reason: &'static str,
        /// In words, with Kafka's own text.
        detail: String,
    },
    /// Finished.
    Stopped,
}

/// Counters of the stage.
#[derive(Debug, Default)]
pub struct DrainStats {
    /// Events acknowledged by Kafka in this process.
    pub acked: Counter,
    /// Times the line was stopped and events sent again, by reason (see [`RETRY_REASONS`]).
    pub retries: [Counter; RETRY_REASONS.len()],
    /// Events given up as dead letters in this process, by reason (see [`super::DEAD_REASONS`]).
    pub dead_letters: [Counter; DEAD_REASONS.len()],
    /// Events handed to Kafka and not yet acknowledged.
    pub inflight: Gauge,
    /// From hand-over to ack.
    pub ack_seconds: Histogram,
    /// Unix milliseconds of the newest ack; 0 before the first.
    pub last_ack_ms: Gauge,
    /// Whether any broker connection is up, as far as the client knows.
    pub connected: AtomicBool,
    /// What the drain is doing.
    pub state: Mutex<DrainState>,
    /// The largest record that the topic takes, for whoever hands events in.
    pub topic_limit: Arc<TopicLimit>,
    /// Parked topics that were refused when they were tried last; of the line that sends what is parked.
    pub resting: Mutex<Vec<RestingTopic>>,
    /// The newest error, with Unix milliseconds.
    pub last_error: Mutex<Option<(u64, String)>>,
}

/// The closed set of `drain_retries_total{reason}`.
pub const RETRY_REASONS: [&str; 5] = ["fatal", "transient", "rejected", "blocked", "stalled"];
