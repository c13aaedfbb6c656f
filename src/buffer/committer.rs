//! Group commit: one write and one `fdatasync` for all batches that arrived during the last one, and within a moment after it where that
//! pays ([`super::gather`]).
//!
//! Runs on a thread of its own and is the only writer of segments. Order within a group: write, sync, publish the durable mark, answer.
//! After a failed write or sync nothing more is stored: the kernel may have dropped the pages and forgotten the error (Rebello et al.,
//! ATC '20), so only a reopening through recovery tells what is on disk.

use super::capacity::Slot;
use super::error::AppendError;
use super::gather::Gather;
use super::log::cipher::Cipher;
use super::log::frame::{FrameHeader, HEADER_LEN, Kind};
use super::log::recovery::account;
use super::log::segment::{DATA_START, Seal, Segment};
use super::log::storage::{is_full, write_full};
use super::reply::{self, Reply};
use super::shared::{Pending, Position, Queue, Shared, lock};
use super::zeros::zeros_to;
use super::{Appended, Leased};
use crate::event::Seq;
use crate::lifecycle::{Heartbeat, Receipt};
use crate::sync::MutexGuard;
use bytes::Bytes;
use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Most payload bytes and frames of one group.
const GROUP_BYTES: usize = 8 << 20;
const GROUP_FRAMES: usize = 1024;
/// Payloads from here on are written where they are, not copied into the group's buffer.
const DIRECT_BYTES: usize = 1 << 16;
/// The group's buffer is written out at this size.
const SCRATCH_BYTES: usize = 1 << 20;
/// After this long without appends, a mark says that the last group is durable.
const MARK_AFTER: Duration = Duration::from_millis(50);

/// An idle committer turns this often, to show that it lives.
const IDLE_TURN: Duration = Duration::from_secs(1);

/// A batch that is written and waits for its sync.
#[derive(Debug)]
struct Written {
    header: FrameHeader,
    position: Position,
    payload: Bytes,
    receipts: Option<oneshot::Sender<Vec<Receipt>>>,
    reply: Reply,
}

/// The segment that is being written.
#[derive(Debug)]
struct Tail {
    segment: Arc<Segment>,
    /// Encrypts, when the segment is to be encrypted.
    cipher: Option<Cipher>,
    /// Where the next byte of the scratch buffer belongs.
    at: u64,
    /// Blocks below this offset have been written before.
    blank_to: u64,
    frame_no: u32,
    /// What the seal will say; covers durable frames only.
    seal: Seal,
}

/// The committer; [`Committer::run`] is the thread's body.
#[derive(Debug)]
pub struct Committer {
    shared: Arc<Shared>,
    tail: Option<Tail>,
    next_seq: u64,
    durable_seq: u64,
    /// Whether the last durable group is proven by a mark.
    marked: bool,
    scratch: Vec<u8>,
    /// Taken from the queue and not yet written.
    group: VecDeque<Pending>,
    written: Vec<Written>,
    gather: Gather,
    /// Batches and length of the last sync.
    synced: Option<(usize, Duration)>,
}

enum Work {
    Group,
    Mark,
    Stop,
}

/// Lets the writers come who are worth a wait.
fn gather<'a>(shared: &'a Shared, gather: &mut Gather, mut queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
    let before = queue.pending.len();
    let Some(wait) = gather.before(before) else { return queue };
    queue.wake_at = wait.batches;
    let more = |queue: &mut Queue| queue.pending.len() < wait.batches && !queue.closed && queue.failed.is_none();
    let waited = shared.queue_changed.wait_timeout_while(queue, wait.at_most, more);
    let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
    queue.wake_at = usize::MAX;
    gather.waited(wait, before, queue.pending.len());
    queue
}

/// Takes what is there, up to a group's bounds.
fn take_group(queue: &mut Queue, group: &mut VecDeque<Pending>) {
    let mut bytes = 0;
    let within = |pending: &&Pending| {
        bytes += pending.batch.payload().len();
        bytes <= GROUP_BYTES
    };
    let n = queue.pending.iter().take(GROUP_FRAMES).take_while(within).count().max(1);
    group.extend(queue.pending.drain(..n));
}

impl Committer {
    pub(super) fn new(shared: Arc<Shared>, next_seq: u64) -> Self {
        Self {
            shared,
            tail: None,
            next_seq,
            durable_seq: next_seq - 1,
            marked: true,
            scratch: Vec::new(),
            group: VecDeque::new(),
            written: Vec::new(),
            gather: Gather::default(),
            synced: None,
        }
    }

    /// Commits until the buffer is closed and everything admitted is durable, or storage fails.
    pub fn run(mut self, heartbeat: &Heartbeat) {
        loop {
            let work = self.next_work(heartbeat);
            if self.act(&work).is_break() {
                return;
            }
        }
    }

