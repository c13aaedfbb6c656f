//! The read side of what is parked: one topic at a time, in seq order, from its files.
//!
//! Owned by one thread, beside the main drain that parks. One file is in memory at a time. What does not verify never comes out: its file goes to
//! quarantine, its events are reported lost, and the line goes on behind it.

use super::super::dead_letters::{DeadLetter, DeadLetterError};
use super::super::error::ReadError;
use super::super::reader::Leased;
use super::super::shared::{Shared, lock};
use super::super::watermark::MAX_SPAN;
use super::files::{self, Unread};
use super::format::Content;
use super::index::{Index, Kept, Queue};
use crate::event::{Place, Seq};
use crate::lifecycle::Ends;
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// The read side of the parked events, owned by one thread. Blocking; no other one exists.
#[derive(Debug)]
pub struct ParkedLine {
    shared: Arc<Shared>,
    /// The queue that it is turned to.
    queue: Option<u64>,
    /// The queue's, when `position` was right.
    generation: u64,
    /// Everything up to here was handed out, or is at its end.
    position: u64,
    /// Handed out and not at their end.
    out: BTreeSet<u64>,
    loaded: Option<Loaded>,
    unclean: bool,
}

/// A file in memory.
#[derive(Debug)]
struct Loaded {
    edition: u64,
    content: Content,
    /// Where each record ends.
    ends: Vec<usize>,
}

/// Ends a [`ParkedLine::wait`] early; clones share it.
#[derive(Clone, Debug)]
pub struct ParkedWaker {
    shared: Arc<Shared>,
}

impl ParkedWaker {
    /// Wakes the line, now or at its next wait.
    pub fn wake(&self) {
        lock(&self.shared.parked.index).woken = true;
        self.shared.parked.changed.notify_all();
    }
}

/// What comes next.
enum Step {
    Nothing,
    File(Kept),
}

impl ParkedLine {
    pub(in crate::buffer) fn new(shared: Arc<Shared>, unclean: bool) -> Self {
        Self { shared, queue: None, generation: 0, position: 0, out: BTreeSet::new(), loaded: None, unclean }
    }

    /// A handle that ends [`ParkedLine::wait`] early.
    pub fn waker(&self) -> ParkedWaker {
        ParkedWaker { shared: Arc::clone(&self.shared) }
    }

    /// The parked topics, in an order that stays; those for which nothing is kept (any more) included.
    pub fn topics(&self) -> Vec<Arc<str>> {
        let mut index = lock(&self.shared.parked.index);
        index.seen = index.version;
        index.queues.values().filter(|queue| queue.parking).map(|queue| Arc::clone(&queue.topic)).collect()
    }

    /// Goes on with this topic, from the first event that is not at its end.
    pub fn turn_to(&mut self, topic: &str) {
        self.queue = lock(&self.shared.parked.index).find(topic);
        self.loaded = None;
        self.rewind();
    }

    /// Goes back to the first event of the topic that is not at its end.
    pub fn rewind(&mut self) {
        self.out.clear();
        (self.position, self.generation) = self.with_queue(|queue| (queue.frontier, queue.generation)).unwrap_or_default();
    }

    fn with_queue<T>(&self, look: impl FnOnce(&mut Queue) -> T) -> Option<T> {
        lock(&self.shared.parked.index).queues.get_mut(&self.queue?).map(look)
    }

    /// The next events of the topic: of one request, and without a gap between their seqs. `None` when all were handed out.
    ///
    /// # Errors
    /// When the disk does not give a file; trying again later is right.
    pub fn next_frame(&mut self) -> Result<Option<Leased>, ReadError> {
        loop {
            let file = match self.step() {
                Step::Nothing => {
                    // What was purged in front of it is passed.
                    self.pass();
                    return Ok(None);
                }
                Step::File(file) => file,
            };
            if self.loaded.as_ref().is_none_or(|loaded| loaded.edition != file.edition) && !self.load(&file)? {
                continue;
            }
            if let Some(frame) = self.take(&file) {
                return Ok(Some(frame));
            }
            self.position = self.position.max(file.last);
        }
    }

