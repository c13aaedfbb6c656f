//! What became of the newest events: for receipts, and for repeats that wait for Kafka's word about the first.
//!
//! A ring by seq, 32 bytes an event, as long as the window in which ids are known. Written in batches by the committer, the drain and
//! notify, each under a lock that is held for some nanoseconds an event. It says only what somebody has seen: where the place in Kafka is
//! not known (the event was acknowledged before a restart), it does not make one up. Deliberately absent: the disk. After a restart the
//! newest events are known to be waiting or at their end, not more.

use super::Receipt;
use crate::event::{Place, Seq};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Most topics and most reasons of dead letters that are remembered.
const TOPICS_MAX: usize = 4096;
const REASONS_MAX: usize = 4096;

/// How far an event has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// On disk, on its way.
    Buffered,
    /// Kafka has it; where and when, as far as that is known.
    Acked {
        /// Topic, partition and offset.
        place: Option<Place>,
        /// Unix milliseconds.
        at_ms: Option<u64>,
    },
    /// Kafka will never take it.
    Dead {
        /// In words.
        reason: Arc<str>,
        /// Unix milliseconds.
        at_ms: u64,
    },
    /// An operator gave it up.
    Purged,
    /// Its bytes rotted on disk.
    Lost,
    /// At its end since before a restart; which end is not known any more.
    Ended,
}

/// What is known of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    /// When it was accepted, in Unix milliseconds; not known after a restart.
    pub accepted_ms: Option<u64>,
    /// How far it has come.
    pub stage: Stage,
    /// When Redis took its notification, in Unix milliseconds.
    pub notified_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Buffered,
    Acked,
    AckedSomewhere,
    Dead,
    Purged,
    Lost,
    Ended,
}

/// Times are milliseconds after `base_ms`, 0 when there is none (they count from 1).
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    base_ms: u64,
    offset: i64,
    end_after_ms: u32,
    notified_after_ms: u32,
    partition: i32,
    topic: u16,
    state: State,
    /// The base is when the event was accepted, not a later restart.
    is_accepted: bool,
}

const _: () = assert!(size_of::<Slot>() == 32, "what the settings' documentation says of memory");

#[derive(Debug, Default)]
struct Ring {
    first: u64,
    slots: VecDeque<Slot>,
    topics: Vec<Arc<str>>,
    reasons: BTreeMap<u64, Arc<str>>,
}

/// The newest events and how far they have come.
#[derive(Debug, Default)]
pub struct History {
    /// So many events are remembered; 0: none.
    limit: usize,
    ring: Mutex<Ring>,
    /// Requests that want to know of every change, so that the drain pays one load a batch when there are none.
    waiting: AtomicUsize,
    changed: Notify,
}

/// What there is of the receipts of some events.
enum Receipts {
    All(Vec<Receipt>),
    NotYet,
    /// One of them will have none.
    Never,
}

/// Takes a request out of those that wait.
struct Waits<'a>(&'a AtomicUsize);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let _ = self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Slot {
    fn time(self, after_ms: u32) -> Option<u64> {
        Some(self.base_ms + u64::from(after_ms.checked_sub(1)?))
    }

    fn after(self, at_ms: u64) -> u32 {
        u32::try_from(at_ms.saturating_sub(self.base_ms)).unwrap_or(u32::MAX).saturating_add(1)
    }
}

impl Ring {
    fn slot(&mut self, seq: Seq) -> Option<&mut Slot> {
        let at = usize::try_from(seq.0.checked_sub(self.first)?).ok()?;
        self.slots.get_mut(at)
    }

    fn push(&mut self, seq: u64, slot: Slot, limit: usize) {
        if self.first + self.slots.len() as u64 != seq {
            self.slots.clear();
            self.first = seq;
        }
        self.slots.push_back(slot);
        if self.slots.len() > limit {
            let _ = self.slots.pop_front();
            self.first += 1;
        }
    }

    /// The number of a topic; one after the last when there are too many.
    fn topic(&mut self, topic: &Arc<str>) -> u16 {
        let known = self.topics.iter().position(|known| Arc::ptr_eq(known, topic) || known == topic);
        let number = known.unwrap_or_else(|| {
            if self.topics.len() < TOPICS_MAX {
                self.topics.push(Arc::clone(topic));
                self.topics.len() - 1
            } else {
                TOPICS_MAX
            }
        });
        u16::try_from(number).unwrap_or(u16::MAX)
    }

    fn place(&self, slot: Slot) -> Option<Place> {
        let topic = Arc::clone(self.topics.get(usize::from(slot.topic))?);
        Some(Place { topic, partition: slot.partition, offset: slot.offset })
    }

    fn fate(&self, seq: Seq) -> Option<Fate> {
        let slot = *self.slots.get(usize::try_from(seq.0.checked_sub(self.first)?).ok()?)?;
        let end = slot.time(slot.end_after_ms);
        let stage = match slot.state {
            State::Buffered => Stage::Buffered,
            State::Acked => Stage::Acked { place: self.place(slot), at_ms: end },
            State::AckedSomewhere => Stage::Acked { place: None, at_ms: end },
            State::Dead => {
                let reason = self.reasons.get(&seq.0).map_or_else(|| Arc::from("see dead letters"), Arc::clone);
                Stage::Dead { reason, at_ms: end.unwrap_or_default() }
            }
            State::Purged => Stage::Purged,
            State::Lost => Stage::Lost,
            State::Ended => Stage::Ended,
        };
        let accepted_ms = slot.is_accepted.then_some(slot.base_ms);
        Some(Fate { accepted_ms, stage, notified_ms: slot.time(slot.notified_after_ms) })
    }
}

