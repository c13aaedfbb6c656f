//! Repeats, step by step: of what is not synced yet, of what waits for room, and of what was there before a restart, encrypted or not.

use super::*;
use crate::buffer::{Appended, Committer, Keeper, ParkedLine};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

type Append = Pin<Box<dyn Future<Output = Result<Appended, AppendError>>>>;

pub(super) struct Stepped {
    pub(super) appender: Appender,
    pub(super) reader: Reader,
    pub(super) purger: Purger,
    pub(super) parked: ParkedLine,
    committer: Committer,
    pub(super) keeper: Keeper,
}

impl Stepped {
    pub(super) fn open(config: &BufferConfig) -> Self {
        let storage = Arc::new(DiskStorage::new(&config.dir));
        let buffer = Buffer::open(config, storage, Arc::new(AckWaiters::remembering(1000)), 0).unwrap();
        let Buffer { appender, reader, purger, parked, committer, keeper, .. } = buffer;
        Self { appender, reader, purger, parked, committer, keeper }
    }

    pub(super) fn append(&self, values: &[&str]) -> Append {
        let appender = self.appender.clone();
        let options = AppendOptions { deadline: Instant::now() + Duration::from_secs(60), receipts: None };
        let batch = batch(&values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>());
        Box::pin(async move { appender.append(batch, options).await })
    }

    pub(super) fn commit(&mut self) {
        assert!(self.committer.turn(false).is_continue());
    }

    /// Takes an append to its answer.
    pub(super) fn complete(&mut self, mut append: Append) {
        assert_eq!(look(&mut append), None);
        self.commit();
        assert!(look(&mut append).is_some());
    }

    fn deliver(&mut self) {
        while let Some(frame) = self.reader.next_frame().unwrap() {
            let seqs: Vec<Seq> = (0..u64::from(frame.count)).map(|n| frame.first_seq.plus(n)).collect();
            let _ = self.reader.ack(&seqs);
        }
    }
}

/// `(stored, first seq, repeats)`, when there is an answer.
pub(super) fn look(append: &mut Append) -> Option<(u32, u64, usize)> {
    match append.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer.map(|appended| Some((appended.count, appended.first_seq.0, appended.repeats.len()))).unwrap(),
        Poll::Pending => None,
    }
}

// Goal: my retry is not answered before the first one is on disk, even when that one's client has gone; then it is a duplicate.
#[test]
fn of_what_is_not_synced() {
    let dir = tempfile::tempdir().unwrap();
    let mut buffer = Stepped::open(&config(dir.path(), 1 << 20));
    let mut first = buffer.append(&["a", "b"]);
    assert_eq!(look(&mut first), None);
    drop(first);
    let (mut again, mut more) = (buffer.append(&["a", "b"]), buffer.append(&["c", "b"]));
    assert_eq!((look(&mut again), look(&mut more)), (None, None));
    buffer.commit();
    assert_eq!(look(&mut again), Some((0, 1, 2)));
    assert_eq!(look(&mut more), None, "what is new of it is not on disk");
    buffer.commit();
    assert_eq!(look(&mut more), Some((1, 3, 1)));
}

// Goal: the buffer is full, I lose patience and send my request again: of those that wait, one is stored, and all get its seq. A repeat of
// what is there needs no room.
#[tokio::test]
async fn of_what_waits_for_room() {
    let dir = tempfile::tempdir().unwrap();
    let mut buffer = Stepped::open(&BufferConfig { max_events: 1, ..config(dir.path(), 1 << 20) });
    let mut full = buffer.append(&["a"]);
    assert_eq!(look(&mut full), None);
    buffer.commit();
    assert_eq!(look(&mut full), Some((1, 1, 0)));
    let (mut one, mut other) = (buffer.append(&["b"]), buffer.append(&["b"]));
    assert_eq!((look(&mut one), look(&mut other)), (None, None));
    assert_eq!(look(&mut buffer.append(&["a"])), Some((0, 1, 1)), "a repeat needs no room");
    buffer.deliver();
    buffer.commit();
    assert_eq!((look(&mut one), look(&mut other)), (Some((1, 2, 0)), None));
    buffer.deliver();
    assert_eq!(look(&mut other), Some((0, 2, 1)));
}

// Goal: with and without encryption, what was stored is known after a restart, also when its segment is gone, and the hashes of ids do not
// show.
#[test]
fn of_what_was_there_before_a_restart() {
    for encrypted in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let key_file = dir.path().join("key");
        std::fs::write(&key_file, "5a".repeat(32)).unwrap();
        let settings = config(&dir.path().join("buffer"), 1 << 20);
        let settings = BufferConfig { encryption_key_file: encrypted.then_some(key_file), ..settings };
        let large = "x".repeat(20_000);
        let values: Vec<String> = (0..30).map(|n| format!("{n} {large}")).collect();
        {
            let mut buffer = Stepped::open(&settings);
            for value in &values {
                buffer.complete(buffer.append(&[value]));
                buffer.deliver();
                for _ in 0..3 {
                    assert!(buffer.keeper.turn(Instant::now()).is_continue());
                }
            }
        }
        let journal = std::fs::read(settings.dir.join("ids")).unwrap();
        let first_id = batch(&values[..1]).fingerprints()[0].id.to_le_bytes();
        assert_eq!(journal.windows(16).any(|window| window == first_id), !encrypted);
        let buffer = Stepped::open(&settings);
        for (seq, value) in (1..).zip(&values) {
            assert_eq!(look(&mut buffer.append(&[value])), Some((0, seq, 1)));
        }
    }
}
