use super::super::failing::{Calls, Failing};
use super::super::log::storage::{DiskStorage, OpenMode, Storage, write_full};
use super::super::memory::Memory;
use super::super::shared::lock;
use super::super::{AppendOptions, Buffer};
use super::store::DEAD_LETTERS_DIR;
use super::*;
use crate::buffer::purge::Selection;
use crate::config::{BufferConfig, WhenFull};
use crate::event::{Batch, BatchBuilder, EventParts, Field, Seq};
use crate::lifecycle::{AckWaiters, Heartbeats};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

pub(super) fn batch(ids: &[&str]) -> Batch {
    let mut batch = BatchBuilder::default();
    for id in ids {
        batch.push(&EventParts {
            value: id.as_bytes(),
            id: Field::Span { offset: 0, len: id.len() },
            kind: Field::Text("made"),
            source_type: Field::Text("user"),
            source_id: Field::Text(if id.starts_with('a') { "a" } else { "b" }),
            traceparent: Field::Absent,
        });
    }
    batch.finish()
}

pub(super) fn letter(seq: u64, id: &str) -> DeadLetter {
    let cause = Cause { reason: "too_large".into(), text: format!("event {seq}: too large"), attempts: 3, first_refused_ms: 5, dead_ms: 9 };
    DeadLetter { seq, accepted_ms: 7, cause, record: batch(&[id]).into_payload().into() }
}

pub(super) fn config(dir: &std::path::Path) -> BufferConfig {
    BufferConfig { dir: dir.to_owned(), max_bytes: 4 << 20, min_free_bytes: 0, ..BufferConfig::default() }
}

pub(super) fn open(config: &BufferConfig) -> Buffer {
    Buffer::open(config, Arc::new(DiskStorage::new(&config.dir)), Arc::new(AckWaiters::default()), 1 << 16).unwrap()
}

/// A buffer whose threads run, for as long as `work` takes.
pub(super) fn with_running<T>(
    config: &BufferConfig,
    work: impl FnOnce(&mut super::super::Reader, &super::super::Appender, &DeadLetters) -> T,
) -> T {
    running(open(config), work)
}

