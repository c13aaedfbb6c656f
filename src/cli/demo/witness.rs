//! What was sent, what both consumers saw, and whether anything was wrong about it; pure.
//!
//! Kafka first is judged in two ways:
//! - An event that was posted while Kafka was away and is notified before it is back is proof of a notification without Kafka.
//! - A notification whose event was not read yet makes the auditor ask Kafka at once where its log ends. The event must turn up
//!   before that end: it was in the log when Kafka was asked, not only later.

use super::numbered::{SOURCES, source};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Partitions of the demo's topic.
pub(super) const PARTITIONS: i32 = 3;

/// Where the log of each partition ended: the offset of the next record.
pub(super) type Ends = BTreeMap<i32, i64>;

/// A record in Kafka, and which of the relay's events it says it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// From the header that makes repeats recognisable.
    pub(super) seq: u64,
}

/// How far things are, in events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Answered by the relay: on disk.
    pub(super) sent: u64,
    /// Read from Kafka, each once.
    pub(super) consumed: u64,
    /// Notified through Redis, each once.
    pub(super) notified: u64,
}

/// Something that must not happen: how often it did, and to which event first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) times: u64,
    pub(super) first: Option<u32>,
}

/// What must not happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Faults {
    /// Behind a later event of its source in Kafka.
    pub(super) disorder_in_kafka: Fault,
    /// Behind a later event of its source in Redis, or there twice.
    pub(super) disorder_in_redis: Fault,
    /// Notified before it was in Kafka.
    pub(super) notified_early: Fault,
}

/// Keeps the books. Numbers are below the number of events it was made for.
#[derive(Debug)]
pub(super) struct Witness {
    marks: Vec<Marks>,
    counts: Counts,
    faults: Faults,
    /// Records that Kafka holds more than once.
    repeats: u64,
    kafka_away: bool,
    last_seq: BTreeMap<i32, u64>,
    last_read: [Option<u32>; SOURCES],
    last_notified: [Option<u32>; SOURCES],
    /// Notified, not yet read, and Kafka not yet asked about them.
    open: BTreeSet<u32>,
    /// Notified, not yet read, and where Kafka's log ended then.
    asked: BTreeMap<u32, Arc<Ends>>,
}

#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and there is one of these per event")]
struct Marks {
    posted_while_away: bool,
    sent: bool,
    read: bool,
    notified: bool,
}

impl Fault {
    fn add(&mut self, number: u32) {
        self.times += 1;
        self.first.get_or_insert(number);
    }
}

impl Witness {
    /// Books for events numbered from 0.
    pub(super) fn new(events: u32) -> Self {
        Self {
            marks: vec![Marks::default(); events as usize],
            counts: Counts::default(),
            faults: Faults::default(),
            repeats: 0,
            kafka_away: false,
            last_seq: BTreeMap::new(),
            last_read: [None; SOURCES],
            last_notified: [None; SOURCES],
            open: BTreeSet::new(),
            asked: BTreeMap::new(),
        }
    }

    /// Kafka is gone (told after it went), or comes back (told before it does).
    pub(super) fn set_kafka_away(&mut self, away: bool) {
        self.kafka_away = away;
    }

    /// These are about to be posted.
    pub(super) fn posting(&mut self, numbers: &[u32]) {
        for number in numbers {
            self.marks[*number as usize].posted_while_away = self.kafka_away;
        }
    }

    /// The relay has confirmed these.
    pub(super) fn sent(&mut self, numbers: &[u32]) {
        for number in numbers {
            self.counts.sent += u64::from(!std::mem::replace(&mut self.marks[*number as usize].sent, true));
        }
    }

    /// Whether a record is new, by the rule for consumers: drop what is not above the last seq of its partition.
    pub(super) fn is_new(&mut self, place: Place) -> bool {
        let new = self.last_seq.get(&place.partition).is_none_or(|last| place.seq > *last);
        if new {
            let _before = self.last_seq.insert(place.partition, place.seq);
        } else {
            self.repeats += 1;
        }
        new
    }

    /// An event was read from Kafka, in a record that is new.
    pub(super) fn read(&mut self, number: u32, place: Place) {
        let marks = &mut self.marks[number as usize];
        self.counts.consumed += u64::from(!std::mem::replace(&mut marks.read, true));
        if follows(&mut self.last_read[source(number)], number) {
            self.faults.disorder_in_kafka.add(number);
        }
        self.open.remove(&number);
        if let Some(ends) = self.asked.remove(&number)
            && ends.get(&place.partition).is_none_or(|end| place.offset >= *end)
        {
            self.faults.notified_early.add(number);
        }
    }

    /// A notification was received.
    pub(super) fn notified(&mut self, number: u32) {
        let marks = &mut self.marks[number as usize];
        self.counts.notified += u64::from(!std::mem::replace(&mut marks.notified, true));
        let (read, away) = (marks.read, marks.posted_while_away && self.kafka_away);
        if follows(&mut self.last_notified[source(number)], number) {
            self.faults.disorder_in_redis.add(number);
        }
        if away {
            self.faults.notified_early.add(number);
        } else if !read {
            self.open.insert(number);
        }
    }

