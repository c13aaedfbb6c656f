//! The buffer on a real directory: stored, leased, acknowledged, reopened; full and free again.

mod encryption;
mod repeats;
mod start_up;
mod waiters;

use super::LOCK_NAME;
use super::inspect::inspect;
use super::log::storage::{DiskStorage, Storage};
use super::{AppendError, AppendOptions, Appender, Buffer, Closer, Gauges, OpenError, Purger, Reader};
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

// Goal: full means a refusal after the timeout with nothing stored, never more disk than allowed, and writing again once there is room.
#[test]
fn full_then_room_again_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut buffer = open(&config(dir.path(), 1 << 20));
    let mut stored = 0_u64;
    let refused = loop {
        match buffer.append(batch(&values(stored..stored + 10)), Duration::from_millis(300)) {
            Ok(_) => stored += 10,
            Err(error) => break error,
        }
        assert!(allocated(dir.path()) <= 1 << 20);
    };
    assert!(matches!(&refused, AppendError::Full(detail) if detail.depth_events == stored && detail.max_bytes == 1 << 20), "{refused:?}");
    assert!(stored > 1000, "a buffer of 1 MiB holds more than {stored} small events");
    assert!(buffer.gauges.snapshot().fill > 0.9);
    let events = buffer.read_all();
    assert_eq!(events.len() as u64, stored, "nothing of the refused batch is there");
    let _ = buffer.reader.ack(&events.iter().map(|(seq, _)| Seq(*seq)).collect::<Vec<_>>());
    for n in 0..stored / 10 {
        let _ = buffer.append(batch(&values(n * 10..n * 10 + 10)), Duration::from_secs(20)).unwrap();
        let events = buffer.read_all();
        let _ = buffer.reader.ack(&events.iter().map(|(seq, _)| Seq(*seq)).collect::<Vec<_>>());
        assert!(allocated(dir.path()) <= 1 << 20);
    }
    assert_eq!(buffer.gauges.snapshot().ledger.conservation_error(), 0);
    buffer.close();
}

// Goal: a write that waits for room is stored as soon as there is some, in its turn.
#[test]
fn a_waiting_write_gets_the_room_that_is_freed() {
    let dir = tempfile::tempdir().unwrap();
    let mut buffer = open(&BufferConfig { max_events: 10, ..config(dir.path(), 1 << 20) });
    let _ = buffer.append(batch(&values(0..10)), Duration::ZERO).unwrap();
    let appender = buffer.appender.clone();
    let waiting = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let options = AppendOptions { deadline: Instant::now() + Duration::from_secs(30), receipts: None };
        runtime.block_on(appender.append(batch(&values(10..13)), options))
    });
    while buffer.gauges.snapshot().waiters == 0 {
        thread::yield_now();
    }
    assert!(matches!(buffer.append(batch(&values(13..14)), Duration::ZERO), Err(AppendError::Full(_))), "nobody overtakes");
    let _ = buffer.read_all();
    let _ = buffer.reader.ack(&[Seq(1), Seq(2), Seq(3)]);
    assert_eq!(waiting.join().unwrap().unwrap().first_seq, Seq(11));
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

// Goal: a batch that can never fit is refused at once, with the limit.
#[test]
fn too_large_for_any_segment() {
    let dir = tempfile::tempdir().unwrap();
    let buffer = open(&config(dir.path(), 1 << 20));
    let large = "x".repeat(1 << 20);
    let refused = buffer.append(batch(&[large]), Duration::ZERO).unwrap_err();
    assert!(matches!(refused, AppendError::TooLarge { max, .. } if max == buffer.appender.max_batch_bytes()));
    buffer.close();
}