    fn step(&mut self) -> Step {
        let (generation, position, is_idle) = (self.generation, self.position, self.out.is_empty());
        let found = self.with_queue(|queue| {
            let moved = queue.generation != generation;
            // Events were put in before others: they come when what is on its way has come to an end.
            let position = if moved && is_idle { queue.frontier } else { position.max(queue.frontier) };
            let next = queue.files.iter().find(|file| file.last > position && file.alive > 0).cloned();
            (moved, queue.generation, position, next)
        });
        let Some((moved, generation, position, next)) = found else { return Step::Nothing };
        if (moved && !is_idle) || self.out.len() >= MAX_SPAN {
            return Step::Nothing;
        }
        (self.generation, self.position) = (generation, position);
        next.map_or(Step::Nothing, Step::File)
    }

    /// Reads a file; `false` when it does not verify, and was set aside.
    fn load(&mut self, file: &Kept) -> Result<bool, ReadError> {
        self.loaded = None;
        let path = self.shared.storage.dir().join(&file.name);
        let io = |source| ReadError::Io { path: path.clone(), source };
        self.shared.parked.mend_before_reading(&file.name).map_err(|error| io(std::io::Error::other(error)))?;
        if !self.is_current(file) {
            return Ok(false);
        }
        let what = match files::read(&*self.shared.storage, &file.name, &self.shared.keyring) {
            Ok(content) => {
                let is_its = self.with_queue(|queue| *queue.topic == *content.head.topic).unwrap_or(false);
                if is_its {
                    let ends = content.entries.iter().scan(0, |at, entry| {
                        *at += entry.len;
                        Some(*at)
                    });
                    self.loaded = Some(Loaded { edition: file.edition, ends: ends.collect(), content });
                    return Ok(true);
                }
                "it is of another topic"
            }
            // Removed or written anew in between.
            Err(Unread::Io(error)) if error.kind() == std::io::ErrorKind::NotFound && !self.is_current(file) => return Ok(false),
            Err(Unread::Io(error)) => return Err(io(error)),
            // Opening has seen to it; a missing key is never a reason to lose what it locks.
            Err(Unread::Locked(_)) => return Err(io(std::io::Error::other("the key to it is not there"))),
            Err(Unread::Damaged(what)) => what,
        };
        if self.is_current(file) {
            self.lose(file, what).map_err(|unread| match unread {
                Unread::Io(error) => io(error),
                Unread::Damaged(what) => io(std::io::Error::other(what)),
                Unread::Locked(_) => io(std::io::Error::other("the key to it is not there")),
            })?;
        }
        Ok(false)
    }

    fn is_current(&self, file: &Kept) -> bool {
        self.with_queue(|queue| queue.files.iter().any(|other| other.name == file.name && other.edition == file.edition)).unwrap_or(false)
    }

    /// A file does not verify: its events are lost, and said to be.
    fn lose(&mut self, file: &Kept, what: &str) -> Result<(), Unread> {
        let Some(number) = self.queue else { return Ok(()) };
        let shared = Arc::clone(&self.shared);
        // Where the table verifies, it tells which they were.
        let seqs: Vec<u64> = files::read_front(&*shared.storage, &file.name)
            .map(|front| front.unmarked().map(|entry| entry.seq).filter(|seq| !self.is_acked(Seq(*seq))).collect())
            .unwrap_or_default();
        let given_up = shared.parked.give_up(number, &file.name, &mut |events| {
            let mut marks = lock(&shared.marks);
            marks.end_parked(events, |ends| &mut ends.lost)
        })?;
        let Some(given_up) = given_up else { return Ok(()) };
        let topic = self.with_queue(|queue| Arc::clone(&queue.topic)).unwrap_or_else(|| Arc::from(""));
        let (events, from, to) = (given_up.alive, given_up.first, given_up.last);
        tracing::error!(file = file.name, what, %topic, events, from, to, "parked events are damaged: set aside, and lost");
        shared.meters.quarantined.add(1);
        shared.told_lost(&runs(&seqs));
        self.pass();
        shared.after_end(events);
        Ok(())
    }

