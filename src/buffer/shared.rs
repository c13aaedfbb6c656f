//! What the two sides of the buffer and its two threads share. One mutex per concern, each held for a few instructions and never across
//! I/O. Order, where two are needed: queue before window before the index of what is parked before marks before segments.

use super::Leased;
use super::capacity::{Capacity, Plan, Slot};
use super::dead_letters::{DeadLetter, DeadLetterError, Store};
use super::dedup::{Seen, Window};
use super::error::{AppendError, FullDetail};
use super::log::cipher::Keyring;
use super::log::cursor::Marks;
use super::log::segment::Segment;
use super::log::storage::{Storage, Volume};
use super::mark_book::MarkBook;
use super::parked;
use super::rates::Rates;
use super::reply::Reply;
use crate::event::Batch;
use crate::lifecycle::{AckWaiters, Counter, Ends, Gauge, Histogram, Receipt};
use crate::sync::{AtomicU64, Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Bytes of recently written frames that the reader may still take from memory.
const RECENT_BYTES: usize = 4 << 20;
/// Frames of the same.
const RECENT_FRAMES: usize = 4096;
/// How long the cursor may take to be on disk; it is written every 100 ms.
const CURSOR_TIMEOUT: Duration = Duration::from_secs(10);

/// A batch that somebody wants to be stored.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) batch: Batch,
    pub(crate) accepted_ms: u64,
    pub(crate) receipts: Option<oneshot::Sender<Vec<Receipt>>>,
}

/// Why a batch is not admitted.
#[derive(Debug)]
pub(crate) enum Held {
    /// There is no room now.
    NoRoom,
    /// Events of it are known.
    Seen(Vec<Seen>),
}

/// An admitted batch on its way to the committer.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) batch: Batch,
    pub(crate) slot: Slot,
    pub(crate) accepted_ms: u64,
    pub(crate) receipts: Option<oneshot::Sender<Vec<Receipt>>>,
    pub(crate) reply: Reply,
}

/// A batch that waits for room. It is not stored, and dropping it leaves no trace.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) ticket: u64,
    pub(crate) stored_len: u64,
    pub(crate) submission: Submission,
    pub(crate) reply: Reply,
}

/// The entrance: admitted batches in order, and those that wait for room in order.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) pending: VecDeque<Pending>,
    pub(crate) waiters: VecDeque<Waiter>,
    pub(crate) capacity: Capacity,
    pub(crate) next_ticket: u64,
    /// What the next admitted event gets.
    pub(crate) next_seq: u64,
    /// No more appends; the committer ends when the queue is empty.
    pub(crate) closed: bool,
    /// The first storage failure: nothing is stored after it.
    pub(crate) failed: Option<String>,
    /// The committer sleeps until this many batches are there; `usize::MAX` while it is awake. A wake-up costs a system call.
    pub(crate) wake_at: usize,
}

impl Queue {
    /// Whether to wake the committer now; says so once per sleep.
    pub(crate) fn wakes_committer(&mut self) -> bool {
        let wakes = self.pending.len() >= self.wake_at;
        if wakes {
            self.wake_at = usize::MAX;
        }
        wakes
    }
}

/// The segments, oldest first.
#[derive(Debug)]
pub(crate) struct Segments {
    /// Hold events, or are being written (the last one).
    pub(crate) live: VecDeque<Arc<Segment>>,
    /// Prepared, in id order, for the committer to take.
    pub(crate) ready: VecDeque<Arc<Segment>>,
    /// File names waiting to be prepared.
    pub(crate) spares: Vec<String>,
    pub(crate) next_id: u64,
}

impl Segments {
    /// Bytes that all segment files may allocate; spares and prepared ones are `segment_bytes` long.
    pub(crate) fn bytes(&self, segment_bytes: u64) -> u64 {
        let live: u64 = self.live.iter().map(|segment| segment.header.capacity).sum();
        live + (self.ready.len() + self.spares.len()) as u64 * segment_bytes
    }
}

/// Frames just written, for a reader that is close behind.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    pub(crate) frames: VecDeque<(Position, Leased)>,
    pub(crate) bytes: usize,
}

/// Where a frame lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) segment_id: u64,
    pub(crate) offset: u64,
    pub(crate) next_offset: u64,
}

impl Recent {
    pub(crate) fn push(&mut self, position: Position, frame: Leased) {
        self.bytes += frame.payload.len();
        self.frames.push_back((position, frame));
        while self.bytes > RECENT_BYTES || self.frames.len() > RECENT_FRAMES {
            let Some((_, old)) = self.frames.pop_front() else { break };
            self.bytes -= old.payload.len();
        }
    }

