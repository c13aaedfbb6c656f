//! How the drain is told to finish, or to pause, and what it answers.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Sending stops this long before the deadline (or a quarter of the whole time, if that is less), so that what was sent by then
/// can still be confirmed: unconfirmed events are sent again by the next run.
const CONFIRM: Duration = Duration::from_secs(3);

/// The two moments of finishing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Finish {
    /// Nothing new is handed to Kafka from here on.
    pub(super) stop_sending: Instant,
    /// The drain returns.
    pub(super) deadline: Instant,
}

/// Tells the drain to finish; clones share it.
#[derive(Clone, Default)]
pub struct DrainStop {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// So that the drain's loop pays one load while nobody asked.
    asked: AtomicBool,
    paused: Arc<AtomicBool>,
    finish: Mutex<Option<Finish>>,
    changed: Condvar,
    waker: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl DrainStop {
    /// Another one, for a line that ends after this one's: pausing either pauses both.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self { shared: Arc::new(Shared { paused: Arc::clone(&self.shared.paused), ..Shared::default() }) }
    }

    /// What to call so that the drain notices at once; without it, it notices within 100 ms. The first one set stays.
    pub fn on_finish(&self, wake: impl Fn() + Send + Sync + 'static) {
        if self.shared.waker.set(Box::new(wake)).is_err() {
            tracing::debug!("the drain has a waker already");
        }
    }

    /// Send until the buffer is empty or the deadline is near, wait for confirmation until the deadline, then return.
    ///
    /// A deadline in the past: return at once. Only the first call counts, except that a later one may shorten the time.
    pub fn finish(&self, deadline: Instant) {
        let now = Instant::now();
        let wanted = finish_by(now, deadline);
        let mut finish = self.shared.finish.lock().unwrap_or_else(PoisonError::into_inner);
        if finish.is_none_or(|before| wanted.deadline < before.deadline) {
            *finish = Some(wanted);
        }
        self.shared.asked.store(true, Ordering::Release);
        drop(finish);
        self.shared.changed.notify_all();
        self.wake();
    }

    /// Nothing more is handed to Kafka until [`DrainStop::resume`]; what is on its way is confirmed. Does not outlive the process. Returns
    /// whether that is news.
    pub fn pause(&self) -> bool {
        let news = !self.shared.paused.swap(true, Ordering::AcqRel);
        self.wake();
        news
    }

    /// Ends a pause. Returns whether there was one.
    pub fn resume(&self) -> bool {
        let news = self.shared.paused.swap(false, Ordering::AcqRel);
        self.wake();
        news
    }

    /// Whether the drain is, or is about to be, paused.
    pub fn paused(&self) -> bool {
        self.shared.paused.load(Ordering::Acquire)
    }

    fn wake(&self) {
        if let Some(wake) = self.shared.waker.get() {
            wake();
        }
    }

    /// When to finish; `None` while nobody asked.
    pub(super) fn finishing(&self) -> Option<Finish> {
        if !self.shared.asked.load(Ordering::Acquire) {
            return None;
        }
        *self.shared.finish.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until somebody changes the plan, the duration has passed, or it is time to stop sending.
    pub(super) fn wait(&self, duration: Duration) {
        let finish = self.shared.finish.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *finish;
        let until_stop = before.map_or(duration, |plan| plan.stop_sending.saturating_duration_since(Instant::now()));
        let unchanged = |now: &mut Option<Finish>| *now == before;
        let waited = self.shared.changed.wait_timeout_while(finish, duration.min(until_stop), unchanged);
        drop(waited);
    }
}

impl fmt::Debug for DrainStop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrainStop").field("finishing", &self.finishing()).finish_non_exhaustive()
    }
}

fn finish_by(now: Instant, deadline: Instant) -> Finish {
    let confirm = CONFIRM.min(deadline.saturating_duration_since(now) / 4);
    Finish { stop_sending: deadline.checked_sub(confirm).unwrap_or(deadline), deadline }
}

/// What the drain did, when it has finished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainReport {
    /// Events that Kafka acknowledged since it was told to finish.
    pub acked: u64,
    /// Events still in the buffer, counted from the oldest that Kafka does not have.
    pub left: u64,
    /// Of these, events that were sent without being confirmed: Kafka may have them, and the next run sends them again.
    pub in_doubt: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: the end of the grace period is kept for confirmations, so that a stop leaves no duplicates.
    #[test]
    fn time_is_kept_for_confirmation() {
        let now = Instant::now();
        let long = finish_by(now, now + Duration::from_secs(25));
        assert_eq!(long.deadline - long.stop_sending, CONFIRM);
        let short = finish_by(now, now + Duration::from_secs(4));
        assert_eq!(short.deadline - short.stop_sending, Duration::from_secs(1));
        let past = finish_by(now, now);
        assert_eq!(past.stop_sending, now);
    }

    // Goal: a stop ends a pause at once, and a second stop may only make it shorter.
    #[test]
    fn a_stop_ends_a_pause() {
        let stop = DrainStop::default();
        let woken = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&woken);
        stop.on_finish(move || flag.store(true, Ordering::Release));
        assert_eq!(stop.finishing(), None);
        let waiter = std::thread::spawn({
            let stop = stop.clone();
            move || {
                while stop.finishing().is_none() {
                    stop.wait(Duration::from_secs(600));
                }
            }
        });
        let now = Instant::now();
        stop.finish(now + Duration::from_secs(60));
        waiter.join().unwrap();
        assert!(woken.load(Ordering::Acquire));
        stop.finish(now + Duration::from_secs(540));
        assert_eq!(stop.finishing().unwrap().deadline, now + Duration::from_secs(60));
        stop.finish(now);
        assert_eq!(stop.finishing().unwrap().deadline, now);
        stop.wait(Duration::from_secs(600));
    }
}
