//! What an operator sees of parked events, and does to them, beside a relay and without one.

use super::super::inspect::{inspect, waiting};
use super::super::log::storage::{DiskStorage, Storage};
use super::super::memory::{Image, Memory};
use super::super::offline::{self, Repair};
use super::super::purge::{Purged, Selection, select};
use super::super::verify::{Verdict, verify};
use super::super::{Keyring, OpenError};
use super::bench::{Bench, config, open, try_open};
use super::*;
use crate::event::Seq;
use std::time::Duration;

/// Of `a b a b a b c`: a and b are parked, the first two of a are sent and one is written down; c waits in the log.
fn made() -> Bench {
    let mut bench = open(&Memory::new(1_000));
    let _ = bench.append(&["a", "b", "a", "b", "a", "b", "c"], 10);
    let events = bench.log();
    for topic in ["a", "b"] {
        let of: Vec<ParkedEvent> = events.iter().filter(|(other, _)| other == topic).map(|(_, event)| event.clone()).collect();
        bench.park(topic, &of).unwrap();
    }
    let _ = bench.seqs("a");
    assert_eq!(bench.ack(&[1]), 1);
    bench.settle();
    bench
}

fn seen(storage: &dyn Storage, keyring: &Keyring, from: u64) -> Result<Vec<(u64, String, Option<String>)>, OpenError> {
    let mut seen = Vec::new();
    waiting(storage, keyring, from, &mut |seq, _, event, parked| {
        seen.push((seq, event.source_id.to_owned(), parked.map(ToOwned::to_owned)));
        true
    })?;
    Ok(seen)
}

fn image_of(bench: &Bench) -> Image {
    bench.memory.image()
}

// Goal: parked events are shown among the others, in order, with their topic; figures and books of a directory count them as waiting.
#[test]
fn parked_events_are_seen() {
    let memory = Memory::with(&image_of(&made()), 9_000);
    let shown = |n: u64, topic: &str| (n, topic.to_owned(), Some(topic.to_owned()));
    let expected = vec![shown(2, "b"), shown(3, "a"), shown(4, "b"), shown(5, "a"), shown(6, "b"), (7, "c".to_owned(), None)];
    assert_eq!(seen(&*memory, &Keyring::default(), 0).unwrap(), expected);
    assert_eq!(seen(&*memory, &Keyring::default(), 4).unwrap(), expected[2..]);
    let info = inspect(&*memory).unwrap();
    assert_eq!((info.backlog, info.ends.acked, info.oldest_ms, info.last_seq), (6, 1, Some(1_000), 7));
    let parked: Vec<(&str, u64)> = info.parked.iter().map(|topic| (topic.topic.as_str(), topic.events)).collect();
    assert!(parked.contains(&("a", 2)) && parked.contains(&("b", 3)) && parked.len() == 2, "{parked:?}");
    let report = verify(&*memory).unwrap();
    assert_eq!((report.verdict, report.ledger.waiting, report.ledger.error), (Verdict::Sound, 6, Some(0)), "{report:#?}");
}

// Goal: damage to parked events is an alarm, is said to be what it is, and is repaired: the file is kept, its events are counted as lost, the rest waits.
#[test]
fn damage_is_found_and_repaired() {
    let sound = image_of(&made());
    for name in sound.keys().filter(|name| name.starts_with(PARKED_DIR)) {
        for at in [4, 170, sound[name].len() - 1] {
            let mut image = sound.clone();
            image.get_mut(name).unwrap()[at] ^= 1;
            let memory = Memory::with(&image, 9_000);
            let report = verify(&*memory).unwrap();
            let found = report.findings.iter().any(|finding| finding.file == *name);
            assert!(report.verdict == Verdict::Damaged && found && report.ledger.error == Some(0), "{name} {at}: {report:#?}");
            let lost = report.ledger.unreadable;
            assert_eq!((lost + report.ledger.waiting, (2..=3).contains(&lost)), (6, true), "{name} {at}");
            let repaired = offline::repair(&*memory, Repair::default()).unwrap();
            assert_eq!((repaired.lost_events, repaired.quarantined), (lost, 1), "{name} {at}");
            let after = verify(&*memory).unwrap();
            assert_eq!((after.verdict, after.ledger.waiting, after.ledger.ends.lost), (Verdict::Sound, 6 - lost, lost), "{after:#?}");
            let bench = open(&memory);
            bench.assert_books();
            assert_eq!(bench.buffer.gauges.snapshot().ledger.ends.lost, lost);
        }
    }
}

