//! Which of the newest events are known, by the hash of their id. Pure.
//!
//! A ring by seq, and an index into it by id. An event is in it from its admission on, so that a repeat is seen however early it comes;
//! until it is durable, whoever repeats it waits. What is refused after its admission is taken out again. The oldest count no more when
//! `limit` newer ones are durable, and leave at the next admission.
//!
//! Memory: 24 bytes an event in the ring and about 7 in the index; events on their way to the disk come on top, and are smaller here than
//! there.

use crate::event::{Fingerprint, Seq};
use hashbrown::HashTable;
use std::collections::VecDeque;
use tokio::sync::oneshot;

/// What is kept of an event; the id is 0 when nothing is known of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    id: [u64; 2],
    pub(crate) body: u64,
}

impl Entry {
    /// The hash of its id.
    pub(crate) fn id(self) -> u128 {
        u128::from(self.id[1]) << 64 | u128::from(self.id[0])
    }

    pub(crate) fn new(id: u128, body: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
        let halves = [id as u64, (id >> 64) as u64];
        Self { id: halves, body }
    }

    pub(crate) fn is_known(self) -> bool {
        self.id != [0, 0]
    }
}

impl From<Fingerprint> for Entry {
    fn from(Fingerprint { id, body }: Fingerprint) -> Self {
        Self::new(id, body)
    }
}

/// An event of a request that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Its position in the request.
    pub(crate) position: usize,
    pub(crate) original: Original,
    /// Whether it is the same event again; else another one with its id.
    pub(crate) same_body: bool,
    /// How often events had been refused by then: after the next time, seqs are given again.
    refusals: u64,
}

impl Seen {
    /// An event that is the same as its first one.
    #[cfg(test)]
    pub(crate) fn repeat(position: usize, original: Original) -> Self {
        Self { position, original, same_body: true, refusals: 0 }
    }
}

/// The first event with an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Original {
    /// Accepted before.
    Before(Seq),
    /// In the same request, at this position.
    Here(usize),
}

/// The events that are known.
#[derive(Debug)]
pub(crate) struct Window {
    /// So many durable ones are remembered; 0: none at all, and everything here does nothing.
    limit: u64,
    /// Seq of the first entry.
    first: u64,
    entries: VecDeque<Entry>,
    /// The low half of the seq of each known id.
    index: HashTable<u32>,
    durable: u64,
    /// Told whether an event became durable.
    waiting: Vec<(u64, oneshot::Sender<bool>)>,
    refusals: u64,
    /// From here on the journal says more than is known by now; `u64::MAX`: nowhere.
    outdated_from: u64,
}

/// Whether known events are durable.
#[derive(Debug)]
pub(crate) enum Durable {
    Yes,
    /// They were refused.
    No,
    /// Will be told.
    NotYet(oneshot::Receiver<bool>),
}

/// Those who wait, and what to tell them.
#[must_use]
#[derive(Debug)]
pub(crate) struct Decided {
    waiting: Vec<oneshot::Sender<bool>>,
    durable: bool,
}