    /// The notified events about which Kafka is to be asked now.
    pub(super) fn open_questions(&self) -> Vec<u32> {
        self.open.iter().copied().collect()
    }

    /// Kafka's answer to [`Witness::open_questions`], asked after them.
    pub(super) fn answer(&mut self, numbers: &[u32], ends: Ends) {
        let ends = Arc::new(ends);
        for number in numbers {
            // One that was read meanwhile was there even sooner than Kafka was asked.
            if self.open.remove(number) {
                let _before = self.asked.insert(*number, Arc::clone(&ends));
            }
        }
    }

    /// How far things are.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// What went wrong.
    pub(super) fn faults(&self) -> Faults {
        self.faults
    }

    /// Records that were in Kafka more than once and were dropped.
    pub(super) fn repeats(&self) -> u64 {
        self.repeats
    }

    /// The first event that the relay confirmed and Kafka does not have.
    pub(super) fn first_unread(&self) -> Option<u32> {
        self.first(|marks| marks.sent && !marks.read)
    }

    /// The first event that the relay confirmed and nobody was notified of.
    pub(super) fn first_unnotified(&self) -> Option<u32> {
        self.first(|marks| marks.sent && !marks.notified)
    }

    fn first(&self, is_it: impl Fn(&Marks) -> bool) -> Option<u32> {
        self.marks.iter().position(is_it).and_then(|index| u32::try_from(index).ok())
    }
}

/// Notes the newest of a source; whether it comes too late.
fn follows(last: &mut Option<u32>, number: u32) -> bool {
    let late = last.is_some_and(|last| number <= last);
    *last = (*last).max(Some(number));
    late
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(offset: i64) -> Place {
        Place { partition: 0, offset, seq: offset.unsigned_abs() + 1 }
    }

    const FIRST: Fault = Fault { times: 1, first: Some(0) };

    // Goal: an event on its usual way is counted once in each place, whichever consumer is faster.
    #[test]
    fn the_usual_way() {
        let mut witness = Witness::new(2);
        witness.posting(&[0, 1]);
        witness.sent(&[0, 1]);
        witness.read(0, place(0));
        witness.notified(0);
        witness.notified(1);
        assert_eq!(witness.open_questions(), [1]);
        assert_eq!((witness.first_unread(), witness.first_unnotified()), (Some(1), None));
        witness.answer(&[1], Ends::from([(0, 2)]));
        witness.read(1, place(1));
        assert_eq!(witness.counts(), Counts { sent: 2, consumed: 2, notified: 2 });
        assert_eq!(witness.faults(), Faults::default());
    }

    // Goal: a notification for an event that Kafka cannot have, because it is away, is found.
    #[test]
    fn notified_while_kafka_is_away() {
        let mut witness = Witness::new(9);
        witness.posting(&[8]);
        witness.set_kafka_away(true);
        witness.posting(&[0]);
        witness.notified(8);
        assert_eq!(witness.faults().notified_early, Fault::default(), "it may have been the last one in");
        witness.notified(0);
        assert_eq!(witness.faults().notified_early, FIRST);
    }

    // Goal: a notification that overtook its event on the way to Kafka is found, also while Kafka is there.
    #[test]
    fn notified_before_it_was_in_the_log() {
        let mut witness = Witness::new(1);
        witness.posting(&[0]);
        witness.notified(0);
        witness.answer(&[0], Ends::from([(0, 5), (1, 9)]));
        witness.read(0, place(5));
        assert_eq!(witness.faults().notified_early, FIRST);
    }

    // Goal: repeats in Kafka are recognised by the rule for consumers, per partition.
    #[test]
    fn repeats() {
        let mut witness = Witness::new(1);
        let places = [(0, 5), (0, 5), (0, 4), (1, 4), (0, 6)];
        let new = places.map(|(partition, seq)| witness.is_new(Place { partition, offset: 0, seq }));
        assert_eq!((new, witness.repeats()), ([true, false, false, true, true], 2));
    }

    // Goal: order is judged per source: other sources may be ahead.
    #[test]
    fn order_is_per_source() {
        let mut witness = Witness::new(20);
        for number in [1, 0, 9] {
            witness.read(number, place(0));
            witness.notified(number);
        }
        assert_eq!(witness.faults(), Faults::default());
        witness.read(8, place(0));
        witness.read(16, place(0));
        witness.read(8, place(0));
        assert_eq!(witness.faults().disorder_in_kafka, Fault { times: 1, first: Some(8) });
        witness.notified(9);
        assert_eq!(witness.faults().disorder_in_redis, Fault { times: 1, first: Some(9) }, "twice is wrong, too");
        assert_eq!(witness.counts().notified, 3);
    }
}
