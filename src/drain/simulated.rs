//! The drain's loop against a buffer in memory and a Kafka that misbehaves from a seed: full queues, refusals, lost answers, dead handles,
//! topics that vanish, handles that stand still. Time is simulated; a run of hours takes milliseconds.

#![expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "small numbers of a test")]

use super::clock::Clock;
use super::sink::{Purge, Refusal, Report, SendOutcome, Sink, SinkFactory};
use super::source::Source;
use super::stats::{DrainState, DrainStats};
use super::stop::{DrainReport, DrainStop};
use super::{Drain, DrainHandles};
use crate::buffer::{Leased, ReadError};
use crate::event::{BatchBuilder, EventParts, EventRef, Field, Place, Seq};
use crate::lifecycle::AckWaiters;
use rdkafka::error::RDKafkaErrorCode as Code;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

const PARTITIONS: usize = 4;
const KEYS: u64 = 12;

/// What the other side looks like from outside: the truth that the drain must agree with.
struct World {
    rng: fastrand::Rng,
    now: Instant,
    faults: Faults,
    /// Kafka's log, per partition, repeats included.
    log: [Vec<u64>; PARTITIONS],
    /// Seqs for which a good report was given.
    reported: BTreeSet<u64>,
    /// Seqs that the drain booked as acknowledged.
    booked: BTreeSet<u64>,
    notified: Vec<(String, u64)>,
    /// The state on show when the newest event was told of.
    last_shown: DrainState,
    handles: usize,
    /// States seen while delays passed.
    seen: Vec<DrainState>,
}

/// How the other side misbehaves.
#[derive(Clone, Default)]
struct Faults {
    /// Per thousand sends or batches.
    random: u32,
    /// Refuse this event this many times with this code.
    refuse: Option<(u64, u32, Code)>,
    /// Let this event's batch come back this many times with this code.
    bounce: Option<(u64, u32, Code)>,
    /// Handles before this one never answer.
    deaf_handles: usize,
    /// Reads of the buffer that fail.
    bad_reads: u32,
}

type Shared = Arc<Mutex<World>>;

fn look(world: &Shared) -> MutexGuard<'_, World> {
    world.lock().unwrap()
}

impl World {
    fn happens(&mut self) -> bool {
        self.faults.random > 0 && self.rng.u32(0..1_000) < self.faults.random
    }

    fn deliver(&mut self, partition: usize, seq: u64) -> Report {
        self.log[partition].push(seq);
        let _ = self.reported.insert(seq);
        let offset = if self.rng.u8(0..20) == 0 { -1 } else { self.log[partition].len() as i64 - 1 };
        Report { seq: Seq(seq), result: Ok(Place { topic: "events".into(), partition: partition as i32, offset }) }
    }
}

fn key_of(seq: u64) -> u64 {
    seq.wrapping_mul(0x9E37_79B9_7F4A_7C15) % KEYS
}

fn partition_of(seq: u64) -> usize {
    key_of(seq) as usize % PARTITIONS
}

// === the buffer ===

struct MemoryBuffer {
    world: Shared,
    frames: Vec<Leased>,
    next: usize,
}

impl MemoryBuffer {
    /// Frames of one to five events, here and there with a hole where the disk rotted.
    fn new(world: &Shared, events: usize) -> Self {
        let mut rng = look(world).rng.clone();
        let (mut frames, mut seq, mut made) = (Vec::new(), 1, 0);
        while made < events {
            let count = rng.usize(1..=5).min(events - made);
            frames.push(frame(seq, count as u32));
            made += count;
            seq += count as u64 + u64::from(rng.u8(0..8) == 0) * 3;
        }
        Self { world: Arc::clone(world), frames, next: 0 }
    }

    fn seqs(&self) -> Vec<u64> {
        self.frames.iter().flat_map(|frame| frame.first_seq.0..frame.first_seq.0 + u64::from(frame.count)).collect()
    }
}

