//! One snapshot of the whole relay: what the JSON, the command line and the metrics all show.
//!
//! The shape is an interface: `GET /v1/status` prints it as it stands here. Deliberately absent: anything that an event says (no ids,
//! no payloads), and secrets.

use super::health::{Health, Phase};
use crate::buffer::BufferSnapshot;
use crate::buffer::dead_letters::Usage;
use crate::config::Delivery;
use crate::drain::{COPY_RESULTS, CopyStats, DEAD_REASONS, DrainState, DrainStats, RETRY_REASONS, RestingTopic};
use crate::ingest::{CODES, IngestStats, RESULTS};
use crate::lifecycle::{Counter, HistogramSnapshot};
use crate::notify::{DROP_REASONS, NotifyStats};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Longest error text that is passed on, in bytes.
const MAX_ERROR_BYTES: usize = 1024;

/// The relay at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct StatusSnapshot {
    /// Which relay, since when.
    pub relay: RelayStatus,
    /// Stage 1.
    pub ingest: IngestStatus,
    /// Stage 2; null until the buffer is recovered.
    pub buffer: Option<BufferSnapshot>,
    /// Stage 3.
    pub drain: DrainStatus,
    /// Events that Kafka will never take; null until the buffer is recovered.
    pub dead_letters: Option<DeadLettersStatus>,
    /// Stage 4; null when notifications are off (`redis.url` is empty).
    pub notify: Option<NotifyStatus>,
    /// The verdict.
    pub health: Health,
}

/// Which relay, since when.
#[derive(Clone, Debug, Serialize)]
pub struct RelayStatus {
    /// Version of the program.
    pub version: &'static str,
    /// The relay-id, once the buffer is open.
    pub relay_id: Option<String>,
    /// Start of this process, RFC 3339.
    pub started_at: String,
    /// The same in Unix seconds.
    #[serde(skip)]
    pub started_at_seconds: f64,
    /// Age of this process.
    pub uptime_seconds: f64,
    /// Where the relay is in its life.
    pub phase: Phase,
    /// Resident memory; null where the system does not tell.
    pub resident_memory_bytes: Option<u64>,
}

/// Stage 1 in numbers, since the process started.
#[derive(Clone, Debug, Serialize)]
pub struct IngestStatus {
    /// Replies by status.
    pub requests: BTreeMap<u16, u64>,
    /// Events by result.
    pub events: BTreeMap<&'static str, u64>,
    /// Connections open now.
    pub connections: u64,
    /// From a decoded request to its durable answer: half are faster (upper bound of a bucket; null: slower than the last).
    pub append_p50_seconds: f64,
    /// The same for 99 of 100.
    pub append_p99_seconds: f64,
    /// All buckets.
    #[serde(skip)]
    pub append_seconds: HistogramSnapshot,
}

/// Stage 3 in numbers, since the process started.
#[derive(Clone, Debug, Serialize)]
pub struct DrainStatus {
    /// What it is doing: `state`, and when it is not well `reason` and `detail`.
    #[serde(flatten)]
    pub state: DrainState,
    /// `kafka.delivery`
    pub delivery: &'static str,
    /// Topics that Kafka refused when they were tried last; their events are parked (`kafka.on_blocked = "park"`).
    pub blocked_topics: Vec<BlockedTopic>,
    /// Whether any broker connection is up.
    pub connected: bool,
    /// Events acknowledged by Kafka.
    pub acked: u64,
    /// Events handed over and not yet acknowledged.
    pub inflight: u64,
    /// The largest record that the topic takes (`max.message.bytes`); null when the topic depends on the event, or it is not known.
    pub topic_max_bytes: Option<u64>,
    /// Times the line was stopped and events sent again, by reason.
    pub retries: BTreeMap<&'static str, u64>,
    /// Events given up as dead letters, by reason.
    pub dead_lettered: BTreeMap<&'static str, u64>,
    /// Age of the newest ack; null before the first.
    pub last_ack_age_seconds: Option<f64>,
    /// From hand-over to ack: half are faster (upper bound of a bucket; null: slower than the last).
    pub ack_p50_seconds: f64,
    /// The same for 99 of 100.
    pub ack_p99_seconds: f64,
    /// All buckets.
    #[serde(skip)]
    pub ack_seconds: HistogramSnapshot,
    /// The newest error; it may be over.
    pub last_error: Option<LastError>,
}

/// A topic whose events are parked because Kafka refuses it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BlockedTopic {
    /// Its name.
    pub topic: String,
    /// A short label from a closed set: the metric's `reason`.
    pub reason: &'static str,
    /// What it means and what would help, with Kafka's own text.
    pub detail: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// How often it was tried since.
    pub attempts: u32,
}

