//! One life of a buffer, step by step on one thread: for tests that want to decide what happens when.

use super::memory::{Memory, Step};
use super::{AppendError, AppendOptions, Appended, Appender, Buffer, Closer, Committer, Gauges, Keeper, Reader};
use crate::config::BufferConfig;
use crate::event::Batch;
use crate::lifecycle::{AckWaiters, Heartbeats};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

/// A script whose next step does not come for so long is broken: syncs are missing.
const PATIENCE: Duration = Duration::from_secs(10);

type Answer = Pin<Box<dyn Future<Output = Result<Appended, AppendError>> + Send>>;

/// An open buffer in the hands of a test.
pub(crate) struct Life {
    pub(crate) reader: Reader,
    pub(crate) keeper: Keeper,
    pub(crate) gauges: Gauges,
    pub(crate) memory: Arc<Memory>,
    appender: Appender,
    closer: Closer,
    committer: Option<Committer>,
    answers: Vec<Answer>,
}

/// A [`Life`] that the steps of a commit share with the test.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<Life>>);

/// The smallest buffer: segments of 64 KiB.
pub(crate) fn config() -> BufferConfig {
    BufferConfig { max_bytes: 1 << 20, segment_bytes: Some(1 << 16), min_free_bytes: 0, ..BufferConfig::default() }
}

impl Life {
    /// Opens what the directory holds.
    pub(crate) fn open(memory: &Arc<Memory>) -> Self {
        let storage: Arc<Memory> = Arc::clone(memory);
        let opened = Buffer::open(&config(), storage, Arc::new(AckWaiters::default()), 0).unwrap();
        let Buffer { appender, reader, gauges, committer, keeper, closer, .. } = opened;
        let memory = Arc::clone(memory);
        Self { reader, keeper, gauges, memory, appender, closer, committer: Some(committer), answers: Vec::new() }
    }

    /// Puts a batch into the queue, as a request does.
    pub(crate) fn submit(&mut self, batch: Batch) {
        let appender = self.appender.clone();
        let options = AppendOptions { deadline: Instant::now(), receipts: None };
        let mut answer: Answer = Box::pin(async move { appender.append(batch, options).await });
        assert!(answer.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending(), "a test's batch has room");
        self.answers.push(answer);
    }

    /// Answers that have come, in the order of submission.
    pub(crate) fn answers(&mut self) -> Vec<Result<Appended, AppendError>> {
        let mut waiting: Vec<(usize, Answer)> = std::mem::take(&mut self.answers).into_iter().enumerate().collect();
        let mut come = Vec::new();
        // One that is answered may be what answers the others.
        loop {
            let before = come.len();
            waiting.retain_mut(|(at, answer)| match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(answer) => {
                    come.push((*at, answer));
                    false
                }
                Poll::Pending => true,
            });
            if come.len() == before {
                break;
            }
        }
        self.answers = waiting.into_iter().map(|(_, answer)| answer).collect();
        come.sort_unstable_by_key(|(at, _)| *at);
        come.into_iter().map(|(_, answer)| answer).collect()
    }

    /// No batches from now on.
    pub(crate) fn close(&self) {
        self.closer.close_appends();
    }

    /// The keeper's last act.
    pub(crate) fn stop_keeper(self) {
        self.closer.close_keeper();
        self.keeper.run(&Heartbeats::default().register("keep"));
    }

    /// Shares it with steps.
    pub(crate) fn share(self) -> Shared {
        Shared(Arc::new(Mutex::new(self)))
    }
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Life> {
        self.0.lock().unwrap()
    }

    /// A step that has the life in its hands.
    pub(crate) fn step(&self, act: impl FnOnce(&mut Life) + Send + 'static) -> Step {
        let life = self.clone();
        Box::new(move || act(&mut life.lock()))
    }

    /// Commits until [`Life::close`] was called and all is stored; each sync runs the next of `steps`.
    pub(crate) fn commit(&self, steps: impl IntoIterator<Item = Step>) {
        let (committer, memory, closer) = {
            let mut life = self.lock();
            (life.committer.take().unwrap(), Arc::clone(&life.memory), life.closer.clone())
        };
        memory.during_syncs(steps);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let watchdog = scope.spawn(|| close_when_stuck(&memory, &closer, &done));
            committer.run(&Heartbeats::default().register("commit"));
            done.store(true, Ordering::Relaxed);
            watchdog.thread().unpark();
        });
        assert_eq!(memory.steps_left(), 0, "steps of the script have not run: there were fewer syncs than it knows");
    }

    /// The life, when all steps have let go of it.
    pub(crate) fn take(self) -> Life {
        Arc::into_inner(self.0).unwrap().into_inner().unwrap()
    }
}

/// Without this a missing sync would leave the committer waiting for requests that only the next step would send.
fn close_when_stuck(memory: &Memory, closer: &Closer, done: &AtomicBool) {
    let (mut left, mut since) = (memory.steps_left(), Instant::now());
    while !done.load(Ordering::Relaxed) {
        let now_left = memory.steps_left();
        if now_left != left {
            (left, since) = (now_left, Instant::now());
        }
        if since.elapsed() > PATIENCE {
            closer.close_appends();
            return;
        }
        thread::park_timeout(Duration::from_millis(50));
    }
}
