//! The buffer on a real directory: stored, leased, acknowledged, reopened.

mod crash;
mod encryption;
mod full;
mod neighbours;
mod repeats;
mod rot;
mod start_up;
mod waiters;

use super::LOCK_NAME;
use super::dead_letters::{Cause, DeadLetter};
use super::inspect::inspect;
use super::log::storage::{DiskStorage, Storage};
use super::{AppendError, AppendOptions, Appender, Buffer, Closer, Gauges, Leased, OpenError, ParkedEvent, Purger, Reader};
use crate::config::BufferConfig;
use crate::event::{Batch, BatchBuilder, EventParts, Field, Records, Seq};
use crate::lifecycle::{AckWaiters, Heartbeats};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub(super) struct Running {
    appender: Appender,
    pub(super) reader: Reader,
    pub(super) gauges: Gauges,
    pub(super) purger: Purger,
    closer: Closer,
    threads: Vec<JoinHandle<()>>,
}

pub(super) fn config(dir: &Path, max_bytes: u64) -> BufferConfig {
    BufferConfig { dir: dir.to_owned(), max_bytes, min_free_bytes: 0, ..BufferConfig::default() }
}

pub(super) fn open(config: &BufferConfig) -> Running {
    open_on(config, Arc::new(DiskStorage::new(&config.dir)), Arc::default())
}

fn open_on(config: &BufferConfig, storage: Arc<dyn Storage>, acks: Arc<AckWaiters>) -> Running {
    let buffer = Buffer::open(config, storage, acks, 0).unwrap();
    let Buffer { appender, reader, gauges, purger, committer, keeper, closer, .. } = buffer;
    let beats = Heartbeats::default();
    let (commits, keeps) = (beats.register("commit"), beats.register("keep"));
    let threads = vec![thread::spawn(move || committer.run(&commits)), thread::spawn(move || keeper.run(&keeps))];
    Running { appender, reader, gauges, purger, closer, threads }
}

impl Running {
    pub(super) fn append(&self, batch: Batch, timeout: Duration) -> Result<super::Appended, AppendError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let options = AppendOptions { deadline: Instant::now() + timeout, receipts: None };
        runtime.block_on(self.appender.append(batch, options))
    }

    pub(super) fn close(self) {
        self.closer.close_appends();
        self.closer.close_keeper();
        for thread in self.threads {
            thread.join().unwrap();
        }
    }

    /// Reads all there is; returns `(seq, value)`.
    pub(super) fn read_all(&mut self) -> Vec<(u64, String)> {
        let mut events = Vec::new();
        while let Some(frame) = self.reader.next_frame().unwrap() {
            for (i, record) in Records::new(&frame.payload).enumerate() {
                let value = String::from_utf8(record.unwrap().value.to_vec()).unwrap();
                events.push((frame.first_seq.0 + i as u64, value));
            }
        }
        events
    }
}

impl Running {
    /// The seqs that the drain would send.
    pub(super) fn unended(&mut self) -> Vec<u64> {
        let seqs: Vec<u64> = self.read_all().into_iter().map(|(seq, _)| seq).collect();
        seqs.into_iter().filter(|seq| !self.reader.is_acked(Seq(*seq))).collect()
    }
}

pub(super) fn batch(values: &[String]) -> Batch {
    let mut builder = BatchBuilder::default();
    for value in values {
        let text = Field::Text("t");
        builder.push(&EventParts {
            value: value.as_bytes(),
            id: Field::Text(value),
            kind: text,
            source_type: text,
            source_id: text,
            traceparent: Field::Absent,
        });
    }
    builder.finish()
}

/// The events of a frame, one by one.
pub(super) fn events_of(frame: &Leased) -> Vec<ParkedEvent> {
    let (mut records, mut from) = (Records::new(&frame.payload), 0);
    let mut event = |n| {
        let _ = records.next().unwrap().unwrap();
        let record = frame.payload.slice(std::mem::replace(&mut from, records.offset())..records.offset());
        ParkedEvent { seq: frame.first_seq.0 + n, accepted_ms: frame.accepted_ms, record }
    };
    let events = (0..u64::from(frame.count)).map(&mut event).collect();
    assert!(records.next().is_none());
    events
}

pub(super) fn letter(event: &ParkedEvent) -> DeadLetter {
    let cause = Cause { reason: "too_large".into(), text: "too large".into(), attempts: 1, first_refused_ms: 5, dead_ms: 9 };
    DeadLetter { seq: event.seq, accepted_ms: event.accepted_ms, cause, record: event.record.clone() }
}

pub(super) fn values(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|n| format!("event {n} {}", "x".repeat(usize::try_from(n % 200).unwrap()))).collect()
}

