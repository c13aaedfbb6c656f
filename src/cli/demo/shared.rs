//! What the parts of the demo have in common: the books, the first trouble, the sign to stop.

use super::witness::Witness;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// Most things overheard that wait to be shown.
const MAX_OVERHEARD: usize = 100;

/// Shared by the story, the producer and both consumers.
#[derive(Debug)]
pub(super) struct Shared {
    /// How many events the demo sends.
    pub(super) events: u32,
    /// A lock and not atomics: its numbers must agree with each other. Nobody holds it across I/O.
    witness: Mutex<Witness>,
    trouble: Mutex<Option<String>>,
    overheard: Mutex<Overheard>,
    stop: AtomicBool,
}

/// What arrived that the demo has not sent: somebody's own requests.
#[derive(Debug, Default)]
pub(super) struct Overheard {
    /// A line each, oldest first.
    pub(super) lines: VecDeque<String>,
    /// How many found no room.
    pub(super) left_out: u64,
}

impl Shared {
    /// For a demo of `events`.
    pub(super) fn new(events: u32) -> Self {
        Self {
            events,
            witness: Mutex::new(Witness::new(events)),
            trouble: Mutex::default(),
            overheard: Mutex::default(),
            stop: AtomicBool::new(false),
        }
    }

    /// The books.
    pub(super) fn witness(&self) -> MutexGuard<'_, Witness> {
        lock(&self.witness)
    }

    /// Something went wrong that ends the story; the first one counts.
    pub(super) fn fail(&self, text: String) {
        lock(&self.trouble).get_or_insert(text);
    }

    /// What went wrong, if anything did.
    pub(super) fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    /// Keeps a line about somebody's own request.
    pub(super) fn overhear(&self, line: String) {
        let mut overheard = lock(&self.overheard);
        if overheard.lines.len() < MAX_OVERHEARD {
            overheard.lines.push_back(line);
        } else {
            overheard.left_out += 1;
        }
    }

    /// Takes what was overheard.
    pub(super) fn take_overheard(&self) -> Overheard {
        std::mem::take(&mut *lock(&self.overheard))
    }

    /// Whether the consumers shall end.
    pub(super) fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Tells the consumers to end.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A consumer's thread. Dropping it tells the consumers to end and waits for this one, which looks at [`Shared::stopping`] at least
/// every second.
#[derive(Debug)]
pub(super) struct Consumer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Consumer {
    /// Starts a thread.
    pub(super) fn spawn(name: &str, shared: &Arc<Shared>, body: impl FnOnce(&Shared) + Send + 'static) -> io::Result<Self> {
        let own = Arc::clone(shared);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || body(&own))?;
        Ok(Self { shared: Arc::clone(shared), thread: Some(thread) })
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.take() {
            // Its panic has told of itself; there is nothing of it to save.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: a burst of somebody's own requests fills no memory, and what is not shown is counted.
    #[test]
    fn overheard_is_bounded() {
        let shared = Shared::new(1);
        (0..MAX_OVERHEARD + 5).for_each(|n| shared.overhear(n.to_string()));
        let overheard = shared.take_overheard();
        assert_eq!((overheard.lines.len(), overheard.left_out), (MAX_OVERHEARD, 5));
        assert_eq!(overheard.lines[0], "0");
        assert!(shared.take_overheard().lines.is_empty());
    }

    // Goal: the cause is told, not what followed from it.
    #[test]
    fn the_first_trouble_counts() {
        let shared = Shared::new(1);
        assert_eq!(shared.trouble(), None);
        shared.fail("cause".into());
        shared.fail("consequence".into());
        assert_eq!(shared.trouble().as_deref(), Some("cause"));
    }
}
