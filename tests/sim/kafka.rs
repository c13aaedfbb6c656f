//! Kafka and the producer handles on it: leaders' logs, batches on their way, answers that get lost, and everything that may go wrong.
//!
//! A handle keeps what a gapless idempotent producer promises: the batches of a partition are appended in order and once, a batch that was
//! appended and whose answer was lost is recognised when it comes again, and after a batch failed for good nothing later gets in. Another handle
//! is another producer: nothing of it is recognised. A batch that was on its way when its handle went may still be appended later.

use super::book::{Book, Poison};
use super::style::{Style, happens};
use super::trace::Trace;
use crate::chance::Chance;
use dualstream::drain::{Found, Purge, Refusal, Report, key_print};
use dualstream::event::{Place, Seq};
use rdkafka::error::RDKafkaErrorCode as Code;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const PARTITIONS: usize = 3;
/// Lines that send: the log's, and that of what is parked.
pub const LINES: usize = 2;
/// That of what is parked; the log's is 0.
pub const PARKED: usize = 1;
/// Most batches of a partition that a handle has on their way.
const MAX_FLIGHTS: usize = 3;
/// Most events of a batch, before the drain asks for smaller ones.
pub const BATCH_EVENTS: usize = 16;

/// An event in a handle, or in a log.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    pub seq: u64,
    pub number: u64,
    pub source: u64,
    pub accepted_ms: u64,
}

/// A batch on its way.
#[derive(Debug)]
struct Flight {
    records: Vec<Record>,
    /// Offset of the first record, once the leader has it.
    appended: Option<usize>,
    /// An answer was lost: when it comes again the broker does not say where it is.
    lost: bool,
}

#[derive(Default)]
struct Lane {
    /// The handle has seen the topic: it counts on it, and sends.
    known: bool,
    queue: VecDeque<Record>,
    flights: VecDeque<Flight>,
}

/// A producer handle.
#[derive(Default)]
pub struct Handle {
    pub id: u64,
    lanes: [Lane; PARTITIONS],
    ready: Vec<Report>,
    pub dead: Option<Code>,
    /// It gave up events: its next one would leave a gap.
    pub gave_up: bool,
    pub last_sent: u64,
    deaf: bool,
    /// Sent, and no good report was taken.
    unconfirmed: BTreeSet<u64>,
}

pub struct Kafka {
    pub logs: [Vec<Record>; PARTITIONS],
    /// Seqs whose good report was taken.
    pub confirmed: BTreeSet<u64>,
    /// Seqs that are in a log.
    pub arrived: BTreeSet<u64>,
    /// The handle of each line.
    pub handle: [Option<Handle>; LINES],
    pub handles: u64,
    /// How often a handle that had never seen a topic was refused it.
    pub refused_unsent: u64,
    /// Batches of handles that are gone.
    ghosts: Vec<(usize, Vec<Record>)>,
    pub batch_events: usize,
    pub down_until: Option<Instant>,
    /// Each partition is also a topic of its own, as far as topics go away one by one.
    pub blocked_until: [Option<Instant>; PARTITIONS],
    pub trouble: Option<Code>,
    /// No faults any more.
    pub healthy: bool,
    /// Poison is taken now, too.
    pub lenient: bool,
    topic: Arc<str>,
}

/// What a step of Kafka needs besides Kafka.
pub struct Around<'a> {
    pub book: &'a mut Book,
    pub chance: &'a mut Chance,
    pub trace: &'a mut Trace,
    pub style: &'a Style,
    pub now: Instant,
}

pub fn partition_of(source: u64) -> usize {
    usize::try_from(source).expect("few") % PARTITIONS
}

