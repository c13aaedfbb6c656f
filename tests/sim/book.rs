//! What the world outside knows, and what it may expect: the guarantees, as checks on every step.
//!
//! A check that fails panics with what is wrong; the run's seed is told beside it.

use super::kafka::LINES;
use dualstream::buffer::{AppendError, Appended};
use dualstream::event::EventRef;
use std::collections::{BTreeMap, BTreeSet};

/// Why Kafka would never take an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poison {
    /// The client refuses it at once.
    Local,
    /// The broker refuses the batch that it is in.
    Broker,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// None, or none that anybody heard: it may be stored.
    None,
    Stored,
    Refused,
}

/// An event as it was posted; its number is its place in the order of posting.
#[derive(Clone, Debug)]
pub struct Posted {
    pub source: u64,
    pub bytes: usize,
    pub poison: Option<Poison>,
    pub answer: Answer,
    /// Requests with it that have no answer: it may be stored.
    unheard: u32,
    /// It was sent more than once, or with one that was: its request may have had to wait for an earlier one, and others came before it.
    pub is_repeated: bool,
}

#[derive(Default)]
pub struct Book {
    pub posted: Vec<Posted>,
    /// The event of each seq that anybody has seen.
    pub event_of: BTreeMap<u64, u64>,
    /// The other way round: more than one for an event that was retried.
    pub seqs_of: BTreeMap<u64, BTreeSet<u64>>,
    /// Acknowledgements that the drain booked in this life, in order; the cursor knows so many of them.
    acks: Vec<u64>,
    checkpoint: usize,
    /// Those of the line for what is parked.
    parked_acks: Vec<u64>,
    acked: BTreeSet<u64>,
    /// The cursor knew in an earlier life that they were at their end.
    ended: BTreeSet<u64>,
    /// Sent without an answer that the drain has seen, or acknowledged without the cursor: these, and no others, may be sent twice.
    pub may_repeat: BTreeSet<u64>,
    /// All that were ever in doubt.
    doubted: BTreeSet<u64>,
    /// With `recovery = "reconcile"` these first wait here: a look into Kafka is to clear them up.
    pub in_doubt: BTreeSet<u64>,
    looks: bool,
    /// Found by a line's look for what an earlier life left in doubt, until its next handle: nobody is notified of what is booked of it.
    pub found_before: [BTreeSet<u64>; LINES],
    /// Dead letters that may have been appended again, under seqs that nobody was told.
    pub retried_unseen: BTreeSet<u64>,
    /// Seqs that became dead letters.
    pub dead: BTreeMap<u64, u64>,
    /// Events whose letters somebody removed, or began to.
    pub letters_purged: BTreeSet<u64>,
    /// Seqs that somebody asked to purge, and those for which it was answered.
    pub purge_asked: BTreeSet<u64>,
    pub purged: BTreeSet<u64>,
    /// Per source the newest seq that was notified of in this life.
    told: BTreeMap<u64, u64>,
    pub tellings: u64,
    pub bookings: u64,
    pub repeats: u64,
    /// Events that were answered as known.
    pub repeats_known: u64,
}

impl Posted {
    /// The value of event `number`: always the same.
    pub fn value(&self, number: u64) -> String {
        format!("{{\"n\":{number},\"pad\":\"{}\"}}", "x".repeat(self.bytes))
    }
}

impl Book {
    /// Of a relay that looks into Kafka, or of one that does not.
    pub fn new(looks: bool) -> Self {
        Self { looks, ..Self::default() }
    }

    /// Nobody can tell whether Kafka has these.
    pub fn doubt(&mut self, seqs: impl IntoIterator<Item = u64>) {
        let seqs: Vec<u64> = seqs.into_iter().collect();
        self.doubted.extend(&seqs);
        if self.looks { self.in_doubt.extend(seqs) } else { self.may_repeat.extend(seqs) }
    }

    /// A look did not tell all that there was: what was in doubt may be sent twice.
    pub fn excuse(&mut self) {
        self.may_repeat.append(&mut self.in_doubt);
    }

    /// Which event this is; it must be one that was posted, whole.
    pub fn recognise(&self, event: &EventRef<'_>) -> u64 {
        let number = event.id.strip_prefix('e').and_then(|number| number.parse::<u64>().ok());
        let number = number.unwrap_or_else(|| panic!("G2: there is an event that nobody posted: {event:?}"));
        let posted = self.of(number);
        let source = format!("s{}", posted.source);
        assert!(event.source_id == source && event.value == posted.value(number).as_bytes(), "G2: event e{number} is not as it was posted");
        assert_ne!(posted.answer, Answer::Refused, "G8: event e{number} was refused, and is there");
        number
    }

    pub fn of(&self, number: u64) -> &Posted {
        usize::try_from(number).ok().and_then(|at| self.posted.get(at)).unwrap_or_else(|| panic!("nobody posted e{number}"))
    }

    /// A seq has this event, for ever.
    pub fn seen(&mut self, seq: u64, number: u64) {
        let before = self.event_of.insert(seq, number);
        let _ = self.seqs_of.entry(number).or_default().insert(seq);
        assert!(before.is_none_or(|before| before == number), "seq {seq} was event e{before:?} and is now e{number}");
    }

