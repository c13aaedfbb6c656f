//! Finds the event that Kafka refuses, without letting its neighbours pass each other. Pure.
//!
//! Kafka refuses a batch as a whole, mostly without saying for which record. After such a refusal the events that came back are sent again in
//! rounds: all reports of a round are in before the next begins, so nothing overtakes. A round that fails is tried again at half its
//! size; one that passes lets the next be twice as large. An event that is refused [`STRIKES`] times all alone is the culprit. Events before the
//! suspects go first, in one round of any size: they may not be overtaken either.
//!
//! Where the broker names the culprit (KIP-467: its neighbours come back as `INVALID_DIFFERENT_RECORD`), it is tried alone at once.
//!
//! A batch that is refused for its size although each of its events passes is too large as a batch: [`End::BatchTooLarge`] says so.

use super::classify::Class;
use crate::event::Seq;

/// How often an event must be refused alone before it is given up: once may be a coincidence of a broker's restart.
const STRIKES: u32 = 2;

/// The events that came back refused, all by the same failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Suspects {
    pub(super) first: Seq,
    pub(super) last: Seq,
    pub(super) count: usize,
    pub(super) class: Class,
}

/// What became of the suspects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Try on with smaller rounds.
    Narrower,
    /// This one is the culprit.
    Culprit(Seq),
}

/// How the search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The culprits were taken out, or it was no event's fault.
    Passed,
    /// No event is too large, but the batch that they made was.
    BatchTooLarge,
}

/// Whether an event may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Yes.
    Now,
    /// When everything sent before it is acknowledged.
    NextRound,
}

/// A search.
#[derive(Debug)]
pub(super) struct Isolation {
    first: Seq,
    last: Seq,
    /// Most suspects of a round.
    width: usize,
    /// Suspects sent in this round.
    sent: usize,
    /// The one that was refused alone, and how often.
    alone: Option<(Seq, u32)>,
    /// Refusals since the search, or the last culprit.
    refusals: u32,
    began_ms: u64,
    too_large: bool,
    found: bool,
}

impl Isolation {
    /// Begins with what came back.
    pub(super) fn begin(suspects: &Suspects, unix_ms: u64) -> Self {
        let mut isolation = Self {
            first: suspects.first,
            last: suspects.last,
            width: usize::MAX,
            sent: 0,
            alone: None,
            refusals: 0,
            began_ms: unix_ms,
            too_large: true,
            found: false,
        };
        isolation.narrow(suspects);
        isolation.refusals = 1;
        isolation
    }

    /// The range that is searched.
    pub(super) fn range(&self) -> (Seq, Seq) {
        (self.first, self.last)
    }

    /// How often Kafka has refused what is searched for, and since when (Unix milliseconds).
    pub(super) fn refusals(&self) -> (u32, u64) {
        (self.refusals, self.began_ms)
    }

    /// Whether `seq`, the next event, may be sent while `awaiting` earlier ones have no report yet.
    pub(super) fn admit(&mut self, seq: Seq, awaiting: usize) -> Admission {
        if seq < self.first {
            return Admission::Now;
        }
        if awaiting == 0 {
            self.begin_round();
        } else if self.sent == 0 || self.sent >= self.width || seq > self.last {
            return Admission::NextRound;
        }
        Admission::Now
    }

    /// `seq` was handed over, or refused at once.
    pub(super) fn tried(&mut self, seq: Seq) {
        self.sent += usize::from(seq >= self.first);
    }

    /// Everything up to `acked` is at its end and nothing is on its way: whether the search is over.
    pub(super) fn ended(&self, acked: Seq) -> Option<End> {
        if acked < self.last {
            return None;
        }
        Some(if self.too_large && !self.found { End::BatchTooLarge } else { End::Passed })
    }

    fn begin_round(&mut self) {
        if self.sent > 0 {
            // The last one passed.
            self.width = self.width.saturating_mul(2);
        }
        self.sent = 0;
    }

    /// A round came back.
    pub(super) fn failed(&mut self, suspects: &Suspects) -> Finding {
        self.refusals += 1;
        let was_alone = self.sent == 1 && suspects.count == 1;
        if was_alone {
            let strikes = self.alone.filter(|(seq, _)| *seq == suspects.first).map_or(0, |(_, strikes)| strikes) + 1;
            self.alone = Some((suspects.first, strikes));
            if strikes >= STRIKES {
                self.sent = 0;
                return Finding::Culprit(suspects.first);
            }
        }
        self.narrow(suspects);
        Finding::Narrower
    }

    /// The culprit is out of the way; others may follow.
    pub(super) fn gave_up(&mut self, unix_ms: u64) {
        self.found = true;
        self.alone = None;
        self.refusals = 0;
        self.began_ms = unix_ms;
        self.width = 1;
    }

    fn narrow(&mut self, suspects: &Suspects) {
        self.first = suspects.first;
        self.last = self.last.max(suspects.last);
        let tried = if self.sent > 0 { self.sent.min(suspects.count) } else { suspects.count };
        self.width = (tried / 2).max(1);
        self.sent = 0;
        self.too_large &= suspects.class.reason == super::classify::TOO_LARGE;
    }
}
