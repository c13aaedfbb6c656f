//! Assembles the snapshot from the handles that the stages gave, and remembers between looks what one look cannot tell.
//!
//! Shared by the server, the watcher and the assembly. Invariant: a look waits for nothing but the short locks of the handles, so
//! that probes answer while the data path is stuck.

use super::dead_letters::KeepDeadLetters;
use super::health::{Facts, Health, LIVE_WITHIN, LateLoop, Phase, Uncopied, assess};
use super::peek::Peek;
use super::process::resident_memory_bytes;
use super::purge::Purge;
use super::status::{DeadLettersStatus, DrainStatus, IngestStatus, NotifyStatus, RelayStatus, StatusSnapshot, rfc3339};
use super::trackers::{Books, Holds, Stall};
use crate::buffer::{BufferSnapshot, Gauges};
use crate::config::{Delivery, OpsConfig};
use crate::drain::{CopyStats, DrainStats, DrainStop};
use crate::ingest::IngestStats;
use crate::lifecycle::{Heartbeat, Heartbeats};
use crate::notify::NotifyStats;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Looks at the buffer.
pub trait BufferView: Send + Sync {
    /// The buffer now. Must not wait for I/O: probes wait for it.
    fn snapshot(&self) -> BufferSnapshot;
}

impl BufferView for Gauges {
    fn snapshot(&self) -> BufferSnapshot {
        Gauges::snapshot(self)
    }
}

/// What ops is given before anything else starts.
#[derive(Debug)]
pub struct Handles {
    /// Counters of stage 1.
    pub ingest: Arc<IngestStats>,
    /// Counters of stage 3.
    pub drain: Arc<DrainStats>,
    /// The same of its line for what is parked.
    pub parked: Arc<DrainStats>,
    /// What the copier of dead letters tells; `None` when they are not copied.
    pub copies: Option<Arc<CopyStats>>,
    /// `kafka.delivery`
    pub delivery: Delivery,
    /// Counters of stage 4; `None` when notifications are off.
    pub notify: Option<Arc<NotifyStats>>,
    /// `ops.stall_after`.
    pub stall_after: Duration,
}

impl Default for Handles {
    /// Counters that nobody touches, notifications off, the settings' own patience.
    fn default() -> Self {
        let stall_after = OpsConfig::default().stall_after;
        let (ingest, drain, parked, delivery) = (Arc::default(), Arc::default(), Arc::default(), Delivery::default());
        Self { ingest, drain, parked, copies: None, delivery, notify: None, stall_after }
    }
}

/// The moment of a look, on both clocks.
#[derive(Clone, Copy, Debug)]
struct Now {
    instant: Instant,
    unix_ms: u64,
}

impl Now {
    fn read() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { instant: Instant::now(), unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX) }
    }
}

/// What is remembered between looks.
#[derive(Debug, Default)]
struct Memory {
    phase: Phase,
    started: bool,
    stall: Stall,
    redis_down: Holds,
    books: Books,
}

/// Where every view of the relay comes from.
pub struct StatusSource {
    handles: Handles,
    began: Now,
    beats: Heartbeats,
    /// Set once the buffer is recovered; until then the relay answers "starting".
    buffer: OnceLock<(Arc<dyn BufferView>, Arc<dyn Peek>)>,
    purge: OnceLock<Arc<dyn Purge>>,
    dead_letters: OnceLock<Arc<dyn KeepDeadLetters>>,
    drain_stop: OnceLock<DrainStop>,
    /// A lock and not atomics: the trackers belong together, and nobody on the hot path takes it.
    memory: Mutex<Memory>,
}

impl fmt::Debug for StatusSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusSource").field("handles", &self.handles).field("memory", &self.memory).finish_non_exhaustive()
    }
}

impl StatusSource {
    /// A relay that is starting.
    pub fn new(handles: Handles) -> Self {
        Self {
            handles,
            began: Now::read(),
            beats: Heartbeats::default(),
            buffer: OnceLock::new(),
            purge: OnceLock::new(),
            dead_letters: OnceLock::new(),
            drain_stop: OnceLock::new(),
            memory: Mutex::default(),
        }
    }

