//! shuttle's locks, and a condition variable whose short waits may end at any time.

use shuttle::thread;
use std::sync::{Arc, LockResult, PoisonError};
use std::time::Duration;

pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering};
pub(crate) use shuttle::sync::{Mutex, MutexGuard};

/// A wait of at most this may time out: it is there to gain something, such as more batches in a group. Longer ones are there to bound
/// what a lost wake-up costs; none may be lost.
const SHORT: Duration = Duration::from_millis(10);

/// What the buffer uses of a condition variable.
#[derive(Debug, Default)]
pub(crate) struct Condvar(Arc<shuttle::sync::Condvar>);

/// Whether a wait ended because its time was over.
pub(crate) struct TimedOut(bool);

impl TimedOut {
    pub(crate) fn timed_out(&self) -> bool {
        self.0
    }
}

type Waited<'a, T> = LockResult<(MutexGuard<'a, T>, TimedOut)>;

impl Condvar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }

    pub(crate) fn wait_timeout<'a, T>(&self, guard: MutexGuard<'a, T>, _: Duration) -> Waited<'a, T> {
        done(self.0.wait(guard), false)
    }

    pub(crate) fn wait_timeout_while<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        dur: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> Waited<'a, T> {
        if dur > SHORT {
            return done(self.0.wait_while(guard, condition), false);
        }
        let (is_over, is_done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let timer = {
            let (condvar, is_over, is_done) = (Arc::clone(&self.0), Arc::clone(&is_over), Arc::clone(&is_done));
            thread::spawn(move || {
                is_over.store(true, Ordering::SeqCst);
                // More than once: the first may come before the wait.
                while !is_done.load(Ordering::SeqCst) {
                    condvar.notify_all();
                    thread::yield_now();
                }
            })
        };
        let waited = self.0.wait_while(guard, |value| condition(value) && !is_over.load(Ordering::SeqCst));
        is_done.store(true, Ordering::SeqCst);
        drop(timer);
        done(waited, is_over.load(Ordering::SeqCst))
    }
}

fn done<T>(waited: LockResult<MutexGuard<'_, T>>, timed_out: bool) -> Waited<'_, T> {
    match waited {
        Ok(guard) => Ok((guard, TimedOut(timed_out))),
        Err(poisoned) => Err(PoisonError::new((poisoned.into_inner(), TimedOut(timed_out)))),
    }
}
