//! Purges of a buffer that runs and of one that is stopped, on a real directory.

use super::super::inspect::inspect;
use super::super::log::cipher::Keyring;
use super::super::log::storage::DiskStorage;
use super::super::offline;
use super::super::tests::{Running, batch, config, open, values};
use super::super::verify::{Verdict, verify};
use super::super::watermark::MAX_SPAN;
use super::*;
use crate::buffer::Buffer;
use crate::event::{Batch, BatchBuilder, EventParts, Field, Seq};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(10);

fn from_to(from_seq: u64, to_seq: u64) -> Selection {
    Selection { from_seq, to_seq: Some(to_seq), ..Selection::default() }
}

/// Only of the source that the tests' batches name.
fn of_source(source: &str) -> Selection {
    Selection { source: Some(source.to_owned()), ..Selection::default() }
}

fn store(buffer: &Running, frames: std::ops::Range<u64>) {
    for n in frames {
        let _ = buffer.append(batch(&values(n * 5..n * 5 + 5)), SOON).unwrap();
    }
}

#[track_caller]
fn assert_books(buffer: &Running, purged: u64, backlog: u64) {
    let ledger = buffer.gauges.snapshot().ledger;
    assert_eq!((ledger.ends.purged, ledger.backlog, ledger.conservation_error()), (purged, backlog, 0), "{ledger:?}");
}

// Goal: events that an operator gives up are never sent, whether they were read before or not; the books balance, and a restart, even
// after a crash right behind the answer, brings none of them back.
#[test]
fn purged_events_are_gone_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), 4 << 20);
    let mut buffer = open(&config);
    store(&buffer, 0..20);
    let _ = buffer.reader.next_frame().unwrap().unwrap();
    assert_eq!(buffer.reader.ack(&[Seq(1), Seq(4)]), 2);

    let plan = buffer.purger.plan(&from_to(3, 12)).unwrap();
    let purged = buffer.purger.purge(&from_to(3, 12)).unwrap();
    assert_eq!(purged, Purged { events: 9, first_seq: Some(3), last_seq: Some(12) });
    assert_eq!(plan, purged, "what is announced is what is done");
    assert_books(&buffer, 9, 100 - 2 - 9);
    assert_eq!(buffer.purger.purge(&from_to(3, 12)).unwrap().events, 0, "once is enough");
    // As a crash would find it.
    let storage = DiskStorage::new(dir.path());
    let info = inspect(&storage).unwrap();
    assert_eq!((info.ends.purged, info.backlog), (9, 89));

    buffer.reader.rewind();
    let left: Vec<u64> = [2].into_iter().chain(13..=100).collect();
    assert_eq!(buffer.unended(), left);
    assert_eq!(buffer.reader.ack(&[Seq(2), Seq(7)]), 1, "an answer of Kafka to what was purged meanwhile counts once");
    assert_eq!(buffer.reader.acked(), Seq(12));
    buffer.close();

    let mut buffer = open(&config);
    assert_eq!(buffer.unended(), (13..=100).collect::<Vec<_>>());
    assert_books(&buffer, 9, 88);
    buffer.close();
}

// Goal: whatever is purged while the drain reads, and however often the freed disk is used again meanwhile, the drain goes on with what
// is left, and nothing is taken for damage.
#[test]
fn the_drain_goes_on_behind_a_purge() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path(), 1 << 20);
    config.segment_bytes = Some(64 << 10);
    let mut buffer = open(&config);
    let large = |n: u64| batch(&[format!("{n} {}", "z".repeat(20 << 10))]);
    let mut next = 0;
    for round in 0..12 {
        let first = next + 1;
        for _ in 0..6 {
            next += 1;
            let _ = buffer.append(large(next), SOON).unwrap();
        }
        // Somewhere in the middle, from disk or from memory.
        for _ in 0..round {
            let _ = buffer.reader.next_frame().unwrap();
        }
        let kept = next - round % 3;
        let _ = buffer.purger.purge(&from_to(0, kept)).unwrap();
        // The drain has those that it has read.
        let read = (first - 1 + round).min(next);
        assert_eq!(buffer.unended(), (kept.max(read) + 1..=next).collect::<Vec<_>>(), "round {round}, from {first}");
        let _ = buffer.reader.ack(&(kept + 1..=next).map(Seq).collect::<Vec<_>>());
    }
    let snapshot = buffer.gauges.snapshot();
    assert_eq!((snapshot.quarantined, snapshot.ledger.ends.lost, snapshot.ledger.conservation_error()), (0, 0, 0));
    buffer.close();
    assert_eq!(verify(&DiskStorage::new(dir.path())).unwrap().verdict, Verdict::Sound);
}

// Goal: a full buffer has room again at once when waiting events are purged: whoever waits for it gets in.
#[test]
fn a_purge_makes_room() {
    let dir = tempfile::tempdir().unwrap();
    let buffer = open(&crate::config::BufferConfig { max_events: 10, ..config(dir.path(), 4 << 20) });
    store(&buffer, 0..2);
    assert!(buffer.append(batch(&values(0..5)), Duration::ZERO).is_err());
    let _ = buffer.purger.purge(&from_to(1, 7)).unwrap();
    store(&buffer, 2..3);
    assert_books(&buffer, 7, 8);
    buffer.close();
}

/// Events of two sources in turn: `odd` has the odd seqs of a new buffer.
fn in_turn(events: u64) -> Batch {
    let mut builder = BatchBuilder::default();
    for seq in 1..=events {
        let source_id = Field::Text(if seq % 2 == 1 { "odd" } else { "even" });
        let text = Field::Text("t");
        builder.push(&EventParts { value: b"{}", id: text, kind: text, source_type: text, source_id, traceparent: Field::Absent });
    }
    builder.finish()
}