fn allocated(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::read_dir(dir).unwrap().flatten().filter_map(|entry| entry.metadata().ok()).map(|meta| meta.blocks() * 512).sum()
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

// Goal: everything that was answered is there after a crash at any moment, in order, and the relay goes on with new seqs.
#[test]
fn a_crash_loses_nothing_that_was_answered() {
    let dir = tempfile::tempdir().unwrap();
    let running = open(&config(dir.path(), 1 << 20));
    let mut stored = 0;
    for round in 1..=8 {
        for _ in 0..20 {
            let _ = running.append(batch(&values(stored..stored + 7)), Duration::ZERO).unwrap();
            stored += 7;
        }
        let crashed = tempfile::tempdir().unwrap();
        copy(dir.path(), crashed.path());
        let mut again = open(&config(crashed.path(), 1 << 20));
        let expected: Vec<(u64, String)> = (1..).zip(values(0..stored)).collect();
        assert_eq!(again.read_all(), expected, "round {round}");
        let appended = again.append(batch(&values(0..1)), Duration::ZERO).unwrap();
        assert_eq!(appended.first_seq, Seq(stored + 1));
        let snapshot = again.gauges.snapshot();
        assert_eq!((snapshot.torn_bytes, snapshot.ledger.ends.lost, snapshot.ledger.conservation_error()), (0, 0, 0));
        again.close();
    }
    running.close();
}

// Goal: a crash while Kafka has a part of what is in the segment being written, even a part of a batch, loses and damages nothing.
#[test]
fn a_crash_with_the_frontier_inside_the_last_segment_loses_nothing() {
    for acked in [1, 7, 10, 14, 68, 69, 70] {
        let crashed = crashed_with_acks(acked);
        let mut again = open(&config(crashed.path(), 1 << 20));
        assert_eq!(again.unended(), (acked + 1..=70).collect::<Vec<_>>());
        let snapshot = again.gauges.snapshot();
        assert_eq!((snapshot.ledger.backlog, snapshot.ledger.ends.lost, snapshot.ledger.conservation_error()), (70 - acked, 0, 0));
        assert_eq!((snapshot.torn_bytes, snapshot.quarantined), (0, 0), "acked {acked}");
        assert_eq!(again.append(batch(&values(0..1)), Duration::ZERO).unwrap().first_seq, Seq(71));
        again.close();
    }
}

// Goal: rot in what Kafka has already costs nothing, before and after recovery, wherever the frontier is.
#[test]
fn rot_behind_the_frontier_loses_nothing() {
    for seal_first in [false, true] {
        let dir = crashed_with_acks(17);
        if seal_first {
            open(&config(dir.path(), 1 << 20)).close();
        }
        let file = segment_files(dir.path()).into_iter().find(|path| contains(path, b"event 8")).unwrap();
        // The header of the second frame, so that the reader has to look for the third: it holds the frontier.
        corrupt_nth(&file, b"DSF1", 1);
        let mut again = open(&config(dir.path(), 1 << 20));
        assert_eq!(again.unended(), (18..=70).collect::<Vec<_>>(), "sealed {seal_first}");
        let snapshot = again.gauges.snapshot();
        assert_eq!((snapshot.ledger.backlog, snapshot.ledger.ends.lost, snapshot.ledger.conservation_error()), (53, 0, 0));
        assert!(snapshot.quarantined > 0, "the damage is seen");
        again.close();
    }
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

// Goal: an unfinished last write is cut off and counted, and never comes out; what was answered before it is all there.
#[test]
fn a_torn_tail_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let running = open(&config(dir.path(), 1 << 20));
    for n in 0..10 {
        let _ = running.append(batch(&values(n * 3..n * 3 + 3)), Duration::ZERO).unwrap();
    }
    let crashed = tempfile::tempdir().unwrap();
    copy(dir.path(), crashed.path());
    running.close();
    // The last frame loses a byte of its payload, as if its sectors had not all reached the disk.
    let tail = segment_files(crashed.path()).into_iter().find(|path| contains(path, b"event 29")).unwrap();
    corrupt(&tail, b"event 29");
    let mut again = open(&config(crashed.path(), 1 << 20));
    assert_eq!(again.read_all().len(), 27, "the torn batch is gone whole");
    assert!(again.gauges.snapshot().torn_bytes > 0);
    assert_eq!(again.append(batch(&values(0..1)), Duration::ZERO).unwrap().first_seq, Seq(28));
    again.close();
}

// Goal: rot in acknowledged data is reported by its exact seqs, never delivered, and everything around it is.
#[test]
fn rot_is_reported_by_seq_and_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let mut buffer = open(&config(dir.path(), 1 << 20));
    for n in 0..10 {
        let _ = buffer.append(batch(&values(n * 3..n * 3 + 3)), Duration::ZERO).unwrap();
    }
    assert_eq!(buffer.read_all().len(), 30);
    buffer.close();
    let file = segment_files(dir.path()).into_iter().find(|path| contains(path, b"event 13")).unwrap();
    corrupt(&file, b"event 13");
    let mut again = open(&config(dir.path(), 1 << 20));
    let seqs: Vec<u64> = again.read_all().into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(seqs, (1..=12).chain(16..=30).collect::<Vec<_>>());
    let snapshot = again.gauges.snapshot();
    assert_eq!((snapshot.ledger.ends.lost, snapshot.ledger.backlog, snapshot.ledger.conservation_error()), (3, 27, 0));
    let _ = again.reader.ack(&seqs.into_iter().map(Seq).collect::<Vec<_>>());
    assert_eq!(again.reader.acked(), Seq(30), "the frontier passes what is lost");
    assert_eq!(std::fs::read_dir(dir.path().join("quarantine")).unwrap().count(), 2, "the bytes and the note are kept");
    again.close();
}

// Goal: a relay whose newest events are gone does not burn a core waiting for them.
#[test]
fn a_lost_end_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    for n in 0..2 {
        let buffer = open(&config(dir.path(), 1 << 20));
        let _ = buffer.append(batch(&values(n * 5..n * 5 + 5)), Duration::ZERO).unwrap();
        buffer.close();
    }
    let newest = segment_files(dir.path()).into_iter().rfind(|path| contains(path, b"event 9")).unwrap();
    std::fs::remove_file(newest).unwrap();
    let mut buffer = open(&config(dir.path(), 1 << 20));
    assert_eq!(buffer.unended(), (1..=5).collect::<Vec<_>>());
    assert!(buffer.reader.would_wait());
    let _ = buffer.reader.ack(&(1..=5).map(Seq).collect::<Vec<_>>());
    assert!(buffer.reader.next_frame().unwrap().is_none() && buffer.reader.would_wait());
    assert_eq!((buffer.reader.acked(), buffer.gauges.snapshot().ledger.ends.lost), (Seq(10), 5));
    buffer.close();
}