    /// The next run of the file that is in memory.
    fn take(&mut self, file: &Kept) -> Option<Leased> {
        let loaded = self.loaded.as_ref()?;
        let entries = &loaded.content.entries;
        let index = lock(&self.shared.parked.index);
        let queue = index.queues.get(&self.queue?)?;
        let waits = |seq: u64| seq > self.position && seq <= file.last && !queue.is_ended(seq);
        let behind = entries.partition_point(|entry| entry.seq <= self.position);
        let from = behind + entries[behind..].iter().position(|entry| waits(entry.seq))?;
        let first = entries[from];
        let goes_on = |(n, entry): &(u64, &super::format::Entry)| {
            entry.seq == first.seq + n && entry.accepted_ms == first.accepted_ms && waits(entry.seq)
        };
        let count = (0..).zip(&entries[from..]).take_while(goes_on).count();
        drop(index);
        let start = loaded.ends[from] - first.len;
        let payload = loaded.content.records.slice(start..loaded.ends[from + count - 1]);
        let last = first.seq + count as u64 - 1;
        self.out.extend(first.seq..=last);
        self.position = last;
        // A file holds far fewer than 4 billion events.
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        Some(Leased { first_seq: Seq(first.seq), count, accepted_ms: first.accepted_ms, payload })
    }

    /// Whether an event of the topic is at its end already.
    pub fn is_acked(&self, seq: Seq) -> bool {
        self.with_queue(|queue| queue.is_ended(seq.0)).unwrap_or(true)
    }

    /// Books events of the topic as delivered, in any order; returns how many were not at their end before.
    pub fn ack(&mut self, seqs: &[Seq]) -> usize {
        self.end(seqs, |ends| &mut ends.acked)
    }

    fn end(&mut self, seqs: &[Seq], part: fn(&mut Ends) -> &mut u64) -> usize {
        let shared = Arc::clone(&self.shared);
        let mut index = lock(&shared.parked.index);
        let Some(queue) = self.queue.and_then(|number| index.queues.get_mut(&number)) else { return 0 };
        let before = queue.frontier;
        let fresh = seqs.iter().filter(|seq| queue.end(seq.0)).count();
        for seq in seqs {
            let _ = self.out.remove(&seq.0);
        }
        self.advance(queue);
        let ends = lock(&shared.marks).end_parked(fresh as u64, part);
        if fresh > 0 || queue.frontier > before {
            queue.note(&ends);
        }
        drop(index);
        shared.after_end(fresh as u64);
        fresh
    }

    /// Moves the frontier without a new end.
    fn pass(&mut self) {
        let _ = self.end(&[], |ends| &mut ends.acked);
    }

    /// Moves the frontier to just before the first event that waits, as far as it is known which that is.
    fn advance(&mut self, queue: &mut Queue) {
        while self.out.first().is_some_and(|seq| queue.is_ended(*seq)) {
            let _ = self.out.pop_first();
        }
        if queue.generation != self.generation {
            return;
        }
        let next = self.out.first().copied().or_else(|| {
            let loaded = self.loaded.iter().flat_map(|loaded| &loaded.content.entries).map(|entry| entry.seq);
            let in_file = loaded.filter(|seq| *seq > self.position && !queue.is_ended(*seq)).min();
            let edition = self.loaded.as_ref().map(|loaded| loaded.edition);
            let file = queue.files.iter().find(|file| file.alive > 0 && file.last > self.position)?;
            in_file.filter(|_| edition == Some(file.edition)).or(Some(file.first.max(self.position + 1)))
        });
        queue.advance(next.map_or(self.position, |next| next - 1));
    }

    /// Gives an event of the topic up as one that Kafka will never take: keeps it as a dead letter, then books its end. Its done mark follows behind the
    /// cursor: until then the letter itself says that the event ended.
    ///
    /// # Errors
    /// [`DeadLetterError`]; the event is still waiting then.
    pub fn dead_letter(&mut self, letter: &DeadLetter) -> Result<(), DeadLetterError> {
        let shared = Arc::clone(&self.shared);
        shared.add_dead_letter(letter)?;
        let _ = self.end(&[Seq(letter.seq)], |ends| &mut ends.dead_lettered);
        shared.acks.dead(Seq(letter.seq), letter.cause.reason.as_str(), letter.cause.dead_ms);
        Ok(())
    }

