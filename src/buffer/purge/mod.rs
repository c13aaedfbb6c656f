//! Giving up events because an operator says so: which they are, and that they are gone for good.
//!
//! Purged events are never sent, are counted in the ledger, and stay purged: the answer comes after the cursor that knows them is on disk.
//! Their bytes are not wiped: a segment comes free when everything in it is at its end.
//!
//! Deliberately absent: a purge of any number of scattered events. The cursor has a bit for each event near the frontier and a few
//! hundred ranges beyond; what does not fit is refused with the place up to which it would.

mod live;
mod select;

use super::watermark::Watermark;
use super::{OpenError, ParkError};
use crate::event::EventRef;
use serde::{Deserialize, Serialize};

pub use live::Purger;
pub use select::select;
use select::select_log;

/// Which waiting events; all that is said must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// From this seq on.
    pub from_seq: u64,
    /// Up to and including this seq.
    pub to_seq: Option<u64>,
    /// Of this source: an id, or `type/id`.
    pub source: Option<String>,
    /// Accepted before this moment, Unix milliseconds.
    pub before_ms: Option<u64>,
}

/// What a selection holds at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selected {
    /// Ascending, inclusive; events at their end may lie in between.
    pub ranges: Vec<(u64, u64)>,
    /// How many are not at their end.
    pub events: u64,
    /// Parked events beside those of the log.
    pub parked: Purged,
}

/// What a purge did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purged {
    /// How many events.
    pub events: u64,
    /// The lowest seq among them.
    pub first_seq: Option<u64>,
    /// The highest.
    pub last_seq: Option<u64>,
}

impl Purged {
    /// Both.
    pub(in crate::buffer) fn and(&self, other: &Self) -> Self {
        Self {
            events: self.events + other.events,
            first_seq: self.first_seq.into_iter().chain(other.first_seq).min(),
            last_seq: self.last_seq.into_iter().chain(other.last_seq).max(),
        }
    }

    /// Events one by one, in the order of their seqs.
    pub(in crate::buffer) fn of(seqs: &[u64]) -> Self {
        Self { events: seqs.len() as u64, first_seq: seqs.first().copied(), last_seq: seqs.last().copied() }
    }
}

/// Why nothing was purged, but for the last of them.
#[derive(Debug, thiserror::Error)]
pub enum PurgeError {
    /// The directory.
    #[error("cannot purge")]
    Open(#[from] OpenError),
    /// More pieces than can be remembered.
    #[error(
        "{events} events in {pieces} separate places are more than the buffer can remember as purged; nothing was purged{}",
        fits_to.map(|seq| format!(" (up to seq {seq} it would fit)")).unwrap_or_default()
    )]
    TooScattered {
        /// How many events were selected.
        events: u64,
        /// In how many pieces.
        pieces: usize,
        /// The selection fits when it ends at this seq.
        fits_to: Option<u64>,
    },
    /// What is parked.
    #[error("cannot purge parked events (others of the selection may be purged already); look at the volume, then purge again")]
    Parked(#[from] ParkError),
    /// The events are given up in memory, but a crash may bring them back.
    #[error("the purge could not be made durable: {reason}; look at the volume, then purge again")]
    NotDurable {
        /// What was in the way.
        reason: String,
    },
}

impl Selection {
    /// Whether it holds an event; one that does not decode is of no source.
    pub(in crate::buffer) fn holds(&self, seq: u64, accepted_ms: u64, event: Option<&EventRef<'_>>) -> bool {
        let by_seq = seq >= self.from_seq && self.to_seq.is_none_or(|to| seq <= to);
        let of_source = self.source.as_deref().is_none_or(|source| event.is_some_and(|event| event.is_of_source(source)));
        by_seq && of_source && self.before_ms.is_none_or(|before_ms| accepted_ms < before_ms)
    }
}

impl Selected {
    pub(in crate::buffer) fn summary(&self, events: u64) -> Purged {
        let (first, last) = (self.ranges.first().map(|range| range.0), self.ranges.last().map(|range| range.1));
        Purged { events, first_seq: first.filter(|_| events > 0), last_seq: last.filter(|_| events > 0) }
    }

    /// What a purge of it would do.
    pub fn plan(&self) -> Purged {
        self.summary(self.events).and(&self.parked)
    }

    /// The refusal of what does not fit into `mark`.
    pub(in crate::buffer) fn too_scattered(&self, mark: &Watermark) -> PurgeError {
        let (mut fits, mut too_many) = (0, self.ranges.len());
        while fits + 1 < too_many {
            let half = usize::midpoint(fits, too_many);
            if mark.clone().give_up(&self.ranges[..half]).is_some() { fits = half } else { too_many = half }
        }
        let fits_to = fits.checked_sub(1).map(|last| self.ranges[last].1);
        PurgeError::TooScattered { events: self.events, pieces: self.ranges.len(), fits_to }
    }
}

#[cfg(test)]
mod tests;