// Goal: a purge takes parked events as it takes others, by seq and by source, announces what it does, and none comes back.
#[test]
fn parked_events_are_purged() {
    let of_b = Selection { source: Some("b".into()), ..Selection::default() };
    let middle = Selection { from_seq: 3, to_seq: Some(4), ..Selection::default() };
    let all = Selection::default();
    for (selection, events, left) in [(of_b, 3, vec![3, 5, 7]), (middle, 2, vec![2, 5, 6, 7]), (all, 6, vec![])] {
        for running in [false, true] {
            let mut bench = made();
            let memory = Memory::with(&bench.memory.image(), 9_000);
            let would = select(&*memory, &Keyring::default(), &selection).unwrap().plan();
            let purged = if running {
                assert_eq!(bench.buffer.purger.plan(&selection).unwrap(), would);
                let (purged, in_all) = bench.buffer.purger.begin(&selection).unwrap();
                assert_eq!(in_all, events);
                assert!(!bench.buffer.purger.finish(), "no cursor knows of it");
                let early = open(&Memory::with(&bench.memory.image(), 9_000)).buffer.gauges.snapshot().ledger;
                assert_eq!((early.backlog, early.ends.lost), (6, 0), "before the answer nothing is lost");
                bench.tick();
                bench.tick();
                assert!(bench.buffer.purger.finish());
                bench.assert_books();
                purged
            } else {
                bench = open(&memory);
                drop(bench.buffer);
                offline::purge(&*memory, &Keyring::default(), &selection).unwrap()
            };
            assert_eq!((&purged, purged.events), (&would, events), "running {running}");
            let image = if running { bench.memory.image() } else { memory.image() };
            let memory = Memory::with(&image, 9_000);
            let seqs: Vec<u64> = seen(&*memory, &Keyring::default(), 0).unwrap().into_iter().map(|(seq, ..)| seq).collect();
            assert_eq!(seqs, left, "running {running}");
            let mut bench = open(&memory);
            bench.assert_books();
            assert_eq!(bench.buffer.gauges.snapshot().ledger.ends.purged, events);
            let mut parked = [bench.seqs("a"), bench.seqs("b")].concat();
            parked.sort_unstable();
            assert_eq!(parked, left.iter().copied().filter(|seq| *seq < 7).collect::<Vec<_>>());
        }
    }
    assert_eq!(Purged::default().and(&Purged::of(&[4, 9])), Purged { events: 2, first_seq: Some(4), last_seq: Some(9) });
}

// Goal: a purge of a relay that runs is answered when no crash can bring parked events back.
#[test]
fn a_live_purge_is_durable_when_it_answers() {
    let dir = tempfile::tempdir().unwrap();
    let config = BufferConfig { dir: dir.path().to_owned(), ..config() };
    let mut buffer = super::super::tests::open(&config);
    let _ = buffer.append(super::super::tests::batch(&super::super::tests::values(0..6)), Duration::from_secs(10)).unwrap();
    let frame = buffer.reader.next_frame().unwrap().unwrap();
    assert_eq!((frame.first_seq, frame.count), (Seq(1), 6));
    assert!(buffer.reader.park_topic("a"));
    buffer.reader.park("a", &super::super::tests::events_of(&frame)).unwrap();
    for (to_seq, left) in [(Some(4), 2), (None, 0)] {
        let purged = buffer.purger.purge(&Selection { to_seq, ..Selection::default() }).unwrap();
        assert_eq!(purged.events, if left == 2 { 4 } else { 2 });
        // As a crash would find it.
        let report = verify(&DiskStorage::new(dir.path())).unwrap();
        assert_eq!((report.ledger.waiting, report.ledger.error, report.verdict), (left, Some(0), Verdict::Sound), "{report:#?}");
        assert_eq!(names(&DiskStorage::new(dir.path())).unwrap().len() as u64, left.min(1));
    }
    buffer.close();
}