    /// A client makes a new event; its number.
    pub fn post_new(&mut self, source: u64, bytes: usize, poison: Option<Poison>, is_among_repeats: bool) -> u64 {
        self.posted.push(Posted { source, bytes, poison, answer: Answer::None, unheard: 1, is_repeated: is_among_repeats });
        self.posted.len() as u64 - 1
    }

    /// A client sends one of its newest events again; its number.
    pub fn post_again(&mut self, back: u64) -> u64 {
        let number = (self.posted.len() as u64 - 1).saturating_sub(back);
        let posted = &mut self.posted[usize::try_from(number).expect("few")];
        posted.unheard += 1;
        posted.is_repeated = true;
        if posted.answer == Answer::Refused {
            posted.answer = Answer::None;
        }
        number
    }

    /// A request has its answer.
    pub fn answered(&mut self, numbers: &[u64], answer: &Result<Appended, AppendError>) {
        assert!(!matches!(answer, Err(AppendError::Conflict(_))), "the same event is no conflict: {answer:?}");
        if let Ok(appended) = answer {
            assert_eq!(appended.seqs().count(), numbers.len(), "a seq for each event: {appended:?}");
            self.repeats_known += appended.repeats.len() as u64;
            for (seq, number) in appended.seqs().zip(numbers) {
                self.seen(seq.0, *number);
            }
        }
        for number in numbers {
            let posted = &mut self.posted[usize::try_from(*number).expect("few")];
            posted.unheard -= 1;
            if answer.is_ok() {
                posted.answer = Answer::Stored;
            } else if posted.answer == Answer::None && posted.unheard == 0 {
                posted.answer = Answer::Refused;
            }
        }
    }

    /// Dead letters were appended again, in this order, or some of them.
    pub fn retried(&mut self, numbers: &[u64], seqs: Option<(u64, u64)>) {
        match seqs {
            Some((first, last)) if last - first + 1 == numbers.len() as u64 => {
                for (seq, number) in (first..).zip(numbers) {
                    self.seen(seq, *number);
                }
            }
            // Which of them have which seqs is seen when they are sent, if they are.
            _ => self.retried_unseen.extend(numbers),
        }
    }

    /// The drain is about to send.
    pub fn sending(&mut self, seq: u64, number: u64) {
        self.seen(seq, number);
        assert!(!self.acked.contains(&seq), "G4: seq {seq} is sent although the drain knows that Kafka has it");
        assert!(!self.ended.contains(&seq), "G4: seq {seq} is sent although the cursor knew that Kafka has it");
        assert!(!self.dead.contains_key(&seq), "seq {seq} is sent although it is a dead letter");
        assert!(!self.purged.contains(&seq), "seq {seq} is sent although it was purged");
    }

    /// `parked`: by the line for what is parked, whose books follow behind the cursor.
    pub fn acked(&mut self, seq: u64, parked: bool) {
        assert!(self.acked.insert(seq), "seq {seq} was booked twice");
        let _ = self.in_doubt.remove(&seq);
        if parked {
            self.parked_acks.push(seq);
        } else {
            self.acks.push(seq);
        }
        self.bookings += u64::from(!self.found_before[usize::from(parked)].contains(&seq));
    }

    pub fn is_ended(&self, seq: u64) -> bool {
        self.acked.contains(&seq) || self.ended.contains(&seq) || self.dead.contains_key(&seq)
    }

    pub fn acks(&self) -> usize {
        self.acks.len()
    }

    /// The cursor on the disk knows the first `acks` acknowledgements.
    pub fn checkpointed(&mut self, acks: usize) {
        self.checkpoint = self.checkpoint.max(acks);
    }

    /// The relay is gone, and what it knew but for the cursor, and for the marks of the parked ones that follow it: all of them when it was stopped in
    /// good order.
    pub fn life_ended(&mut self, stopped: bool) {
        for (at, seq) in std::mem::take(&mut self.acks).into_iter().enumerate() {
            if at < self.checkpoint {
                let _ = self.ended.insert(seq);
            } else {
                self.doubt([seq]);
            }
        }
        let parked = std::mem::take(&mut self.parked_acks);
        if stopped {
            self.ended.extend(parked);
        } else {
            self.doubt(parked);
        }
        self.found_before = Default::default();
        self.checkpoint = 0;
        self.acked.clear();
        self.told.clear();
    }

    pub fn died(&mut self, seq: u64, number: u64) {
        self.seen(seq, number);
        assert!(self.of(number).poison.is_some(), "G2: e{number} is a dead letter, and Kafka would take it");
        let _ = self.dead.insert(seq, number);
    }

    /// `parks`: what was parked in an earlier life may be told of before what that life had acknowledged, and its cursor did not know.
    pub fn told(&mut self, seq: u64, source: u64, parks: bool) {
        self.tellings += 1;
        if parks && self.doubted.contains(&seq) {
            return;
        }
        let before = self.told.insert(source, seq);
        assert!(before.is_none_or(|before| before < seq), "source {source}: seq {seq} was notified of after {before:?}");
    }
}