pub(super) fn running<T>(buffer: Buffer, work: impl FnOnce(&mut super::super::Reader, &super::super::Appender, &DeadLetters) -> T) -> T {
    let Buffer { appender, mut reader, dead_letters, committer, keeper, closer, .. } = buffer;
    let beats = Heartbeats::default();
    let (commits, keeps) = (beats.register("commit"), beats.register("keep"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    std::thread::scope(|threads| {
        let committer = threads.spawn(move || committer.run(&commits));
        let keeper = threads.spawn(move || keeper.run(&keeps));
        // The threads end whatever becomes of the work: a failed test must not hang.
        let done = catch_unwind(AssertUnwindSafe(|| work(&mut reader, &appender, &dead_letters)));
        closer.close_appends();
        committer.join().unwrap();
        closer.close_keeper();
        keeper.join().unwrap();
        done.unwrap_or_else(|panic| resume_unwind(panic))
    })
}

pub(super) fn append(appender: &super::super::Appender, ids: &[&str]) -> Seq {
    let options = AppendOptions { deadline: Instant::now() + Duration::from_secs(10), receipts: None };
    tokio::runtime::Handle::current().block_on(appender.append(batch(ids), options)).unwrap().first_seq
}

pub(super) fn ids(letters: &DeadLetters) -> Vec<(u64, String)> {
    let mut found = Vec::new();
    letters
        .list(0, &mut |kept| {
            found.push((kept.letter.seq, kept.letter.event().unwrap().id.to_owned()));
            true
        })
        .unwrap();
    found
}

pub(super) fn waiting(reader: &mut super::super::Reader) -> Vec<(u64, String)> {
    let mut found = Vec::new();
    while let Some(frame) = reader.next_frame().unwrap() {
        for (event, seq) in Records::new(&frame.payload).flatten().zip(frame.first_seq.0..) {
            if !reader.is_acked(Seq(seq)) {
                found.push((seq, event.id.to_owned()));
            }
        }
    }
    found
}

// Goal: an event that was given up is kept, counted, and never sent again: after a clean stop, and after one that wrote no cursor.
#[test]
fn a_dead_letter_survives_and_its_event_is_not_sent_again() {
    for crash in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        if crash {
            with_running(&config, |_, appender, _| append(appender, &["a1", "b2", "a3"]));
            // Without a keeper no cursor is written: only the letter says that the event is at its end.
            let mut buffer = open(&config);
            buffer.reader.dead_letter(&letter(2, "b2")).unwrap();
        } else {
            with_running(&config, |reader, appender, _| {
                let _ = append(appender, &["a1", "b2", "a3"]);
                reader.dead_letter(&letter(2, "b2")).unwrap();
                reader.dead_letter(&letter(2, "b2")).unwrap();
            });
        }
        let mut buffer = open(&config);
        assert_eq!(ids(&buffer.dead_letters), [(2, "b2".to_owned())]);
        assert_eq!(waiting(&mut buffer.reader), [(1, "a1".to_owned()), (3, "a3".to_owned())]);
        let ledger = buffer.gauges.snapshot().ledger;
        assert_eq!((ledger.ends.dead_lettered, ledger.backlog, ledger.conservation_error()), (1, 2, 0), "crash {crash}");
        assert_eq!(buffer.dead_letters.get(2).unwrap().unwrap().letter.cause, letter(2, "b2").cause);
    }
}

// Goal: a retry puts the events into the buffer again, in their old order, as new events; asking again does nothing.
#[test]
fn a_retry_is_a_new_event_and_happens_once() {
    let dir = tempfile::tempdir().unwrap();
    with_running(&config(dir.path()), |reader, appender, letters| {
        let _ = append(appender, &["a1", "b2", "a3", "a4"]);
        for (seq, id) in [(3, "a3"), (1, "a1"), (2, "b2")] {
            reader.dead_letter(&letter(seq, id)).unwrap();
        }
        let only_a = Selection { source: Some("a".into()), ..Selection::default() };
        assert_eq!(letters.retry(&only_a, true).unwrap(), Retried { events: 2, first_seq: None, last_seq: None });
        assert_eq!(letters.retry(&only_a, false).unwrap(), Retried { events: 2, first_seq: Some(5), last_seq: Some(6) });
        assert_eq!(letters.retry(&only_a, false).unwrap(), Retried::default());
        assert_eq!(ids(letters), [(2, "b2".to_owned())]);
        let found = waiting(reader);
        assert_eq!(found, [(4, "a4".to_owned()), (5, "a1".to_owned()), (6, "a3".to_owned())]);
        assert_eq!(letters.purge(&Selection::default(), false).unwrap().events, 1);
        assert_eq!((ids(letters), letters.usage().bytes), (vec![], 0));
    });
}

// Goal: a crash in the middle of a retry makes no second copy: neither where the event was appended already nor where it was not.
#[test]
fn a_retry_that_was_cut_off_is_finished_or_forgotten() {
    for appended in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        with_running(&config, |reader, appender, _| {
            let _ = append(appender, &["a1", "b2"]);
            reader.dead_letter(&letter(1, "a1")).unwrap();
            lock(&reader_shared(reader).marks).note_age(1, 1);
            reader_shared(reader).dead_letters.begin_retry(1, 3).unwrap();
            if appended {
                let _ = append(appender, &["a1"]);
            }
        });
        let mut buffer = open(&config);
        let expect = if appended { vec![] } else { vec![(1, "a1".to_owned())] };
        assert_eq!(ids(&buffer.dead_letters), expect);
        assert_eq!(waiting(&mut buffer.reader).len(), 1 + usize::from(appended));
    }
}

pub(super) fn reader_shared(reader: &super::super::Reader) -> &super::super::shared::Shared {
    reader.shared_for_tests()
}

// Goal: the disk fails while a dead letter is written, whichever call, once or twice: Kafka takes the event after all, and then it is no dead letter, after the
// next start neither.
#[test]
fn a_letter_that_could_not_be_written_is_taken_back() {
    let (mut call, mut failed) = (0, 0);
    loop {
        let (memory, calls) = (Memory::new(1), Arc::new(Calls::default()));
        let open = || {
            let storage = Failing { memory: Arc::clone(&memory), calls: Arc::clone(&calls), folder: DEAD_LETTERS_DIR };
            Buffer::open(&config(memory.dir()), Arc::new(storage), Arc::new(AckWaiters::default()), 1 << 16).unwrap()
        };
        let Buffer { appender, mut reader, mut committer, mut keeper, closer, dead_letters, .. } = open();
        let options = AppendOptions { deadline: Instant::now() + Duration::from_secs(10), receipts: None };
        {
            let mut append = pin!(appender.append(batch(&["a"]), options));
            let mut poll = || append.as_mut().poll(&mut Context::from_waker(Waker::noop())).map(Result::unwrap);
            assert!(poll().is_pending() && committer.turn(false).is_continue() && poll().is_ready());
        }

        calls.fail(call / 2..call / 2 + 1 + call % 2);
        let kept = reader.dead_letter(&letter(1, "a"));
        let none_failed = !calls.have_failed();
        calls.go_on();
        let is_kept = kept.is_ok();
        assert!(is_kept || !none_failed, "call {call}: {kept:?}");
        assert_eq!(ids(&dead_letters).len(), usize::from(is_kept), "call {call}");
        if !is_kept {
            failed += 1;
            assert_eq!(reader.ack(&[Seq(1)]), 1);
        }
        closer.close_appends();
        assert!(committer.turn(false).is_break());
        closer.close_keeper();
        assert!(keeper.turn(Instant::now()).is_break());
        drop((appender, reader, keeper, dead_letters));
        if none_failed {
            assert!(failed > 5, "{failed}");
            return;
        }
        let again = open();
        assert_eq!(ids(&again.dead_letters).len(), usize::from(is_kept), "call {call}");
        assert_eq!(again.gauges.snapshot().ledger.conservation_error(), 0);
        call += 1;
    }
}

