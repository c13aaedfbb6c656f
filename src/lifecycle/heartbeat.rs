//! Proof that a loop still turns: each stage's loop ticks a [`Heartbeat`], ops asks [`Heartbeats`] which of them are late.
//!
//! Here and not in ops, because a stage may not know a later one. Deliberately absent: any idea of what the loop waits for; a loop
//! that waits for Kafka must wait in slices and tick between them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Stored instead of a time once the loop has ended: a loop that is over is not late.
const ENDED: u64 = u64::MAX;

#[derive(Debug)]
struct Beat {
    name: &'static str,
    /// Milliseconds since the registry's base, or [`ENDED`].
    last_ms: AtomicU64,
}

/// One loop's pulse. Owned by the loop; dropping it says that the loop is over.
#[derive(Debug)]
pub struct Heartbeat {
    base: Instant,
    beat: Arc<Beat>,
}

impl Heartbeat {
    /// The loop is alive now. One atomic store: cheap enough for every turn.
    pub fn tick(&self) {
        self.beat.last_ms.store(millis(Instant::now().saturating_duration_since(self.base)), Ordering::Relaxed);
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.beat.last_ms.store(ENDED, Ordering::Relaxed);
    }
}

/// All loops that promised to tick; as many entries as the relay has long-lived loops.
#[derive(Debug)]
pub struct Heartbeats {
    base: Instant,
    beats: Mutex<Vec<Arc<Beat>>>,
}

impl Default for Heartbeats {
    fn default() -> Self {
        Self { base: Instant::now(), beats: Mutex::default() }
    }
}

impl Heartbeats {
    /// Adds a loop, which counts as having ticked now.
    pub fn register(&self, name: &'static str) -> Heartbeat {
        let beat = Arc::new(Beat { name, last_ms: AtomicU64::new(0) });
        let heartbeat = Heartbeat { base: self.base, beat: Arc::clone(&beat) };
        heartbeat.tick();
        self.beats.lock().unwrap_or_else(PoisonError::into_inner).push(beat);
        heartbeat
    }

    /// Loops whose last tick is at least `limit` old at `now`, with that age, in order of registration.
    pub fn late(&self, now: Instant, limit: Duration) -> Vec<(&'static str, Duration)> {
        let now_ms = millis(now.saturating_duration_since(self.base));
        let beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        let ages = beats.iter().filter_map(|beat| match beat.last_ms.load(Ordering::Relaxed) {
            ENDED => None,
            last => Some((beat.name, Duration::from_millis(now_ms.saturating_sub(last)))),
        });
        ages.filter(|(_, age)| *age >= limit).collect()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(ENDED - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    // Goal: Kubernetes restarts the relay when one of its loops hangs, and only then.
    #[test]
    fn a_loop_that_stops_ticking_is_late_and_one_that_ended_is_not() {
        let beats = Heartbeats::default();
        let stuck = beats.register("drain");
        let ended = beats.register("notify");
        drop(ended);
        let now = Instant::now();
        assert_eq!(beats.late(now, LIMIT), []);

        let late = beats.late(now + Duration::from_secs(31), LIMIT);
        assert_eq!(late.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["drain"]);
        assert!(late[0].1 >= LIMIT);

        stuck.tick();
        assert_eq!(beats.late(Instant::now(), LIMIT), []);
    }
}
