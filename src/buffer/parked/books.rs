//! What follows behind the cursor: files that are done with are removed, what is done of a file is marked, what was purged is left out, and what does
//! not verify is set aside.

use super::super::log::quarantine;
use super::super::log::whole;
use super::super::shared::lock;
use super::ParkError;
use super::files::{self, Unread};
use super::index::{Kept, knows};
use super::purge::left;
use super::spans::Spans;
use super::store::Store;
use crate::lifecycle::Ends;

impl Store {
    /// Removes what is done with and marks how far the rest has come, as far as a cursor that knows `settled` allows; `now` are the ends of this moment.
    /// `false` when the disk did not let it.
    pub(in crate::buffer) fn keep_books(&self, settled: &Ends, now: &dyn Fn() -> Ends) -> bool {
        let _alone = lock(&self.changing);
        if let Err(error) = self.mend() {
            tracing::warn!(%error, "cannot take back a file of parked events, trying again");
            return false;
        }
        if let Err(error) = self.write_without(settled) {
            tracing::warn!(%error, "cannot write parked events without those that were purged, trying again");
            return false;
        }
        let (finished, due) = self.due(settled);
        if let Err(error) = files::remove(&*self.storage, &finished) {
            tracing::warn!(%error, "cannot remove parked events that were sent, trying again");
            return false;
        }
        let marked = self.mark(&due);
        self.follow(settled, &finished, &marked, now);
        marked.len() == due.len()
    }

    /// Writes marks; returns those that are durable.
    fn mark(&self, due: &[(String, u64)]) -> Vec<(String, u64)> {
        let mut marked = Vec::new();
        for (name, seq) in due {
            match files::mark(&*self.storage, name, *seq) {
                Ok(()) => marked.push((name.clone(), *seq)),
                Err(error) => tracing::warn!(%error, file = name, "cannot mark parked events as sent, trying again"),
            }
        }
        marked
    }

    /// Books what was removed and marked, and asks for the cursor that the next marks and removals have to wait for.
    fn follow(&self, settled: &Ends, finished: &[String], marked: &[(String, u64)], now: &dyn Fn() -> Ends) {
        let mut index = lock(&self.index);
        let ends = now();
        let mut wanted = None;
        for queue in index.queues.values_mut() {
            queue.files.retain(|file| !finished.contains(&file.name));
            for file in &mut queue.files {
                file.mark = marked.iter().find(|(name, _)| *name == file.name).map_or(file.mark, |(_, seq)| *seq);
            }
            if queue.noted.as_ref().is_some_and(|(_, ends)| knows(settled, ends)) {
                queue.noted = None;
            }
            let is_unmarked = queue.is_unmarked();
            if is_unmarked && queue.noted.is_none() {
                queue.noted = Some((queue.frontier, ends));
            }
            let for_a_mark = queue.noted.filter(|_| is_unmarked).map(|(_, ends)| ends);
            let for_removals = queue.files.iter().filter_map(|file| file.done_at);
            wanted = for_a_mark.into_iter().chain(for_removals).chain(wanted).max_by_key(Ends::total);
        }
        index.tidy();
        drop(index);
        if let Some(wanted) = wanted {
            self.want(&wanted);
        }
    }

    /// Writes files anew without the purged events of which a cursor that knows `settled` tells.
    fn write_without(&self, settled: &Ends) -> Result<(), ParkError> {
        let cuts: Vec<(u64, Kept)> = {
            let index = lock(&self.index);
            let files = index.queues.iter().flat_map(|(number, queue)| queue.files.iter().map(move |file| (*number, file)));
            let due = files.filter(|(_, file)| file.alive > 0 && file.cut_at.as_ref().is_some_and(|ends| knows(settled, ends)));
            due.map(|(number, file)| (number, file.clone())).collect()
        };
        for (number, file) in cuts {
            let content = match files::read(&*self.storage, &file.name, &self.keyring) {
                Ok(content) => content,
                // Whoever reads it next reports it.
                Err(Unread::Damaged(_)) => continue,
                Err(unread) => return Err(unread.into_error(&*self.storage, &file.name)),
            };
            let events = left(&content, |seq| seq > file.mark && seq <= file.last && !file.cut.contains(seq));
            let (Some(first), Some(last)) = (events.first(), events.last()) else { continue };
            self.write((number, file.template), &content.head, &file.name, &events)?;
            let bytes = whole::allocated(&*self.storage, &file.name);
            let mut index = lock(&self.index);
            let edition = index.next_edition();
            let Some(queue) = index.queues.get_mut(&number) else { continue };
            let Some(kept) = queue.files.iter_mut().find(|kept| kept.name == file.name) else { continue };
            (kept.first, kept.last, kept.bytes, kept.edition, kept.mark) = (first.seq, last.seq, bytes, edition, 0);
            kept.oldest_ms = first.accepted_ms;
            if kept.cut == file.cut {
                (kept.cut, kept.cut_at) = (Spans::default(), None);
            }
        }
        Ok(())
    }

    /// Files to remove, and marks to write.
    fn due(&self, settled: &Ends) -> (Vec<String>, Vec<(String, u64)>) {
        let index = lock(&self.index);
        let is_done = |file: &&Kept| file.done_at.as_ref().is_some_and(|ends| knows(settled, ends));
        let finished = index.files().filter(is_done).map(|file| file.name.clone()).collect();
        let mut marks = Vec::new();
        for queue in index.queues.values() {
            let Some((frontier, _)) = queue.noted.as_ref().filter(|(_, ends)| knows(settled, ends)) else { continue };
            // A frontier that was moved back meanwhile ends less.
            let frontier = (*frontier).min(queue.frontier);
            let part = queue.files.iter().find(|file| file.first <= frontier && frontier < file.last && file.mark < frontier);
            marks.extend(part.filter(|file| file.alive > 0).map(|file| (file.name.clone(), frontier)));
        }
        (finished, marks)
    }

    /// Takes a file that does not verify out of the books, and into quarantine; `book` is told how many events were in it, within the index's lock.
    pub(super) fn give_up(&self, number: u64, name: &str, book: &mut dyn FnMut(u64) -> Ends) -> Result<Option<Kept>, Unread> {
        let _alone = lock(&self.changing);
        if !lock(&self.index).files().any(|file| file.name == name) {
            return Ok(None);
        }
        quarantine::move_aside(&*self.storage, name)?;
        let mut index = lock(&self.index);
        let Some(queue) = index.queues.get_mut(&number) else { return Ok(None) };
        let Some(place) = queue.files.iter().position(|file| file.name == name) else { return Ok(None) };
        let file = queue.files.remove(place);
        if let Some(file) = &file {
            let ends = book(file.alive);
            queue.note(&ends);
        }
        Ok(file)
    }
}