fn frame(first: u64, count: u32) -> Leased {
    let mut batch = BatchBuilder::default();
    for seq in first..first + u64::from(count) {
        let (id, key) = (format!("id-{seq}"), format!("k{}", key_of(seq)));
        batch.push(&EventParts {
            value: id.as_bytes(),
            id: Field::Span { offset: 0, len: id.len() },
            kind: Field::Text("made"),
            source_type: Field::Text("user"),
            source_id: Field::Text(&key),
            traceparent: Field::Absent,
        });
    }
    Leased { first_seq: Seq(first), count, accepted_ms: 1_000, payload: batch.finish().into_payload().into() }
}

impl Source for MemoryBuffer {
    fn next(&mut self) -> Result<Option<Leased>, ReadError> {
        let mut world = look(&self.world);
        if world.faults.bad_reads > 0 {
            world.faults.bad_reads -= 1;
            return Err(ReadError::Io { path: "segment".into(), source: std::io::ErrorKind::PermissionDenied.into() });
        }
        let frame = self.frames.get(self.next).cloned();
        self.next += usize::from(frame.is_some());
        Ok(frame)
    }

    fn is_acked(&self, seq: Seq) -> bool {
        look(&self.world).booked.contains(&seq.0)
    }

    fn wait(&self, timeout: Duration) {
        look(&self.world).now += timeout;
    }

    fn ack(&mut self, seqs: &[Seq]) -> usize {
        let mut world = look(&self.world);
        for seq in seqs {
            assert!(world.reported.contains(&seq.0), "event {seq} was booked without a report");
        }
        seqs.iter().filter(|seq| world.booked.insert(seq.0)).count()
    }

    fn rewind(&mut self) {
        let world = look(&self.world);
        let waits = |frame: &Leased| (0..frame.count).any(|n| !world.booked.contains(&frame.first_seq.plus(u64::from(n)).0));
        self.next = self.frames.iter().position(waits).unwrap_or(self.frames.len());
    }

    fn acked(&self) -> Seq {
        let world = look(&self.world);
        let first_waiting = self.seqs().into_iter().find(|seq| !world.booked.contains(seq));
        first_waiting.map_or_else(|| self.durable(), |seq| Seq(seq - 1))
    }

    fn durable(&self) -> Seq {
        Seq(self.seqs().last().copied().unwrap_or(0))
    }

    fn mark_partition(&mut self, topic: &Arc<str>, partition: i32, seq: Seq, _offset: i64) {
        let world = look(&self.world);
        assert_eq!((&**topic, partition_of(seq.0)), ("events", usize::try_from(partition).unwrap()));
        assert!(world.booked.contains(&seq.0));
    }
}

// === Kafka ===

struct FaultyKafka {
    world: Shared,
}

impl SinkFactory for FaultyKafka {
    type Sink = Handle;

    fn connect(&mut self) -> Result<Handle, Refusal> {
        let mut world = look(&self.world);
        if world.happens() {
            return Err(Refusal::new(Code::CriticalSystemResource, "no threads"));
        }
        world.handles += 1;
        let deaf = world.handles <= world.faults.deaf_handles;
        let queues = std::array::from_fn(|_| VecDeque::new());
        Ok(Handle { world: Arc::clone(&self.world), queues, ready: Vec::new(), dead: None, purged: false, last_sent: 0, deaf })
    }
}

/// Keeps the promises of a gapless handle: after a batch of a partition failed, nothing later of that partition gets in.
struct Handle {
    world: Shared,
    queues: [VecDeque<u64>; PARTITIONS],
    ready: Vec<Report>,
    dead: Option<Code>,
    purged: bool,
    last_sent: u64,
    deaf: bool,
}

impl Handle {
    fn bounce(&mut self, partition: usize, count: usize, code: Code) {
        let failed = self.queues[partition].drain(..count);
        self.ready.extend(failed.map(|seq| Report { seq: Seq(seq), result: Err(code) }));
    }

