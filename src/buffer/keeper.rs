//! The keeper: writes the cursor, frees segments that it has passed, prepares the next ones.
//!
//! Runs on a thread of its own, so that neither commits nor the drain wait for it. Order, which nothing may change: the cursor is durable
//! before a segment behind it is reused; a segment's header and name are durable before the committer may take it.

use super::capacity::{MIN_SEGMENTS, Plan};
use super::dedup::Journal;
use super::log::cursor::{Cursor, Marks};
use super::log::quarantine;
use super::log::recovery::random_bytes;
use super::log::segment::{self, Segment, SegmentHeader, spare_name};
use super::log::storage::{OpenMode, is_full};
use super::shared::{Shared, lock};
use crate::lifecycle::{Ends, Heartbeat};
use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// How often the cursor is written while things move.
const TICK: Duration = Duration::from_millis(100);
/// Segments kept prepared ahead of the committer.
const READY_TARGET: u64 = 2;
/// Freed segments kept for reuse beyond those: the rest of the disk is given back.
const SPARES_KEPT: usize = 2;
/// How long to wait after the disk refused to give a segment.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// How long to leave the files of parked events alone after the disk refused to change one.
const PARKED_RETRY_AFTER: Duration = Duration::from_secs(10);
/// Cursors at the end: after the second both slots know all ends, so that the parked ones can be marked; what that takes of others is settled by the rest.
const LAST_CURSORS: usize = 3;
/// How often the journal of ids is written while events come: what it lags behind, a start after a crash reads from the segments.
const JOURNAL_EVERY: Duration = Duration::from_secs(1);

/// The keeper; [`Keeper::run`] is the thread's body.
#[derive(Debug)]
pub struct Keeper {
    shared: Arc<Shared>,
    cursor: Cursor,
    /// The ids of the newest events.
    journal: Option<Journal>,
    /// What LOCK takes; it does not change.
    lock_bytes: u64,
    journal_at: Option<Instant>,
    /// What the cursor on disk says.
    written: Marks,
    /// The frontiers and ends in its two slots, the older one first, as far as they were written in this life.
    slots: [Option<(u64, Ends)>; 2],
    retry_at: Option<Instant>,
    parked_retry_at: Option<Instant>,
    /// Troubles that the log knows of: each is told when it begins, not at every attempt.
    told_no_segment: bool,
    told_not_freed: bool,
    told_cursor_waits: bool,
}

impl Keeper {
    pub(super) fn new(shared: Arc<Shared>, cursor: Cursor, journal: Option<Journal>, written: Marks) -> Self {
        let lock_file = shared.storage.open(super::LOCK_NAME, OpenMode::Read);
        let lock_bytes = lock_file.and_then(|file| file.allocated_bytes()).unwrap_or(0);
        Self {
            shared,
            cursor,
            journal,
            lock_bytes,
            journal_at: None,
            written,
            slots: [None; 2],
            retry_at: None,
            parked_retry_at: None,
            told_no_segment: false,
            told_not_freed: false,
            told_cursor_waits: false,
        }
    }

    /// Works until told to stop; the last act is a cursor that says so.
    pub fn run(mut self, heartbeat: &Heartbeat) {
        loop {
            heartbeat.tick();
            self.wait();
            if self.turn(Instant::now()).is_break() {
                return;
            }
        }
    }

