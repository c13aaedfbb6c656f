//! The read side: durable frames in seq order, acks in any order, and going back to what is not acknowledged.
//!
//! Owned by one thread. Every frame is verified when it comes from disk; what does not verify never comes out: it is set aside, its seqs
//! are reported lost, and reading goes on behind it. A reader that is close behind takes frames from memory.

use super::dead_letters::{DeadLetter, DeadLetterError};
use super::error::ReadError;
use super::log::cipher::Cipher;
use super::log::frame::{FrameHeader, Kind};
use super::log::quarantine::{self, Note};
use super::log::scan::{Found, Scanner};
use super::log::segment::{DATA_START, Segment};
use super::mark_book::MarkBook;
use super::shared::{Position, Shared, lock};
use super::watermark::{MAX_SPAN, events_in};
use crate::event::{Place, Seq};
use crate::sync::{MutexGuard, Ordering};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

/// So often the disk may give nothing of a stretch before that stretch counts as damaged: the drain tries again with growing
/// pauses, and a device that was away for a moment must not be taken for rot.
const READ_TRIES: u32 = 12;

/// One frame's events, leased to the drain.
#[derive(Clone, Debug)]
pub struct Leased {
    /// Seq of the first record in `payload`.
    pub first_seq: Seq,
    /// Number of records.
    pub count: u32,
    /// When the batch was accepted, in milliseconds since the Unix epoch: the Kafka timestamp.
    pub accepted_ms: u64,
    /// Encoded records, read with [`crate::event::Records`].
    pub payload: Bytes,
}

/// A leased frame that is not wholly acknowledged.
#[derive(Clone, Copy, Debug)]
struct Lease {
    first_seq: u64,
    count: u32,
    accepted_ms: u64,
    position: Position,
}

/// The read side of the buffer, owned by the drain thread. Blocking; no other reader exists.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    /// Seq of the next frame to hand out.
    next_seq: u64,
    segment_id: u64,
    offset: u64,
    /// Not held: the blocks of a segment that is freed and removed meanwhile must not wait for a reader that rests.
    segment: Weak<Segment>,
    scanner: Scanner,
    /// Of the segment with this id.
    cipher: Option<(u64, Cipher)>,
    /// Where the disk gave nothing, as segment id and offset, and how often.
    unread: (u64, u64, u32),
    leases: VecDeque<Lease>,
    /// From this seq on nothing was ever leased, so nothing but what was purged can be at its end: spares a lock per event.
    fresh_from: u64,
    /// The newest event of a life that did not end in good order.
    unclean_up_to: Option<Seq>,
    /// Somebody was told of it.
    told_doubt: bool,
}

/// Ends a [`Reader::wait`] early; clones share it.
#[derive(Clone, Debug)]
pub struct ReaderWaker {
    shared: Arc<Shared>,
}

