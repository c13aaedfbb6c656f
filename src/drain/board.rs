//! Says what the drain is doing: [`DrainStats`] for ops, and a log that does not repeat itself.

use super::sink::Refusal;
use super::stats::{DrainState, DrainStats};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// The same trouble is logged again only after this long.
const REPEAT: Duration = Duration::from_secs(60);

/// The drain's voice.
#[derive(Debug)]
pub(super) struct Board {
    stats: Arc<DrainStats>,
    shown: DrainState,
    logged: Option<Logged>,
}

#[derive(Debug)]
struct Logged {
    reason: &'static str,
    at: Instant,
    began: Instant,
    suppressed: u64,
}

impl Board {
    pub(super) fn new(stats: Arc<DrainStats>) -> Self {
        Self { stats, shown: DrainState::default(), logged: None }
    }

    /// Shows a state; cheap when it is shown already.
    pub(super) fn show(&mut self, state: DrainState) {
        if self.shown != state {
            self.stats.state.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&state);
            self.shown = state;
        }
    }

    /// Whether the state on show tells of a trouble.
    pub(super) fn troubled(&self) -> bool {
        matches!(self.shown, DrainState::Recovering { .. } | DrainState::Blocked { .. } | DrainState::Isolating { .. })
    }

    /// Shows the plain state; not to be called while a trouble lasts.
    pub(super) fn show_plain(&mut self, connected: bool, paused: bool) {
        self.stats.connected.store(connected, Ordering::Relaxed);
        self.show(match (paused, connected) {
            (true, _) => DrainState::Paused,
            (false, true) => DrainState::Running,
            (false, false) => DrainState::Connecting,
        });
    }

    /// Records what went wrong, without a log line.
    pub(super) fn note(&self, refusal: &Refusal, unix_ms: u64) {
        let text = format!("{}: {}", refusal.class.meaning, refusal.detail);
        *self.stats.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some((unix_ms, text));
    }

    /// Records and logs what went wrong.
    pub(super) fn error(&mut self, refusal: &Refusal, now: Instant, unix_ms: u64) {
        self.note(refusal, unix_ms);
        let reason = refusal.class.reason;
        if let Some(logged) = &mut self.logged
            && logged.reason == reason
            && now.duration_since(logged.at) < REPEAT
        {
            logged.suppressed += 1;
            return;
        }
        let began = self.logged.as_ref().map_or(now, |logged| logged.began);
        let repeats = self.logged.as_ref().map_or(0, |logged| logged.suppressed);
        self.logged = Some(Logged { reason, at: now, began, suppressed: 0 });
        // Nothing is wrong: something has changed that a new handle takes over.
        if reason == "rotated" {
            tracing::info!(why = refusal.class.meaning, detail = refusal.detail, "connecting to Kafka anew");
            return;
        }
        tracing::warn!(
            reason,
            meaning = refusal.class.meaning,
            detail = refusal.detail,
            repeats,
            "Kafka does not take events; they stay in the buffer"
        );
    }

    /// Whatever was wrong does not concern this line any more.
    pub(super) fn set_aside(&mut self) {
        self.logged = None;
        self.show(DrainState::Connecting);
    }

    /// Whatever was wrong is over.
    pub(super) fn recovered(&mut self, now: Instant) {
        if let Some(logged) = self.logged.take() {
            let after_seconds = now.duration_since(logged.began).as_secs_f64();
            tracing::info!(reason = logged.reason, after_seconds, "Kafka takes events again");
        }
        self.show(DrainState::Running);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::error::RDKafkaErrorCode;

    // Goal: an operator sees the newest error and one log line a minute, not one per retry, and is told when it is over.
    #[test]
    fn troubles_are_shown_and_not_repeated() {
        let stats = Arc::new(DrainStats::default());
        let mut board = Board::new(Arc::clone(&stats));
        let start = Instant::now();
        let refusal = Refusal::new(RDKafkaErrorCode::UnknownTopic, "first");
        board.error(&refusal, start, 1);
        for n in 2..=50 {
            board.error(&Refusal { detail: format!("retry {n}"), ..refusal.clone() }, start + Duration::from_secs(1), n);
        }
        assert_eq!(board.logged.as_ref().map(|logged| (logged.at, logged.suppressed)), Some((start, 49)));
        let (at, text) = stats.last_error.lock().unwrap().clone().unwrap();
        assert_eq!(at, 50);
        assert!(text.ends_with("retry 50") && text.contains("create it"), "{text}");
        let later = start + REPEAT;
        board.error(&refusal, later, 51);
        assert_eq!(board.logged.as_ref().map(|logged| (logged.at, logged.began)), Some((later, start)));
        board.recovered(later);
        assert!(board.logged.is_none());
        assert_eq!(*stats.state.lock().unwrap(), DrainState::Running);
    }
}