    /// What [`Committer::run`] would do now, once and without waiting, for a driver that brings time and turns of its own (a simulation).
    /// `quiet` says that nothing was appended for as long as a mark takes. Breaks when the committer has ended.
    pub fn turn(&mut self, quiet: bool) -> ControlFlow<()> {
        let mut queue = lock(&self.shared.queue);
        let work = if queue.failed.is_some() {
            Work::Stop
        } else if !queue.pending.is_empty() {
            take_group(&mut queue, &mut self.group);
            Work::Group
        } else if queue.closed && queue.waiters.is_empty() {
            Work::Stop
        } else if quiet && !self.marked && queue.capacity.admit_mark() {
            Work::Mark
        } else {
            return ControlFlow::Continue(());
        };
        drop(queue);
        self.act(&work)
    }

    fn act(&mut self, work: &Work) -> ControlFlow<()> {
        let done = match work {
            Work::Group => self.commit(),
            Work::Mark => self.write_mark(),
            Work::Stop => {
                // A sealed tail makes the next start a matter of reading headers.
                if let Err(error) = self.seal_tail() {
                    tracing::warn!(%error, "cannot seal the last segment: the next start will scan it");
                }
                return ControlFlow::Break(());
            }
        };
        let Err(error) = done else { return ControlFlow::Continue(()) };
        if is_full(&error) && self.refuse_group().is_ok() {
            return ControlFlow::Continue(());
        }
        let reason = self.tail.as_ref().map_or_else(|| error.to_string(), |tail| format!("{}: {error}", tail.segment.name));
        self.abandon(&reason);
        ControlFlow::Break(())
    }

    fn next_work(&mut self, heartbeat: &Heartbeat) -> Work {
        let shared = Arc::clone(&self.shared);
        let mut queue = lock(&shared.queue);
        if let Some((batches, took)) = self.synced.take() {
            self.gather.synced(batches, took, queue.pending.len());
        }
        loop {
            heartbeat.tick();
            if queue.failed.is_some() {
                return Work::Stop;
            }
            if !queue.pending.is_empty() {
                queue = gather(&shared, &mut self.gather, queue);
                take_group(&mut queue, &mut self.group);
                return Work::Group;
            }
            if queue.closed && queue.waiters.is_empty() {
                return Work::Stop;
            }
            queue.wake_at = 1;
            let timeout = if self.marked { IDLE_TURN } else { MARK_AFTER };
            let (woken, timed_out) = shared.queue_changed.wait_timeout(queue, timeout).unwrap_or_else(PoisonError::into_inner);
            queue = woken;
            queue.wake_at = usize::MAX;
            let idle = timed_out.timed_out() && queue.pending.is_empty();
            if idle {
                self.gather.idle();
            }
            if idle && !self.marked {
                if queue.capacity.admit_mark() {
                    return Work::Mark;
                }
                // No room for it before the next segment: asking again would change nothing.
                self.marked = true;
            }
        }
    }

    fn commit(&mut self) -> io::Result<()> {
        while let Some(pending) = self.group.front() {
            if pending.slot == Slot::NextSegment {
                self.sync_group()?;
                self.rotate()?;
            }
            let Some(pending) = self.group.pop_front() else { break };
            self.write_frame(pending)?;
        }
        self.sync_group()
    }

    fn write_frame(&mut self, pending: Pending) -> io::Result<()> {
        let Pending { batch, accepted_ms, receipts, reply, .. } = pending;
        let (count, crc) = (batch.count(), batch.crc());
        let payload = Bytes::from(batch.into_payload());
        let mut header = FrameHeader {
            first_seq: self.next_seq,
            durable_seq: self.durable_seq,
            accepted_ms,
            count,
            // A payload never exceeds a segment, whose size is far below 4 GiB.
            len: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            payload_crc: crc,
            frame_no: 0,
            kind: Kind::Data,
            encrypted: false,
        };
        self.next_seq = header.next_seq();
        // In the list before the write, so that a failure answers this batch too.
        let blank = Position { segment_id: 0, offset: 0, next_offset: 0 };
        let at = self.written.len();
        self.written.push(Written { header, position: blank, payload: payload.clone(), receipts, reply });
        let stored = self.encrypted(&mut header, &payload);
        let position = self.put(&mut header, stored.as_deref().unwrap_or(&payload))?;
        self.written[at].header = header;
        self.written[at].position = position;
        Ok(())
    }

    /// What is stored in place of the payload, where the segment is encrypted.
    fn encrypted(&self, header: &mut FrameHeader, payload: &[u8]) -> Option<Vec<u8>> {
        let tail = self.tail.as_ref()?;
        header.frame_no = tail.frame_no;
        Some(tail.cipher.as_ref()?.seal(header, payload.to_vec()))
    }