// Goal: a purge of more scattered events than can be remembered is refused whole, and says how far it would go; that far it works, and
// a restart knows all of it.
#[test]
fn too_scattered_is_refused_with_what_would_fit() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), 32 << 20);
    let buffer = open(&config);
    let _ = buffer.append(in_turn(70_000), SOON).unwrap();
    for refused in [buffer.purger.plan(&of_source("odd")), buffer.purger.purge(&of_source("odd"))] {
        let Err(PurgeError::TooScattered { events, pieces, fits_to }) = refused else { panic!("{refused:?}") };
        assert_eq!((events, pieces), (35_000, 35_000));
        // A bit for each event up to the span, 256 ranges beyond.
        assert_eq!(fits_to, Some(MAX_SPAN as u64 + 513));
    }
    assert_books(&buffer, 0, 70_000);
    let fits = Selection { to_seq: Some(MAX_SPAN as u64 + 513), ..of_source("odd") };
    let purged = MAX_SPAN as u64 / 2 + 257;
    assert_eq!(buffer.purger.purge(&fits).unwrap().events, purged);
    assert_books(&buffer, purged, 70_000 - purged);
    buffer.close();
    let mut buffer = open(&config);
    assert_eq!(buffer.unended().len() as u64, 70_000 - purged);
    assert_books(&buffer, purged, 70_000 - purged);
    buffer.close();
}

// Goal: by source and by age, running or stopped, exactly what was named goes.
#[test]
fn by_source_and_by_age() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), 4 << 20);
    let storage = DiskStorage::new(dir.path());
    let buffer = open(&config);
    store(&buffer, 0..4);
    let events = |selection: &Selection| buffer.purger.plan(selection).unwrap().events;
    assert_eq!([events(&of_source("t")), events(&of_source("t/t")), events(&of_source("u")), events(&of_source("t/u"))], [20, 20, 0, 0]);
    let before = |before_ms| Selection { before_ms: Some(before_ms), ..of_source("t") };
    assert_eq!([events(&before(0)), events(&before(u64::MAX))], [0, 20]);

    let refused = offline::purge(&storage, &Keyring::default(), &from_to(0, 5)).unwrap_err();
    assert!(matches!(refused, PurgeError::Open(OpenError::Locked { .. })), "{refused}");
    assert_books(&buffer, 0, 20);
    buffer.close();
    let purged = offline::purge(&storage, &Keyring::default(), &Selection { to_seq: Some(8), ..before(u64::MAX) }).unwrap();
    assert_eq!(purged, Purged { events: 8, first_seq: Some(1), last_seq: Some(8) });
    let report = verify(&storage).unwrap();
    assert_eq!((report.verdict, report.ledger.ends.purged, report.ledger.waiting, report.ledger.error), (Verdict::Sound, 8, 12, Some(0)));
    let mut buffer = open(&config);
    assert_eq!(buffer.unended(), (9..=20).collect::<Vec<_>>());
    assert_books(&buffer, 8, 12);
    buffer.close();
}

// Goal: "purged" is said only when a restart cannot bring the events back: not before the cursor that knows of it is on the disk.
#[test]
fn the_answer_comes_after_the_cursor() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), 4 << 20);
    let buffer = open(&config);
    store(&buffer, 0..2);
    buffer.close();
    let opened = Buffer::open(&config, Arc::new(DiskStorage::new(dir.path())), Arc::default(), 0).unwrap();
    let Buffer { purger, gauges, mut keeper, .. } = opened;
    let written = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let purge = scope.spawn(|| (purger.purge(&from_to(1, 3)).unwrap().events, written.load(Ordering::Acquire)));
        let deadline = Instant::now() + SOON;
        while gauges.snapshot().ledger.ends.purged < 3 {
            assert!(Instant::now() < deadline, "nothing is purged");
            std::thread::yield_now();
        }
        // An answer that waits for nothing would come now.
        let deadline = Instant::now() + Duration::from_millis(200);
        while !purge.is_finished() && Instant::now() < deadline {
            std::thread::yield_now();
        }
        written.store(true, Ordering::Release);
        assert!(keeper.turn(Instant::now()).is_continue());
        assert_eq!(purge.join().unwrap(), (3, true));
    });
}

// Goal: what a purge is said to do is what it does, also where the cursor is lost and nothing tells what was delivered long ago.
#[test]
fn a_dry_run_without_a_cursor_counts_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), 4 << 20);
    let mut buffer = open(&config);
    store(&buffer, 0..5);
    let _ = buffer.read_all();
    let _ = buffer.reader.ack(&(1..=25).map(Seq).collect::<Vec<_>>());
    buffer.close();
    // The first segment is behind the cursor, and free for the next.
    let buffer = open(&config);
    store(&buffer, 5..7);
    buffer.close();
    std::fs::remove_file(dir.path().join("cursor")).unwrap();
    let storage = DiskStorage::new(dir.path());
    for selection in [from_to(0, u64::MAX), from_to(0, 30), of_source("t")] {
        let would = select(&storage, &Keyring::default(), &selection).unwrap().plan();
        assert_eq!((would.first_seq, would.events), (Some(26), would.last_seq.unwrap() - 25), "{selection:?}");
    }
    let would = select(&storage, &Keyring::default(), &Selection::default()).unwrap().plan();
    assert_eq!(offline::purge(&storage, &Keyring::default(), &Selection::default()).unwrap(), would);
}
