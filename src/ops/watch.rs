//! The slow tick: looks once a second, so that durations are known without anybody asking, and tells the log when the verdict changes.
//!
//! Invariant: the log ends up saying what is true, with at most one line per cause and [`QUIET`]; what lasts is repeated every
//! [`REMIND`], so that it is found in the last hour of a log.

use super::health::Health;
use super::source::StatusSource;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::time::{MissedTickBehavior, interval};

/// Time between looks.
const TICK: Duration = Duration::from_secs(1);
/// A cause that comes and goes is told at most this often.
const QUIET: Duration = Duration::from_secs(10);
/// A cause that stays is told again after this.
const REMIND: Duration = Duration::from_secs(300);

/// Looks for ever.
pub(super) async fn watch(source: &StatusSource) {
    let mut journal = Journal::default();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let _ = ticks.tick().await;
        let health = source.snapshot().health;
        for line in journal.look(Instant::now(), &health) {
            line.log();
        }
    }
}

/// What the verdict is about: the three things that have a history in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Topic {
    /// Not live: a loop, by name.
    Late(&'static str),
    /// Not ready: a cause.
    Unready(&'static str),
    /// Degraded: a cause.
    Degraded(&'static str),
}

#[derive(Debug)]
struct Told {
    /// What the log says.
    holds: bool,
    at: Instant,
}

/// One line for the log.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    topic: Topic,
    /// `None`: it is over.
    detail: Option<String>,
}

/// What the log has been told. As many entries as there are causes and loops.
#[derive(Debug, Default)]
struct Journal {
    told: BTreeMap<Topic, Told>,
}

impl Journal {
    /// The lines that bring the log up to date.
    fn look(&mut self, now: Instant, health: &Health) -> Vec<Line> {
        let mut current: BTreeMap<Topic, String> = BTreeMap::new();
        current.extend(health.reasons.iter().map(|r| (Topic::Unready(r.reason.label()), r.detail.clone())));
        current.extend(health.degraded_reasons.iter().map(|r| (Topic::Degraded(r.reason.label()), r.detail.clone())));
        current.extend(health.late_loops.iter().map(|late| (Topic::Late(late.name), format!("no tick for {} s", late.seconds))));

        let mut lines = Vec::new();
        for (topic, told) in &mut self.told {
            let age = now.saturating_duration_since(told.at);
            let detail = current.remove(topic);
            let due = if detail.is_some() == told.holds { told.holds && age >= REMIND } else { age >= QUIET };
            if due {
                *told = Told { holds: detail.is_some(), at: now };
                lines.push(Line { topic: *topic, detail });
            }
        }
        for (topic, detail) in current {
            let _ = self.told.insert(topic, Told { holds: true, at: now });
            lines.push(Line { topic, detail: Some(detail) });
        }
        lines
    }
}

impl Line {
    fn log(&self) {
        match (self.topic, &self.detail) {
            // Every start and every stop passes through these two.
            (Topic::Unready(reason @ ("starting" | "shutting_down")), Some(detail)) => tracing::info!(reason, detail, "not ready"),
            (Topic::Unready(reason), Some(detail)) => tracing::warn!(reason, detail, "not ready"),
            (Topic::Unready(reason), None) => tracing::info!(reason, "no longer unready for this reason"),
            (Topic::Degraded(reason), Some(detail)) => tracing::warn!(reason, detail, "degraded"),
            (Topic::Degraded(reason), None) => tracing::info!(reason, "no longer degraded for this reason"),
            (Topic::Late(name), Some(detail)) => tracing::error!(name, detail, "a loop is stuck: not live"),
            (Topic::Late(name), None) => tracing::info!(name, "the loop ticks again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::health::{Degraded, LateLoop, Reason, Unready};

    fn health(full: bool, redis_down: bool, late: bool) -> Health {
        let reasons = if full { vec![Reason { reason: Unready::BufferFull, detail: "9 events".into() }] } else { Vec::new() };
        let degraded = if redis_down { vec![Reason { reason: Degraded::RedisDown, detail: "3 s".into() }] } else { Vec::new() };
        Health {
            started: true,
            ready: !full,
            reasons,
            degraded: redis_down,
            degraded_reasons: degraded,
            live: !late,
            late_loops: if late { vec![LateLoop { name: "drain", seconds: 31 }] } else { Vec::new() },
            conservation_error: 0,
        }
    }

    fn topics(lines: &[Line]) -> Vec<(Topic, bool)> {
        lines.iter().map(|line| (line.topic, line.detail.is_some())).collect()
    }

    // Goal: the log tells once that something began and once that it is over, with the reason.
    #[test]
    fn a_change_is_told_once() {
        let base = Instant::now();
        let at = |seconds| base + Duration::from_secs(seconds);
        let mut journal = Journal::default();
        let full = Topic::Unready("buffer_full");
        assert_eq!(journal.look(at(0), &health(false, false, false)), []);
        assert_eq!(topics(&journal.look(at(1), &health(true, false, false))), [(full, true)]);
        assert_eq!(journal.look(at(2), &health(true, false, false)), []);
        assert_eq!(topics(&journal.look(at(60), &health(false, false, false))), [(full, false)]);
        assert_eq!(journal.look(at(9000), &health(false, false, false)), []);
    }

    // Goal: a flapping Redis does not fill the log, and the last line about it is true.
    #[test]
    fn flapping_is_told_seldom_and_ends_with_the_truth() {
        let base = Instant::now();
        let mut journal = Journal::default();
        let mut lines = Vec::new();
        for second in 0..100 {
            lines.extend(journal.look(base + Duration::from_secs(second), &health(false, second % 2 == 0, false)));
        }
        assert!((2..=11).contains(&lines.len()), "{} lines in 100 s", lines.len());
        lines.extend(journal.look(base + Duration::from_secs(120), &health(false, false, false)));
        assert_eq!(lines.last().map(|line| line.detail.is_some()), Some(false));
    }

    // Goal: what has lasted for hours is still found in the last minutes of the log.
    #[test]
    fn what_stays_is_repeated() {
        let base = Instant::now();
        let mut journal = Journal::default();
        let lines: Vec<Line> =
            (0..=600).flat_map(|second| journal.look(base + Duration::from_secs(second), &health(false, true, true))).collect();
        assert_eq!(topics(&lines).iter().filter(|(topic, _)| *topic == Topic::Degraded("redis_down")).count(), 3);
        assert_eq!(topics(&lines).iter().filter(|(topic, _)| *topic == Topic::Late("drain")).count(), 3);
    }
}