    /// Puts a frame at the end of the tail; it reaches the file with the next flush.
    fn put(&mut self, header: &mut FrameHeader, payload: &[u8]) -> io::Result<Position> {
        let tail = self.tail.as_mut().ok_or_else(|| io::Error::other("no segment to write to"))?;
        let offset = tail.at + self.scratch.len() as u64;
        header.frame_no = tail.frame_no;
        tail.frame_no += 1;
        self.scratch.extend_from_slice(&header.encode(tail.segment.header.seed(), offset));
        let next_offset = offset + header.stored_len();
        if payload.len() >= DIRECT_BYTES {
            self.flush()?;
            let tail = self.tail.as_mut().ok_or_else(|| io::Error::other("no segment to write to"))?;
            write_full(&*tail.segment.file, payload, tail.at)?;
            tail.at += payload.len() as u64;
        } else {
            self.scratch.extend_from_slice(payload);
        }
        let padding = usize::try_from(header.stored_len()).unwrap_or_default() - HEADER_LEN - payload.len();
        self.scratch.extend_from_slice(&[0; 8][..padding]);
        if self.scratch.len() >= SCRATCH_BYTES {
            self.flush()?;
        }
        let segment_id = self.tail.as_ref().map_or(0, |tail| tail.segment.id());
        Ok(Position { segment_id, offset, next_offset })
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(tail) = self.tail.as_mut() else { return Ok(()) };
        write_full(&*tail.segment.file, &self.scratch, tail.at)?;
        tail.at += self.scratch.len() as u64;
        self.scratch.clear();
        Ok(())
    }

    /// Makes everything written durable, then publishes it and answers.
    fn sync_group(&mut self) -> io::Result<()> {
        if self.written.is_empty() {
            return Ok(());
        }
        self.write_end_mark_and_sync()?;
        let Some(tail) = self.tail.as_mut() else { return Ok(()) };
        for written in &self.written {
            account(&mut tail.seal, &written.header, written.position.offset);
        }
        tail.segment.set_durable_end(tail.seal.end);
        self.durable_seq = self.next_seq - 1;
        self.marked = false;
        self.publish();
        Ok(())
    }

    /// A blank header after the last frame tells a clean end from an unfinished write; the next frame overwrites it, and the zeros that
    /// follow it.
    fn write_end_mark_and_sync(&mut self) -> io::Result<()> {
        let Some(tail) = self.tail.as_mut() else { return Ok(()) };
        let end = tail.at + self.scratch.len() as u64;
        let group_bytes = end - tail.segment.durable_end();
        let zeros_to = zeros_to(end, group_bytes, tail.blank_to).min(tail.segment.header.capacity);
        tail.blank_to = tail.blank_to.max(zeros_to);
        let zeros = usize::try_from(zeros_to - end).unwrap_or(HEADER_LEN);
        self.scratch.resize(self.scratch.len() + zeros, 0);
        self.flush()?;
        let Some(tail) = self.tail.as_mut() else { return Ok(()) };
        tail.at = end;
        let started = Instant::now();
        tail.segment.file.sync_data()?;
        let took = started.elapsed();
        self.shared.meters.fsync_seconds.observe(took);
        self.synced = Some((self.written.len(), took));
        Ok(())
    }

    fn publish(&mut self) {
        let shared = &*self.shared;
        let durable = shared.volume.durable;
        let mut replies = Vec::with_capacity(self.written.len());
        let oldest = self.written.first().map(|written| (written.header.first_seq, written.header.accepted_ms));
        let (mut events, mut bytes) = (0, 0);
        let frames = self.written.iter().map(|written| (Seq(written.header.first_seq), written.header.count, written.header.accepted_ms));
        shared.acks.history().stored(frames);
        let decided = lock(&shared.window).synced(self.durable_seq);
        let mut recent = lock(&shared.recent);
        for written in self.written.drain(..) {
            let Written { header, position, payload, receipts, reply } = written;
            let (first_seq, count) = (Seq(header.first_seq), header.count);
            events += u64::from(count);
            bytes += header.stored_len();
            // Before the durable mark moves: an ack can only come after it.
            if let Some(receipts) = receipts {
                shared.acks.register(first_seq, count, receipts);
            }
            recent.push(position, Leased { first_seq, count, accepted_ms: header.accepted_ms, payload });
            replies.push((reply, Appended { first_seq, count, durable, repeats: Vec::new() }));
        }
        drop(recent);
        shared.meters.stored_events.add(events);
        shared.meters.stored_bytes.add(bytes);
        let mut marks = lock(&shared.marks);
        marks.durable = self.durable_seq;
        marks.backlog += events;
        if let Some((first_seq, accepted_ms)) = oldest {
            marks.note_age(first_seq, accepted_ms);
        }
        let reader_sleeps = marks.reader_sleeps;
        drop(marks);
        if reader_sleeps {
            shared.marks_changed.notify_one();
        }
        reply::send_all(replies);
        decided.tell();
    }

