//! The dead letters of the buffer that this process has open: for operators, beside the drain that adds to them.

use super::super::appender::Appender;
use super::super::purge::{Purged, Selection};
use super::super::shared::{Shared, lock};
use super::super::{AppendError, AppendOptions, Appended};
use super::store::show_each;
use super::{Copies, DeadLetter, DeadLetterError, Kept, Usage, select};
use crate::event::{BatchBuilder, Seq};
use crate::sync::Mutex;
use serde::{Deserialize, Serialize};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most letters, and bytes of their records, that are appended again as one batch.
const RETRY_LETTERS: usize = 500;
const RETRY_BYTES: u64 = 1 << 20;
/// How long a retry waits for room in the buffer.
const ROOM_TIMEOUT: Duration = Duration::from_secs(10);

/// An append on its way.
pub type Appending<'a> = Pin<Box<dyn Future<Output = Result<Appended, AppendError>> + 'a>>;
/// How a retry waits for one.
pub type Wait<'a> = dyn FnMut(Appending<'_>) -> Result<Appended, DeadLetterError> + 'a;

/// The dead letters, for operators; clones share them.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    shared: Arc<Shared>,
    /// One change at a time: two retries must not append the same letter twice.
    changing: Arc<Mutex<()>>,
}

/// What a retry did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retried {
    /// How many events were appended again.
    pub events: u64,
    /// The lowest new seq among them.
    pub first_seq: Option<u64>,
    /// The highest.
    pub last_seq: Option<u64>,
}

