//! A relay's buffer, driven step by step on one thread without real time: who does what when is the driver's choice.
//!
//! The committer's and the keeper's loops take single turns. Between two calls of one of them the other may take a whole turn, as it might
//! on a thread of its own: no lock is held across a call.

pub mod book;
pub mod script;
pub mod verify;

use crate::chance::Chance;
use crate::disk::Disk;
use book::{Answer, Book};
use dualstream::buffer::log::storage::Storage;
use dualstream::buffer::{AppendError, AppendOptions, Appended, Appender, Buffer, Closer, Committer, Gauges, Keeper, OpenError, Reader};
use dualstream::config::BufferConfig;
use dualstream::event::{Batch, Seq};
use dualstream::lifecycle::AckWaiters;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// The smallest buffer there can be: 9 segments of 64 KiB.
pub const MAX_BYTES: u64 = 1 << 20;
/// So many ids are remembered: few enough that lives outgrow it, and the journal's ring goes round.
pub const WINDOW: usize = 100;
/// Room on the volume where it does not matter.
pub const ROOMY: u64 = 64 << 20;

pub fn config() -> BufferConfig {
    BufferConfig { max_bytes: MAX_BYTES, min_free_bytes: 0, ..BufferConfig::default() }
}

/// The two loops, each there unless it is taking its turn or has ended.
struct Loops {
    disk: Disk,
    began: Instant,
    committer: Mutex<Option<Committer>>,
    keeper: Mutex<Option<Keeper>>,
    /// Number of entries in the book's list of acks.
    acks: AtomicUsize,
    /// After which call a round of the keeper ended, and how many acks there were when it began.
    checkpoints: Mutex<Vec<(u64, usize)>>,
}

impl Loops {
    fn commit(&self, quiet: bool) {
        let taken = self.committer.lock().expect("no panic").take();
        let Some(mut committer) = taken else { return };
        let goes_on = committer.turn(quiet) == ControlFlow::Continue(());
        *self.committer.lock().expect("no panic") = goes_on.then_some(committer);
    }

    fn keep(&self) {
        let taken = self.keeper.lock().expect("no panic").take();
        let Some(mut keeper) = taken else { return };
        let acks = self.acks.load(Ordering::Relaxed);
        let now = self.began + Duration::from_millis(self.disk.clock_ms());
        let goes_on = keeper.turn(now) == ControlFlow::Continue(());
        self.checkpoints.lock().expect("no panic").push((self.disk.number(), acks));
        *self.keeper.lock().expect("no panic") = goes_on.then_some(keeper);
    }
}

/// Notes after which call the answer came.
struct Stamp {
    disk: Disk,
    at: AtomicU64,
}

impl Wake for Stamp {
    fn wake(self: Arc<Self>) {
        let _ = self.at.fetch_min(self.disk.number(), Ordering::Relaxed);
    }
}

struct Waiting {
    batch: usize,
    append: Pin<Box<dyn Future<Output = Result<Appended, AppendError>>>>,
    stamp: Arc<Stamp>,
}

/// An open buffer.
pub struct Relay {
    pub reader: Reader,
    pub gauges: Gauges,
    appender: Appender,
    closer: Closer,
    loops: Arc<Loops>,
    waiting: Vec<Waiting>,
}

impl Relay {
    pub fn open(disk: &Disk, config: &BufferConfig) -> Result<Self, OpenError> {
        let storage: Arc<dyn Storage> = Arc::new(disk.clone());
        let Buffer { appender, reader, gauges, committer, keeper, closer, .. } =
            Buffer::open(config, storage, Arc::new(AckWaiters::remembering(WINDOW)), 0)?;
        let loops = Arc::new(Loops {
            disk: disk.clone(),
            began: Instant::now(),
            committer: Mutex::new(Some(committer)),
            keeper: Mutex::new(Some(keeper)),
            acks: AtomicUsize::new(0),
            checkpoints: Mutex::default(),
        });
        Ok(Self { reader, gauges, appender, closer, loops, waiting: Vec::new() })
    }

    /// From now on one loop may take a turn between two calls of the other.
    pub fn interleave(&self, chance: Chance) {
        let (loops, chance) = (Arc::downgrade(&self.loops), Mutex::new(chance));
        self.loops.disk.set_between(Some(Arc::new(move || {
            let Some(loops) = loops.upgrade() else { return };
            match chance.lock().expect("no panic").below(24) {
                0 => loops.keep(),
                1 => loops.commit(false),
                _ => {}
            }
        })));
    }