    /// Everything of the topic up to here is at its end.
    pub fn acked(&self) -> Seq {
        Seq(self.with_queue(|queue| queue.frontier).unwrap_or(0))
    }

    /// The newest event of the topic.
    pub fn durable(&self) -> Seq {
        Seq(self.with_queue(|queue| queue.last()).unwrap_or(0))
    }

    /// Blocks until there is something to hand out, or as [`ParkedLine::wait_for_topics`].
    pub fn wait(&self, timeout: Duration) {
        self.wait_while(timeout, |index| {
            let queue = self.queue.and_then(|number| index.queues.get(&number));
            queue.is_none_or(|queue| !queue.files.iter().any(|file| file.alive > 0 && file.last > self.position.max(queue.frontier)))
        });
    }

    /// Blocks until something was parked or released since [`ParkedLine::topics`] was asked, the timeout passes, or [`ParkedWaker::wake`] is called: for
    /// a line that is at no topic's turn, and must not be kept awake by what is left of the last one's.
    pub fn wait_for_topics(&self, timeout: Duration) {
        self.wait_while(timeout, |_| true);
    }

    fn wait_while(&self, timeout: Duration, nothing_there: impl Fn(&Index) -> bool) {
        let parked = &self.shared.parked;
        let index = lock(&parked.index);
        let nothing = |index: &mut Index| nothing_there(index) && !index.woken && index.version == index.seen;
        let (mut index, _) = parked.changed.wait_timeout_while(index, timeout, nothing).unwrap_or_else(PoisonError::into_inner);
        index.woken = false;
        index.seen = index.version;
    }

    /// After an unclean stop, once per topic: the newest of its events that were parked before it.
    pub fn in_doubt(&mut self) -> Option<Seq> {
        self.with_queue(|queue| queue.in_doubt.take()).flatten().map(Seq)
    }

    /// Whether the life before this one ended in good order, or there was none.
    pub fn stopped_clean(&self) -> bool {
        !self.unclean
    }

    /// Kafka may have events of which no report said so: this life ends unclean.
    pub fn leave_in_doubt(&mut self) {
        lock(&self.shared.marks).in_doubt = true;
    }

    /// The newest place of each partition that is known.
    pub fn places(&self) -> Vec<Place> {
        lock(&self.shared.marks).places()
    }

    /// Remembers the newest acked place of a partition, for the checkpoint.
    pub fn mark_partition(&mut self, topic: &Arc<str>, partition: i32, seq: Seq, offset: i64) {
        lock(&self.shared.marks).mark_partition(topic, partition, seq, offset);
    }

    /// Ends the parking of the topic, if everything parked of it is at its end: `true`, and its events are sent again as they come.
    pub fn release(&mut self) -> bool {
        let parked = &self.shared.parked;
        let mut index = lock(&parked.index);
        // A file that was written and not booked belongs to events that the log still has: they are parked again first.
        let no_strays = index.stray.is_none();
        let Some(queue) = self.queue.and_then(|number| index.queues.get_mut(&number)) else { return false };
        let released = queue.parking && queue.alive() == 0 && no_strays;
        if released {
            queue.parking = false;
            index.version += 1;
            parked.tell(&index);
        }
        released
    }

    /// What the keeper does with each cursor; `false` when the disk did not let it.
    #[cfg(test)]
    pub(in crate::buffer) fn keep_books(&mut self) -> bool {
        self.shared.keep_parked()
    }
}

/// Ascending seqs as inclusive ranges.
pub(in crate::buffer) fn runs(seqs: &[u64]) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for seq in seqs {
        match runs.last_mut() {
            Some((_, to)) if *to + 1 == *seq => *to = *seq,
            _ => runs.push((*seq, *seq)),
        }
    }
    runs
}