    /// The buffer is recovered: its numbers are shown from now on. The first call counts.
    pub fn buffer_opened(&self, view: Arc<dyn BufferView>, peek: Arc<dyn Peek>) {
        drop(self.buffer.set((view, peek)));
    }

    /// Waiting events can be purged from now on. The first call counts.
    pub fn purges_with(&self, purge: Arc<dyn Purge>) {
        drop(self.purge.set(purge));
    }

    /// Dead letters can be looked at and changed from now on. The first call counts.
    pub fn keeps_dead_letters_in(&self, letters: Arc<dyn KeepDeadLetters>) {
        drop(self.dead_letters.set(letters));
    }

    /// The drain can be paused from now on. The first call counts.
    pub fn pauses_with(&self, stop: DrainStop) {
        drop(self.drain_stop.set(stop));
    }

    /// A pulse for a loop that promises to tick at least every second; late after [`LIVE_WITHIN`].
    pub fn heartbeat(&self, name: &'static str) -> Heartbeat {
        self.beats.register(name)
    }

    /// The listeners are bound: the startup probe says yes from now on.
    pub fn serving(&self) {
        let mut memory = self.memory();
        memory.phase = Phase::Serving;
        memory.started = true;
    }

    /// The first phase of stopping: not ready any more.
    pub fn shutting_down(&self) {
        self.memory().phase = Phase::ShuttingDown;
    }

    /// Whether the startup probe says yes. Looks at nothing else.
    pub fn started(&self) -> bool {
        self.memory().started
    }

    /// Loops that do not tick. Looks at no stage, so it answers whatever is stuck.
    pub fn late_loops(&self) -> Vec<LateLoop> {
        self.late_loops_at(Instant::now())
    }

    /// The whole relay now.
    pub fn snapshot(&self) -> StatusSnapshot {
        self.snapshot_at(Now::read())
    }

    pub(super) fn peek(&self) -> Option<Arc<dyn Peek>> {
        self.buffer.get().map(|(_, peek)| Arc::clone(peek))
    }

    pub(super) fn purge(&self) -> Option<Arc<dyn Purge>> {
        self.purge.get().map(Arc::clone)
    }

    pub(super) fn dead_letters(&self) -> Option<Arc<dyn KeepDeadLetters>> {
        self.dead_letters.get().map(Arc::clone)
    }

    pub(super) fn drain_stop(&self) -> Option<&DrainStop> {
        self.drain_stop.get()
    }

    fn snapshot_at(&self, now: Now) -> StatusSnapshot {
        let buffer = self.buffer.get().map(|(view, _)| view.snapshot());
        let drain = DrainStatus::read(&self.handles.drain, &self.handles.parked, self.handles.delivery, now.unix_ms);
        let notify = self.handles.notify.as_ref().map(|stats| NotifyStatus::read(stats, now.unix_ms));
        let (phase, health) = self.judge(now, buffer.as_ref(), &drain, notify.as_ref());
        #[expect(clippy::cast_precision_loss, reason = "a date in milliseconds is below 2^52")]
        let started_at_seconds = self.began.unix_ms as f64 / 1000.0;
        StatusSnapshot {
            relay: RelayStatus {
                version: env!("CARGO_PKG_VERSION"),
                relay_id: buffer.as_ref().map(|buffer| buffer.relay_id.clone()),
                started_at: rfc3339(self.began.unix_ms),
                started_at_seconds,
                uptime_seconds: now.instant.saturating_duration_since(self.began.instant).as_secs_f64(),
                phase,
                resident_memory_bytes: resident_memory_bytes(),
            },
            ingest: IngestStatus::read(&self.handles.ingest),
            buffer,
            drain,
            dead_letters: self.dead_letters.get().map(|letters| {
                let copies = self.handles.copies.as_ref();
                DeadLettersStatus::read(letters.usage(), copies, now.instant, now.unix_ms)
            }),
            notify,
            health,
        }
    }