impl Kafka {
    pub fn new() -> Self {
        Self {
            logs: std::array::from_fn(|_| Vec::new()),
            confirmed: BTreeSet::new(),
            arrived: BTreeSet::new(),
            handle: [None, None],
            handles: 0,
            refused_unsent: 0,
            ghosts: Vec::new(),
            batch_events: BATCH_EVENTS,
            down_until: None,
            blocked_until: [None; PARTITIONS],
            trouble: None,
            healthy: false,
            lenient: false,
            topic: "events".into(),
        }
    }

    pub fn is_down(&self, now: Instant) -> bool {
        self.down_until.is_some_and(|until| now < until)
    }

    pub fn is_blocked(&self, partition: usize, now: Instant) -> bool {
        self.blocked_until[partition].is_some_and(|until| now < until)
    }

    /// One in `n`, while anything may go wrong.
    pub fn fault(&self, chance: &mut Chance, n: u64) -> bool {
        !self.healthy && happens(chance, n)
    }

    pub fn connect(&mut self, line: usize, around: &mut Around<'_>) {
        assert!(self.handle[line].is_none(), "there is a handle already");
        self.handles += 1;
        let deaf = self.fault(around.chance, around.style.deaf);
        around.trace.note("connect", &[self.handles, u64::from(deaf)]);
        self.handle[line] = Some(Handle { id: self.handles, deaf, ..Handle::default() });
    }

    pub fn queue(&mut self, line: usize, record: Record) {
        let handle = self.handle[line].as_mut().expect("a handle");
        handle.last_sent = record.seq;
        let _ = handle.unconfirmed.insert(record.seq);
        handle.lanes[partition_of(record.source)].queue.push_back(record);
    }

    /// Whatever Kafka does until somebody looks for reports.
    pub fn work(&mut self, line: usize, around: &mut Around<'_>) {
        let Some(mut handle) = self.handle[line].take() else { return };
        for partition in 0..PARTITIONS {
            if around.chance.one_in(2) {
                self.lane(&mut handle, partition, around);
            }
        }
        self.handle[line] = Some(handle);
    }

    fn lane(&mut self, handle: &mut Handle, partition: usize, around: &mut Around<'_>) {
        let lane = &mut handle.lanes[partition];
        lane.known |= !self.is_blocked(partition, around.now);
        if !lane.known {
            // Nothing of it is sent; after a while all of it comes back, and the handle lives.
            if !lane.queue.is_empty() && around.chance.one_in(4) {
                self.refused_unsent += 1;
                handle.refuse_queued(partition, Code::UnknownTopic);
            }
            return;
        }
        if handle.dead.is_none() && lane.flights.len() < MAX_FLIGHTS && !lane.queue.is_empty() {
            let count = 1 + around.chance.index(lane.queue.len().min(self.batch_events));
            lane.flights.push_back(Flight { records: lane.queue.drain(..count).collect(), appended: None, lost: false });
        }
        let is_away = handle.deaf || self.is_down(around.now);
        // Of a broker that is about to go, requests arrive and answers do not.
        if is_away && !around.chance.one_in(4) {
            return;
        }
        self.arrive(handle, partition, around);
        if !is_away {
            self.answer(handle, partition, around);
        }
    }

    /// The leader gets the first batch that it does not have.
    fn arrive(&mut self, handle: &mut Handle, partition: usize, around: &mut Around<'_>) {
        let lane = &mut handle.lanes[partition];
        let Some(at) = lane.flights.iter().position(|flight| flight.appended.is_none()) else { return };
        let records = lane.flights[at].records.clone();
        if self.is_blocked(partition, around.now) {
            // What was not sent comes back, and the handle lives; what was sent waits.
            return handle.refuse_queued(partition, Code::UnknownTopic);
        }
        if records.len() > around.style.batch_limit.unwrap_or(usize::MAX) {
            return handle.fail(partition, at, |_| Code::MessageSizeTooLarge, around.trace);
        }
        let is_poison = |record: &Record| !self.lenient && around.book.of(record.number).poison == Some(Poison::Broker);
        if records.iter().any(is_poison) {
            // Since KIP-467 a broker may name the culprits; before it all of the batch come back alike.
            let named = around.chance.one_in(2);
            let code = |record: &Record| if named && !is_poison(record) { Code::InvalidDifferentRecord } else { Code::InvalidRecord };
            return handle.fail(partition, at, code, around.trace);
        }
        if self.fault(around.chance, around.style.fault) {
            let codes = [Code::Unknown, Code::TopicAuthorizationFailed, Code::OutOfOrderSequenceNumber, Code::MessageTimedOut];
            let code = codes[around.chance.index(codes.len())];
            // Half of the time the leader has it, and only the answer says otherwise.
            if around.chance.one_in(2) {
                self.append(partition, &records, handle.id, around);
            }
            return handle.fail(partition, at, |_| code, around.trace);
        }
        let offset = self.append(partition, &records, handle.id, around);
        handle.lanes[partition].flights[at].appended = Some(offset);
    }