    /// Takes the frame that begins with `seq`; drops those before it.
    pub(crate) fn take(&mut self, seq: u64) -> Option<(Position, Leased)> {
        while self.frames.front().is_some_and(|(_, frame)| frame.first_seq.0 < seq) {
            let _ = self.pop();
        }
        if self.frames.front()?.1.first_seq.0 == seq { self.pop() } else { None }
    }

    fn pop(&mut self) -> Option<(Position, Leased)> {
        let (position, frame) = self.frames.pop_front()?;
        self.bytes -= frame.payload.len();
        Some((position, frame))
    }
}

/// Counters that are not worth a lock.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    pub(crate) fsync_seconds: Histogram,
    pub(crate) torn_bytes: Gauge,
    pub(crate) quarantined: Counter,
    pub(crate) allocated: Gauge,
    /// What this process made durable, and the bytes that it took: the mean size of an event.
    pub(crate) stored_events: Counter,
    pub(crate) stored_bytes: Counter,
}

/// Everything shared.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) plan: Plan,
    pub(crate) max_bytes: u64,
    pub(crate) max_events: u64,
    pub(crate) min_free_bytes: u64,
    pub(crate) volume: Volume,
    pub(crate) relay_id: [u8; 16],
    pub(crate) keyring: Keyring,
    pub(crate) acks: Arc<AckWaiters>,
    pub(crate) queue: Mutex<Queue>,
    pub(crate) queue_changed: Condvar,
    /// The ids that are known: asked and told within the queue's lock, and looked at without.
    pub(crate) window: Mutex<Window>,
    pub(crate) marks: Mutex<MarkBook>,
    pub(crate) marks_changed: Condvar,
    pub(crate) segments: Mutex<Segments>,
    pub(crate) recent: Mutex<Recent>,
    pub(crate) keeper_poked: Mutex<Poke>,
    pub(crate) keeper_changed: Condvar,
    /// The ends that the cursor on disk knows of.
    pub(crate) ends_on_disk: Mutex<Ends>,
    pub(crate) ends_changed: Condvar,
    pub(crate) dead_letters: Store,
    pub(crate) parked: parked::Store,
    /// Events below this seq may be at their end without ever having been leased: an operator purged them.
    pub(crate) purged_below: AtomicU64,
    pub(crate) rates: Mutex<Rates>,
    pub(crate) meters: Meters,
    /// Held for as long as the buffer lives.
    pub(crate) _lock: Arc<dyn std::fmt::Debug + Send + Sync>,
}

/// What the keeper was asked to do.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Poke {
    pub(crate) now: bool,
    pub(crate) stop: bool,
}