    /// Sends a batch; its answer, when there is one, is noted in the book by [`Relay::answers`].
    pub fn append(&mut self, book: &mut Book, count: u32, bytes: usize) {
        let number = book.sent.len();
        let batch = book.batch(number, count, bytes);
        book.send(number, &batch, bytes, self.loops.disk.number());
        let appender = self.appender.clone();
        let options = AppendOptions { deadline: tokio::time::Instant::now().into_std() + Duration::from_secs(60), receipts: None };
        let append = Box::pin(async move { appender.append(batch, options).await });
        let stamp = Arc::new(Stamp { disk: self.loops.disk.clone(), at: AtomicU64::new(u64::MAX) });
        self.waiting.push(Waiting { batch: number, append, stamp });
        self.answers(book);
    }

    /// The seq under which an id is known.
    pub fn find(&self, id: &str) -> Option<u64> {
        self.appender.find(id).map(|seq| seq.0)
    }

    /// Sends a batch that was sent before; the answer, if it comes at once.
    pub fn send_again(&self, batch: Batch) -> Option<Result<Appended, AppendError>> {
        let options = AppendOptions { deadline: tokio::time::Instant::now().into_std() + Duration::from_secs(60), receipts: None };
        let mut append = std::pin::pin!(self.appender.append(batch, options));
        match append.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        }
    }

    /// Takes the answers that are there.
    pub fn answers(&mut self, book: &mut Book) {
        let now = self.loops.disk.number();
        self.waiting.retain_mut(|waiting| {
            let waker = Waker::from(Arc::clone(&waiting.stamp));
            let Poll::Ready(answer) = waiting.append.as_mut().poll(&mut Context::from_waker(&waker)) else {
                // Woken by something else than the answer.
                waiting.stamp.at.store(u64::MAX, Ordering::Relaxed);
                return true;
            };
            let at = waiting.stamp.at.load(Ordering::Relaxed).min(now);
            book.answer(waiting.batch, at, &answer);
            false
        });
    }

    /// Appends that have no answer yet.
    pub fn unanswered(&self) -> usize {
        self.waiting.len()
    }

    /// The client of the oldest waiting append hangs up. Whatever of it was admitted is stored all the same.
    pub fn hang_up(&mut self) {
        if !self.waiting.is_empty() {
            drop(self.waiting.remove(0));
        }
    }

    /// Appends that wait for room lose their patience.
    pub fn out_of_patience(&mut self, book: &mut Book, time: &tokio::runtime::Runtime) {
        time.block_on(tokio::time::advance(Duration::from_secs(61)));
        self.answers(book);
    }

    /// A turn of the committer; `quiet` when it is time for a mark.
    pub fn commit(&mut self, book: &mut Book, quiet: bool) {
        self.loops.commit(quiet);
        self.answers(book);
    }

    pub fn keep(&mut self, book: &mut Book) {
        self.loops.disk.advance(100);
        self.loops.keep();
        book.checkpoints.append(&mut self.loops.checkpoints.lock().expect("no panic"));
        self.answers(book);
    }

    /// Takes up to `frames` frames; the book checks and notes them.
    pub fn read(&mut self, book: &mut Book, frames: usize) -> Result<(), String> {
        for _ in 0..frames {
            match self.reader.next_frame() {
                Ok(Some(frame)) => book.lease(&frame, self.loops.disk.number(), |seq| self.reader.is_acked(Seq(seq)))?,
                // After an error the drain comes back later.
                Ok(None) | Err(_) => break,
            }
        }
        Ok(())
    }

    pub fn ack(&mut self, book: &mut Book, seqs: &[u64]) {
        let fresh = self.reader.ack(&seqs.iter().copied().map(Seq).collect::<Vec<_>>());
        assert_eq!(fresh, seqs.len(), "acks count once each: {seqs:?}");
        book.ack(seqs, self.loops.disk.number());
        self.loops.acks.store(book.acks.len(), Ordering::Relaxed);
    }

    /// Stops in good order.
    pub fn close(mut self, book: &mut Book) {
        self.closer.close_appends();
        for turn in 0.. {
            assert!(turn < 10_000, "the committer does not end");
            self.commit(book, false);
            if self.loops.committer.lock().expect("no panic").is_none() {
                break;
            }
        }
        self.closer.close_keeper();
        self.keep(book);
        assert!(self.loops.keeper.lock().expect("no panic").is_none(), "the keeper ends when it is told to");
        self.loops.disk.set_between(None);
        for waiting in self.waiting.drain(..) {
            assert!(matches!(book.sent[waiting.batch].answer, Some((_, Answer::Refused(_))) | None));
        }
    }

    /// The process dies; what it did to the disk stays.
    pub fn die(self) {
        self.loops.disk.set_between(None);
    }
}
