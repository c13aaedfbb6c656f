//! Everything of a run that is not the drain, and the turns that it takes while the drain waits.

use super::book::Book;
use super::kafka::{Around, Kafka, LINES, PARTITIONS};
use super::relay::Relay;
use super::style::{Looks, Style, happens};
use super::trace::Trace;
use crate::chance::Chance;
use dualstream::buffer::purge::Selection;
use dualstream::drain::DrainStop;
use rdkafka::error::RDKafkaErrorCode as Code;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Waits of the drain in one run: more means that it does not end.
const MAX_TURNS: u64 = 400_000;

pub type Shared = Arc<Mutex<World>>;

pub struct World {
    pub chance: Chance,
    pub trace: Trace,
    pub style: Style,
    pub now: Instant,
    pub began: Instant,
    pub kafka: Kafka,
    pub book: Book,
    pub relay: Option<Relay>,
    pub stop: DrainStop,
    /// Nothing is sent from then on, and everything is over then.
    pub stop_sending: Option<Instant>,
    pub stop_deadline: Option<Instant>,
    pub acts_left: u64,
    pub is_last_life: bool,
    pub crashes: u64,
    /// Looks into Kafka that told all that there was.
    pub looks: u64,
    /// Events that were parked.
    pub parked: u64,
    /// The next look of a line is for what an earlier life left in doubt: Redis may have been told of it.
    pub looks_back: [bool; LINES],
    turns: u64,
}