    /// The answer to the first batch, or not.
    fn answer(&mut self, handle: &mut Handle, partition: usize, around: &mut Around<'_>) {
        let lost = self.fault(around.chance, around.style.lost_ack);
        let lane = &mut handle.lanes[partition];
        let Some(front) = lane.flights.front_mut().filter(|flight| flight.appended.is_some()) else { return };
        if lost {
            front.lost = true;
            around.trace.note("answer lost", &[front.records[0].seq]);
            return;
        }
        let Some(flight) = lane.flights.pop_front() else { return };
        for (n, record) in flight.records.iter().enumerate() {
            let offset = if flight.lost { -1 } else { flight.appended.map_or(-1, |first| i64::try_from(first + n).expect("few")) };
            let place = Place { topic: Arc::clone(&self.topic), partition: i32::try_from(partition).expect("few"), offset };
            handle.ready.push(Report { seq: Seq(record.seq), result: Ok(place) });
        }
    }

    fn append(&mut self, partition: usize, records: &[Record], handle: u64, around: &mut Around<'_>) -> usize {
        let first = self.logs[partition].len();
        for record in records {
            around.trace.note("append", &[handle, partition as u64, record.seq, record.number]);
            if !self.arrived.insert(record.seq) {
                around.book.repeats += 1;
                assert!(around.book.may_repeat.contains(&record.seq), "G4: seq {} is in Kafka twice, without need", record.seq);
            }
            self.logs[partition].push(*record);
        }
        first
    }

    /// The reports that the drain gets now.
    pub fn reports(&mut self, line: usize, trace: &mut Trace, into: &mut Vec<Report>) {
        let Some(handle) = &mut self.handle[line] else { return };
        for report in handle.ready.drain(..) {
            trace.note(if report.result.is_ok() { "confirmed" } else { "came back" }, &[report.seq.0]);
            if report.result.is_ok() {
                let _ = handle.unconfirmed.remove(&report.seq.0);
                let _ = self.confirmed.insert(report.seq.0);
            }
            into.push(report);
        }
    }

    pub fn purge(&mut self, line: usize, scope: Purge) {
        if let Some(handle) = &mut self.handle[line] {
            handle.give_up(scope);
        }
    }

    /// The handle is gone; what was on its way may still arrive.
    pub fn handle_gone(&mut self, line: usize, around: &mut Around<'_>) {
        let Some(handle) = self.handle[line].take() else { return };
        around.trace.note("handle gone", &[handle.id, handle.unconfirmed.len() as u64]);
        around.book.doubt(handle.unconfirmed.iter().copied());
        for (partition, lane) in handle.lanes.into_iter().enumerate() {
            let late = lane.flights.into_iter().filter(|flight| flight.appended.is_none());
            if !self.healthy && around.chance.one_in(2) {
                self.ghosts.extend(late.map(|flight| (partition, flight.records)));
            }
        }
    }

