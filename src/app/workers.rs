//! The long-lived threads and tasks. One that ends before it was asked to starts the shutdown.

use super::now_if_forced;
use crate::drain::DrainStop;
use crate::ops::Ops;
use crate::shutdown::{Trigger, Urgency};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, JoinHandle};
use std::time::Instant;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// A stage that runs; [`Worker::join`] waits for its end.
#[derive(Debug)]
pub(super) struct Worker<T> {
    name: &'static str,
    done: oneshot::Receiver<T>,
    /// Why it ended when it should not have, once joined.
    pub(super) failure: Option<String>,
}

impl<T: Send + 'static> Worker<T> {
    /// Runs `body` on a thread of its own.
    pub(super) fn spawn(name: &'static str, trigger: &Trigger, body: impl FnOnce() -> T + Send + 'static) -> Self {
        let (tell, done) = oneshot::channel();
        let trigger = trigger.clone();
        let spawned = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let ended = catch_unwind(AssertUnwindSafe(body));
            note_end(name, &trigger, ended.is_err());
            if let Ok(value) = ended {
                drop(tell.send(value));
            }
        });
        let failure = spawned.err().map(|error| format!("cannot start the {name} thread: {error}"));
        Self { name, done, failure }
    }

    /// Runs a future on the runtime.
    pub(super) fn task(name: &'static str, trigger: &Trigger, runtime: &Runtime, body: impl Future<Output = T> + Send + 'static) -> Self {
        let (tell, done) = oneshot::channel();
        let trigger = trigger.clone();
        let task = runtime.spawn(body);
        drop(runtime.spawn(async move {
            let ended = task.await;
            note_end(name, &trigger, ended.is_err());
            if let Ok(value) = ended {
                drop(tell.send(value));
            }
        }));
        Self { name, done, failure: None }
    }

    /// Waits for the end; `None` after a panic.
    pub(super) async fn join(&mut self) -> Option<T> {
        let ended = (&mut self.done).await.ok();
        if ended.is_none() {
            let _ = self.failure.get_or_insert_with(|| format!("{} panicked", self.name));
        }
        ended
    }
}

/// Tells a line of the drain to finish by `deadline`, or at once when the stop is forced, and waits for it.
pub(super) async fn finish<T: Send + 'static>(line: &mut Worker<T>, stop: &DrainStop, trigger: &Trigger, deadline: Instant) -> Option<T> {
    stop.finish(now_if_forced(trigger, deadline));
    tokio::select! {
        ended = line.join() => ended,
        () = trigger.reached(Urgency::Force) => {
            stop.finish(Instant::now());
            line.join().await
        }
    }
}

fn note_end(name: &str, trigger: &Trigger, panicked: bool) {
    if panicked {
        tracing::error!(stage = name, "a stage panicked: stopping");
    } else if trigger.urgency() == Urgency::Running {
        tracing::error!(stage = name, "a stage ended by itself: stopping");
    }
    trigger.ask(Urgency::Stop);
}

/// The ops server on a thread and a runtime of its own, so that probes answer when the data path is stuck.
#[derive(Debug)]
pub(super) struct OpsThread {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl OpsThread {
    pub(super) fn start(ops: Ops) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name("ops".to_owned()).spawn(move || {
            let until = async {
                // A dropped sender means the same.
                drop(stopped.await);
            };
            if let Err(error) = ops.run_blocking(until) {
                tracing::error!(%error, "ops ended: status, probes and metrics are gone");
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }

    pub(super) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("ops panicked");
        }
    }
}

impl Drop for OpsThread {
    fn drop(&mut self) {
        self.end();
    }
}
