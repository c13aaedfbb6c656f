//! The buffer of one life, its two loops in single turns, and the clients that append to it.

use super::book::{Book, Poison, Posted};
use super::kafka::Kafka;
use super::style::{Style, happens};
use crate::chance::Chance;
use crate::disk::Disk;
use dualstream::buffer::log::storage::Storage;
use dualstream::buffer::{
    AppendError, AppendOptions, Appended, Appender, Buffer, Closer, Committer, DeadLetters, Gauges, Keeper, ParkedLine, Purger, Reader,
};
use dualstream::config::BufferConfig;
use dualstream::event::{Batch, BatchBuilder, EventParts, Field};
use dualstream::lifecycle::{AckWaiters, ReceiptWaiter};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// The smallest buffer there can be: segments of 64 KiB.
const MAX_BYTES: u64 = 1 << 20;
/// Of it, for what is parked: so little that it is full now and then.
const PARKED_BYTES: u64 = 128 << 10;
/// Ids that are remembered: more than can be posted between an event and its repeat.
const WINDOW: usize = 400;
/// How many events back a repeat reaches.
const RECENT: u64 = 40;
/// Most appends without an answer.
const MAX_WAITING: usize = 16;

type Append = Pin<Box<dyn Future<Output = Result<Appended, AppendError>> + Send>>;

struct Waiting {
    numbers: Vec<u64>,
    append: Append,
}

/// Requests that wait for Kafka, and the ids that are remembered.
pub fn waiters() -> Arc<AckWaiters> {
    Arc::new(AckWaiters::remembering(WINDOW))
}

/// An open buffer, but for its reader.
pub struct Relay {
    pub gauges: Gauges,
    pub purger: Purger,
    pub letters: DeadLetters,
    pub disk: Disk,
    appender: Appender,
    closer: Closer,
    committer: Option<Committer>,
    keeper: Option<Keeper>,
    began: Instant,
    waiting: Vec<Waiting>,
    /// Clients that want to hear of Kafka.
    receipts: Vec<(Vec<u64>, ReceiptWaiter)>,
}

impl Relay {
    pub fn open(disk: &Disk, acks: Arc<AckWaiters>, parks: bool) -> (Self, Reader, ParkedLine) {
        let parked_bytes = parks.then_some(PARKED_BYTES);
        let config = BufferConfig { max_bytes: MAX_BYTES, parked_bytes, min_free_bytes: 0, ..BufferConfig::default() };
        let storage: Arc<dyn Storage> = Arc::new(disk.clone());
        let opened = Buffer::open(&config, storage, acks, 0).unwrap_or_else(|error| panic!("the buffer does not open: {error:?}"));
        let Buffer { appender, reader, gauges, purger, dead_letters, parked, committer, keeper, closer } = opened;
        reader.parking("t{source}");
        let (committer, keeper) = (Some(committer), Some(keeper));
        let (waiting, receipts) = (Vec::new(), Vec::new());
        let relay = Self {
            gauges,
            purger,
            letters: dead_letters,
            disk: disk.clone(),
            appender,
            closer,
            committer,
            keeper,
            began: Instant::now(),
            waiting,
            receipts,
        };
        (relay, reader, parked)
    }

    /// A client posts a batch of new events.
    pub fn post(&mut self, book: &mut Book, style: &Style, chance: &mut Chance) {
        if self.waiting.len() >= MAX_WAITING {
            return;
        }
        let mut builder = BatchBuilder::default();
        let mut numbers = Vec::new();
        // A client that does not know whether its events were taken sends them again, some with new ones.
        let repeats = !book.posted.is_empty() && happens(chance, style.repeats);
        for _ in 0..=chance.below(style.batch_events) {
            if !repeats || chance.one_in(3) {
                let poison = happens(chance, style.poison).then(|| if chance.one_in(3) { Poison::Local } else { Poison::Broker });
                let (source, bytes) = (chance.below(style.sources), usize::try_from(chance.below(style.value_bytes)).expect("few"));
                numbers.push(book.post_new(source, bytes, poison, repeats));
            } else {
                numbers.push(book.post_again(chance.below(RECENT)));
            }
            let number = *numbers.last().expect("just pushed");
            push(&mut builder, book.of(number), number);
        }
        let (receipts, receipt) = tokio::sync::oneshot::channel();
        let receipts = (!repeats && chance.one_in(4)).then_some(receipts);
        if receipts.is_some() {
            self.receipts.push((numbers.clone(), receipt));
        }
        let append = self.append(builder.finish(), receipts);
        self.waiting.push(Waiting { numbers, append });
        self.answers(book);
    }

    fn append(&self, batch: Batch, receipts: Option<tokio::sync::oneshot::Sender<Vec<dualstream::lifecycle::Receipt>>>) -> Append {
        let appender = self.appender.clone();
        // Time stands still for it: it waits for room until there is some.
        let options = AppendOptions { deadline: tokio::time::Instant::now().into_std() + Duration::from_secs(60), receipts };
        Box::pin(async move { appender.append(batch, options).await })
    }

    /// Takes the answers that are there.
    pub fn answers(&mut self, book: &mut Book) {
        take_answers(&mut self.waiting, book);
    }