/// Events that Kafka will never take.
#[derive(Clone, Debug, Serialize)]
pub struct DeadLettersStatus {
    /// Those on disk.
    #[serde(flatten)]
    pub usage: Usage,
    /// Their copies in a topic; null when there are none (`kafka.dead_letter_topic` is empty).
    pub copies: Option<CopiesStatus>,
}

/// The copies of dead letters in a topic.
#[derive(Clone, Debug, Serialize)]
pub struct CopiesStatus {
    /// The topic.
    pub topic: String,
    /// Dead letters that wait for their copy.
    pub waiting: u64,
    /// Copies made since the process started, by result.
    pub copied: BTreeMap<&'static str, u64>,
    /// What is in the way; null when the last attempt went well, or nothing is to be copied.
    pub blocked: Option<CopiesBlocked>,
    /// The newest error; it may be over.
    pub last_error: Option<LastError>,
}

/// Why dead letters are not copied.
#[derive(Clone, Debug, Serialize)]
pub struct CopiesBlocked {
    /// A short label.
    pub reason: &'static str,
    /// In words.
    pub detail: String,
    /// How long a letter has waited without any being copied.
    pub seconds: f64,
}

/// Stage 4 in numbers, since the process started.
#[derive(Clone, Debug, Serialize)]
pub struct NotifyStatus {
    /// Whether Redis answers.
    pub up: bool,
    /// Notifications that Redis took.
    pub published: u64,
    /// Notifications that it never got, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Notifications waiting.
    pub queued: u64,
    /// The newest error; it may be over.
    pub last_error: Option<LastError>,
}

/// An error and when it happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LastError {
    /// When, RFC 3339.
    pub at: String,
    /// How long ago.
    pub age_seconds: f64,
    /// What, in words.
    pub message: String,
}

impl IngestStatus {
    pub(super) fn read(stats: &IngestStats) -> Self {
        let append_seconds = stats.append_seconds.snapshot();
        Self {
            requests: counts(CODES, &stats.requests),
            events: counts(RESULTS, &stats.events),
            connections: stats.connections.get(),
            append_p50_seconds: append_seconds.quantile_seconds(0.5),
            append_p99_seconds: append_seconds.quantile_seconds(0.99),
            append_seconds,
        }
    }
}

impl DrainStatus {
    /// Of the line for the log and of that for what is parked.
    pub(super) fn read(stats: &DrainStats, parked: &DrainStats, delivery: Delivery, now_ms: u64) -> Self {
        let ack_seconds = stats.ack_seconds.snapshot();
        let last_ack_ms = stats.last_ack_ms.get().max(parked.last_ack_ms.get());
        Self {
            state: stats.state.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            delivery: delivery.name(),
            blocked_topics: blocked_topics(parked),
            connected: stats.connected.load(Ordering::Relaxed),
            acked: stats.acked.get() + parked.acked.get(),
            inflight: stats.inflight.get() + parked.inflight.get(),
            topic_max_bytes: stats.topic_limit.get(),
            retries: sums(counts(RETRY_REASONS, &stats.retries), &counts(RETRY_REASONS, &parked.retries)),
            dead_lettered: sums(counts(DEAD_REASONS, &stats.dead_letters), &counts(DEAD_REASONS, &parked.dead_letters)),
            last_ack_age_seconds: (last_ack_ms > 0).then(|| age_seconds(now_ms, last_ack_ms)),
            ack_p50_seconds: ack_seconds.quantile_seconds(0.5),
            ack_p99_seconds: ack_seconds.quantile_seconds(0.99),
            ack_seconds,
            last_error: last_error(&stats.last_error, now_ms),
        }
    }
}

impl DeadLettersStatus {
    pub(super) fn read(usage: Usage, copies: Option<&Arc<CopyStats>>, now: Instant, now_ms: u64) -> Self {
        let copies = copies.map(|stats| CopiesStatus {
            topic: stats.topic().to_owned(),
            waiting: usage.uncopied,
            copied: counts(COPY_RESULTS, &stats.copied),
            blocked: stats.trouble().map(|trouble| CopiesBlocked {
                reason: trouble.reason,
                detail: trouble.detail,
                seconds: now.saturating_duration_since(trouble.since).as_secs_f64(),
            }),
            last_error: last_error(&stats.last_error, now_ms),
        });
        Self { usage, copies }
    }
}