/// Locks; a panic elsewhere does not make the data wrong, since no lock is held across anything that can fail half-way.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Lets in as many waiters as fit, in order.
    pub(crate) fn grant(&self, queue: &mut Queue) {
        while let Some(Waiter { ticket, stored_len, submission, reply }) = queue.waiters.pop_front() {
            match self.admit(queue, stored_len, submission, reply) {
                Ok(()) => {}
                Err((Held::NoRoom, submission, reply)) => {
                    queue.waiters.push_front(Waiter { ticket, stored_len, submission, reply });
                    break;
                }
                // Its own thread sees to it: not here, where others wait.
                Err((Held::Seen(_), submission, reply)) => reply.give_back(submission),
            }
        }
        if queue.wakes_committer() {
            self.queue_changed.notify_one();
        }
    }

    /// Admits a batch: its place, its seqs and its ids, or nothing of it.
    pub(crate) fn admit(
        &self,
        queue: &mut Queue,
        stored_len: u64,
        submission: Submission,
        reply: Reply,
    ) -> Result<(), (Held, Submission, Reply)> {
        let count = u64::from(submission.batch.count());
        let mut capacity = queue.capacity.clone();
        let Some(slot) = capacity.admit(stored_len, count) else { return Err((Held::NoRoom, submission, reply)) };
        if let Err(seen) = lock(&self.window).claim(submission.batch.fingerprints(), queue.next_seq) {
            return Err((Held::Seen(seen), submission, reply));
        }
        queue.capacity = capacity;
        queue.next_seq += count;
        let Submission { batch, accepted_ms, receipts } = submission;
        queue.pending.push_back(Pending { batch, slot, accepted_ms, receipts, reply });
        Ok(())
    }

    /// Everything that was admitted and is not durable was refused: its seqs are given again, its ids are not known, and whoever waits to
    /// hear of it looks again.
    pub(crate) fn forget_admitted(&self, queue: &mut Queue) {
        let mut window = lock(&self.window);
        queue.next_seq = lock(&self.marks).durable + 1;
        let decided = window.refused();
        drop(window);
        decided.tell();
    }

    /// Wakes the keeper: something can be freed, or is needed.
    pub(crate) fn poke_keeper(&self) {
        lock(&self.keeper_poked).now = true;
        self.keeper_changed.notify_one();
    }

    /// Stops storing for good, and says why.
    pub(crate) fn fail(&self, reason: &str) {
        let mut queue = lock(&self.queue);
        if queue.failed.is_none() {
            tracing::error!(reason, "the buffer's storage failed: nothing more is accepted; restart the relay once the disk works");
            queue.failed = Some(reason.to_owned());
        }
        let failed = || Err(AppendError::StorageFailed { reason: reason.to_owned() });
        for pending in queue.pending.drain(..) {
            pending.reply.send(failed());
        }
        for waiter in queue.waiters.drain(..) {
            waiter.reply.send(failed());
        }
        // They look again, and learn it.
        let decided = lock(&self.window).failed();
        decided.tell();
    }

    /// Keeps an event that Kafka will never take.
    pub(crate) fn add_dead_letter(&self, letter: &DeadLetter) -> Result<(), DeadLetterError> {
        let added = self.dead_letters.add(letter);
        // Whoever mends an event whose letter had to make room may send it again under its id.
        for gone in self.dead_letters.take_gone() {
            lock(&self.window).forget(gone, gone);
        }
        added
    }

    /// The events of ascending, inclusive ranges are lost, and booked so.
    pub(crate) fn told_lost(&self, ranges: &[(u64, u64)]) {
        // A client that sends them once more has them stored.
        let mut window = lock(&self.window);
        for &(from, to) in ranges {
            window.forget(from, to);
        }
        drop(window);
        self.acks.lost(ranges);
    }

    /// Counts events that reached their end: acked ones in `ends` already. Makes room.
    pub(crate) fn after_end(&self, count: u64) {
        if count == 0 {
            return;
        }
        let mut queue = lock(&self.queue);
        queue.capacity.ended(count);
        if !queue.waiters.is_empty() {
            self.grant(&mut queue);
            drop(queue);
            self.poke_keeper();
        }
    }

    /// Waits until the cursor on disk knows of enough ends: a restart cannot undo them then.
    ///
    /// # Errors
    /// A sentence, when it is not written in time.
    pub(crate) fn until_on_disk(&self, enough: impl Fn(&Ends) -> bool) -> Result<(), String> {
        let deadline = Instant::now() + CURSOR_TIMEOUT;
        let mut on_disk = lock(&self.ends_on_disk);
        while !enough(&on_disk) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(lock(&self.queue).failed.clone().unwrap_or_else(|| "the cursor is not written".to_owned()));
            }
            (on_disk, _) = self.ends_changed.wait_timeout(on_disk, left).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    /// The numbers of a refusal.
    pub(crate) fn full_detail(&self) -> FullDetail {
        let rates = lock(&self.rates).now();
        let depth_events = lock(&self.marks).waiting();
        let bytes = self.meters.allocated.get();
        // Room comes a whole segment at a time: estimate how long the oldest one takes to drain.
        let first_segment_events = {
            let segments = lock(&self.segments);
            segments.live.front().and_then(|segment| segment.seal()).map(|seal| seal.last_seq)
        };
        let frontier = lock(&self.marks).watermark.frontier();
        let to_drain = first_segment_events.map_or(depth_events, |last| last.saturating_sub(frontier)).max(1);
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let seconds = to_drain as f64 / rates.acked;
        let time_to_room = (rates.acked > 0.0).then(|| Duration::from_secs_f64(seconds.clamp(0.0, 86_400.0)));
        FullDetail { depth_events, bytes, max_bytes: self.max_bytes, drain_rate: rates.acked, time_to_room }
    }

    /// Writes down how far the parked events have come, as far as the cursor on disk knows it. `false` when the disk did not let it.
    pub(crate) fn keep_parked(&self) -> bool {
        self.parked.keep_books(&self.parked.settled(), &|| lock(&self.marks).ends)
    }

    /// What the cursor should say now.
    pub(crate) fn cursor_marks(&self, clean: bool) -> Marks {
        let segment_id = {
            let segments = lock(&self.segments);
            segments.next_id - 1
        };
        lock(&self.marks).to_cursor(self.relay_id, segment_id, clean)
    }
}