    fn judge(&self, now: Now, buffer: Option<&BufferSnapshot>, drain: &DrainStatus, notify: Option<&NotifyStatus>) -> (Phase, Health) {
        let mut memory = self.memory();
        let (backlog, ended, error) = buffer.map_or((0, 0, 0), |buffer| {
            let ledger = &buffer.ledger;
            (ledger.backlog, ledger.ends.total(), ledger.conservation_error())
        });
        let health = assess(Facts {
            phase: memory.phase,
            started: memory.started,
            buffer,
            drain: &drain.state,
            blocked_topics: &drain.blocked_topics,
            stalled_for: memory.stall.look(now.instant, backlog, ended),
            stall_after: self.handles.stall_after,
            uncopied: self
                .handles
                .copies
                .as_ref()
                .and_then(|copies| copies.trouble())
                .map(|trouble| Uncopied { waiting_for: now.instant.saturating_duration_since(trouble.since), trouble: trouble.detail }),
            redis_down_for: memory.redis_down.look(now.instant, notify.is_some_and(|notify| !notify.up)),
            late_loops: self.late_loops_at(now.instant),
            conservation_error: memory.books.look(now.instant, error),
        });
        (memory.phase, health)
    }

    fn late_loops_at(&self, now: Instant) -> Vec<LateLoop> {
        let late = self.beats.late(now, LIVE_WITHIN);
        late.into_iter().map(|(name, age)| LateLoop { name, seconds: age.as_secs() }).collect()
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::FakeBuffer;
    use super::*;
    use crate::ops::health::Degraded;

    fn look(source: &StatusSource, seconds: u64) -> StatusSnapshot {
        let began = source.began;
        source.snapshot_at(Now { instant: began.instant + Duration::from_secs(seconds), unix_ms: began.unix_ms + seconds * 1000 })
    }

    fn degraded(snapshot: &StatusSnapshot) -> Vec<Degraded> {
        snapshot.health.degraded_reasons.iter().map(|reason| reason.reason).collect()
    }

    // Goal: a relay that recovers a large buffer says so instead of not answering, and serves once it is done.
    #[test]
    fn a_relay_starts_serves_and_stops() {
        let source = StatusSource::new(Handles::default());
        let starting = look(&source, 0);
        assert!(starting.buffer.is_none() && !starting.health.started && !starting.health.ready && starting.health.live);

        let buffer = FakeBuffer::shared(|_| {});
        source.buffer_opened(buffer.clone(), buffer);
        source.serving();
        let serving = look(&source, 1);
        assert!(serving.health.started && serving.health.ready && !serving.health.degraded, "{:?}", serving.health);
        assert_eq!(serving.relay.relay_id.as_deref(), Some("relay-1"));

        source.shutting_down();
        let stopping = look(&source, 2);
        assert!(stopping.health.started && !stopping.health.ready && stopping.health.live);
    }

    // Goal: Kafka away under load shows as degraded after `ops.stall_after`, and is over with the first ack.
    #[test]
    fn an_outage_degrades_and_recovers() {
        let source = StatusSource::new(Handles::default());
        let buffer = FakeBuffer::shared(|_| {});
        source.buffer_opened(buffer.clone(), buffer.clone());
        source.serving();
        let _ = look(&source, 0);
        buffer.change(|buffer| (buffer.ledger.accepted, buffer.ledger.backlog) = (5, 5));
        assert_eq!(degraded(&look(&source, 29)), []);
        assert_eq!(degraded(&look(&source, 30)), [Degraded::DrainStalled]);
        buffer.change(|buffer| (buffer.ledger.ends.acked, buffer.ledger.backlog) = (1, 4));
        assert_eq!(degraded(&look(&source, 31)), []);
    }

    // Goal: a miscount is reported whatever view is looked at, but not on the strength of a single look.
    #[test]
    fn a_miscount_is_confirmed_by_the_second_look() {
        let source = StatusSource::new(Handles::default());
        let buffer = FakeBuffer::shared(|buffer| buffer.ledger.accepted = 3);
        source.buffer_opened(buffer.clone(), buffer);
        assert_eq!(look(&source, 1).health.conservation_error, 0);
        let second = look(&source, 2);
        assert_eq!((second.health.conservation_error, degraded(&second)), (3, vec![Degraded::Conservation]));
    }
}
