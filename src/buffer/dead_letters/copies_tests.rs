use super::super::Buffer;
use super::super::log::storage::DiskStorage;
use super::super::shared::lock;
use super::format::COPIED_AT;
use super::store::DEAD_LETTERS_DIR;
use super::tests::{append, config, ids, letter, open, reader_shared, running, waiting, with_running};
use super::*;
use crate::buffer::purge::Selection;
use crate::config::{BufferConfig, WhenFull};
use crate::event::Seq;
use crate::lifecycle::AckWaiters;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// The first letter to copy.
fn first(copies: &Copies) -> Option<u64> {
    copies.first().unwrap().map(|kept| kept.letter.seq)
}

// Goal: what the dead-letter topic has is not copied again after a restart, what it does not have is, in order; and it is shown which is which.
#[test]
fn what_was_copied_stays_copied() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    with_running(&config, |reader, appender, letters| {
        let _ = append(appender, &["a1", "b2", "a3", "b4"]);
        for (seq, id) in [(1, "a1"), (2, "b2"), (3, "a3"), (4, "b4")] {
            reader.dead_letter(&letter(seq, id)).unwrap();
        }
        let copies = letters.copies();
        assert_eq!(first(&copies), Some(1));
        copies.copied(1, Copied::Whole).unwrap();
        copies.copied(2, Copied::WithoutValue).unwrap();
        assert_eq!((first(&copies), letters.usage().uncopied), (Some(3), 2));
        // Removed by an operator while it was on its way.
        assert_eq!(letters.purge(&Selection { from_seq: 3, to_seq: Some(3), ..Selection::default() }, false).unwrap().events, 1);
        copies.copied(3, Copied::Whole).unwrap();
        assert!(!copies.holds(3) && copies.holds(4));
        assert_eq!(first(&copies), Some(4));
    });
    let buffer = open(&config);
    let kept = |seq| buffer.dead_letters.get(seq).unwrap().unwrap();
    assert_eq!([kept(1).copied, kept(2).copied, kept(4).copied], [Some(Copied::Whole), Some(Copied::WithoutValue), None]);
    assert_eq!([kept(1), kept(4)].map(|kept| kept.view(true).unwrap().copied), [true, false]);
    assert_eq!((kept(1).letter, buffer.dead_letters.usage().uncopied), (letter(1, "a1"), 1));
    assert_eq!(first(&buffer.dead_letters.copies()), Some(4));
}

// Goal: a letter that is retried and dead again is a new one, which is copied anew.
#[test]
fn a_letter_that_is_dead_again_is_copied_again() {
    let dir = tempfile::tempdir().unwrap();
    with_running(&config(dir.path()), |reader, appender, letters| {
        let _ = append(appender, &["a1"]);
        reader.dead_letter(&letter(1, "a1")).unwrap();
        let copies = letters.copies();
        copies.copied(1, Copied::Whole).unwrap();
        assert_eq!(letters.retry(&Selection::default(), false).unwrap().events, 1);
        assert_eq!(first(&copies), None);
        reader.dead_letter(&letter(2, "a1")).unwrap();
        assert_eq!(first(&copies), Some(2));
    });
}

// Goal: with a dead-letter topic full dead letters hold nothing up as long as one of them is in the topic, whichever policy is set; the oldest of
// those goes first, and that is not counted as a loss. Those that are not there yet stay, or go last, counted.
#[test]
fn copied_letters_give_way_and_others_do_not() {
    for (when_full, kept, dropped) in [(WhenFull::Block, [1, 3], 0), (WhenFull::DropOldest, [6, 7], 2)] {
        let dir = tempfile::tempdir().unwrap();
        let config = BufferConfig { dead_letter_bytes: Some(64 << 10), dead_letters_full: when_full, ..config(dir.path()) };
        let buffer = open(&config);
        let store = &reader_shared(&buffer.reader).dead_letters;
        let add = |seqs: std::ops::RangeInclusive<u64>| seqs.filter(|seq| store.add(&letter(*seq, "a")).is_ok()).count();
        assert_eq!(add(1..=16), 16);
        for seq in [2, 4, 5] {
            store.copied(seq, Copied::Whole).unwrap();
        }
        if when_full == WhenFull::Block {
            assert_eq!(add(17..=17), 0, "nobody copies: a mark of earlier days is no reason to remove a letter");
        }
        store.copying();
        assert_eq!(add(17..=18), 2);
        assert_eq!(store.seqs(0, 4), [1, 3, 5, 6], "the oldest of the copied ones");
        let usage = store.usage();
        assert_eq!((usage.gave_way, usage.dropped, usage.count, usage.uncopied), (2, 0, 16, 15));
        assert!(usage.bytes <= 64 << 10, "{usage:?}");
        let refused = store.add(&DeadLetter { record: vec![0; 70_000].into(), ..letter(99, "a") });
        assert!(matches!(refused, Err(DeadLetterError::Full { .. })), "one that can never fit pushes nothing out");
        assert_eq!(add(19..=19), 1);
        let _ = add(20..=21);
        assert_eq!((store.seqs(0, 2), store.usage().dropped), (kept.to_vec(), dropped), "{when_full:?}");
        assert_eq!((store.usage().gave_way, store.usage().uncopied), (3, 16));
    }
}