impl NotifyStatus {
    pub(super) fn read(stats: &NotifyStats, now_ms: u64) -> Self {
        Self {
            up: stats.up.get() > 0,
            published: stats.published.get(),
            dropped: counts(DROP_REASONS, &stats.dropped),
            queued: stats.queued.get(),
            last_error: last_error(&stats.last_error, now_ms),
        }
    }
}

fn blocked_topics(parked: &DrainStats) -> Vec<BlockedTopic> {
    let resting = parked.resting.lock().unwrap_or_else(PoisonError::into_inner);
    let told = resting.iter().map(|resting| {
        let RestingTopic { topic, reason, detail, since_ms, attempts } = resting.clone();
        BlockedTopic { topic, reason, detail, since: rfc3339(since_ms), attempts }
    });
    told.collect()
}

fn sums(mut counts: BTreeMap<&'static str, u64>, others: &BTreeMap<&'static str, u64>) -> BTreeMap<&'static str, u64> {
    for (name, n) in others {
        *counts.entry(name).or_default() += n;
    }
    counts
}

fn counts<K: Ord, const N: usize>(names: [K; N], counters: &[Counter; N]) -> BTreeMap<K, u64> {
    names.into_iter().zip(counters.iter().map(Counter::get)).collect()
}

fn last_error(slot: &Mutex<Option<(u64, String)>>, now_ms: u64) -> Option<LastError> {
    let slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    let (at_ms, message) = slot.as_ref()?;
    let end = (0..=MAX_ERROR_BYTES.min(message.len())).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
    Some(LastError { at: rfc3339(*at_ms), age_seconds: age_seconds(now_ms, *at_ms), message: message[..end].to_owned() })
}

/// A wall clock that was set back gives 0, not a negative age.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of an age are far below 2^52")]
fn age_seconds(now_ms: u64, then_ms: u64) -> f64 {
    now_ms.saturating_sub(then_ms) as f64 / 1000.0
}

pub(super) fn rfc3339(unix_ms: u64) -> String {
    let time = i64::try_from(unix_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: the last error is shown with its age, and a huge one cannot bloat the status.
    #[test]
    fn an_error_is_dated_and_bounded() {
        let slot = Mutex::new(Some((1_000, "é".repeat(4000))));
        let error = last_error(&slot, 3_500).unwrap();
        assert_eq!((error.at.as_str(), format!("{}", error.age_seconds).as_str()), ("1970-01-01T00:00:01Z", "2.5"));
        assert_eq!(error.message.len(), MAX_ERROR_BYTES);
        assert!(last_error(&slot, 500).unwrap().age_seconds.abs() < f64::EPSILON, "a clock set back gives no negative age");
        assert_eq!(last_error(&Mutex::new(None), 0), None);
    }

    // Goal: what the drain says about itself reads as one flat object: state, and the reason when it is blocked.
    #[test]
    fn the_drain_state_is_flat_in_json() {
        let stats = DrainStats::default();
        *stats.state.lock().unwrap() = DrainState::Blocked { reason: "authorization", detail: "Topic authorization failed".into() };
        stats.last_ack_ms.set(2_000);
        let json = serde_json::to_value(DrainStatus::read(&stats, &DrainStats::default(), Delivery::ExactlyOnce, 5_000)).unwrap();
        assert_eq!((&json["state"], &json["delivery"]), (&"blocked".into(), &"exactly-once".into()));
        assert_eq!(json["reason"], "authorization");
        assert_eq!(json["last_ack_age_seconds"], 3.0);
    }

    // Goal: an operator sees every parked topic with its reason, and what the second line does is counted with the first one's.
    #[test]
    fn both_lines_are_one_stage() {
        let (stats, parked) = (DrainStats::default(), DrainStats::default());
        stats.acked.add(5);
        parked.acked.add(2);
        parked.dead_letters[0].add(1);
        let (topic, detail) = ("events.order".to_owned(), "it is missing".to_owned());
        parked.resting.lock().unwrap().push(RestingTopic { topic, reason: "unknown_topic", detail, since_ms: 1_000, attempts: 3 });
        let json = serde_json::to_value(DrainStatus::read(&stats, &parked, Delivery::default(), 5_000)).unwrap();
        assert_eq!((&json["acked"], &json["dead_lettered"]["too_large"]), (&7.into(), &1.into()));
        let shown = serde_json::json!([{
            "topic": "events.order", "reason": "unknown_topic", "detail": "it is missing", "since": "1970-01-01T00:00:01Z", "attempts": 3
        }]);
        assert_eq!(json["blocked_topics"], shown);
    }
}
