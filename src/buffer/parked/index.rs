//! What is parked, in memory: per topic its files and how far it has come, never the events. Pure.
//!
//! Invariants: the files of a queue are disjoint and in seq order; everything in them up to `frontier`, and what `above` holds, is at its end;
//! a file goes once the cursor on disk knows the ends that were counted when its last event ended (`done_at`).

use super::format::Head;
use super::spans::Spans;
use super::{MAX_TOPICS, ParkedEvent, ParkedTopic};
use crate::lifecycle::Ends;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) name: String,
    pub(super) first: u64,
    pub(super) last: u64,
    /// Events in it that are not at their end.
    pub(super) alive: u64,
    /// Allocated.
    pub(super) bytes: u64,
    /// When its first event was accepted.
    pub(super) oldest_ms: u64,
    pub(super) template: u64,
    /// Up to here its done mark on disk says that all is at its end.
    pub(super) mark: u64,
    /// What the cursor has to know before it may be removed; set when its last event ends.
    pub(super) done_at: Option<Ends>,
    /// Another one each time that it is written.
    pub(super) edition: u64,
    /// Purged events that it still holds, and what the cursor has to know before it is written without them.
    pub(super) cut: Spans,
    pub(super) cut_at: Option<Ends>,
}

/// One topic.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    pub(super) topic: Arc<str>,
    /// Its events are parked; else only files are left that may not be removed yet.
    pub(super) parking: bool,
    pub(super) files: VecDeque<Kept>,
    pub(super) frontier: u64,
    pub(super) above: Spans,
    /// The frontier at one moment, and what the cursor has to know before a mark may say so.
    pub(super) noted: Option<(u64, Ends)>,
    /// Rises when events were put in before others that were there.
    pub(super) generation: u64,
    /// After an unclean stop: the newest event that was parked at opening, until somebody asks.
    pub(super) in_doubt: Option<u64>,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) queues: BTreeMap<u64, Queue>,
    /// `kafka.topic` of today, and what tells it; `None` until somebody says it.
    pub(super) template: Option<(u64, String)>,
    /// Rises when something was parked or released.
    pub(super) version: u64,
    /// The version that the parked line has seen.
    pub(super) seen: u64,
    /// Somebody wants the parked line to look.
    pub(super) woken: bool,
    editions: u64,
    /// A file whose writing failed, until it is as it was. Nothing is parked before.
    pub(super) stray: Option<Arc<Stray>>,
}

/// A file whose writing failed: on disk it may hold events that are not booked as parked, and that the log still has.
#[derive(Debug)]
pub(super) enum Stray {
    /// It was a new one, and is to go.
    New(String),
    /// It was there, and is to hold these.
    Changed { name: String, number: u64, template: u64, head: Head, events: Vec<ParkedEvent> },
}

impl Stray {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::New(name) | Self::Changed { name, .. } => name,
        }
    }
}

/// What tells a template from others.
pub(super) fn template_id(template: &str) -> u64 {
    xxh3_64(template.as_bytes())
}

/// Whether a cursor that knows `known` knows all of `wanted`.
pub(super) fn knows(known: &Ends, wanted: &Ends) -> bool {
    known.acked >= wanted.acked && known.dead_lettered >= wanted.dead_lettered && known.purged >= wanted.purged && known.lost >= wanted.lost
}

impl Queue {
    pub(super) fn new(topic: Arc<str>) -> Self {
        Self {
            topic,
            parking: true,
            files: VecDeque::new(),
            frontier: 0,
            above: Spans::default(),
            noted: None,
            generation: 0,
            in_doubt: None,
        }
    }

    pub(super) fn alive(&self) -> u64 {
        self.files.iter().map(|file| file.alive).sum()
    }

    pub(super) fn last(&self) -> u64 {
        self.files.back().map_or(0, |file| file.last).max(self.frontier)
    }

    pub(super) fn is_ended(&self, seq: u64) -> bool {
        seq <= self.frontier || self.above.contains(seq)
    }

    /// The place of the first file that holds, or comes after, a seq.
    pub(super) fn place_of(&self, seq: u64) -> usize {
        self.files.partition_point(|file| file.last < seq)
    }

    /// Books the end of an event; `false` when it is at its end already, or none of ours.
    pub(super) fn end(&mut self, seq: u64) -> bool {
        if self.is_ended(seq) {
            return false;
        }
        let place = self.place_of(seq);
        let Some(file) = self.files.get_mut(place).filter(|file| file.first <= seq && file.alive > 0) else { return false };
        file.alive -= 1;
        self.above.add(seq, seq);
        true
    }