// Goal: dead letters never take more disk than was set apart for them: a full store refuses, or the oldest goes and is counted.
#[test]
fn the_budget_holds() {
    for (when_full, kept, dropped) in [(WhenFull::Block, 1..=16, 0), (WhenFull::DropOldest, 5..=20, 4)] {
        let dir = tempfile::tempdir().unwrap();
        let config = BufferConfig { dead_letter_bytes: Some(64 << 10), dead_letters_full: when_full, ..config(dir.path()) };
        let buffer = open(&config);
        let store = &reader_shared(&buffer.reader).dead_letters;
        let outcomes: Vec<bool> = (1..=20).map(|seq| store.add(&letter(seq, "a")).is_ok()).collect();
        assert_eq!(store.seqs(0, 100), kept.collect::<Vec<_>>());
        let usage = store.usage();
        assert!(usage.bytes <= 64 << 10 && usage.dropped == dropped, "{usage:?}");
        assert_eq!(outcomes.iter().filter(|ok| !**ok).count() as u64, 4 - dropped);
        let refused = store.add(&DeadLetter { record: vec![0; 70_000].into(), ..letter(99, "a") });
        assert!(matches!(refused, Err(DeadLetterError::Full { .. })), "one that can never fit pushes nothing out");
        assert_eq!(store.usage(), usage);
    }
}

// Goal: whatever happens to a letter's file, nothing wrong is shown or sent, the relay starts, and the bytes are kept.
#[test]
fn a_rotten_letter_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let mut buffer = open(&config);
    buffer.reader.dead_letter(&letter(1, "a1")).unwrap();
    drop(buffer);
    let path = dir.path().join(DEAD_LETTERS_DIR).join(format!("{:020}.dead", 1));
    let sound = std::fs::read(&path).unwrap();
    let storage = DiskStorage::new(dir.path());
    let keyring = super::super::Keyring::default();
    for bit in 0..sound.len() * 8 {
        let mut rotten = sound.clone();
        rotten[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, rotten).unwrap();
        match read(&storage, &keyring, 1) {
            Ok(Some(read)) => assert_eq!(read.letter, letter(1, "a1"), "bit {bit} is not covered and matters"),
            Ok(None) => panic!("bit {bit}"),
            Err(error) => assert!(matches!(error, DeadLetterError::Damaged { .. }), "{error}"),
        }
    }
    for len in 0..sound.len() {
        std::fs::write(&path, &sound[..len]).unwrap();
        assert!(read(&storage, &keyring, 1).is_err(), "length {len}");
    }
    let buffer = open(&config);
    assert_eq!((ids(&buffer.dead_letters).len(), buffer.gauges.snapshot().quarantined), (0, 1));
}

// Goal: with a key, neither the event nor what Kafka said of it can be read from the disk; without the key nothing is lost.
#[test]
fn letters_are_encrypted_like_events() {
    let dir = tempfile::tempdir().unwrap();
    let key_file = dir.path().join("keys");
    std::fs::write(&key_file, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n").unwrap();
    let plain = config(&dir.path().join("buffer"));
    let config = BufferConfig { encryption_key_file: Some(key_file), ..plain.clone() };
    open(&config).reader.dead_letter(&letter(1, "a-secret")).unwrap();
    let path = config.dir.join(DEAD_LETTERS_DIR).join(format!("{:020}.dead", 1));
    let bytes = std::fs::read(&path).unwrap();
    for secret in ["a-secret", "too_large"] {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret}");
    }
    assert_eq!(ids(&open(&config).dead_letters), [(1, "a-secret".to_owned())]);
    let locked = open(&plain);
    assert!(matches!(locked.dead_letters.get(1), Err(DeadLetterError::Locked { .. })));
    assert_eq!(locked.dead_letters.usage().count, 1);
}

// Goal: a file that was being written when the machine died is no dead letter.
#[test]
fn what_was_not_finished_is_no_letter() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    drop(open(&config));
    let storage = DiskStorage::new(dir.path());
    storage.create_dir(DEAD_LETTERS_DIR).unwrap();
    let file = storage.open(&format!("{DEAD_LETTERS_DIR}/new"), OpenMode::Create).unwrap();
    write_full(&*file, b"half", 0).unwrap();
    let buffer = open(&config);
    assert_eq!(buffer.dead_letters.usage().count, 0);
    assert!(storage.list(DEAD_LETTERS_DIR).unwrap().is_empty());
}