impl History {
    /// A history of `limit` events.
    pub fn of(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// How many events it remembers.
    pub fn limit(&self) -> usize {
        self.limit
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After a restart, now: the newest events from `first` on, each at its end or not. `all_acked` says that no other end ever came.
    pub fn restore(&self, first: Seq, ended: impl Iterator<Item = bool>, all_acked: bool, now_ms: u64) {
        let mut ring = self.ring();
        let end = if all_acked { State::AckedSomewhere } else { State::Ended };
        for (seq, ended) in (first.0..).zip(ended) {
            ring.push(seq, Slot { state: if ended { end } else { State::Buffered }, base_ms: now_ms, ..Slot::default() }, self.limit);
        }
    }

    /// Frames that became durable: first seq, number of events, when they were accepted.
    pub fn stored(&self, frames: impl Iterator<Item = (Seq, u32, u64)>) {
        if self.limit == 0 {
            return;
        }
        let mut ring = self.ring();
        for (first, count, accepted_ms) in frames {
            for n in 0..u64::from(count) {
                ring.push(first.0 + n, Slot { base_ms: accepted_ms, is_accepted: true, ..Slot::default() }, self.limit);
            }
        }
    }

    /// Kafka has these.
    pub fn acked<'a>(&self, places: impl Iterator<Item = (Seq, &'a Place)>, at_ms: u64) {
        if self.limit == 0 {
            return;
        }
        let mut ring = self.ring();
        let mut last: Option<(&Arc<str>, u16)> = None;
        for (seq, place) in places {
            let topic = match last {
                Some((topic, number)) if Arc::ptr_eq(topic, &place.topic) => number,
                _ => ring.topic(&place.topic),
            };
            last = Some((&place.topic, topic));
            let Some(slot) = ring.slot(seq) else { continue };
            slot.end_after_ms = slot.after(at_ms);
            (slot.partition, slot.offset, slot.topic, slot.state) = (place.partition, place.offset, topic, State::Acked);
        }
        drop(ring);
        self.tell();
    }

    /// Kafka will never take this one.
    pub fn dead(&self, seq: Seq, reason: impl Into<Arc<str>>, at_ms: u64) {
        let mut ring = self.ring();
        let Some(slot) = ring.slot(seq) else { return };
        slot.end_after_ms = slot.after(at_ms);
        slot.state = State::Dead;
        let _ = ring.reasons.insert(seq.0, reason.into());
        if ring.reasons.len() > REASONS_MAX {
            let _ = ring.reasons.pop_first();
        }
        drop(ring);
        self.tell();
    }

    /// An operator gave up what is still on its way of inclusive ranges.
    pub fn purged(&self, ranges: &[(u64, u64)]) {
        self.give_up(ranges, State::Purged);
    }

    /// What is still on its way of inclusive ranges is lost.
    pub fn lost(&self, ranges: &[(u64, u64)]) {
        self.give_up(ranges, State::Lost);
    }

    fn give_up(&self, ranges: &[(u64, u64)], state: State) {
        let mut ring = self.ring();
        let (first, next) = (ring.first, ring.first + ring.slots.len() as u64);
        for seq in ranges.iter().flat_map(|&(from, to)| from.max(first)..to.saturating_add(1).min(next)) {
            if let Some(slot) = ring.slot(Seq(seq)).filter(|slot| slot.state == State::Buffered) {
                slot.state = state;
            }
        }
        drop(ring);
        self.tell();
    }

    /// Redis took the notifications of these.
    pub fn notified(&self, seqs: impl Iterator<Item = Seq>, at_ms: u64) {
        if self.limit == 0 {
            return;
        }
        let mut ring = self.ring();
        for seq in seqs {
            if let Some(slot) = ring.slot(seq) {
                slot.notified_after_ms = slot.after(at_ms);
            }
        }
    }

    /// What is known of an event; `None` when it is not among the newest.
    pub fn get(&self, seq: Seq) -> Option<Fate> {
        self.ring().fate(seq)
    }

    /// Waits until Kafka has all of these; `None` as soon as it is clear that nobody will ever be able to say where.
    pub async fn receipts(&self, seqs: &[Seq]) -> Option<Vec<Receipt>> {
        let _ = self.waiting.fetch_add(1, Ordering::AcqRel);
        let _waits = Waits(&self.waiting);
        loop {
            // Before the look: what happens after it is told.
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            let _ = changed.as_mut().enable();
            match self.receipts_now(seqs) {
                Receipts::All(receipts) => return Some(receipts),
                Receipts::Never => return None,
                Receipts::NotYet => changed.await,
            }
        }
    }

    fn receipts_now(&self, seqs: &[Seq]) -> Receipts {
        let ring = self.ring();
        let mut receipts = Vec::with_capacity(seqs.len());
        let mut waiting = false;
        for &seq in seqs {
            match ring.fate(seq).map(|fate| fate.stage) {
                Some(Stage::Acked { place: Some(place), .. }) => receipts.push(Receipt { seq, place }),
                Some(Stage::Buffered) => waiting = true,
                _ => return Receipts::Never,
            }
        }
        if waiting { Receipts::NotYet } else { Receipts::All(receipts) }
    }

    fn tell(&self) {
        if self.waiting.load(Ordering::Acquire) > 0 {
            self.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