    /// One batch of a partition is answered, or not.
    fn answer(&mut self, partition: usize) {
        let world = Arc::clone(&self.world);
        let mut world = look(&world);
        let waiting = self.queues[partition].len();
        if waiting == 0 || self.deaf {
            return;
        }
        let count = world.rng.usize(1..=waiting);
        let (fails, vanishes) = (world.happens(), world.happens());
        if let Some((seq, times, code)) = world.faults.bounce
            && times > 0
            && self.queues[partition].iter().take(count).any(|waiting| *waiting == seq)
        {
            world.faults.bounce = Some((seq, times - 1, code));
            self.bounce(partition, count, code);
            self.die(partition, Code::GaplessGuarantee);
        } else if fails {
            let codes = [Code::InvalidRecord, Code::Unknown, Code::TopicAuthorizationFailed, Code::OutOfOrderSequenceNumber];
            let code = codes[world.rng.usize(0..codes.len())];
            // Half of the time the batch got in, and only the answer was lost.
            if world.rng.bool() {
                let lost: Vec<u64> = self.queues[partition].iter().take(count).copied().collect();
                world.log[partition].extend(lost);
            }
            self.bounce(partition, count, code);
            self.die(partition, Code::GaplessGuarantee);
        } else if vanishes {
            // The topic is gone, as far as the client knows: everything of the partition comes back, the handle lives.
            self.bounce(partition, waiting, Code::UnknownTopic);
        } else {
            for seq in self.queues[partition].drain(..count).collect::<Vec<_>>() {
                self.ready.push(world.deliver(partition, seq));
            }
        }
    }

    /// The handle is finished: other partitions may still get answers for a batch each, the rest comes back unsent.
    fn die(&mut self, partition: usize, code: Code) {
        self.dead = Some(code);
        let all = self.queues[partition].len();
        self.bounce(partition, all, Code::PurgeQueue);
        self.purge(Purge::Queued);
    }
}

impl Sink for Handle {
    fn send(&mut self, event: &EventRef<'_>, seq: Seq, accepted_ms: u64) -> SendOutcome {
        let mut world = look(&self.world);
        assert_eq!((event.id, event.source_id, accepted_ms), (&*format!("id-{seq}"), &*format!("k{}", key_of(seq.0)), 1_000));
        assert!(!self.purged || self.dead.is_some(), "event {seq} was sent with a handle that gave up events");
        assert!(seq.0 > self.last_sent, "event {seq} was sent after {}", self.last_sent);
        assert!(!world.booked.contains(&seq.0), "event {seq} was sent although Kafka has it");
        if let Some(code) = self.dead {
            return SendOutcome::Refused(Refusal::new(code, "dead"));
        }
        if let Some((refused, times, code)) = world.faults.refuse
            && refused == seq.0
            && times > 0
        {
            world.faults.refuse = Some((refused, times - 1, code));
            return SendOutcome::Refused(Refusal::new(code, format!("said {code:?}")));
        }
        if world.happens() {
            let code = if world.rng.bool() { Code::MessageSizeTooLarge } else { Code::Unknown };
            return SendOutcome::Refused(Refusal::new(code, "for now"));
        }
        if world.happens() || world.happens() {
            return SendOutcome::Full;
        }
        self.last_sent = seq.0;
        self.queues[partition_of(seq.0)].push_back(seq.0);
        SendOutcome::Sent
    }

    fn poll(&mut self, timeout: Duration, reports: &mut Vec<Report>) {
        look(&self.world).now += timeout;
        for partition in 0..PARTITIONS {
            if look(&self.world).rng.bool() {
                self.answer(partition);
            }
        }
        reports.append(&mut self.ready);
    }

    fn connected(&self) -> bool {
        true
    }

    fn fatal(&self) -> Option<Refusal> {
        self.dead.map(|code| Refusal::new(code, "dead"))
    }

    fn take_trouble(&mut self) -> Option<Refusal> {
        None
    }

    fn purge(&mut self, scope: Purge) {
        self.purged = true;
        for queue in &mut self.queues {
            let on_their_way = if scope == Purge::All { 0 } else { queue.len().min(2) };
            let code = if scope == Purge::All { Code::PurgeInflight } else { Code::PurgeQueue };
            self.ready.extend(queue.drain(on_their_way..).map(|seq| Report { seq: Seq(seq), result: Err(code) }));
        }
    }

    fn discard(self) {}
}

// === the run ===

#[derive(Clone)]
struct SimulatedClock {
    world: Shared,
    stats: Arc<DrainStats>,
}

impl Clock for SimulatedClock {
    fn now(&self) -> Instant {
        look(&self.world).now
    }

    fn unix_ms(&self) -> u64 {
        1_700_000_000_000
    }