// Goal: what was stored comes out in order with its seq; after a stop, only what was not acknowledged comes again.
#[test]
fn stored_events_come_out_in_order_and_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), 4 << 20);
    let mut buffer = open(&config);
    for n in 0..50 {
        let appended = buffer.append(batch(&values(n * 10..n * 10 + 10)), Duration::ZERO).unwrap();
        assert_eq!((appended.first_seq, appended.count), (Seq(n * 10 + 1), 10));
    }
    let events = buffer.read_all();
    let expected: Vec<(u64, String)> = (1..).zip(values(0..500)).collect();
    assert_eq!(events, expected);
    // Acked: 1 to 100, and every second one up to 300.
    let acked: Vec<Seq> = (1..=100).chain((100..=300).step_by(2)).map(Seq).collect();
    assert_eq!(buffer.reader.ack(&acked), 200);
    assert_eq!(buffer.reader.acked(), Seq(100));
    assert_eq!(buffer.gauges.snapshot().ledger.conservation_error(), 0);
    let id = buffer.gauges.snapshot().relay_id;
    buffer.close();

    let mut buffer = open(&config);
    let snapshot = buffer.gauges.snapshot();
    assert_eq!((snapshot.relay_id, snapshot.ledger.backlog, snapshot.ledger.conservation_error()), (id, 300, 0));
    let again: Vec<u64> = buffer.read_all().into_iter().map(|(seq, _)| seq).filter(|seq| !buffer.reader.is_acked(Seq(*seq))).collect();
    let expected: Vec<u64> = (101..=500).filter(|seq| *seq > 300 || seq % 2 == 1).collect();
    assert_eq!(again, expected);
    buffer.close();
}

// Goal: after a failure at Kafka the drain gets exactly what is not acknowledged again, in order.
#[test]
fn rewind_starts_at_the_first_unacknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut buffer = open(&config(dir.path(), 4 << 20));
    for n in 0..20 {
        let _ = buffer.append(batch(&values(n * 5..n * 5 + 5)), Duration::ZERO).unwrap();
    }
    assert_eq!(buffer.read_all().len(), 100);
    let _ = buffer.reader.ack(&(1..=42).map(Seq).collect::<Vec<_>>());
    buffer.reader.rewind();
    let again: Vec<u64> = buffer.read_all().into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(again, (41..=100).collect::<Vec<_>>());
    buffer.close();
}

// Goal: two relays never write to one directory; what is no buffer is left alone; both are told so.
#[test]
fn refuses_what_it_must_not_touch() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(&config(dir.path(), 1 << 20));
    let open_again = |dir: &Path| {
        let storage = Arc::new(DiskStorage::new(dir));
        Buffer::open(&config(dir, 1 << 20), storage, Arc::new(AckWaiters::default()), 0).err()
    };
    assert!(matches!(open_again(dir.path()), Some(OpenError::Locked { .. })));
    first.close();
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("photo.jpg"), "not ours").unwrap();
    assert!(matches!(open_again(other.path()), Some(OpenError::NotABuffer { found, .. }) if found == "photo.jpg" || found == "LOCK"));
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap().flatten().filter(|entry| entry.file_type().unwrap().is_file()) {
        if entry.file_name() == LOCK_NAME {
            // As if the directory had been moved: a copy is refused.
            continue;
        }
        // A spare is given another name at any moment; it holds nothing.
        if let Err(error) = std::fs::copy(entry.path(), to.join(entry.file_name())) {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{}", entry.path().display());
        }
    }
}

fn segment_files(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path());
    let mut files: Vec<_> = entries.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("seg-")).collect();
    files.sort();
    files
}

/// A directory as kill -9 leaves it: ten batches of seven, of which Kafka has the first `acked` events, and the cursor knows.
fn crashed_with_acks(acked: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut buffer = open(&config(dir.path(), 1 << 20));
    for n in 0..10 {
        let _ = buffer.append(batch(&values(n * 7..n * 7 + 7)), Duration::ZERO).unwrap();
    }
    assert_eq!(buffer.read_all().len(), 70);
    let _ = buffer.reader.ack(&(1..=acked).map(Seq).collect::<Vec<_>>());
    let deadline = Instant::now() + Duration::from_secs(30);
    while inspect(&DiskStorage::new(dir.path())).unwrap().ends.acked < acked {
        assert!(Instant::now() < deadline, "no checkpoint");
        thread::yield_now();
    }
    let crashed = tempfile::tempdir().unwrap();
    copy(dir.path(), crashed.path());
    buffer.close();
    crashed
}

fn contains(path: &Path, text: &[u8]) -> bool {
    std::fs::read(path).unwrap().windows(text.len()).any(|window| window == text)
}

fn corrupt(path: &Path, text: &[u8]) {
    corrupt_nth(path, text, 0);
}

fn corrupt_nth(path: &Path, text: &[u8], nth: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    let mut places = bytes.windows(text.len()).enumerate().filter(|(_, window)| *window == text);
    let at = places.nth(nth).unwrap().0;
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}
