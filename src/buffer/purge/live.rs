//! A purge of the buffer that this process has open, beside its committer, its reader and its keeper.

use super::super::shared::{Shared, lock};
use super::super::watermark::events_in;
use super::{PurgeError, Purged, Selected, Selection, select_log};
use crate::sync::Ordering;
use std::sync::Arc;

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
        let selected = self.select(selection)?;
        // By the marks of this moment: the cursor that was read may be a little behind them.
        let mut trial = lock(&self.shared.marks).watermark.clone();
        let events = trial.give_up(&selected.ranges).ok_or_else(|| selected.too_scattered(&trial))?;
        Ok(selected.summary(events).and(&self.shared.purge_parked(selection, true)?))
    }

    /// What a selection holds of the log.
    fn select(&self, selection: &Selection) -> Result<Selected, PurgeError> {
        // What is looked at are the files: they have to say what is booked.
        self.shared.parked.mend_before_looking()?;
        select_log(&*self.shared.storage, &self.shared.keyring, selection)
    }

    /// Gives up the events of a selection; returns once a restart cannot bring them back. Blocks.
    ///
    /// What was handed to Kafka and is not confirmed yet may still arrive there, although it counts as purged.
    ///
    /// # Errors
    /// [`PurgeError`]
    pub fn purge(&self, selection: &Selection) -> Result<Purged, PurgeError> {
        let (purged, in_all) = self.begin(selection)?;
        let until = self.shared.until_on_disk(|ends| ends.purged >= in_all);
        until.map_err(|reason| PurgeError::NotDurable { reason })?;
        if self.shared.parked.any() {
            self.shared.cut_parked_durably().map_err(|reason| PurgeError::NotDurable { reason })?;
        }
        Ok(purged)
    }

    /// What else [`Purger::purge`] does before it answers, for the same driver: without it a crash may bring back parked events that were purged. Returns
    /// whether it is done; it is not while a slot of the cursor on disk does not know them.
    pub fn finish(&self) -> bool {
        self.shared.cut_parked()
    }

    /// What [`Purger::purge`] does before it waits for the cursor, for a driver that gives the keeper its turns (a simulation). Returns also how
    /// many events the cursor must know as purged before that may be answered.
    ///
    /// # Errors
    /// As [`Purger::purge`], but for the durability.
    pub fn begin(&self, selection: &Selection) -> Result<(Purged, u64), PurgeError> {
        let selected = self.select(selection)?;
        let purged = self.give_up(&selected)?;
        // What is parked comes second: an event that was parked since the log was read is found here, and what is refused above has changed nothing.
        let parked = self.shared.purge_parked(selection, false);
        self.shared.poke_keeper();
        let purged = selected.summary(purged).and(&parked?);
        let in_all = if purged.events > 0 { lock(&self.shared.marks).ends.purged } else { 0 };
        Ok((purged, in_all))
    }

    /// Gives up what is selected of the log; returns how many events that were.
    fn give_up(&self, selected: &Selected) -> Result<u64, PurgeError> {
        if selected.events == 0 {
            return Ok(0);
        }
        let fresh = {
            // Nothing is on its way from the log to a file of parked events.
            let _alone = lock(&self.shared.parked.changing);
            self.book(selected)?
        };
        // Not of the selection's ranges: what was parked since, or is delivered, lies between.
        self.shared.acks.purged(&fresh);
        let purged = events_in(&fresh);
        self.shared.after_end(purged);
        self.shared.marks_changed.notify_one();
        Ok(purged)
    }

    /// Returns which were not at their end before.
    fn book(&self, selected: &Selected) -> Result<Vec<(u64, u64)>, PurgeError> {
        let mut marks = lock(&self.shared.marks);
        let Some(fresh) = marks.purge(&selected.ranges) else { return Err(selected.too_scattered(&marks.watermark)) };
        // The reader waits for events that are there no more.
        marks.woken = true;
        let end = selected.ranges.last().map_or(0, |&(_, to)| to.min(marks.durable) + 1);
        let _ = self.shared.purged_below.fetch_max(end, Ordering::AcqRel);
        Ok(fresh)
    }
}