    /// Batches of handles that are gone arrive, in their order.
    pub fn haunt(&mut self, around: &mut Around<'_>) {
        if self.ghosts.is_empty() || self.is_down(around.now) || !around.chance.one_in(8) {
            return;
        }
        self.arrive_late(around);
    }

    fn arrive_late(&mut self, around: &mut Around<'_>) {
        let (partition, records) = self.ghosts.remove(0);
        let too_many = records.len() > around.style.batch_limit.unwrap_or(usize::MAX);
        let refused = too_many
            || self.is_blocked(partition, around.now)
            || records.iter().any(|record| around.book.of(record.number).poison.is_some());
        if refused {
            // What comes behind it would leave a gap.
            self.ghosts.retain(|(other, _)| *other != partition);
        } else {
            let _ = self.append(partition, &records, 0, around);
        }
    }

    /// Whether anybody could read the logs now; what was on its way has arrived then.
    pub fn settles(&mut self, around: &mut Around<'_>) -> bool {
        if self.is_down(around.now) || (0..PARTITIONS).any(|partition| self.is_blocked(partition, around.now)) {
            return false;
        }
        while !self.ghosts.is_empty() {
            self.arrive_late(around);
        }
        true
    }

    /// The records of some seqs, in the order of each log.
    pub fn records(&self, above: Seq, up_to: Seq) -> Vec<Found> {
        let mut found = Vec::new();
        for (partition, log) in (0..).zip(&self.logs) {
            for (offset, record) in (0..).zip(log).filter(|(_, record)| record.seq > above.0 && record.seq <= up_to.0) {
                let place = Place { topic: Arc::clone(&self.topic), partition, offset };
                let key_print = key_print(format!("s{}", record.source).as_bytes());
                found.push(Found { seq: Seq(record.seq), place, key_print, accepted_ms: Some(record.accepted_ms) });
            }
        }
        found
    }

    pub fn heal(&mut self) {
        self.healthy = true;
        (self.down_until, self.blocked_until, self.trouble) = (None, [None; PARTITIONS], None);
    }

    /// How long an outage is.
    pub fn outage(chance: &mut Chance) -> Duration {
        Duration::from_millis([50, 2_000, 60_000, 600_000][chance.index(4)])
    }
}

impl Handle {
    fn refuse(&mut self, records: &[Record], code: Code) {
        self.ready.extend(records.iter().map(|record| Report { seq: Seq(record.seq), result: Err(code) }));
    }

    /// What was not sent of a partition comes back.
    fn refuse_queued(&mut self, partition: usize, code: Code) {
        let queued: Vec<_> = self.lanes[partition].queue.drain(..).collect();
        self.refuse(&queued, code);
    }

    /// A batch failed for good: it and what is behind it come back, the handle is finished.
    fn fail(&mut self, partition: usize, at: usize, code: impl Fn(&Record) -> Code, trace: &mut Trace) {
        let behind: Vec<_> = self.lanes[partition].flights.drain(at..).collect();
        for (n, flight) in behind.iter().enumerate() {
            trace.note("refused", &[self.id, flight.records[0].seq, flight.records.len() as u64]);
            for record in &flight.records {
                let code = if n == 0 { code(record) } else { Code::PurgeInflight };
                self.refuse(&[*record], code);
            }
        }
        self.dead = Some(Code::GaplessGuarantee);
        self.give_up(Purge::Queued);
    }

    fn give_up(&mut self, scope: Purge) {
        self.gave_up = true;
        for partition in 0..PARTITIONS {
            self.refuse_queued(partition, Code::PurgeQueue);
            if scope == Purge::All {
                let flying: Vec<_> = self.lanes[partition].flights.iter().flat_map(|flight| flight.records.clone()).collect();
                self.refuse(&flying, Code::PurgeInflight);
                self.deaf = true;
            }
        }
    }

    /// What it says when asked to send.
    pub fn refusal(&self) -> Option<Refusal> {
        self.dead.map(|code| Refusal::new(code, "the handle is finished"))
    }
}
