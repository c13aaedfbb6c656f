//! Assembly: `Config -> App (bind, open, connect) -> run`. The only place that knows all stages and starts them.
//!
//! ```text
//! build   ops answers "starting" ─▶ open the buffer (recovery) ─▶ drain, notify ─▶ bind ingest
//! run     threads: ops · buffer-commit · buffer-keep · drain · drain-parked · dead-letter-copy     tasks: ingest · notify
//!         without ingest: `dualstream drain-only`, which asks for the end itself once the buffer is empty
//! stop    the phases of [`crate::shutdown`]; a stage that ends by itself starts them too, and the exit code says so
//! ```

mod copies;
mod dead_letters;
mod drain_only;
mod lines;
mod outcome;
mod peek;
mod purge;
mod workers;

use crate::buffer::log::storage::{DiskStorage, Storage};
use crate::buffer::{Appender, Buffer, Closer, Committer, Gauges, Keeper};
use crate::config::{Config, OnBlocked, Placeholder, Template, TemplateError};
use crate::drain::{CopyStats, DrainStats};
use crate::ingest::{Ingest, IngestStats};
use crate::lifecycle::AckWaiters;
use crate::notify::Notify;
use crate::ops::{Handles, Ops, StatusSource};
use crate::shutdown::{Deadlines, Trigger, Urgency};
use crate::{buffer, drain, ingest, notify, ops};
use copies::Copies;
use dead_letters::BufferDeadLetters;
use drain_only::DrainOnly;
use lines::{Given, Lines};
use peek::DirectoryPeek;
use purge::BufferPurge;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use workers::{OpsThread, Worker};

pub use outcome::Outcome;

/// What a frame may need beside the bytes of the body: spans, the id and time that are added where they were absent, and the hash of what
/// was there before.
const RECORD_OVERHEAD_BYTES: u64 = 168;