// Goal: an event whose letter is only in the dead-letter topic any more can be mended and sent again under its id, through the same relay.
#[test]
fn the_id_of_a_letter_that_gave_way_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let config = BufferConfig { dead_letter_bytes: Some(64 << 10), ..config(dir.path()) };
    let names: Vec<String> = (1..=17).map(|n| format!("a{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let remembering = Arc::new(AckWaiters::remembering(100));
    let buffer = Buffer::open(&config, Arc::new(DiskStorage::new(&config.dir)), remembering, 1 << 16).unwrap();
    running(buffer, |reader, appender, letters| {
        let _ = append(appender, &names);
        let copies = letters.copies();
        for (seq, name) in (1..=16).zip(&names) {
            reader.dead_letter(&letter(seq, name)).unwrap();
        }
        assert!(matches!(reader.dead_letter(&letter(17, "a17")), Err(DeadLetterError::Full { .. })));
        copies.copied(1, Copied::Whole).unwrap();
        copies.copied(2, Copied::Whole).unwrap();
        reader.dead_letter(&letter(17, "a17")).unwrap();
        assert_eq!((letters.usage().gave_way, letters.usage().count), (1, 16));
        assert_eq!(append(appender, &["a1"]), Seq(18), "stored as a new event");
        assert_eq!(append(appender, &["a2"]), Seq(2), "a letter that is still here is known");
    });
}

// Goal: a letter that gave way does not come back as a waiting event after a crash: it may go only when the cursor on disk knows of its end.
#[test]
fn a_letter_counts_as_copied_only_once_its_end_is_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    with_running(&config, |_, appender, _| append(appender, &["a1", "b2"]));
    let buffer = open(&config);
    let (mut reader, mut keeper) = (buffer.reader, buffer.keeper);
    reader.dead_letter(&letter(1, "a1")).unwrap();
    let (shared, over) = (reader_shared(&reader), AtomicBool::new(false));
    std::thread::scope(|threads| {
        // A keeper that works only when it is asked to.
        let keeping = threads.spawn(|| {
            while !over.load(Ordering::Acquire) {
                if lock(&shared.keeper_poked).now {
                    assert!(keeper.turn(Instant::now()).is_continue());
                }
                std::thread::yield_now();
            }
        });
        let copied = buffer.dead_letters.copies().copied(1, Copied::Whole);
        over.store(true, Ordering::Release);
        keeping.join().unwrap();
        copied.unwrap();
    });
    shared.dead_letters.remove(&[1]).unwrap();
    // Everybody is gone without a last word.
    drop((
        reader,
        keeper,
        buffer.appender,
        buffer.gauges,
        buffer.purger,
        buffer.dead_letters,
        buffer.parked,
        buffer.committer,
        buffer.closer,
    ));
    let mut buffer = open(&config);
    assert_eq!(waiting(&mut buffer.reader), [(2, "b2".to_owned())]);
    assert_eq!(buffer.gauges.snapshot().ledger.ends.dead_lettered, 1);
}

// Goal: the copier does not take a letter before the event counts as ended: the file is there a moment earlier.
#[test]
fn an_end_that_is_not_booked_is_not_copied() {
    let dir = tempfile::tempdir().unwrap();
    with_running(&config(dir.path()), |reader, appender, letters| {
        let _ = append(appender, &["a1"]);
        reader_shared(reader).dead_letters.add(&letter(1, "a1")).unwrap();
        let copies = letters.copies();
        assert_eq!(first(&copies), None);
        assert_eq!(reader.ack(&[Seq(1)]), 1);
        assert_eq!(first(&copies), Some(1));
    });
}

// Goal: whatever happens to a mark on disk, the letter is sound, and at worst it is copied once more; a letter from before there were marks is not copied.
#[test]
fn a_rotten_mark_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let mut buffer = open(&config);
    buffer.reader.dead_letter(&letter(1, "a1")).unwrap();
    let path = dir.path().join(DEAD_LETTERS_DIR).join(format!("{:020}.dead", 1));
    let at = usize::try_from(COPIED_AT).unwrap();
    assert_eq!(std::fs::read(&path).unwrap()[at..at + 16], [0; 16]);
    reader_shared(&buffer.reader).dead_letters.copied(1, Copied::Whole).unwrap();
    drop(buffer);
    let sound = std::fs::read(&path).unwrap();
    let (storage, keyring) = (DiskStorage::new(dir.path()), super::super::Keyring::default());
    let copied = || read(&storage, &keyring, 1).unwrap().unwrap().copied;
    assert_eq!(copied(), Some(Copied::Whole));
    for bit in at * 8..(at + 16) * 8 {
        let mut rotten = sound.clone();
        rotten[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, rotten).unwrap();
        assert_eq!(copied(), None, "bit {bit}");
    }
    let buffer = open(&config);
    assert_eq!((ids(&buffer.dead_letters), first(&buffer.dead_letters.copies())), (vec![(1, "a1".to_owned())], Some(1)));
}

// Goal: a file that somebody took away keeps no other letter from being copied.
#[test]
fn a_missing_file_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    with_running(&config(dir.path()), |reader, appender, letters| {
        let _ = append(appender, &["a1", "b2"]);
        reader.dead_letter(&letter(1, "a1")).unwrap();
        reader.dead_letter(&letter(2, "b2")).unwrap();
        std::fs::remove_file(dir.path().join(DEAD_LETTERS_DIR).join(format!("{:020}.dead", 1))).unwrap();
        assert_eq!(first(&letters.copies()), Some(2));
        assert_eq!(letters.retry(&Selection::default(), false).unwrap().events, 1);
    });
}
