//! The stop of the stage as the worker sees it: once it is asked for, there is a deadline and nothing may outlast it.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// The request to stop, which comes with its deadline.
pub(super) struct Stop<'a> {
    request: Pin<Box<dyn Future<Output = Instant> + Send + 'a>>,
    deadline: Option<Instant>,
}

impl fmt::Debug for Stop<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stop").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl<'a> Stop<'a> {
    /// A stop that is asked for when `request` resolves, to its deadline.
    pub(super) fn new(request: impl Future<Output = Instant> + Send + 'a) -> Self {
        Self { request: Box::pin(request), deadline: None }
    }

    /// Whether it was asked for.
    pub(super) fn requested(&self) -> bool {
        self.deadline.is_some()
    }

    /// Waits for an event, at most for `limit`; ends at once when the stop is asked for. The event must be safe to drop.
    pub(super) async fn or_wait(&mut self, limit: Duration, event: impl Future<Output = ()>) {
        if self.requested() {
            return;
        }
        tokio::select! {
            biased;
            deadline = &mut self.request => self.deadline = Some(deadline),
            // Both outcomes mean "look again".
            _ = timeout(limit, event) => {}
        }
    }

    /// Runs work to its end. A stop does not break it off, only the stop's deadline does: then `None`.
    pub(super) async fn within<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(work);
        let deadline = if let Some(deadline) = self.deadline {
            deadline
        } else {
            tokio::select! {
                biased;
                done = &mut work => return Some(done),
                deadline = &mut self.request => *self.deadline.insert(deadline),
            }
        };
        timeout_at(deadline, work).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};
    use tokio::time::sleep;

    const SECOND: Duration = Duration::from_secs(1);

    // Goal: a waiting worker hears of the stop at once, and does not wait again after it.
    #[tokio::test(start_paused = true)]
    async fn waiting_ends_with_the_stop() {
        let start = Instant::now();
        let mut stop = Stop::new(async { Instant::now() + SECOND });
        stop.or_wait(60 * SECOND, pending()).await;
        stop.or_wait(60 * SECOND, pending()).await;
        assert!(stop.requested());
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    // Goal: work under way when the stop comes may finish, but not beyond the deadline.
    #[tokio::test(start_paused = true)]
    async fn work_ends_by_the_deadline() {
        let start = Instant::now();
        let mut stop = Stop::new(async {
            sleep(SECOND).await;
            Instant::now() + SECOND
        });
        assert_eq!(
            stop.within(async {
                sleep(SECOND + SECOND / 2).await;
                7
            })
            .await,
            Some(7)
        );
        assert!(stop.requested());
        assert_eq!(stop.within(pending::<()>()).await, None);
        assert_eq!(start.elapsed(), 2 * SECOND);
        assert_eq!(stop.within(ready(8)).await, Some(8), "what is ready at once is not thrown away");
    }
}