    /// Seals the tail and goes on in the next prepared segment.
    fn rotate(&mut self) -> io::Result<()> {
        self.seal_tail()?;
        let mut segments = lock(&self.shared.segments);
        let next = segments.ready.pop_front().ok_or_else(|| io::Error::other("no prepared segment for an admitted batch"))?;
        segments.live.push_back(Arc::clone(&next));
        drop(segments);
        self.shared.poke_keeper();
        let blank_to = if next.recycled { next.header.capacity } else { DATA_START };
        let cipher = self.shared.keyring.cipher(&next.header);
        let seal = Seal { end: DATA_START, ..Seal::default() };
        self.tail = Some(Tail { segment: next, cipher, at: DATA_START, blank_to, frame_no: 0, seal });
        Ok(())
    }

    fn seal_tail(&mut self) -> io::Result<()> {
        let Some(tail) = &self.tail else { return Ok(()) };
        tail.segment.write_seal(tail.seal)?;
        // Only now: a segment that could not be sealed has to be cut off by whoever deals with the failure.
        self.tail = None;
        Ok(())
    }

    fn write_mark(&mut self) -> io::Result<()> {
        self.marked = true;
        if self.tail.is_none() {
            return Ok(());
        }
        let now_ms = self.shared.storage.now_ms();
        let mut header = FrameHeader {
            first_seq: self.next_seq,
            durable_seq: self.durable_seq,
            accepted_ms: now_ms,
            count: 0,
            len: 0,
            payload_crc: 0,
            frame_no: 0,
            kind: Kind::Mark,
            encrypted: false,
        };
        let position = self.put(&mut header, &[])?;
        self.write_end_mark_and_sync()?;
        if let Some(tail) = self.tail.as_mut() {
            account(&mut tail.seal, &header, position.offset);
            tail.segment.set_durable_end(tail.seal.end);
        }
        Ok(())
    }

    /// The volume is full where blocks were not reserved (some file systems copy on write): what was admitted is refused as full, and the
    /// segment is sealed at its durable end, so that nothing of it can ever be delivered. Writing goes on in the next segment.
    fn refuse_group(&mut self) -> io::Result<()> {
        self.scratch.clear();
        if let Some(tail) = self.tail.take() {
            cut_off(&tail)?;
        }
        self.next_seq = self.durable_seq + 1;
        let shared = &*self.shared;
        let mut queue = lock(&shared.queue);
        let pending: Vec<Pending> = self.group.drain(..).chain(queue.pending.drain(..)).collect();
        let written: u64 = self.written.iter().map(|written| u64::from(written.header.count)).sum();
        let unwritten: u64 = pending.iter().map(|pending| u64::from(pending.batch.count())).sum();
        let ready = lock(&shared.segments).ready.len() as u64;
        queue.capacity.start_over(ready, written + unwritten);
        shared.forget_admitted(&mut queue);
        // Whoever waits may fit into the segments that are prepared: those have their blocks.
        shared.grant(&mut queue);
        drop(queue);
        tracing::warn!(events = written + unwritten, "the volume is full: these events were refused");
        let detail = shared.full_detail();
        let replies = self.written.drain(..).map(|written| written.reply).chain(pending.into_iter().map(|pending| pending.reply));
        for reply in replies {
            reply.send(Err(AppendError::Full(Box::new(detail))));
        }
        Ok(())
    }

    /// Gives up after a failed write or sync. The seal, if it still reaches the disk, keeps what was refused from ever being delivered.
    fn abandon(&mut self, reason: &str) {
        if let Some(tail) = self.tail.take()
            && let Err(error) = cut_off(&tail)
        {
            tracing::warn!(%error, "cannot seal the failed segment: a refused write may be found on disk by the next start");
        }
        let group = self.group.drain(..).map(|pending| pending.reply);
        for reply in self.written.drain(..).map(|written| written.reply).chain(group) {
            reply.send(Err(AppendError::StorageFailed { reason: reason.to_owned() }));
        }
        self.shared.fail(reason);
    }
}

/// Ends a segment before what was refused: by the seal, and by a blank header for the day on which the seal rots.
fn cut_off(tail: &Tail) -> io::Result<()> {
    if let Err(error) = write_full(&*tail.segment.file, &[0; HEADER_LEN], tail.seal.end) {
        tracing::warn!(file = tail.segment.name, %error, "cannot blank what was refused: only the seal tells it from data");
    }
    tail.segment.write_seal(tail.seal)
}

const _: () = assert!(HEADER_LEN.is_multiple_of(8) && DATA_START.is_multiple_of(8), "frames stay 8-byte aligned");
