//! A purge of the buffer that this process has open, beside its committer, its reader and its keeper.

use super::super::shared::{Shared, lock};
use super::{PurgeError, Purged, Selected, Selection, select};
use crate::event::Seq;
use crate::sync::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// How long the cursor may take to be on disk; it is written every 100 ms.
const CURSOR_TIMEOUT: Duration = Duration::from_secs(10);

/// Gives up events when an operator says so; clones share the buffer.
#[derive(Clone, Debug)]
pub struct Purger {
    shared: Arc<Shared>,
}

impl Purger {
    pub(in crate::buffer) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// What a purge would do now.
    ///
    /// # Errors
    /// As [`Purger::purge`], but for the durability.
    pub fn plan(&self, selection: &Selection) -> Result<Purged, PurgeError> {
        let selected = select(&*self.shared.storage, &self.shared.keyring, selection)?;
        let mut trial = lock(&self.shared.marks).watermark.clone();
        match trial.give_up(&selected.ranges) {
            // By the marks of this moment: the cursor that was read may be a little behind them.
            Some(events) => Ok(selected.summary(events)),
            None => Err(selected.too_scattered(&trial)),
        }
    }

    /// Gives up the events of a selection; returns once a restart cannot bring them back. Blocks.
    ///
    /// What was handed to Kafka and is not confirmed yet may still arrive there, although it counts as purged.
    ///
    /// # Errors
    /// [`PurgeError`]
    pub fn purge(&self, selection: &Selection) -> Result<Purged, PurgeError> {
        let selected = select(&*self.shared.storage, &self.shared.keyring, selection)?;
        if selected.events == 0 {
            return Ok(Purged::default());
        }
        let (purged, in_all) = self.give_up(&selected)?;
        selected.ranges.iter().for_each(|&(from, to)| self.shared.acks.given_up(Seq(from), Seq(to)));
        self.shared.after_end(purged);
        self.shared.poke_keeper();
        self.shared.marks_changed.notify_one();
        self.until_on_disk(in_all)?;
        Ok(selected.summary(purged))
    }

    /// Returns how many events were given up, and how many ever.
    fn give_up(&self, selected: &Selected) -> Result<(u64, u64), PurgeError> {
        let mut marks = lock(&self.shared.marks);
        let Some(purged) = marks.purge(&selected.ranges) else { return Err(selected.too_scattered(&marks.watermark)) };
        // The reader waits for events that are there no more.
        marks.woken = true;
        let end = selected.ranges.last().map_or(0, |&(_, to)| to.min(marks.durable) + 1);
        let _ = self.shared.purged_below.fetch_max(end, Ordering::AcqRel);
        Ok((purged, marks.ends.purged))
    }

    fn until_on_disk(&self, purged: u64) -> Result<(), PurgeError> {
        let deadline = Instant::now() + CURSOR_TIMEOUT;
        let mut on_disk = lock(&self.shared.purged_on_disk);
        while *on_disk < purged {
            let left = deadline.saturating_duration_since(Instant::now());
            let failed = || lock(&self.shared.queue).failed.clone();
            if left.is_zero() {
                let reason = failed().unwrap_or_else(|| "the cursor is not written".to_owned());
                return Err(PurgeError::NotDurable { reason });
            }
            (on_disk, _) = self.shared.purged_changed.wait_timeout(on_disk, left).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }
}
