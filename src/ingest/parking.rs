//! Decides when an HTTP/1 connection was idle for long enough to be parked.

use super::activity::Activity;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Sleep, sleep};

/// An HTTP/1 connection is parked when it was idle for this long (at most twice as long): longer than a client takes between two
/// requests of a burst, short enough that the connections waiting for it are few at any request rate.
pub(super) const PARK_AFTER: Duration = Duration::from_millis(20);

/// The wait of one connection.
///
/// Costs a busy connection one timer per [`PARK_AFTER`], whatever its request rate, and none while a request waits for its answer.
#[derive(Debug, Default)]
pub(super) struct Parking {
    timer: Option<Pin<Box<Sleep>>>,
    /// [`Activity::turns`] when the timer was set.
    turns: u64,
}

impl Parking {
    /// Ready once the connection was idle long enough. To be polled after the connection itself, whose task wakes it when an answer
    /// is complete.
    pub(super) fn poll(&mut self, activity: &Activity, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut self.timer {
                None if !activity.is_idle() => return Poll::Pending,
                None => {
                    self.turns = activity.turns();
                    self.timer = Some(Box::pin(sleep(PARK_AFTER)));
                }
                Some(timer) => {
                    ready!(timer.as_mut().poll(cx));
                    self.timer = None;
                    if activity.is_idle() && activity.turns() == self.turns {
                        return Poll::Ready(());
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::time::{Instant, timeout};

    /// How long parking takes; `None`: for ever.
    async fn waits(activity: &Activity) -> Option<Duration> {
        let (start, mut parking) = (Instant::now(), Parking::default());
        timeout(PARK_AFTER * 100, poll_fn(|cx| parking.poll(activity, cx))).await.ok()?;
        Some(start.elapsed())
    }

    // Goal: only what is idle is parked, and what is used stays.
    #[tokio::test(start_paused = true)]
    async fn idle_for_long_enough() {
        let activity = Activity::default();
        assert!(waits(&activity).await.is_some_and(|waited| waited >= PARK_AFTER && waited < PARK_AFTER * 2));
        activity.take_turn();
        assert_eq!(waits(&activity).await, None);
        activity.take_turn();
        let requests = async {
            for _ in 0..3 {
                sleep(PARK_AFTER / 2).await;
                activity.take_turn();
                activity.take_turn();
            }
        };
        let (waited, ()) = tokio::join!(waits(&activity), requests);
        assert!(waited.is_some_and(|waited| waited >= PARK_AFTER * 5 / 2 && waited < PARK_AFTER * 4), "{waited:?}");
    }
}