    /// Everything up to `to` is at its end.
    pub(super) fn advance(&mut self, to: u64) {
        let to = if self.alive() == 0 { to.max(self.last()) } else { to };
        self.frontier = self.frontier.max(to);
        self.above.forget_to(self.frontier);
    }

    /// Notes what the cursor has to know of what is at its end now: `ends`.
    pub(super) fn note(&mut self, ends: &Ends) {
        for file in self.files.iter_mut().filter(|file| file.alive == 0 && file.done_at.is_none()) {
            file.done_at = Some(*ends);
        }
        if self.noted.is_none() {
            self.noted = Some((self.frontier, *ends));
        }
    }

    /// Whether part of its first file is at its end, and no mark on disk says so.
    pub(super) fn is_unmarked(&self) -> bool {
        self.files.front().is_some_and(|file| file.first <= self.frontier && file.mark < self.frontier.min(file.last))
    }

    /// Takes events into account that are in a file now, all of them new: those that lie before the frontier move it back.
    pub(super) fn make_room_for(&mut self, seqs: &[u64]) {
        let Some(&first) = seqs.first() else { return };
        if self.alive() == 0 && first > self.frontier {
            // Nothing lies between.
            self.advance(first - 1);
        }
        if first <= self.frontier {
            let (from, to) = (first, self.frontier);
            self.frontier = first - 1;
            self.above.add(from, to);
            self.noted = None;
        }
        for seq in seqs {
            self.above.take_out(*seq);
        }
    }

    /// Puts a file in its place, instead of one of the same name.
    pub(super) fn put(&mut self, file: Kept) {
        self.files.retain(|other| other.name != file.name);
        let place = self.files.partition_point(|other| other.first < file.first);
        self.files.insert(place, file);
    }
}

impl Index {
    /// The number of a topic's queue, if there is one.
    pub(super) fn find(&self, topic: &str) -> Option<u64> {
        let number = xxh3_64(topic.as_bytes());
        let is_it = |queue: &Queue| &*queue.topic == topic;
        if self.queues.get(&number).is_some_and(is_it) {
            return Some(number);
        }
        self.queues.iter().find(|(_, queue)| is_it(queue)).map(|(number, _)| *number)
    }

    /// The number of a topic's queue, which is made if there is none; `None` when no more topics can be parked.
    pub(super) fn find_or_make(&mut self, topic: &str) -> Option<u64> {
        if let Some(number) = self.find(topic)
            && let Some(queue) = self.queues.get_mut(&number)
            && queue.parking
        {
            return Some(number);
        }
        if self.parking() >= MAX_TOPICS {
            return None;
        }
        let number = self.find(topic).unwrap_or_else(|| self.free_number(topic));
        self.queues.entry(number).or_insert_with(|| Queue::new(Arc::from(topic))).parking = true;
        self.version += 1;
        Some(number)
    }

    /// A topic goes on being parked: nothing of it was booked while its file was written, so the line may have released it.
    pub(super) fn park_on(&mut self, number: u64) {
        if let Some(queue) = self.queues.get_mut(&number) {
            queue.parking = true;
        }
        self.version += 1;
    }

    /// Two topics may have one hash: the second gets the next number.
    fn free_number(&self, topic: &str) -> u64 {
        let mut number = xxh3_64(topic.as_bytes());
        while self.queues.contains_key(&number) {
            number = number.wrapping_add(1);
        }
        number
    }

    /// How many topics are parked.
    pub(super) fn parking(&self) -> usize {
        self.queues.values().filter(|queue| queue.parking).count()
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &Kept> {
        self.queues.values().flat_map(|queue| &queue.files)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.files().map(|file| file.bytes).sum()
    }

    pub(super) fn next_edition(&mut self) -> u64 {
        self.editions += 1;
        self.editions
    }

    /// Forgets queues of which nothing is left.
    pub(super) fn tidy(&mut self) {
        self.queues.retain(|_, queue| queue.parking || !queue.files.is_empty());
    }

    /// What is parked of each topic.
    pub(super) fn topics(&self) -> Vec<ParkedTopic> {
        let shown = self.queues.values().filter(|queue| queue.parking || queue.alive() > 0);
        shown
            .map(|queue| ParkedTopic {
                topic: queue.topic.to_string(),
                events: queue.alive(),
                bytes: queue.files.iter().map(|file| file.bytes).sum(),
                oldest_ms: queue.files.iter().find(|file| file.alive > 0).map(|file| file.oldest_ms),
            })
            .collect()
    }
}