// Goal: the line goes on behind what is purged under its eyes, and its topic is released when nothing is left.
#[test]
fn the_line_goes_on_behind_a_purge() {
    let mut bench = made();
    let events = bench.parked("b");
    assert_eq!(events.len(), 3);
    let _ = bench.buffer.purger.begin(&Selection { to_seq: Some(4), ..Selection::default() }).unwrap();
    assert!(bench.buffer.parked.is_acked(Seq(2)) && !bench.buffer.parked.is_acked(Seq(6)));
    assert_eq!(bench.ack(&[2, 4, 6]), 1, "Kafka has what was purged meanwhile; it counts once");
    assert!(bench.buffer.parked.release());
    bench.assert_books();
    bench.settle();
    assert_eq!((bench.seqs("a"), bench.files()), (vec![5], 1));
}

// Goal: with a key, neither the events nor the name of their topic can be read from the disk; without it nothing is lost, and the relay says what it needs.
#[test]
fn parked_events_are_encrypted() {
    let dir = tempfile::tempdir().unwrap();
    let key_file = dir.path().join("keys");
    std::fs::write(&key_file, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n").unwrap();
    let locked = BufferConfig { encryption_key_file: Some(key_file), ..config() };
    let keyring = super::super::keyring(&locked).unwrap();
    let mut bench = try_open(&Memory::new(1_000), &locked).unwrap();
    let _ = bench.append_parked("topic-of-secrets", 3, 10);
    let _ = bench.seqs("topic-of-secrets");
    assert_eq!(bench.ack(&[1]), 1);
    let _ = bench.append(&["topic-of-secrets"], 10);
    bench.settle();
    let image = bench.memory.image();
    let (name, file) = image.iter().find(|(name, _)| name.starts_with(PARKED_DIR)).unwrap();
    for secret in ["secret", "xxxxxxxxxx", "topic"] {
        assert!(!file.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret}");
    }
    let memory = Memory::with(&image, 9_000);
    assert!(matches!(try_open(&memory, &config()), Err(OpenError::UnknownKey { .. })));
    assert!(matches!(seen(&*memory, &Keyring::default(), 0), Err(OpenError::Encrypted { .. })));
    assert_eq!(seen(&*memory, &keyring, 0).unwrap().len(), 3);
    let report = verify(&*memory).unwrap();
    assert_eq!((report.ledger.waiting, report.ledger.error), (3, Some(0)), "the books need no key");
    assert!(inspect(&*memory).unwrap().parked[0].topic.starts_with("(encrypted)"));
    let mut again = try_open(&memory, &locked).unwrap();
    assert_eq!(again.seqs("topic-of-secrets"), [2, 3]);
    // Somebody without the key who makes all checksums right: the table is bound to what is encrypted.
    let mut forged = file.clone();
    forged[160 + 1] ^= 2;
    let table_len = u32::from_le_bytes(forged[100..104].try_into().unwrap()) as usize;
    let crc = crc32c::crc32c(&forged[160..160 + table_len]);
    forged[108..112].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32c::crc32c(&forged[..116]);
    forged[116..120].copy_from_slice(&crc.to_le_bytes());
    let mut image = image.clone();
    let _ = image.insert(name.clone(), forged);
    let mut bench = try_open(&Memory::with(&image, 9_000), &locked).unwrap();
    assert!(bench.seqs("topic-of-secrets").is_empty());
    bench.assert_books();
}