    fn pause(&self, _stop: &DrainStop, duration: Duration) {
        let state = self.stats.state.lock().unwrap().clone();
        let mut world = look(&self.world);
        world.now += duration;
        world.seen.push(state);
    }
}

struct Run {
    world: Shared,
    seqs: Vec<u64>,
    stats: Arc<DrainStats>,
    report: DrainReport,
    took: Duration,
}

/// Drains `events` events from a seed, with a year of time.
fn run(seed: u64, events: usize, faults: Faults) -> Run {
    run_for(seed, events, faults, Duration::from_secs(365 * 86_400))
}

fn run_for(seed: u64, events: usize, faults: Faults, time: Duration) -> Run {
    let start = Instant::now();
    let world = Arc::new(Mutex::new(World {
        rng: fastrand::Rng::with_seed(seed),
        now: start,
        faults,
        log: std::array::from_fn(|_| Vec::new()),
        reported: BTreeSet::new(),
        booked: BTreeSet::new(),
        notified: Vec::new(),
        last_shown: DrainState::default(),
        handles: 0,
        seen: Vec::new(),
    }));
    let stats = Arc::new(DrainStats::default());
    let stop = DrainStop::default();
    let buffer = MemoryBuffer::new(&world, events);
    let seqs = buffer.seqs();
    let (listener, shown) = (Arc::clone(&world), Arc::clone(&stats));
    let on_acked = move |_: Seq, event: &EventRef<'_>| {
        let seq = event.id.strip_prefix("id-").unwrap().parse().unwrap();
        look(&listener).last_shown = shown.state.lock().unwrap().clone();
        look(&listener).notified.push((event.source_id.to_owned(), seq));
    };
    stop.finish(start + time);
    let clock = SimulatedClock { world: Arc::clone(&world), stats: Arc::clone(&stats) };
    let handles = DrainHandles {
        stats: Arc::clone(&stats),
        acks: Arc::new(AckWaiters::default()),
        on_acked: Some(Box::new(on_acked)),
        stop,
        heartbeat: None,
    };
    let kafka = FaultyKafka { world: Arc::clone(&world) };
    let report = Drain::assemble(buffer, kafka, clock, handles, fastrand::Rng::with_seed(seed)).run();
    let took = look(&world).now.duration_since(start);
    Run { world, seqs, stats, report, took }
}

impl Run {
    /// Nothing lost, nothing out of order for a consumer that drops what is not above the last it saw, everything told once.
    fn check_all_delivered(&self) {
        let world = look(&self.world);
        let booked: Vec<u64> = world.booked.iter().copied().collect();
        assert_eq!(booked, self.seqs, "booked");
        assert_eq!(self.stats.acked.get() as usize, self.seqs.len());
        for (partition, log) in world.log.iter().enumerate() {
            let mut seen: Vec<u64> = Vec::new();
            for seq in log {
                if seen.last().is_none_or(|last| last < seq) {
                    seen.push(*seq);
                }
            }
            let expected: Vec<u64> = self.seqs.iter().copied().filter(|seq| partition_of(*seq) == partition).collect();
            assert_eq!(seen, expected, "partition {partition}");
        }
        let mut newest: HashMap<&str, u64> = HashMap::new();
        for (key, seq) in &world.notified {
            assert!(world.reported.contains(seq));
            let before = newest.insert(key, *seq);
            assert!(before.is_none_or(|before| before < *seq), "{key}: {seq} was told after {before:?}");
        }
        assert_eq!(world.notified.len(), self.seqs.len(), "each event is told once");
        assert_eq!((self.report.left, self.report.in_doubt), (0, 0));
    }

    fn blocked_for(&self) -> Vec<(&'static str, String)> {
        let world = look(&self.world);
        let blocked = world.seen.iter().filter_map(|state| match state {
            DrainState::Blocked { reason, detail } => Some((*reason, detail.clone())),
            _ => None,
        });
        blocked.collect()
    }
}

// Goal: whatever Kafka does, in whatever order, nothing is lost, order per source holds, nothing is told before its ack.
#[test]
fn nothing_is_lost_or_overtaken_whatever_kafka_does() {
    for seed in 0..300 {
        let random = [0, 2, 20, 80][seed as usize % 4];
        let done = std::panic::catch_unwind(|| run(seed, 400, Faults { random, ..Faults::default() }).check_all_delivered());
        assert!(done.is_ok(), "seed {seed}");
    }
}