/// A crash unwinds through whoever was at work: what they held is dropped with them.
pub fn look(world: &Shared) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub fn new(style: Style, chance: Chance, trace: Trace, now: Instant) -> Self {
        Self {
            chance,
            trace,
            style,
            now,
            began: now,
            kafka: Kafka::new(),
            book: Book::new(style.looks.is_some()),
            relay: None,
            stop: DrainStop::default(),
            stop_sending: None,
            stop_deadline: None,
            acts_left: 0,
            is_last_life: false,
            crashes: 0,
            looks: 0,
            parked: 0,
            looks_back: [false; LINES],
            turns: 0,
        }
    }

    /// Kafka, and what it needs to take a step.
    pub fn kafka(&mut self) -> (&mut Kafka, Around<'_>) {
        let Self { kafka, book, chance, trace, style, now, .. } = self;
        (kafka, Around { book, chance, trace, style, now: *now })
    }

    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.now.duration_since(self.began).as_millis()).expect("no such time")
    }

    /// Whether a look into Kafka goes wrong now.
    pub fn is_blind(&mut self) -> bool {
        self.style.looks == Some(Looks::Fail) && !self.kafka.healthy && self.chance.one_in(3)
    }

    /// The drain waits: time passes, and others take their turns.
    pub fn pass(&mut self, time: Duration) {
        self.turns += 1;
        assert!(self.turns < MAX_TURNS, "the run does not end");
        // Nobody is woken exactly on time.
        let late = if self.chance.one_in(16) { Duration::from_millis(self.chance.below(3_000)) } else { Duration::ZERO };
        let passed = time + late;
        self.now += passed;
        let Some(mut relay) = self.relay.take() else { return };
        relay.disk.advance(u64::try_from(passed.as_millis()).expect("no such time"));
        for _ in 0..self.chance.below(3) {
            self.act(&mut relay);
        }
        let (kafka, mut around) = self.kafka();
        kafka.haunt(&mut around);
        relay.check_receipts(&self.kafka);
        let ledger = relay.gauges.snapshot().ledger;
        assert_eq!(ledger.conservation_error(), 0, "G9: {ledger:?}");
        assert_eq!(ledger.ends.lost, 0, "G2: nothing rots here, and events are reported lost: {ledger:?}");
        self.relay = Some(relay);
    }

    /// Something happens beside the drain.
    fn act(&mut self, relay: &mut Relay) {
        if self.stop_sending.is_some() {
            return self.act_while_stopping(relay);
        }
        let Self { chance, trace, style, book, kafka, .. } = self;
        match chance.below(32) {
            0..=8 => {
                trace.note("post", &[book.posted.len() as u64]);
                relay.post(book, style, chance);
            }
            9..=15 => self.commit(relay, false),
            16 => self.commit(relay, true),
            17..=20 => self.keep(relay),
            21 if chance.one_in(4) => relay.hang_up(),
            22 | 23 if style.operator => self.operate(relay),
            24 if happens(chance, style.outage) => kafka.down_until = Some(self.now + Kafka::outage(chance)),
            25 if !style.parks && happens(chance, style.outage) => {
                kafka.blocked_until = [Some(self.now + Kafka::outage(chance)); PARTITIONS];
            }
            25 | 27..=29 if style.parks && happens(chance, style.outage) => {
                kafka.blocked_until[chance.index(PARTITIONS)] = Some(self.now + Kafka::outage(chance));
            }
            26 if happens(chance, style.outage) => {
                let troubles = [Code::AllBrokersDown, Code::Authentication, Code::Resolve];
                kafka.trouble = Some(troubles[chance.index(troubles.len())]);
            }
            _ => {}
        }
        self.acts_left = self.acts_left.saturating_sub(1);
        if self.acts_left == 0 {
            self.stop_relay(relay);
        }
    }

    fn act_while_stopping(&mut self, relay: &mut Relay) {
        match self.chance.below(4) {
            0 => self.keep(relay),
            1 if self.style.poison > 0 => self.operate(relay),
            _ => {}
        }
    }

    fn commit(&mut self, relay: &mut Relay, quiet: bool) {
        relay.commit(&mut self.book, quiet);
        self.trace.note("commit", &[relay.disk.number(), relay.gauges.snapshot().durable_seq]);
    }

    fn keep(&mut self, relay: &mut Relay) {
        relay.keep(&mut self.book);
        self.trace.note("keep", &[relay.disk.number(), relay.gauges.snapshot().acked_seq]);
    }

    /// An operator does something.
    fn operate(&mut self, relay: &mut Relay) {
        let usage = relay.letters.usage();
        let stopping = self.stop_sending.is_some();
        match self.chance.below(8) {
            0 | 1 if !stopping => {
                let paused = self.stop.paused();
                let _ = if paused { self.stop.resume() } else { self.stop.pause() };
                self.trace.note("pause or resume", &[u64::from(paused)]);
            }
            2 if !stopping => self.purge_events(relay),
            // Full letters stop the line until somebody acts.
            3..=5 if usage.bytes * 4 >= usage.max_bytes * 3 || (usage.count > 0 && self.chance.one_in(20)) => self.purge_letters(relay),
            6 if !stopping && usage.count > 0 => {
                // The topic's rules were relaxed, or so somebody thinks.
                self.kafka.lenient = self.chance.one_in(3);
                self.trace.note("retry", &[usage.count, u64::from(self.kafka.lenient)]);
                relay.retry(&mut self.book);
            }
            7 => self.kafka.lenient = false,
            _ => {}
        }
    }

    fn purge_events(&mut self, relay: &mut Relay) {
        let snapshot = relay.gauges.snapshot();
        // What is parked is behind the frontier.
        let parked = self.style.parks && self.chance.one_in(2);
        let from_seq = 1 + if parked { self.chance.below(snapshot.durable_seq + 1) } else { snapshot.acked_seq + self.chance.below(20) };
        let to_seq = from_seq + self.chance.below(6);
        let selection = Selection { from_seq, to_seq: Some(to_seq), ..Selection::default() };
        let waiting: Vec<u64> = (from_seq..=to_seq.min(snapshot.durable_seq)).filter(|seq| !self.book.is_ended(*seq)).collect();
        self.book.purge_asked.extend(&waiting);
        let (purged, _) = relay.purger.begin(&selection).unwrap_or_else(|error| panic!("a purge fails: {error:?}"));
        self.keep(relay);
        for turn in 0.. {
            assert!(turn < 10, "a purge of parked events does not end");
            if relay.purger.finish() {
                break;
            }
            self.keep(relay);
        }
        self.trace.note("purge", &[from_seq, to_seq, purged.events]);
        self.book.purged.extend(waiting);
    }

    fn purge_letters(&mut self, relay: &mut Relay) {
        self.keep(relay);
        let newest = self.book.dead.keys().nth_back(self.chance.index(4)).copied().unwrap_or(0);
        let selection = Selection { to_seq: Some(newest), ..Selection::default() };
        self.book.letters_purged.extend(self.book.dead.range(..=newest).map(|(_, number)| *number));
        let purged = relay.letters.purge(&selection, false).unwrap_or_else(|error| panic!("a purge of letters fails: {error:?}"));
        self.trace.note("purge letters", &[newest, purged.events]);
    }

    /// The relay is told to stop, in order; the last time there is time for all of it, and Kafka is well.
    fn stop_relay(&mut self, relay: &mut Relay) {
        let seconds = if self.is_last_life { 365 * 86_400 } else { [13, 60, 3_600][self.chance.index(3)] };
        if self.is_last_life {
            self.kafka.heal();
            let _ = self.stop.resume();
        }
        relay.close_appends(&mut self.book);
        self.trace.note("stop", &[seconds, relay.gauges.backlog()]);
        let deadline = self.now + Duration::from_secs(seconds);
        // As the drain will understand it.
        self.stop_sending = deadline.checked_sub(Duration::from_secs(3));
        self.stop_deadline = Some(deadline);
        self.stop.finish(deadline);
    }
}