/// Why the relay cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The async runtime.
    #[error("cannot start the runtime")]
    Runtime(#[source] std::io::Error),
    /// A thread.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    /// The topic template.
    #[error("kafka.topic")]
    Topic(#[source] TemplateError),
    /// The ops listeners.
    #[error("ops cannot listen")]
    Ops(#[source] ops::BindError),
    /// The buffer.
    #[error("cannot open the buffer")]
    Buffer(#[source] buffer::OpenError),
    /// The drain.
    #[error("cannot set up Kafka")]
    Drain(#[source] drain::BuildError),
    /// Notifications.
    #[error("cannot set up Redis notifications")]
    Notify(#[source] notify::BuildError),
    /// The ingest listeners.
    #[error("ingest cannot listen")]
    Ingest(#[source] ingest::BindError),
}

/// Where the relay listens, ports resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Ingest over TCP.
    pub ingest: Option<SocketAddr>,
    /// Ingest over a Unix socket.
    pub socket: Option<PathBuf>,
    /// Ops.
    pub ops: Option<SocketAddr>,
    /// Probes and metrics.
    pub probe: Option<SocketAddr>,
}

/// A relay, bound and open, not yet running.
#[derive(Debug)]
pub struct App {
    config: Config,
    runtime: Runtime,
    trigger: Trigger,
    source: Arc<StatusSource>,
    ops: OpsThread,
    drain_only: Option<DrainOnly>,
    gauges: Gauges,
    stages: Stages,
    addresses: Addresses,
}

/// What runs, and what stops it.
#[derive(Debug)]
struct Stages {
    /// Absent when nothing is to come in.
    ingest: Option<Ingest<Appender>>,
    committer: Committer,
    keeper: Keeper,
    closer: Closer,
    lines: Lines,
    copies: Copies,
    notify: Notify,
}

impl App {
    /// Binds, opens and connects, in the order of the module's picture. An unreachable Kafka or Redis is no reason to fail.
    ///
    /// # Errors
    /// [`AppError`]; everything opened so far is closed again.
    pub fn build(config: Config, trigger: Trigger) -> Result<Self, AppError> {
        Self::assemble(config, trigger, None)
    }

    /// The same without ingest: it sends what is in the buffer and asks for the end itself, when nothing is left or, at the latest, so
    /// early that everything is over within `timeout`.
    ///
    /// # Errors
    /// As [`App::build`].
    pub fn build_drain_only(mut config: Config, trigger: Trigger, timeout: Option<Duration>) -> Result<Self, AppError> {
        let plan = DrainOnly::new(&mut config.shutdown, timeout);
        Self::assemble(config, trigger, Some(plan))
    }

    fn assemble(mut config: Config, trigger: Trigger, drain_only: Option<DrainOnly>) -> Result<Self, AppError> {
        config.buffer.parked_bytes = buffer::parked::budget(&config.buffer, config.kafka.on_blocked == OnBlocked::Park);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(AppError::Runtime)?;
        let topic = Template::parse(&config.kafka.topic, &[Placeholder::Type, Placeholder::SourceType]).map_err(AppError::Topic)?;
        let (ingest_stats, drain_stats) = (Arc::new(IngestStats::default()), Arc::new(DrainStats::default()));
        let parked_stats = Arc::new(DrainStats::default());
        let copy_stats = CopyStats::of(&config.kafka);
        let (notify, queue) = Notify::build(&config.redis).map_err(AppError::Notify)?;
        let source = Arc::new(StatusSource::new(Handles {
            ingest: Arc::clone(&ingest_stats),
            drain: Arc::clone(&drain_stats),
            parked: Arc::clone(&parked_stats),
            copies: copy_stats.clone(),
            delivery: config.kafka.delivery,
            notify: notify.stats(),
            stall_after: config.ops.stall_after,
        }));
        let ops = Ops::bind(&config.ops, Arc::clone(&source)).map_err(AppError::Ops)?;
        let ops_addresses = ops.addresses().clone();
        let ops = OpsThread::start(ops).map_err(AppError::Thread)?;

        let acks = Arc::new(AckWaiters::remembering(config.ingest.dedup_window_events as usize));
        let notify = notify.telling(Arc::clone(&acks));
        let storage: Arc<dyn Storage> = Arc::new(DiskStorage::new(&config.buffer.dir));
        let keyring = buffer::keyring(&config.buffer).map_err(AppError::Buffer)?;
        let opened = Buffer::open(&config.buffer, Arc::clone(&storage), Arc::clone(&acks), largest_batch(&config));
        let opened = opened.map_err(AppError::Buffer)?;
        let relay_id = opened.relay_id().to_string();
        let Buffer { appender, reader, gauges, purger, dead_letters, parked, committer, keeper, closer } = opened;
        source.buffer_opened(Arc::new(gauges.clone()), Arc::new(DirectoryPeek::new(storage, keyring)));
        source.purges_with(Arc::new(BufferPurge(purger)));
        source.keeps_dead_letters_in(Arc::new(BufferDeadLetters(dead_letters.clone())));

        let topic_limit = Arc::clone(&drain_stats.topic_limit);
        let given = Given {
            config: &config.kafka,
            relay_id: &relay_id,
            source: &source,
            acks: &acks,
            queue: config.redis.url.is_some().then_some(queue),
            stats: [drain_stats, parked_stats],
        };
        let lines = Lines::build(&given, reader, parked)?;

        let copies = Copies::build((&config.kafka, &relay_id), &dead_letters, copy_stats, (&source, lines.pause()), drain_only.is_none());
        let copies = copies.map_err(AppError::Drain)?;

        let ingest = if drain_only.is_some() {
            None
        } else {
            let bound = Ingest::bind(&config.ingest, (&topic, topic_limit), appender, ingest_stats);
            Some(runtime.block_on(bound).map_err(AppError::Ingest)?)
        };
        let addresses = Addresses {
            ingest: ingest.as_ref().and_then(Ingest::local_addr),
            socket: ingest.as_ref().and_then(Ingest::socket).map(ToOwned::to_owned),
            ops: ops_addresses.listen,
            probe: ops_addresses.probe,
        };
        let stages = Stages { ingest, committer, keeper, closer, lines, copies, notify };
        Ok(Self { config, runtime, trigger, source, ops, drain_only, gauges, stages, addresses })
    }

    /// Where the relay listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// A look at the whole relay; stays valid while it runs.
    pub fn status(&self) -> Arc<StatusSource> {
        Arc::clone(&self.source)
    }

    /// Lets SIGTERM and SIGINT ask for the end.
    pub fn listen_to_signals(&self) {
        let _runtime = self.runtime.enter();
        // From here on, not from when the runtime gets to it: a signal before that would kill the relay in the middle of its work.
        match self.trigger.hear_signals() {
            Ok(listen) => drop(self.runtime.spawn(listen)),
            Err(error) => tracing::error!(%error, "cannot hear signals: stop the relay with SIGKILL, or mend this"),
        }
    }

    /// Runs until the trigger asks for the end or a stage fails, then ends in order. Blocks.
    pub fn run(self) -> Outcome {
        let Self { config, runtime, trigger, source, ops, drain_only, gauges, stages, addresses } = self;
        let Stages { ingest, committer, keeper, closer, lines, copies, notify } = stages;
        let (commits, keeps) = (source.heartbeat("buffer-commit"), source.heartbeat("buffer-keep"));
        let mut committer = Worker::spawn("buffer-commit", &trigger, move || committer.run(&commits));
        let mut keeper = Worker::spawn("buffer-keep", &trigger, move || keeper.run(&keeps));
        let mut lines = lines.start(&trigger);
        let copying = copies.spawn(&trigger);
        let (requests_by, requests_until) = tokio::sync::oneshot::channel::<Instant>();
        let (notify_by, notify_until) = tokio::sync::oneshot::channel::<Instant>();
        let ticking = source.heartbeat("runtime");
        let mut ingest = ingest.map(|ingest| Worker::task("ingest", &trigger, &runtime, ingest.run(received(requests_until))));
        let mut notify = Worker::task("notify", &trigger, &runtime, notify.run(async { received(notify_until).await.into() }));
        let ticker = runtime.spawn(async move {
            let mut every = tokio::time::interval(Duration::from_secs(1));
            loop {
                let _ = every.tick().await;
                ticking.tick();
            }
        });
        if let Some(plan) = drain_only {
            drop(runtime.spawn(plan.run(gauges.clone(), trigger.clone())));
        }
        source.serving();
        log_ready(&addresses);

        let outcome = runtime.block_on(async {
            trigger.reached(Urgency::Stop).await;
            let phases = Deadlines::new(Instant::now(), &config.shutdown);
            source.shutting_down();
            tracing::info!(backlog = gauges.backlog(), grace = ?config.shutdown.grace, "stopping: no longer ready");
            until(phases.linger, &trigger).await;

            // A stage that has ended by itself does not listen any more.
            let _ended = requests_by.send(now_if_forced(&trigger, phases.requests));
            if let Some(ingest) = &mut ingest {
                let requests = ingest.join().await;
                tracing::info!(?requests, "stopping: requests finished, nothing more is accepted");
            }
            closer.close_appends();
            let _committed = committer.join().await;

            let drained = lines.finish(&trigger, phases.drained).await;
            let copier_failed = copying.finish(now_if_forced(&trigger, phases.drained), &trigger).await;
            let _ended = notify_by.send(now_if_forced(&trigger, phases.end));
            let notified = notify.join().await;
            closer.close_keeper();
            let _kept = keeper.join().await;
            let failed = gauges.failed().or_else(|| {
                let ingest = ingest.and_then(|ingest| ingest.failure);
                [ingest, committer.failure, keeper.failure, lines.failure(), copier_failed, notify.failure].into_iter().flatten().next()
            });
            Outcome { drained: drained.unwrap_or_default(), left: gauges.backlog(), notified: notified.unwrap_or_default(), failed }
        });
        ticker.abort();
        outcome.log();
        ops.stop();
        runtime.shutdown_timeout(Duration::from_millis(500));
        outcome
    }
}

/// The stop signal of a stage: resolves to the stage's deadline.
async fn received(until: tokio::sync::oneshot::Receiver<Instant>) -> Instant {
    until.await.unwrap_or_else(|_| Instant::now())
}

async fn until(deadline: Instant, trigger: &Trigger) {
    tokio::select! {
        () = tokio::time::sleep_until(deadline.into()) => {}
        () = trigger.reached(Urgency::Force) => {}
    }
}

fn now_if_forced(trigger: &Trigger, deadline: Instant) -> Instant {
    if trigger.urgency() == Urgency::Force { Instant::now() } else { deadline }
}

/// The largest payload that a request may become.
pub(crate) fn largest_batch(config: &Config) -> u64 {
    config.ingest.max_body_bytes + u64::from(config.ingest.max_batch_events) * RECORD_OVERHEAD_BYTES
}

/// One line with every bound address: what scripts and tests wait for.
fn log_ready(addresses: &Addresses) {
    let text = |address: &Option<SocketAddr>| address.map(|address| address.to_string()).unwrap_or_default();
    let socket = addresses.socket.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
    let (ingest, ops, probe) = (text(&addresses.ingest), text(&addresses.ops), text(&addresses.probe));
    tracing::info!(ingest, socket, ops, probe, version = env!("CARGO_PKG_VERSION"), "ready");
}