    fn wait(&self) {
        let poked = lock(&self.shared.keeper_poked);
        let waited = self.shared.keeper_changed.wait_timeout_while(poked, TICK, |poke| !poke.now && !poke.stop);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// What [`Keeper::run`] does when it is time, once and without waiting; also for a driver that brings time and turns of its own (a
    /// simulation). Breaks when the keeper has ended.
    pub fn turn(&mut self, now: Instant) -> ControlFlow<()> {
        let stop = {
            let mut poked = lock(&self.shared.keeper_poked);
            poked.now = false;
            poked.stop
        };
        self.tick(now);
        if stop {
            // What was parked and is in Kafka must not be sent again after a stop in good order.
            for _ in 0..LAST_CURSORS {
                if !self.shared.parked.has_files() {
                    break;
                }
                self.write_cursor(self.shared.cursor_marks(false));
                self.keep_parked(now);
            }
            if let Err(error) = self.shared.dead_letters.take_stray_back() {
                tracing::warn!(%error, "a file is left that the next start takes for a dead letter");
            }
            let marks = self.shared.cursor_marks(true);
            self.write_cursor(marks);
            let _ = self.keep_ids();
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    /// One round: cursor, freeing, preparing.
    pub(super) fn tick(&mut self, now: Instant) {
        let marks = self.shared.cursor_marks(false);
        lock(&self.shared.rates).observe(now, marks.durable_seq, marks.ends.total());
        // The durable seq alone is worth a write a second: it only sharpens what recovery can prove.
        let ended = |marks: &Marks| (marks.frontier, marks.ends);
        let moved = ended(&marks) != ended(&self.written) || marks.ended_above != self.written.ended_above || self.written.clean;
        // Parked events may be removed once both slots know their ends.
        let lags = self.shared.parked.wants_more_than(&self.slots[0].map_or_else(Ends::default, |(_, ends)| ends));
        if moved || lags || marks.durable_seq > self.written.durable_seq {
            self.write_cursor(marks);
        }
        self.keep_parked(now);
        self.free_passed();
        self.prepare(now);
        if self.journal_at.is_none_or(|at| now >= at + JOURNAL_EVERY) {
            self.journal_at = Some(now);
            let _ = self.keep_ids();
        }
        self.shared.meters.allocated.set(self.allocated_bytes());
    }

    fn write_cursor(&mut self, marks: Marks) {
        match self.cursor.write(&marks) {
            Ok(()) => {
                self.slots = [self.slots[1], Some((marks.frontier, marks.ends))];
                // Before those who wait are told.
                if let Some((_, ends)) = self.slots[0] {
                    self.shared.parked.settle(ends);
                }
                *lock(&self.shared.ends_on_disk) = marks.ends;
                self.shared.ends_changed.notify_all();
                self.written = marks;
                self.told_cursor_waits = false;
            }
            // Some file systems need room to write over what is there. Nothing is freed until there is some, and nothing is lost.
            Err(error) if is_full(&error) => {
                if !std::mem::replace(&mut self.told_cursor_waits, true) {
                    tracing::warn!(%error, "no room to write the cursor, trying again: after a crash now, more events would be sent twice");
                }
            }
            // Nothing is lost by an old cursor, but no segment may be freed by one that is not on disk.
            Err(error) => self.shared.fail(&format!("cursor: {error}")),
        }
    }

    /// Parked events that are at their end follow behind the cursor.
    fn keep_parked(&mut self, now: Instant) {
        if !self.shared.parked.has_files() || self.parked_retry_at.is_some_and(|at| now < at) {
            return;
        }
        self.parked_retry_at = (!self.shared.keep_parked()).then_some(now + PARKED_RETRY_AFTER);
    }

    /// Writes the ids of what is durable by now; `false` when that has to wait.
    fn keep_ids(&mut self) -> bool {
        let (shared, Some(journal)) = (&self.shared, &mut self.journal) else { return true };
        if !journal.lags(&lock(&shared.window)) {
            return true;
        }
        let written = journal.write(&*shared.storage, &shared.window);
        match &written {
            Ok(()) => journal.told_waits = false,
            // As for the cursor.
            Err(error) if is_full(error) => {
                if !std::mem::replace(&mut journal.told_waits, true) {
                    tracing::warn!(%error, "no room to write the journal of ids, trying again: no segment is freed until there is");
                }
            }
            Err(error) => shared.fail(&format!("journal of ids: {error}")),
        }
        written.is_ok()
    }

    /// Whether the events up to a seq stay known once their segment is gone.
    fn keeps_ids_of(&mut self, seq: u64) -> bool {
        let durable = lock(&self.shared.window).durable();
        self.journal.as_ref().is_none_or(|journal| journal.covers(seq, durable)) || self.keep_ids()
    }

    fn free_passed(&mut self) {
        loop {
            let front = lock(&self.shared.segments).live.front().and_then(|segment| segment.seal());
            let Some(seal) = front.filter(|seal| seal.last_seq <= self.written.frontier) else { return };
            // Both slots have to have passed it: if the newer one rots, the older one must not miss what was delivered.
            if !self.is_behind_both(seal.last_seq) {
                self.write_cursor(self.written.clone());
                if !self.is_behind_both(seal.last_seq) {
                    return;
                }
            }
            if !self.keeps_ids_of(seal.last_seq) {
                return;
            }
            let Some(segment) = lock(&self.shared.segments).live.pop_front() else { return };
            if segment.header.capacity != self.shared.plan.segment_bytes {
                self.remove(&segment.name);
                continue;
            }
            let spare = spare_name(segment.id());
            // A crash here, or a rename that is lost, leaves a segment behind the cursor: recovery finds and reuses it.
            match self.shared.storage.rename(&segment.name, &spare) {
                Ok(()) => {
                    lock(&self.shared.segments).spares.push(spare);
                    self.told_not_freed = false;
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.told_not_freed, true) {
                        tracing::error!(file = segment.name, %error, "cannot free a segment: its space stays in use, trying again");
                    }
                    // Still on disk, so still counted.
                    lock(&self.shared.segments).live.push_front(segment);
                    return;
                }
            }
        }
    }

    fn is_behind_both(&self, seq: u64) -> bool {
        self.slots.iter().all(|slot| slot.is_some_and(|(frontier, _)| seq <= frontier))
    }

    fn prepare(&mut self, now: Instant) {
        if self.retry_at.is_some_and(|at| now < at) {
            return;
        }
        self.retry_at = None;
        loop {
            let ready = lock(&self.shared.queue).capacity.ready();
            let mut segments = lock(&self.shared.segments);
            if ready >= READY_TARGET {
                let surplus = segments.spares.len().saturating_sub(SPARES_KEPT);
                let surplus: Vec<String> = segments.spares.drain(..surplus).collect();
                drop(segments);
                for name in &surplus {
                    self.remove(name);
                }
                return;
            }
            let spare = segments.spares.pop();
            let (bytes, segment_id) = (segments.bytes(self.shared.plan.segment_bytes), segments.next_id);
            drop(segments);
            if spare.is_none() && !self.may_grow(bytes, now) {
                return;
            }
            match self.prepare_one(spare.as_deref(), segment_id) {
                Ok(segment) => {
                    if std::mem::take(&mut self.told_no_segment) {
                        tracing::info!("the volume gives segments again");
                    }
                    self.add_ready(segment);
                }
                Err(error) => {
                    self.not_prepared(spare, &error, now);
                    return;
                }
            }
        }
    }

    fn prepare_one(&self, spare: Option<&str>, segment_id: u64) -> io::Result<Segment> {
        let shared = &*self.shared;
        let base_seq = lock(&shared.marks).durable + 1;
        let header = SegmentHeader {
            segment_id,
            base_seq,
            salt: random_bytes(&*shared.storage),
            relay_id: shared.relay_id,
            created_ms: shared.storage.now_ms(),
            capacity: shared.plan.segment_bytes,
            key_id: shared.keyring.writing_key_id(),
        };
        segment::prepare(&*shared.storage, spare, header)
    }

    fn add_ready(&self, segment: Segment) {
        // Both under the queue's lock: whoever counts the prepared segments there finds none that is not admitted to, and none twice.
        let mut queue = lock(&self.shared.queue);
        {
            let mut segments = lock(&self.shared.segments);
            segments.next_id = segment.id() + 1;
            segments.ready.push_back(Arc::new(segment));
        }
        queue.capacity.add_ready();
        self.shared.grant(&mut queue);
    }

    /// A disk that is full for now is a full buffer; anything else that fails here is too, until it works again.
    fn not_prepared(&mut self, spare: Option<String>, error: &io::Error, now: Instant) {
        if !std::mem::replace(&mut self.told_no_segment, true) {
            tracing::warn!(%error, "the volume gives no further segment: no room for more events until it does; those that are stored are sent on");
        }
        // A spare that somebody removed is none any more; one that fails is tried again after the others.
        if let Some(spare) = spare.filter(|_| error.kind() != io::ErrorKind::NotFound) {
            lock(&self.shared.segments).spares.insert(0, spare);
        }
        self.retry_at = Some(now + RETRY_AFTER);
    }

    /// Whether another segment stays within the bound and leaves the volume the free space that belongs to others.
    fn may_grow(&mut self, bytes: u64, now: Instant) -> bool {
        let Plan { segment_bytes, max_segments, .. } = self.shared.plan;
        // A segment whose header rotted is kept whole in quarantine, beyond what is set apart for it.
        let beyond = quarantine::usage(&*self.shared.storage).beyond(self.shared.plan.quarantine_bytes);
        if bytes + beyond + segment_bytes > max_segments * segment_bytes && !self.quarantine_gives_way(bytes) {
            return false;
        }
        match self.shared.storage.free_bytes() {
            Ok(free) if free < segment_bytes.saturating_add(self.shared.min_free_bytes) => {
                self.retry_at = Some(now + RETRY_AFTER);
                false
            }
            // A volume that cannot say is found out by trying.
            _ => true,
        }
    }

    /// Quarantine keeps what it has for as long as the buffer can work beside it; then its oldest entries go.
    fn quarantine_gives_way(&self, bytes: u64) -> bool {
        let Plan { segment_bytes, max_segments, quarantine_bytes, .. } = self.shared.plan;
        if bytes >= MIN_SEGMENTS * segment_bytes {
            return false;
        }
        // Segments from before the settings changed may be larger.
        let Some(rest) = (max_segments * segment_bytes).checked_sub(bytes + segment_bytes) else { return false };
        let made = quarantine::give_way(&*self.shared.storage, quarantine_bytes, rest);
        made.inspect_err(|error| tracing::warn!(%error, "cannot remove anything from quarantine")).is_ok()
    }

    fn remove(&self, name: &str) {
        if let Err(error) = self.shared.storage.remove(name) {
            tracing::warn!(file = name, %error, "cannot remove a segment that is not needed");
        }
    }

    fn allocated_bytes(&self) -> u64 {
        let files = {
            let segments = lock(&self.shared.segments);
            segments.live.iter().chain(&segments.ready).map(|segment| Arc::clone(&segment.file)).collect::<Vec<_>>()
        };
        let segments: u64 = files.iter().filter_map(|file| file.allocated_bytes().ok()).sum();
        let spares = lock(&self.shared.segments).spares.len() as u64 * self.shared.plan.segment_bytes;
        let journal = self.journal.as_ref().map_or(0, Journal::allocated_bytes);
        let dead_letters = self.shared.dead_letters.usage().bytes;
        let parked = self.shared.parked.bytes();
        let fixed = self.lock_bytes + super::log::cursor::CURSOR_BYTES;
        segments + spares + journal + dead_letters + parked + fixed + quarantine::usage(&*self.shared.storage).bytes()
    }
}
