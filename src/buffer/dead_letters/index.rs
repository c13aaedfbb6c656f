//! Which dead letters there are, in memory. Pure.

use super::Usage;
use std::collections::{BTreeMap, BTreeSet};

/// What is there; an entry is 16 bytes, 24 when it is not copied, and a file takes a block of the budget.
#[derive(Debug, Default)]
pub(super) struct Index {
    bytes_of: BTreeMap<u64, u64>,
    /// Those that no dead-letter topic has.
    uncopied: BTreeSet<u64>,
    bytes: u64,
    dropped: u64,
    gave_way: u64,
    /// Those that had to make room, until somebody asks.
    gone: Vec<u64>,
    /// An event that is no letter, although a file of its name may be there.
    pub(super) stray: Option<u64>,
    /// Letters are copied to a topic: those that are there give way to newer ones.
    copying: bool,
}

/// What a full store gives up for a newer letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Victim {
    /// Nothing: the newer one has to wait.
    None,
    /// A copied one: no loss.
    Copied(u64),
    /// The oldest of all, for good.
    Oldest(u64),
}

impl Index {
    pub(super) fn insert(&mut self, seq: u64, bytes: u64, copied: bool) {
        self.bytes += bytes;
        let before = self.bytes_of.insert(seq, bytes);
        self.bytes -= before.unwrap_or(0);
        if !copied {
            let _ = self.uncopied.insert(seq);
        }
    }

    pub(super) fn remove(&mut self, seq: u64) {
        self.bytes -= self.bytes_of.remove(&seq).unwrap_or(0);
        let _ = self.uncopied.remove(&seq);
    }

    /// Counts what had to make room.
    pub(super) fn gone(&mut self, victim: Victim) {
        match victim {
            Victim::None => {}
            Victim::Copied(seq) => {
                self.gave_way += 1;
                self.gone.push(seq);
            }
            Victim::Oldest(seq) => {
                self.dropped += 1;
                self.gone.push(seq);
            }
        }
    }

    /// What had to make room since the last call.
    pub(super) fn take_gone(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.gone)
    }

    pub(super) fn holds(&self, seq: u64) -> bool {
        self.bytes_of.contains_key(&seq)
    }

    /// The seqs from `from` on, in order, at most `limit`.
    pub(super) fn seqs(&self, from: u64, limit: usize) -> Vec<u64> {
        self.bytes_of.range(from..).map(|(seq, _)| *seq).take(limit).collect()
    }

    /// From here on copied ones give way.
    pub(super) fn copying(&mut self) {
        self.copying = true;
    }

    /// The dead-letter topic has it.
    pub(super) fn copied(&mut self, seq: u64) {
        let _ = self.uncopied.remove(&seq);
    }

    /// The first from `from` on that no dead-letter topic has.
    pub(super) fn first_uncopied(&self, from: u64) -> Option<u64> {
        self.uncopied.range(from..).next().copied()
    }

    /// Which one goes when there is no room.
    pub(super) fn victim(&self, drop_oldest: bool) -> Victim {
        let copied = self.bytes_of.keys().find(|seq| self.copying && !self.uncopied.contains(seq));
        match (copied, self.bytes_of.keys().next()) {
            (Some(seq), _) => Victim::Copied(*seq),
            (None, Some(oldest)) if drop_oldest => Victim::Oldest(*oldest),
            _ => Victim::None,
        }
    }

    pub(super) fn usage(&self, max_bytes: u64) -> Usage {
        Usage {
            count: self.bytes_of.len() as u64,
            bytes: self.bytes,
            max_bytes,
            dropped: self.dropped,
            gave_way: self.gave_way,
            uncopied: self.uncopied.len() as u64,
        }
    }
}
