//! The events that are on their way to Kafka, in the order in which they were sent. Pure.
//!
//! A ring of slots instead of a map: no allocation per event, and a report finds its slot by arithmetic. A slot shares its frame's
//! bytes until its event is acknowledged, so that the notification can be made without reading the disk again.
//!
//! Invariant: slots are in seq order, and the first one is not acknowledged.

use crate::event::{EventRef, Records, Seq};
use bytes::Bytes;
use std::collections::VecDeque;

use std::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Awaiting,
    Failed,
    Acked,
}

#[derive(Debug)]
struct Slot {
    seq: Seq,
    state: State,
    sent: Sent,
}

/// Where the bytes of a sent event are, and since when it is on its way.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    /// The frame; `None` once the event is acknowledged.
    payload: Option<Bytes>,
    offset: usize,
    len: usize,
    /// When it was handed to the client.
    pub(super) at: Instant,
}

impl Sent {
    /// A record of `len` bytes at `offset` of a frame's payload.
    pub(super) fn new(payload: Bytes, offset: usize, len: usize, at: Instant) -> Self {
        Self { payload: Some(payload), offset, len, at }
    }

    /// Bytes of its record.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The event. It was decoded when it was sent, so this is `None` only for a slot that gave its bytes away.
    pub(super) fn event(&self) -> Option<EventRef<'_>> {
        Records::starting_at(self.payload.as_ref()?, self.offset).next()?.ok()
    }
}

/// What is on its way.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    slots: VecDeque<Slot>,
    awaiting: usize,
    bytes: usize,
}

impl InFlight {
    /// Adds an event that was just sent; its seq is above all others.
    pub(super) fn push(&mut self, seq: Seq, sent: Sent) {
        debug_assert!(self.slots.back().is_none_or(|last| last.seq < seq), "sent out of order");
        self.awaiting += 1;
        self.bytes += sent.len;
        self.slots.push_back(Slot { seq, state: State::Awaiting, sent });
    }

    /// Takes an event out because Kafka has it; `None` when it is not on its way.
    pub(super) fn ack(&mut self, seq: Seq) -> Option<Sent> {
        let index = self.find(seq)?;
        let slot = &mut self.slots[index];
        if slot.state == State::Acked {
            return None;
        }
        let taken = Sent { payload: slot.sent.payload.take(), ..slot.sent };
        let state = std::mem::replace(&mut slot.state, State::Acked);
        self.release(state, taken.len);
        while self.slots.front().is_some_and(|slot| slot.state == State::Acked) {
            drop(self.slots.pop_front());
        }
        Some(taken)
    }

    /// Notes that an event came back undelivered. Returns it.
    pub(super) fn fail(&mut self, seq: Seq) -> Option<&Sent> {
        let index = self.find(seq)?;
        let slot = &mut self.slots[index];
        if slot.state != State::Awaiting {
            return None;
        }
        slot.state = State::Failed;
        let len = slot.sent.len;
        self.release(State::Awaiting, len);
        Some(&self.slots[index].sent)
    }

    /// Forgets everything, before it is sent again.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.awaiting = 0;
        self.bytes = 0;
    }

    /// Events sent and not yet reported.
    pub(super) fn awaiting(&self) -> usize {
        self.awaiting
    }

    /// Bytes of their records.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Events sent since the oldest one that is not acknowledged, itself included.
    pub(super) fn span(&self) -> usize {
        self.slots.len()
    }

    /// The oldest event that is not acknowledged, and when it was sent.
    pub(super) fn oldest(&self) -> Option<(Seq, Instant)> {
        self.slots.front().map(|slot| (slot.seq, slot.sent.at))
    }

    /// The newest event sent since the oldest one that is not acknowledged.
    pub(super) fn newest(&self) -> Option<Seq> {
        self.slots.back().map(|slot| slot.seq)
    }

    fn release(&mut self, state: State, len: usize) {
        if state == State::Awaiting {
            self.awaiting -= 1;
            self.bytes -= len;
        }
    }

    fn find(&self, seq: Seq) -> Option<usize> {
        let first = self.slots.front()?.seq;
        let distance = usize::try_from(seq.0.checked_sub(first.0)?).ok()?;
        // Without gaps in the seqs (events skipped because Kafka has them), the distance is the place.
        let guess = distance.min(self.slots.len() - 1);
        if self.slots[guess].seq == seq {
            return Some(guess);
        }
        self.slots.binary_search_by_key(&seq, |slot| slot.seq).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sent(len: usize) -> Sent {
        Sent::new(Bytes::new(), 0, len, Instant::now())
    }

    // Goal: reports in any order, with gaps between the seqs, are booked exactly once.
    #[test]
    fn finds_slots_across_gaps() {
        let mut inflight = InFlight::default();
        for seq in [3, 4, 9, 10, 40] {
            inflight.push(Seq(seq), sent(10));
        }
        assert!(inflight.ack(Seq(9)).is_some());
        assert!(inflight.ack(Seq(9)).is_none());
        assert!(inflight.ack(Seq(5)).is_none());
        assert!(inflight.ack(Seq(2)).is_none());
        assert!(inflight.ack(Seq(41)).is_none());
        assert_eq!((inflight.awaiting(), inflight.bytes(), inflight.span()), (4, 40, 5));
        assert_eq!(inflight.newest(), Some(Seq(40)));
        assert!(inflight.ack(Seq(3)).is_some());
        assert!(inflight.ack(Seq(4)).is_some());
        assert_eq!(inflight.oldest().map(|(seq, _)| seq), Some(Seq(10)), "acknowledged ones leave the front");
        assert!(inflight.ack(Seq(40)).is_some());
        assert_eq!((inflight.awaiting(), inflight.span()), (1, 2));
    }

    // Goal: an event that failed and then turns out to be in Kafka after all counts as delivered.
    #[test]
    fn a_late_ack_beats_a_failure() {
        let mut inflight = InFlight::default();
        inflight.push(Seq(1), sent(10));
        assert!(inflight.fail(Seq(1)).is_some());
        assert!(inflight.fail(Seq(1)).is_none());
        assert_eq!((inflight.awaiting(), inflight.bytes(), inflight.span()), (0, 0, 1));
        assert!(inflight.ack(Seq(1)).is_some());
        assert_eq!((inflight.awaiting(), inflight.span()), (0, 0));
    }

    proptest! {
        // Goal: whatever the order of reports, the counts that bound memory are exact.
        #[test]
        fn counts_match_a_model(steps in prop::collection::vec((0..3_u8, 0..64_usize), 0..300)) {
            let mut inflight = InFlight::default();
            let mut model = std::collections::BTreeMap::new();
            let mut next = 1;
            for (step, pick) in steps {
                if step == 0 {
                    next += 1 + pick as u64 % 3;
                    inflight.push(Seq(next), sent(7));
                    let _ = model.insert(next, true);
                } else if let Some((&seq, &awaiting)) = model.iter().nth(pick) {
                    if step == 1 {
                        prop_assert!(inflight.ack(Seq(seq)).is_some());
                        let _ = model.remove(&seq);
                    } else {
                        prop_assert_eq!(inflight.fail(Seq(seq)).is_some(), awaiting);
                        let _ = model.insert(seq, false);
                    }
                }
                let awaiting = model.values().filter(|awaiting| **awaiting).count();
                prop_assert_eq!(inflight.awaiting(), awaiting);
                prop_assert_eq!(inflight.bytes(), awaiting * 7);
                prop_assert_eq!(inflight.oldest().map(|(seq, _)| seq.0), model.keys().next().copied());
            }
        }
    }
}