impl ReaderWaker {
    /// Wakes the reader, now or at its next wait.
    pub fn wake(&self) {
        lock(&self.shared.marks).woken = true;
        self.shared.marks_changed.notify_one();
    }
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, unclean_up_to: Option<Seq>) -> Self {
        let (next_seq, fresh_from) = {
            let marks = lock(&shared.marks);
            (marks.watermark.frontier() + 1, marks.watermark.highest_ended() + 1)
        };
        let (scanner, leases) = (Scanner::default(), VecDeque::new());
        let (segment, unread) = (Weak::new(), (0, 0, 0));
        let (segment_id, offset, cipher) = (0, DATA_START, None);
        Self {
            shared,
            next_seq,
            segment_id,
            offset,
            segment,
            scanner,
            cipher,
            unread,
            leases,
            fresh_from,
            unclean_up_to,
            told_doubt: false,
        }
    }

    /// A handle that ends [`Reader::wait`] early.
    pub fn waker(&self) -> ReaderWaker {
        ReaderWaker { shared: Arc::clone(&self.shared) }
    }

    /// The next durable frame in seq order, or `None` when all that is durable (or may be leased at once) was handed out.
    ///
    /// Rotted frames are set aside, their seqs reported lost in the ledger, and skipped: they never come out of here.
    ///
    /// # Errors
    /// When the file system gives nothing at all of a stretch; trying again later is right. What it has not given after many tries counts
    /// as damaged.
    pub fn next_frame(&mut self) -> Result<Option<Leased>, ReadError> {
        let durable = {
            let marks = lock(&self.shared.marks);
            // What is lost or purged already is not there to be waited for.
            self.next_seq = marks.watermark.first_open(self.next_seq);
            if self.has_nothing(&marks) {
                return Ok(None);
            }
            marks.durable
        };
        let recent = lock(&self.shared.recent).take(self.next_seq);
        if let Some((position, frame)) = recent {
            self.lease(position, &frame);
            return Ok(Some(frame));
        }
        self.next_from_disk(durable)
    }

    /// Whether an event is at its end already (acked out of order before a rewind or a restart, or purged): it must not be sent again.
    pub fn is_acked(&self, seq: Seq) -> bool {
        let fresh_from = self.fresh_from.max(self.shared.purged_below.load(Ordering::Acquire));
        seq.0 < fresh_from && lock(&self.shared.marks).watermark.ended(seq.0)
    }

    /// Blocks until something is there to hand out, the timeout passes, or [`ReaderWaker::wake`] is called.
    pub fn wait(&self, timeout: Duration) {
        let mut marks = lock(&self.shared.marks);
        marks.reader_sleeps = true;
        let nothing = |marks: &mut MarkBook| self.has_nothing(marks) && !marks.woken;
        let (mut marks, _) = self.shared.marks_changed.wait_timeout_while(marks, timeout, nothing).unwrap_or_else(PoisonError::into_inner);
        marks.woken = false;
        marks.reader_sleeps = false;
    }

    fn has_nothing(&self, marks: &MarkBook) -> bool {
        marks.durable < self.next_seq || self.next_seq > marks.watermark.frontier() + MAX_SPAN as u64
    }

    /// What the buffer's parts share.
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The same, to be kept.
    pub(super) fn shared_handle(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// What the buffer's parts share.
    #[cfg(test)]
    pub(super) fn shared_for_tests(&self) -> &Shared {
        &self.shared
    }

    /// Whether [`Reader::wait`] would wait.
    #[cfg(test)]
    pub(super) fn would_wait(&self) -> bool {
        self.has_nothing(&lock(&self.shared.marks))
    }

    /// Marks events as acknowledged by Kafka, in any order. Already acknowledged ones are ignored (returns how many were new).
    pub fn ack(&mut self, seqs: &[Seq]) -> usize {
        let shared = Arc::clone(&self.shared);
        let mut marks = lock(&shared.marks);
        let fresh = seqs.iter().filter(|seq| marks.watermark.ack(seq.0)).count();
        marks.ends.acked += fresh as u64;
        self.note_ends(marks, fresh as u64);
        fresh
    }

    /// What follows when `fresh` events that waited have reached their end.
    fn note_ends(&mut self, mut marks: MutexGuard<'_, MarkBook>, fresh: u64) {
        marks.backlog = marks.backlog.saturating_sub(fresh);
        self.pop_leases(&mut marks);
        drop(marks);
        self.shared.after_end(fresh);
    }

    /// Events up to `highest` were parked: they are out of the log, and not at their end.
    pub(super) fn left_log(&mut self, highest: u64) {
        let shared = Arc::clone(&self.shared);
        // They may never have been leased in this life.
        self.fresh_from = self.fresh_from.max(highest + 1);
        self.pop_leases(&mut lock(&shared.marks));
    }

    /// What is behind the frontier is leased no longer.
    fn pop_leases(&mut self, marks: &mut MarkBook) {
        let frontier = marks.watermark.frontier();
        while self.leases.front().is_some_and(|lease| lease.first_seq + u64::from(lease.count) <= frontier + 1) {
            let _ = self.leases.pop_front();
        }
        marks.oldest_leased_ms = self.leases.front().map(|lease| lease.accepted_ms);
    }

    /// Gives an event up as one that Kafka will never take: keeps it as a dead letter, then books its end. Blocks for a sync.
    ///
    /// # Errors
    /// [`DeadLetterError`]; the event is still waiting then.
    pub fn dead_letter(&mut self, letter: &DeadLetter) -> Result<(), DeadLetterError> {
        let shared = Arc::clone(&self.shared);
        shared.add_dead_letter(letter)?;
        let mut marks = lock(&shared.marks);
        let fresh = u64::from(marks.watermark.ack(letter.seq));
        marks.ends.dead_lettered += fresh;
        // It may never have been leased in this life.
        self.fresh_from = self.fresh_from.max(letter.seq + 1);
        self.note_ends(marks, fresh);
        shared.acks.dead(Seq(letter.seq), letter.cause.reason.as_str(), letter.cause.dead_ms);
        Ok(())
    }

    /// Goes back to the first event that is not acknowledged; [`Reader::next_frame`] starts there again.
    pub fn rewind(&mut self) {
        if let Some(first) = self.leases.front().copied() {
            self.fresh_from = self.fresh_from.max(self.next_seq);
            self.next_seq = first.first_seq;
            self.segment_id = first.position.segment_id;
            self.offset = first.position.offset;
            self.segment = Weak::new();
            self.leases.clear();
        }
    }

    /// The contiguous frontier: every event up to and including it is at its end.
    pub fn acked(&self) -> Seq {
        Seq(lock(&self.shared.marks).watermark.frontier())
    }

    /// Everything up to and including this seq is durable.
    pub fn durable(&self) -> Seq {
        Seq(lock(&self.shared.marks).durable)
    }

    /// After an unclean stop, once: the newest event of the life that ended so.
    pub fn in_doubt(&mut self) -> Option<Seq> {
        self.unclean_up_to.filter(|_| !std::mem::replace(&mut self.told_doubt, true))
    }

    /// Whether the life before this one ended in good order, or there was none: then the books are complete.
    pub fn stopped_clean(&self) -> bool {
        self.unclean_up_to.is_none()
    }

    /// Kafka may have events of which no report said so: this life ends unclean, so that the next one hears of them.
    pub fn leave_in_doubt(&mut self) {
        lock(&self.shared.marks).in_doubt = true;
    }

    /// The newest place of each partition that is known.
    pub fn places(&self) -> Vec<Place> {
        lock(&self.shared.marks).places()
    }

    /// Remembers the newest acked place of a partition, for the checkpoint.
    pub fn mark_partition(&mut self, topic: &Arc<str>, partition: i32, seq: Seq, offset: i64) {
        lock(&self.shared.marks).mark_partition(topic, partition, seq, offset);
    }

    fn lease(&mut self, position: Position, frame: &Leased) {
        self.next_seq = frame.first_seq.0 + u64::from(frame.count);
        self.segment_id = position.segment_id;
        self.offset = position.next_offset;
        let lease = Lease { first_seq: frame.first_seq.0, count: frame.count, accepted_ms: frame.accepted_ms, position };
        if self.leases.is_empty() {
            lock(&self.shared.marks).oldest_leased_ms = Some(lease.accepted_ms);
        }
        self.leases.push_back(lease);
    }

    fn next_from_disk(&mut self, durable: u64) -> Result<Option<Leased>, ReadError> {
        while self.next_seq <= durable {
            let Some(segment) = self.current_segment() else { return Ok(None) };
            let limit = segment.durable_end();
            // Only marks may be left in a segment whose events have all been read, and it may be freed, and overwritten, at any time.
            let read_out = segment.seal().is_some_and(|seal| seal.last_seq < self.next_seq);
            if read_out || self.offset >= limit {
                if !self.leave(&segment) {
                    return Ok(None);
                }
                continue;
            }
            let found = match self.scanner.frame_at(&*segment.file, segment.header.seed(), self.offset, limit) {
                Ok(found) => found,
                Err(source) => {
                    self.gave_nothing(&segment, source)?;
                    continue;
                }
            };
            match found {
                Found::Frame(header, stored) => match self.plain(&segment, &header, stored)? {
                    Some(payload) => {
                        if let Some(frame) = self.take(&segment, &header, payload) {
                            return Ok(Some(frame));
                        }
                    }
                    None => self.skip_damage(&segment, self.offset + header.stored_len(), header.next_seq()),
                },
                Found::BadPayload(_) | Found::NoFrame { .. } if self.passed_by_purge() => {}
                Found::BadPayload(header) => {
                    let end = (self.offset + header.stored_len()).min(limit);
                    self.skip_damage(&segment, end, header.next_seq());
                }
                Found::NoFrame { .. } => self.skip_to_next_frame(&segment, limit, durable)?,
            }
        }
        Ok(None)
    }

    /// The payload as it was accepted; `None` when what is stored was tampered with.
    fn plain(&mut self, segment: &Segment, header: &FrameHeader, stored: Bytes) -> Result<Option<Bytes>, ReadError> {
        if !header.encrypted {
            return Ok(Some(stored));
        }
        if self.cipher.as_ref().is_none_or(|(id, _)| *id != segment.id()) {
            let cipher = self.shared.keyring.cipher(&segment.header);
            // Opening has seen to it; a missing key is never a reason to lose what it locks.
            let cipher = cipher.ok_or_else(|| self.read_error(segment, std::io::Error::other("the key to it is not there")))?;
            self.cipher = Some((segment.id(), cipher));
        }
        Ok(self.cipher.as_ref().and_then(|(_, cipher)| cipher.open(header, &stored)))
    }

    /// Whether a purge has passed the place of reading, which moves on then. Its segment may be freed and written over: what does not
    /// verify there is no damage.
    fn passed_by_purge(&mut self) -> bool {
        let frontier = lock(&self.shared.marks).watermark.frontier();
        let passed = self.next_seq <= frontier;
        if passed {
            self.next_seq = frontier + 1;
            self.segment = Weak::new();
        }
        passed
    }

    fn take(&mut self, segment: &Segment, header: &FrameHeader, payload: Bytes) -> Option<Leased> {
        let position = Position { segment_id: segment.id(), offset: self.offset, next_offset: self.offset + header.stored_len() };
        if header.kind == Kind::Mark || header.next_seq() <= self.next_seq {
            self.offset = position.next_offset;
            return None;
        }
        if header.first_seq > self.next_seq {
            self.lose(header.first_seq - 1);
        }
        let frame = Leased { first_seq: Seq(header.first_seq), count: header.count, accepted_ms: header.accepted_ms, payload };
        self.lease(position, &frame);
        self.scanner.insist(true);
        Some(frame)
    }

    fn skip_to_next_frame(&mut self, segment: &Segment, limit: u64, durable: u64) -> Result<(), ReadError> {
        let (seed, min_seq) = (segment.header.seed(), segment.header.base_seq);
        // Not from the next seq on: a frame that begins before it may hold it.
        let good = loop {
            match self.scanner.resync(&*segment.file, seed, self.offset, limit, min_seq) {
                Ok(good) => break good,
                Err(source) => self.gave_nothing(segment, source)?,
            }
        };
        let (end, next_seq) = match good {
            Some((at, header)) => (at, header.first_seq),
            None => (limit, segment.seal().map_or(durable, |seal| seal.last_seq) + 1),
        };
        self.skip_damage(segment, end, next_seq);
        Ok(())
    }

    /// Sets the bytes from here to `end` aside and reports the seqs below `next_seq` lost.
    fn skip_damage(&mut self, segment: &Segment, end: u64, next_seq: u64) {
        let lost_seqs = (self.next_seq < next_seq).then(|| (self.next_seq, next_seq - 1));
        let shared = &*self.shared;
        let note = Note {
            reason: "a checksum failed when the data was read",
            file: &segment.name,
            offset: self.offset,
            bytes: end - self.offset,
            lost_seqs,
            at_ms: shared.storage.now_ms(),
        };
        tracing::error!(file = segment.name, offset = note.offset, bytes = note.bytes, ?lost_seqs, "data on disk is damaged: set aside");
        shared.meters.quarantined.add(1);
        if let Err(error) = quarantine::set_aside(&*shared.storage, &*segment.file, &note, shared.plan.quarantine_bytes) {
            tracing::warn!(%error, "cannot keep a copy of damaged bytes in quarantine");
        }
        self.offset = end;
        if next_seq > self.next_seq {
            self.lose(next_seq - 1);
        }
    }

    /// Reports everything from the next seq up to `to` lost.
    fn lose(&mut self, to: u64) {
        let ranges = lock(&self.shared.marks).lose(self.next_seq, to);
        let lost = events_in(&ranges);
        if lost > 0 {
            self.shared.told_lost(&ranges);
            tracing::error!(from = self.next_seq, to, events = lost, "events are lost");
        }
        self.next_seq = to + 1;
        self.shared.after_end(lost);
    }

    fn current_segment(&mut self) -> Option<Arc<Segment>> {
        if let Some(segment) = self.segment.upgrade().filter(|segment| segment.id() == self.segment_id) {
            return Some(segment);
        }
        // Freed meanwhile, or none chosen yet: go on with the first that is younger.
        let segment = lock(&self.shared.segments).live.iter().find(|segment| segment.id() >= self.segment_id).map(Arc::clone)?;
        if segment.id() != self.segment_id {
            self.offset = DATA_START;
        }
        self.turn_to(&segment);
        Some(segment)
    }

    fn turn_to(&mut self, segment: &Arc<Segment>) {
        self.segment_id = segment.id();
        self.segment = Arc::downgrade(segment);
        self.scanner.reset();
    }

    /// Goes on with the segment after this one; `false` when there is none yet.
    fn leave(&mut self, segment: &Segment) -> bool {
        let next = lock(&self.shared.segments).live.iter().find(|other| other.id() > segment.id()).map(Arc::clone);
        let Some(next) = next else { return false };
        self.turn_to(&next);
        self.offset = DATA_START;
        true
    }

    /// The disk gave nothing of a stretch: an error, until it has given nothing so often that the stretch counts as damaged. Not while the
    /// storage has failed as a whole: then nothing is known about what is on it.
    fn gave_nothing(&mut self, segment: &Segment, source: std::io::Error) -> Result<(), ReadError> {
        let (segment_id, offset, tries) = self.unread;
        let tries = if (segment_id, offset) == (segment.id(), self.offset) { tries.saturating_add(1) } else { 1 };
        self.unread = (segment.id(), self.offset, tries);
        if tries < READ_TRIES || lock(&self.shared.queue).failed.is_some() {
            return Err(self.read_error(segment, source));
        }
        tracing::error!(file = segment.name, offset = self.offset, error = %source, "the disk gives nothing here, again and again: counted as damaged");
        self.scanner.insist(false);
        Ok(())
    }

    fn read_error(&self, segment: &Segment, source: std::io::Error) -> ReadError {
        ReadError::Io { path: self.shared.storage.dir().join(&segment.name), source }
    }
}