// Goal: an error that nobody has heard of stops the line at its event until Kafka takes it; it is never skipped.
#[test]
fn an_unknown_error_stops_the_line_and_is_retried() {
    let done = run(1, 50, Faults { refuse: Some((20, 40, Code::Unknown)), ..Faults::default() });
    done.check_all_delivered();
    assert_eq!(done.stats.retries[1].get(), 40, "transient");
    assert!(look(&done.world).seen.iter().all(|state| matches!(state, DrainState::Recovering { .. })));
    assert_eq!(look(&done.world).last_shown, DrainState::Running, "the trouble is over once Kafka took the event");
    assert!(done.took > Duration::from_secs(180), "with growing delays: {:?}", done.took);
    let (_, text) = done.stats.last_error.lock().unwrap().clone().unwrap();
    assert!(text.contains("event 20 (id \"id-20\", user:k"), "{text}");
}

// Goal: an event that Kafka will not take blocks the line, and the operator is told which one and why.
#[test]
fn a_rejected_event_blocks_and_is_named() {
    for (code, reason, faults) in [
        (Code::MessageSizeTooLarge, "rejected", Faults { refuse: Some((7, 3, Code::MessageSizeTooLarge)), ..Faults::default() }),
        (Code::InvalidRecord, "rejected", Faults { bounce: Some((7, 3, Code::InvalidRecord)), ..Faults::default() }),
        (Code::UnknownTopic, "unknown_topic", Faults { refuse: Some((7, 3, Code::UnknownTopic)), ..Faults::default() }),
    ] {
        let done = run(3, 7, faults);
        done.check_all_delivered();
        let blocked = done.blocked_for();
        assert_eq!(blocked.len(), 3, "{code:?}");
        for (shown, detail) in blocked {
            assert_eq!(shown, reason);
            assert!(detail.contains("event ") && detail.contains(&format!("{code:?}")), "{detail}");
        }
        assert_eq!(*done.stats.state.lock().unwrap(), DrainState::Stopped);
    }
}

// Goal: a handle that stands still although Kafka is there is replaced, without an operator.
#[test]
fn a_handle_that_stands_still_is_replaced() {
    let done = run(5, 100, Faults { deaf_handles: 2, ..Faults::default() });
    done.check_all_delivered();
    assert_eq!(done.stats.retries[4].get(), 2, "stalled");
    assert!(done.took > Duration::from_secs(360), "2 and then 4 minutes: {:?}", done.took);
}

// Goal: a disk that cannot be read stops the line and says so; nothing is skipped when it can be read again.
#[test]
fn an_unreadable_buffer_blocks() {
    let done = run(6, 100, Faults { bad_reads: 4, ..Faults::default() });
    done.check_all_delivered();
    let blocked = done.blocked_for();
    assert_eq!(blocked.len(), 4);
    assert!(blocked.iter().all(|(reason, detail)| *reason == "unreadable" && detail.contains("segment")), "{blocked:?}");
}

// Goal: when Kafka is away at shutdown, the drain returns at its deadline and says what stays behind.
#[test]
fn the_deadline_holds_while_kafka_is_away() {
    let done = run_for(8, 100, Faults { deaf_handles: 1, ..Faults::default() }, Duration::from_secs(20));
    assert!(done.took <= Duration::from_millis(20_100), "{:?}", done.took);
    assert_eq!(done.report.acked, 0);
    assert!(done.report.left >= 100);
    assert!(done.report.in_doubt > 0 && done.report.in_doubt <= 8, "two batches a partition were on their way: {:?}", done.report);
    assert!(look(&done.world).booked.is_empty());
}

// Goal: a deadline that has passed already ends the drain at once, with everything still in the buffer.
#[test]
fn no_time_means_nothing_is_sent() {
    let done = run_for(9, 10, Faults::default(), Duration::ZERO);
    assert_eq!((done.took, done.report.acked, done.report.in_doubt), (Duration::ZERO, 0, 0));
    assert_eq!(look(&done.world).handles, 0);
}