impl DeadLetters {
    pub(in crate::buffer) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, changing: Arc::default() }
    }

    /// How many there are.
    pub fn usage(&self) -> Usage {
        self.shared.dead_letters.usage()
    }

    /// One letter; `None` when there is none of that seq.
    ///
    /// # Errors
    /// [`DeadLetterError`]
    pub fn get(&self, seq: u64) -> Result<Option<Kept>, DeadLetterError> {
        self.shared.dead_letters.get(seq)
    }

    /// Shows letters in seq order, from `from` on, until `show` returns `false`.
    ///
    /// # Errors
    /// [`DeadLetterError`]
    pub fn list(&self, from: u64, show: &mut dyn FnMut(&Kept) -> bool) -> Result<(), DeadLetterError> {
        show_each(self.shared.dead_letters.seqs(from, usize::MAX), |seq| self.get(seq), show)
    }

    /// The same letters, for whoever copies them to a topic: from here on, copied ones give way when there is no room for newer ones.
    pub fn copies(&self) -> Copies {
        Copies::new(Arc::clone(&self.shared))
    }

    /// Removes the letters of a selection for good, or says what that would do. Blocks.
    ///
    /// # Errors
    /// [`DeadLetterError`]
    pub fn purge(&self, selection: &Selection, dry_run: bool) -> Result<Purged, DeadLetterError> {
        let _alone = lock(&self.changing);
        let seqs = self.selected(selection)?;
        if !dry_run && !seqs.is_empty() {
            self.shared.until_dead_ends_are_on_disk()?;
            self.shared.dead_letters.remove(&seqs)?;
            // Given up for good: whoever mends the event may send it again under its id.
            let mut window = lock(&self.shared.window);
            for seq in &seqs {
                window.forget(*seq, *seq);
            }
        }
        Ok(Purged::of(&seqs))
    }

    /// Appends the events of a selection again, in the order of their old seqs, and removes the letters; or says what that would do. Blocks.
    /// Must be called from a thread that may block, in the context of a tokio runtime.
    ///
    /// # Errors
    /// [`DeadLetterError`]; what was appended before it stays appended, and is no dead letter any more.
    pub fn retry(&self, selection: &Selection, dry_run: bool) -> Result<Retried, DeadLetterError> {
        self.retry_by(selection, dry_run, &mut |append| {
            let runtime = tokio::runtime::Handle::try_current().map_err(|error| DeadLetterError::NotDurable(error.to_string()))?;
            runtime.block_on(append).map_err(DeadLetterError::NotTaken)
        })
    }

    /// [`DeadLetters::retry`] with another way to wait for an append, for a driver that gives the committer its turns (a simulation).
    ///
    /// # Errors
    /// As [`DeadLetters::retry`], and what `wait` returns.
    pub fn retry_by(&self, selection: &Selection, dry_run: bool, wait: &mut Wait<'_>) -> Result<Retried, DeadLetterError> {
        let _alone = lock(&self.changing);
        let seqs = self.selected(selection)?;
        if dry_run || seqs.is_empty() {
            return Ok(Retried { events: seqs.len() as u64, ..Retried::default() });
        }
        self.shared.until_dead_ends_are_on_disk()?;
        let appender = Appender::new(Arc::clone(&self.shared));
        let mut retried = Retried::default();
        let mut rest = seqs.as_slice();
        while !rest.is_empty() {
            let (letters, taken) = self.take(rest, appender.max_batch_bytes().min(RETRY_BYTES))?;
            if !letters.is_empty() {
                self.append(&appender, &letters, &mut retried, wait)?;
            }
            rest = &rest[taken..];
        }
        Ok(retried)
    }

    /// The next letters that make a batch, and how many seqs they stand for; at least one.
    fn take(&self, seqs: &[u64], max_bytes: u64) -> Result<(Vec<DeadLetter>, usize), DeadLetterError> {
        let (mut letters, mut taken, mut bytes) = (Vec::new(), 0, 0);
        for seq in seqs.iter().take(RETRY_LETTERS) {
            let letter = self.get(*seq)?.map(|kept| kept.letter);
            let len = letter.as_ref().map_or(0, |letter| letter.record.len() as u64);
            if taken > 0 && bytes + len > max_bytes {
                break;
            }
            bytes += len;
            taken += 1;
            letters.extend(letter);
        }
        Ok((letters, taken))
    }

    fn append(
        &self,
        appender: &Appender,
        letters: &[DeadLetter],
        retried: &mut Retried,
        wait: &mut Wait<'_>,
    ) -> Result<(), DeadLetterError> {
        let from_seq = lock(&self.shared.marks).durable + 1;
        let mut batch = BatchBuilder::default();
        let mut seqs = Vec::new();
        for letter in letters {
            match self.shared.dead_letters.begin_retry(letter.seq, from_seq) {
                // It made room for a newer one meanwhile.
                Err(error) if error.is_gone() => continue,
                begun => begun?,
            }
            seqs.push(letter.seq);
            // It is not a repeat of itself.
            lock(&self.shared.window).forget(letter.seq, letter.seq);
            batch
                .push_record(&letter.record)
                .map_err(|_| DeadLetterError::NotDurable(format!("dead letter {} does not decode", letter.seq)))?;
        }
        if seqs.is_empty() {
            return Ok(());
        }
        let options = AppendOptions { deadline: Instant::now() + ROOM_TIMEOUT, receipts: None };
        let stored = wait(Box::pin(appender.append(batch.finish(), options)))?;
        self.shared.dead_letters.remove(&seqs)?;
        let Seq(first) = stored.first_seq;
        let _ = retried.first_seq.get_or_insert(first);
        retried.last_seq = Some(first + u64::from(stored.count) - 1);
        retried.events += u64::from(stored.count);
        Ok(())
    }

    fn selected(&self, selection: &Selection) -> Result<Vec<u64>, DeadLetterError> {
        let mut seqs = select(&*self.shared.storage, &self.shared.keyring, selection)?;
        // Not one whose name is there and whose end is not booked yet.
        let known = |seq: &u64| self.shared.dead_letters.holds(*seq);
        seqs.retain(known);
        Ok(seqs)
    }
}

impl Shared {
    /// Waits until a crash cannot bring back, as waiting, what is a dead letter now.
    pub(super) fn until_dead_ends_are_on_disk(&self) -> Result<(), DeadLetterError> {
        let dead_lettered = lock(&self.marks).ends.dead_lettered;
        self.poke_keeper();
        self.until_on_disk(|ends| ends.dead_lettered >= dead_lettered).map_err(DeadLetterError::NotDurable)?;
        // A letter that goes must not leave its event standing among the parked ones: twice, since what was noted before has its turn first.
        for _ in 0..2 {
            let on_disk = *lock(&self.ends_on_disk);
            let _ = self.parked.keep_books(&on_disk, &|| lock(&self.marks).ends);
        }
        Ok(())
    }
}
