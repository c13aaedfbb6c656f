//! The drain's loop against a buffer in memory and a Kafka that misbehaves from a seed: full queues, refusals, lost answers, dead handles,
//! topics that vanish, handles that stand still. Time is simulated; a run of hours takes milliseconds.

#![expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "small numbers of a test")]

mod isolation;
mod kafka;
mod memory_buffer;
mod tests;
mod transactions;

use super::clock::Clock;
use super::sink::Report;
use super::stats::{DrainState, DrainStats};
use super::stop::{DrainReport, DrainStop};
use super::{Drain, DrainHandles, Policy, Size};
use crate::buffer::DeadLetter;
use crate::config::OnRejected;
use crate::event::{EventRef, Place, Seq};
use crate::lifecycle::{AckWaiters, Counter};
use kafka::FaultyKafka;
use memory_buffer::MemoryBuffer;
use rdkafka::error::RDKafkaErrorCode as Code;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use transactions::{Coordinator, TransactionalKafka};

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
    dead: Vec<DeadLetter>,
    /// How often a batch of one event came back refused.
    refused_alone: BTreeMap<u64, u32>,
    /// Most events that a handle puts into a batch.
    batch_events: usize,
    /// States seen while delays passed.
    seen: Vec<DrainState>,
    /// Who keeps transactions; `None` when events count one by one.
    coordinator: Option<Coordinator>,
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
    /// Events that Kafka never takes.
    poison: Vec<u64>,
    /// Batches of more events are too large.
    batch_limit: Option<usize>,
    /// Dead letters for which there is no room.
    letters_full: u32,
    /// What to do with poison.
    on_rejected: OnRejected,
}

type Shared = Arc<Mutex<World>>;

fn look(world: &Shared) -> MutexGuard<'_, World> {
    world.lock().unwrap()
}

impl World {
    fn happens(&mut self) -> bool {
        self.faults.random > 0 && self.rng.u32(0..1_000) < self.faults.random
    }

    /// The broker appends an event. In a transaction it counts later, or never.
    fn append(&mut self, partition: usize, seq: u64) {
        match &mut self.coordinator {
            Some(coordinator) => coordinator.open.push((partition, seq)),
            None => self.log[partition].push(seq),
        }
    }

    /// Whether Kafka has said that it has the event.
    fn is_in_kafka(&self, seq: u64) -> bool {
        let cursor = self.coordinator.as_ref().and_then(|coordinator| coordinator.cursor.as_ref());
        self.reported.contains(&seq) || cursor.is_some_and(|cursor| cursor.seq.0 >= seq)
    }

    fn deliver(&mut self, partition: usize, seq: u64) -> Report {
        self.append(partition, seq);
        if self.coordinator.is_none() {
            let _ = self.reported.insert(seq);
        }
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
    run_with(seed, events, faults, time, None)
}

fn run_with(seed: u64, events: usize, faults: Faults, time: Duration, coordinator: Option<Coordinator>) -> Run {
    let start = Instant::now();
    let policy = Policy { on_rejected: faults.on_rejected, ..Policy::default() };
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
        dead: Vec::new(),
        refused_alone: BTreeMap::new(),
        batch_events: 64,
        seen: Vec::new(),
        coordinator,
    }));
    let stats = Arc::new(DrainStats::default());
    let stop = DrainStop::default();
    let buffer = MemoryBuffer::new(&world, events);
    let seqs = buffer.seqs();
    let (listener, shown) = (Arc::clone(&world), Arc::clone(&stats));
    let on_acked = move |_: Seq, event: &EventRef<'_>| {
        let seq = event.id.strip_prefix("id-").unwrap().parse().unwrap();
        look(&listener).last_shown = shown.state.lock().unwrap().clone();
        assert!(look(&listener).log[partition_of(seq)].contains(&seq), "event {seq} was told of before Kafka had it");
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
    let (transactional, rng) = (look(&world).coordinator.is_some(), fastrand::Rng::with_seed(seed));
    let report = if transactional {
        let kafka = TransactionalKafka { kafka, clock: clock.clone(), size: Size::default() };
        Drain::assemble(buffer, kafka, clock, handles, policy, rng).run()
    } else {
        Drain::assemble(buffer, kafka, clock, handles, policy, rng).run()
    };
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