// Goal: without its cursor the buffer still opens, keeps its identity, and delivers everything again.
#[test]
fn a_lost_cursor_only_repeats() {
    let dir = tempfile::tempdir().unwrap();
    let mut buffer = open(&config(dir.path(), 1 << 20));
    let _ = buffer.append(batch(&values(0..20)), Duration::ZERO).unwrap();
    let events = buffer.read_all();
    let _ = buffer.reader.ack(&events.iter().map(|(seq, _)| Seq(*seq)).collect::<Vec<_>>()[..10]);
    let id = buffer.gauges.snapshot().relay_id;
    buffer.close();
    std::fs::remove_file(dir.path().join("cursor")).unwrap();
    let mut again = open(&config(dir.path(), 1 << 20));
    assert_eq!(again.read_all(), events);
    let snapshot = again.gauges.snapshot();
    assert_eq!((snapshot.relay_id, snapshot.ledger.conservation_error()), (id, 0));
    again.close();
}

// Goal: a quiet spell, then a burst larger than memory holds: no false alarm about a segment that was reused meanwhile.
#[test]
fn a_segment_that_was_read_out_is_not_looked_at_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut buffer = open(&config(dir.path(), 8 << 20));
    for n in 0..3 {
        let _ = buffer.append(batch(&values(n..n + 1)), Duration::ZERO).unwrap();
    }
    assert_eq!(buffer.read_all().len(), 3);
    buffer.reader.rewind();
    assert_eq!(buffer.read_all().len(), 3, "now from disk");
    let _ = buffer.reader.ack(&[Seq(1), Seq(2), Seq(3)]);
    // The mark that ends a quiet spell.
    while frames_in(&segment_files(dir.path())[0]) < 4 {
        thread::yield_now();
    }
    // Each needs a segment of its own, so the first one's last frame stays the mark, until its file is written over.
    let len = usize::try_from(buffer.appender.max_batch_bytes()).unwrap() / 2 - 100;
    let mut stored = 3;
    while buffer.append(batch(&["x".repeat(len)]), Duration::from_millis(300)).is_ok() {
        stored += 1;
    }
    assert!(stored > 12);
    let seqs: Vec<u64> = buffer.read_all().into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(seqs, (4..=stored).collect::<Vec<_>>());
    let snapshot = buffer.gauges.snapshot();
    assert_eq!((snapshot.quarantined, snapshot.ledger.ends.lost), (0, 0));
    buffer.close();
}

// Goal: "full in 40 minutes" is true from the first events on, however few they are.
#[test]
fn the_time_to_full_follows_from_the_size_of_the_events() {
    let dir = tempfile::tempdir().unwrap();
    let buffer = open(&config(dir.path(), 4 << 20));
    let event = batch(&["x".repeat(1000)]);
    let len = super::log::frame::stored_len(event.payload().len() as u64);
    let _ = buffer.append(event, Duration::ZERO).unwrap();
    let snapshot = loop {
        let snapshot = buffer.gauges.snapshot();
        if snapshot.rate_in > 0.0 {
            break snapshot;
        }
        thread::yield_now();
    };
    let events_to_full = snapshot.seconds_to_full.unwrap() * snapshot.rate_in;
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let expected = (4_u64 << 20) as f64 / len as f64;
    assert!(events_to_full > expected * 0.7 && events_to_full <= expected, "{events_to_full} of about {expected}");
    buffer.close();
}

// Goal: an operator who deletes spare files to get space does not bring the relay to a halt.
#[test]
fn a_spare_that_somebody_deleted_is_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    let mut buffer = open(&config(dir.path(), 1 << 20));
    let pass = |buffer: &mut Running, batches: u64| {
        for n in 0..batches {
            let _ = buffer.append(batch(&values(n * 50..n * 50 + 50)), Duration::from_secs(20)).unwrap();
            let seqs: Vec<Seq> = buffer.read_all().into_iter().map(|(seq, _)| Seq(seq)).collect();
            let _ = buffer.reader.ack(&seqs);
        }
    };
    let spares =
        || std::fs::read_dir(dir.path()).unwrap().flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("spare-"));
    while spares().count() == 0 {
        pass(&mut buffer, 1);
    }
    spares().for_each(|entry| drop(std::fs::remove_file(entry.path())));
    pass(&mut buffer, 100);
    buffer.close();
}

fn frames_in(path: &Path) -> usize {
    std::fs::read(path).unwrap().windows(4).filter(|bytes| bytes == b"DSF1").count()
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