impl Decided {
    /// Tells them.
    pub(crate) fn tell(self) {
        for waiting in self.waiting {
            // One that hung up has nothing to learn.
            let _hung_up = waiting.send(self.durable).is_err();
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low half of a seq tells it apart from all others in the ring")]
fn low(seq: u64) -> u32 {
    seq as u32
}

impl Window {
    /// A window of `limit` events whose newest are `entries`, up to the durable one.
    pub(crate) fn new(limit: u64, entries: VecDeque<Entry>, durable: u64) -> Self {
        let first = durable + 1 - entries.len() as u64;
        let mut window = Self {
            limit,
            first,
            entries: VecDeque::new(),
            index: HashTable::new(),
            durable,
            waiting: Vec::new(),
            refusals: 0,
            outdated_from: u64::MAX,
        };
        for entry in entries {
            // The newest of an id counts: it stays longest.
            let seq = window.next_seq();
            window.forget_id(entry.id());
            window.entries.push_back(entry);
            window.insert(seq, entry);
        }
        window
    }

    /// One that knows nothing, ever.
    pub(crate) fn off() -> Self {
        Self::new(0, VecDeque::new(), 0)
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    pub(crate) fn durable(&self) -> u64 {
        self.durable
    }

    /// The oldest durable event that is remembered.
    pub(crate) fn oldest(&self) -> u64 {
        self.first.max((self.durable + 1).saturating_sub(self.limit))
    }

    /// Takes a request in, whose first event gets `first_seq`; or nothing of it, when it holds something that was seen.
    pub(crate) fn claim(&mut self, request: &[Fingerprint], first_seq: u64) -> Result<(), Vec<Seen>> {
        if self.limit == 0 {
            return Ok(());
        }
        self.evict();
        if self.entries.is_empty() {
            self.first = first_seq;
        }
        debug_assert_eq!(self.next_seq(), first_seq, "events are admitted in seq order");
        let mut seen = Vec::new();
        for (position, fingerprint) in request.iter().enumerate() {
            let entry = Entry::from(*fingerprint);
            let seq = self.next_seq();
            self.entries.push_back(entry);
            match self.seq_of(fingerprint.id) {
                None => self.insert(seq, entry),
                Some(known) => seen.push(self.seen(position, *fingerprint, known, first_seq)),
            }
        }
        if seen.is_empty() {
            return Ok(());
        }
        self.take_back(first_seq);
        Err(seen)
    }

    /// Those events of a request that were accepted before.
    pub(crate) fn look(&self, request: &[Fingerprint]) -> Vec<Seen> {
        let known = request.iter().enumerate().filter_map(|(position, fingerprint)| {
            let seq = self.find(fingerprint.id)?.0;
            Some(self.seen(position, *fingerprint, seq, u64::MAX))
        });
        known.collect()
    }

    /// The event with this id.
    pub(crate) fn find(&self, id: u128) -> Option<Seq> {
        self.seq_of(id).filter(|seq| *seq >= self.oldest()).map(Seq)
    }

    /// Whether the first ones of these events are durable; those in the same request do not count.
    pub(crate) fn durable_all(&mut self, seen: &[Seen]) -> Durable {
        if seen.iter().any(|seen| seen.refusals != self.refusals) {
            return Durable::No;
        }
        let before = |seen: &Seen| if let Original::Before(seq) = seen.original { Some(seq.0) } else { None };
        let Some(last) = seen.iter().filter_map(before).max().filter(|last| *last > self.durable) else { return Durable::Yes };
        // Those who hung up.
        self.waiting.retain(|(_, waiting)| !waiting.is_closed());
        let (decided, decision) = oneshot::channel();
        self.waiting.push((last, decided));
        Durable::NotYet(decision)
    }

    /// Everything up to `durable` is; gives back whom to tell.
    pub(crate) fn synced(&mut self, durable: u64) -> Decided {
        self.durable = durable;
        let decided = self.waiting.extract_if(.., |(seq, _)| *seq <= durable);
        Decided { waiting: decided.map(|(_, waiting)| waiting).collect(), durable: true }
    }

    /// Everything that is not durable was refused; gives back whom to tell.
    pub(crate) fn refused(&mut self) -> Decided {
        self.take_back(self.durable + 1);
        self.refusals += 1;
        self.failed()
    }

    /// Nothing becomes durable any more; gives back whom to tell.
    pub(crate) fn failed(&mut self) -> Decided {
        Decided { waiting: self.waiting.drain(..).map(|(_, waiting)| waiting).collect(), durable: false }
    }

    /// These events are lost: a repeat of one is no repeat.
    pub(crate) fn forget(&mut self, from: u64, to: u64) {
        self.outdated_from = self.outdated_from.min(from.max(self.first));
        for seq in from.max(self.first)..(to + 1).min(self.next_seq()) {
            let Some(slot) = self.slot(seq) else { return };
            let entry = std::mem::take(&mut self.entries[slot]);
            self.remove(entry, low(seq));
        }
    }

    /// From where on the journal is outdated; it will be written anew.
    pub(crate) fn take_outdated(&mut self) -> u64 {
        std::mem::replace(&mut self.outdated_from, u64::MAX)
    }

    /// Whether the journal, which has everything up to `covered`, is to be written.
    pub(crate) fn outgrew(&self, covered: u64) -> bool {
        covered < self.durable || self.outdated_from <= covered
    }

    /// Copies the entries of `seqs`, as far as they are here.
    pub(crate) fn copy(&self, seqs: std::ops::Range<u64>) -> impl Iterator<Item = Entry> {
        seqs.map(|seq| self.slot(seq).and_then(|slot| self.entries.get(slot)).copied().unwrap_or_default())
    }

    /// Lets the oldest go: here, on the thread of a request, and not on the one that every request waits for.
    fn evict(&mut self) {
        let keep_from = self.oldest();
        while self.first < keep_from
            && let Some(entry) = self.entries.pop_front()
        {
            let gone = low(self.first);
            self.remove(entry, gone);
            self.first += 1;
        }
    }

    fn next_seq(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    fn slot(&self, seq: u64) -> Option<usize> {
        usize::try_from(seq.checked_sub(self.first)?).ok()
    }

    fn seen(&self, position: usize, fingerprint: Fingerprint, seq: u64, first_seq: u64) -> Seen {
        let body = self.slot(seq).and_then(|slot| self.entries.get(slot)).map(|entry| entry.body);
        let original = match seq.checked_sub(first_seq) {
            None => Original::Before(Seq(seq)),
            Some(here) => Original::Here(usize::try_from(here).unwrap_or(usize::MAX)),
        };
        Seen { position, original, same_body: body == Some(fingerprint.body), refusals: self.refusals }
    }

    fn seq_of(&self, id: u128) -> Option<u64> {
        let wanted = Entry::new(id, 0).id;
        let (first, entries) = (self.first, &self.entries);
        let at = |seq: u32| seq.wrapping_sub(low(first));
        let found = self.index.find(wanted[0], |seq| entries.get(at(*seq) as usize).is_some_and(|entry| entry.id == wanted))?;
        Some(first + u64::from(at(*found)))
    }

    fn insert(&mut self, seq: u64, entry: Entry) {
        if !entry.is_known() {
            return;
        }
        let (first, entries) = (low(self.first), &self.entries);
        let hash = |seq: &u32| entries.get(seq.wrapping_sub(first) as usize).map_or(0, |entry| entry.id[0]);
        self.index.insert_unique(entry.id[0], low(seq), hash);
    }

    fn remove(&mut self, entry: Entry, seq: u32) {
        if let Ok(found) = self.index.find_entry(entry.id[0], |other| *other == seq) {
            let _ = found.remove();
        }
    }

    fn forget_id(&mut self, id: u128) {
        if let Some(seq) = self.seq_of(id) {
            self.remove(Entry::new(id, 0), low(seq));
        }
    }

    /// Takes everything from `seq` on out again.
    fn take_back(&mut self, seq: u64) {
        while self.next_seq() > seq.max(self.first)
            && let Some(entry) = self.entries.pop_back()
        {
            let gone = low(self.next_seq());
            self.remove(entry, gone);
        }
    }
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
