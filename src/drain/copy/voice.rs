//! Says how the copying goes: [`CopyStats`] for ops, and a log that does not repeat itself.

use super::stats::{CopyStats, CopyTrouble};
use super::verdict::meaning;
use crate::buffer::dead_letters::Copied;
use crate::drain::sink::Refusal;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// The same trouble is logged again only after this long.
const REPEAT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Voice {
    stats: Arc<CopyStats>,
    /// Since when a letter has waited without any being copied.
    waiting_since: Option<Instant>,
    /// The trouble that the log knows of, and when it was told.
    logged: Option<(&'static str, Instant)>,
    left_out: u64,
}

impl Voice {
    pub(super) fn new(stats: Arc<CopyStats>) -> Self {
        Self { stats, waiting_since: None, logged: None, left_out: 0 }
    }

    /// There is a letter to copy.
    pub(super) fn waits(&mut self, now: Instant) {
        let _ = self.waiting_since.get_or_insert(now);
    }

    /// Something went wrong.
    pub(super) fn trouble(&mut self, refusal: &Refusal, now: Instant, unix_ms: u64) {
        let since = *self.waiting_since.get_or_insert(now);
        let reason = refusal.class.reason;
        let detail = format!("topic {}: {}: {}", self.stats.topic(), meaning(refusal.class), refusal.detail);
        *self.stats.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some((unix_ms, detail.clone()));
        if self.logged.is_some_and(|(told, at)| told == reason && now.saturating_duration_since(at) < REPEAT) {
            self.left_out += 1;
        } else {
            let left_out = std::mem::take(&mut self.left_out);
            tracing::warn!(reason, detail, left_out, "dead letters are not copied to their topic; they stay on disk");
            self.logged = Some((reason, now));
        }
        self.stats.show(Some(CopyTrouble { since, reason, detail }));
    }

    /// A letter was copied.
    pub(super) fn copied(&mut self, how: Copied, now: Instant) {
        self.stats.count(how);
        self.well(now);
    }

    /// Nothing is wrong, or not any more.
    pub(super) fn well(&mut self, now: Instant) {
        let since = self.waiting_since.take();
        self.left_out = 0;
        if let Some((reason, _)) = self.logged.take() {
            let after_seconds = since.map_or(0.0, |since| now.saturating_duration_since(since).as_secs_f64());
            tracing::info!(reason, after_seconds, "dead letters are copied again, or none waits any more");
            self.stats.show(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::error::RDKafkaErrorCode;

    // Goal: an operator sees since when letters wait and why, gets one log line a minute instead of one per attempt, and sees when it is over.
    #[test]
    fn troubles_are_shown_and_not_repeated() {
        let stats = Arc::new(CopyStats::default());
        let mut voice = Voice::new(Arc::clone(&stats));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        voice.waits(start);
        for second in 1..=50 {
            voice.trouble(&Refusal::new(RDKafkaErrorCode::UnknownTopic, format!("try {second}")), at(second), second);
        }
        assert_eq!((voice.logged, voice.left_out), (Some(("unknown_topic", at(1))), 49));
        let trouble = stats.trouble().unwrap();
        assert_eq!((trouble.since, trouble.reason), (start, "unknown_topic"));
        assert!(trouble.detail.ends_with("try 50"), "{}", trouble.detail);
        assert_eq!(stats.last_error.lock().unwrap().as_ref().map(|(at, _)| *at), Some(50));
        voice.trouble(&Refusal::new(RDKafkaErrorCode::TopicAuthorizationFailed, ""), at(51), 51);
        assert_eq!(voice.logged, Some(("authorization", at(51))), "another trouble is news");
        voice.copied(Copied::Whole, at(60));
        assert_eq!((stats.trouble(), voice.logged, stats.copied[0].get()), (None, None, 1));
        voice.waits(at(70));
        voice.trouble(&Refusal::new(RDKafkaErrorCode::UnknownTopic, ""), at(71), 71);
        assert_eq!(stats.trouble().unwrap().since, at(70), "the next wait is counted from its own beginning");
    }
}