    /// A receipt is one that a consumer can confirm.
    pub fn check_receipts(&mut self, kafka: &Kafka) {
        self.receipts.retain_mut(|(numbers, waiter)| match waiter.try_recv() {
            Ok(receipts) => {
                assert_eq!(receipts.len(), numbers.len(), "a receipt for each event");
                for (receipt, number) in receipts.iter().zip(numbers.iter()) {
                    let log = &kafka.logs[usize::try_from(receipt.place.partition).expect("a partition")];
                    let is_it = |at: usize| log.get(at).is_some_and(|record| record.number == *number && record.seq == receipt.seq.0);
                    let confirmed = match usize::try_from(receipt.place.offset) {
                        Ok(at) => is_it(at),
                        Err(_) => (0..log.len()).any(is_it),
                    };
                    assert!(confirmed, "G1: the receipt of e{number} names a place where it is not: {receipt:?}");
                }
                false
            }
            Err(tokio::sync::oneshot::error::TryRecvError::Empty) => true,
            Err(tokio::sync::oneshot::error::TryRecvError::Closed) => false,
        });
    }

    /// The client of the oldest append hangs up.
    pub fn hang_up(&mut self) {
        if !self.waiting.is_empty() {
            drop(self.waiting.remove(0));
        }
    }

    /// A turn of the committer; `quiet` when it is time for a mark.
    pub fn commit(&mut self, book: &mut Book, quiet: bool) {
        if let Some(mut committer) = self.committer.take()
            && committer.turn(quiet).is_continue()
        {
            self.committer = Some(committer);
        }
        self.answers(book);
    }

    /// A turn of the keeper.
    pub fn keep(&mut self, book: &mut Book) {
        let Some(mut keeper) = self.keeper.take() else { return };
        let acks = book.acks();
        let now = self.began + Duration::from_millis(self.disk.clock_ms());
        let goes_on = keeper.turn(now).is_continue();
        book.checkpointed(acks);
        self.keeper = goes_on.then_some(keeper);
        self.answers(book);
    }

    /// Dead letters are appended again; whoever does it waits for the committer.
    pub fn retry(&mut self, book: &mut Book) {
        self.keep(book);
        let Self { letters, committer, gauges, waiting, .. } = self;
        let mut numbers = Vec::new();
        let listed = letters.list(0, &mut |kept| {
            numbers.extend(kept.letter.event().map(|event| book.recognise(&event)));
            true
        });
        assert!(listed.is_ok(), "the dead letters cannot be listed: {listed:?}");
        let mut wait = |mut append: dualstream::buffer::dead_letters::Appending<'_>| loop {
            if let Poll::Ready(answer) = append.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return answer.map_err(dualstream::buffer::DeadLetterError::NotTaken);
            }
            // Nobody else may have its turn here: without room there is no waiting for it.
            let Some(committer) = committer.as_mut() else { return Err(gone()) };
            let had = gauges.snapshot().durable_seq;
            if committer.turn(false).is_break() || gauges.snapshot().durable_seq == had {
                return Err(gone());
            }
            take_answers(waiting, book);
        };
        let retried = letters.retry_by(&dualstream::buffer::purge::Selection::default(), false, &mut wait);
        let is_expected = matches!(retried, Ok(_) | Err(dualstream::buffer::DeadLetterError::NotTaken(_)));
        assert!(is_expected, "a retry of dead letters fails: {retried:?}");
        book.retried(&numbers, retried.ok().and_then(|retried| Some((retried.first_seq?, retried.last_seq?))));
    }

    /// No more appends; the committer ends.
    pub fn close_appends(&mut self, book: &mut Book) {
        self.closer.close_appends();
        for turn in 0.. {
            assert!(turn < 10_000, "the committer does not end");
            self.commit(book, false);
            if self.committer.is_none() {
                break;
            }
        }
    }

    /// The last cursor.
    pub fn close(&mut self, book: &mut Book) {
        self.closer.close_keeper();
        self.keep(book);
        assert!(self.keeper.is_none(), "the keeper ends when it is told to");
        assert!(self.waiting.is_empty(), "{} appends have no answer after the end", self.waiting.len());
    }
}

/// One that is answered may be what answers the others.
fn take_answers(waiting: &mut Vec<Waiting>, book: &mut Book) {
    loop {
        let before = waiting.len();
        waiting.retain_mut(|waiting| match waiting.append.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => {
                book.answered(&waiting.numbers, &answer);
                false
            }
            Poll::Pending => true,
        });
        if waiting.len() == before {
            return;
        }
    }
}

fn gone() -> dualstream::buffer::DeadLetterError {
    dualstream::buffer::DeadLetterError::NotTaken(AppendError::ShuttingDown)
}

fn push(builder: &mut BatchBuilder, posted: &Posted, number: u64) {
    builder.push(&EventParts {
        value: posted.value(number).as_bytes(),
        id: Field::Text(&format!("e{number}")),
        kind: Field::Text("made"),
        source_type: Field::Text("thing"),
        source_id: Field::Text(&format!("s{}", posted.source)),
        traceparent: Field::Absent,
    });
}
