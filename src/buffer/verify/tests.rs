//! Verification and repair of directories that a real buffer wrote and that were damaged afterwards.

use super::super::log::cursor::Cursor;
use super::super::log::segment::{number_in, segment_name};
use super::super::log::storage::{DiskStorage, OpenMode, Storage, write_full};
use super::super::offline::{Repair, repair};
use super::super::tests::{batch, config, open, values};
use super::*;
use crate::event::Seq;
use std::time::Duration;
use tempfile::TempDir;

/// 60 events in frames of 5, in several segments; those up to 17, and 19, are acknowledged.
fn made() -> (TempDir, DiskStorage) {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path(), 2 << 20);
    config.segment_bytes = Some(64 << 10);
    let mut buffer = open(&config);
    for n in 0..12 {
        let large: Vec<String> = values(n * 5..n * 5 + 5).into_iter().map(|value| value + &"y".repeat(2 << 10)).collect();
        let _ = buffer.append(batch(&large), Duration::from_secs(10)).unwrap();
    }
    let _ = buffer.read_all();
    let _ = buffer.reader.ack(&(1..=17).chain([19]).map(Seq).collect::<Vec<_>>());
    buffer.close();
    let storage = DiskStorage::new(dir.path());
    (dir, storage)
}

/// Where the frame of an event begins, and in which segment.
fn place(storage: &DiskStorage, seq: u64) -> (String, u64) {
    let look = Look::open(storage).unwrap();
    look.segments
        .iter()
        .find_map(|opened| {
            let (mut at, mut found) = (DATA_START, None);
            let _ = opened.walk(&mut |header, _| {
                found = (header.first_seq..header.next_seq()).contains(&seq).then_some(at);
                at += header.stored_len();
                found.is_none()
            });
            found.map(|at| (opened.name.clone(), at))
        })
        .unwrap()
}

fn spoil(storage: &DiskStorage, (name, at): &(String, u64)) {
    write_full(&*storage.open(name, OpenMode::ReadWrite).unwrap(), &[0xFF; 4], *at).unwrap();
}

/// Verifies, repairs, verifies again: what was announced is what was done, and the directory is sound afterwards.
fn cure(storage: &DiskStorage, verdict: Verdict, lost: &[(u64, u64)]) -> Report {
    let report = verify(storage).unwrap();
    assert_eq!((report.verdict, report.lost_seqs.as_slice()), (verdict, lost), "{:#?}", report.findings);
    assert_eq!(report.ledger.error, Some(0), "{:#?}", report.ledger);
    let events = lost.iter().map(|(from, to)| to - from + 1).sum::<u64>();
    assert_eq!(report.ledger.unreadable, events);
    let repaired = repair(storage, Repair::default()).unwrap();
    assert_eq!(repaired.lost_events, events, "{repaired:?}");
    let after = verify(storage).unwrap();
    assert_eq!((after.verdict, after.ledger.error, after.ledger.ends.lost), (Verdict::Sound, Some(0), events), "{:#?}", after.findings);
    assert_eq!(after.ledger.waiting + events, report.ledger.waiting + report.ledger.unreadable);
    report
}

// Goal: a sound buffer is called sound, with every event counted; repairing it changes nothing.
#[test]
fn sound() {
    let (_dir, storage) = made();
    let report = cure(&storage, Verdict::Sound, &[]);
    assert_eq!(report.findings, []);
    assert_eq!((report.ledger.accepted, report.ledger.waiting, report.ledger.ends.acked), (60, 42, 18));
    assert_eq!((report.clean, report.in_use, report.quarantined), (Some(true), false, 0));
}

// Goal: rot in a payload or in a frame header is named with the exact events that it costs, and costs no other event.
#[test]
fn rot_costs_what_it_is_said_to_cost() {
    for header in [false, true] {
        let (_dir, storage) = made();
        let (name, at) = place(&storage, 33);
        spoil(&storage, &(name.clone(), if header { at } else { at + 100 }));
        let report = cure(&storage, Verdict::Damaged, &[(31, 35)]);
        let found = &report.findings[0];
        assert_eq!((found.file.as_str(), found.offset, found.seqs), (name.as_str(), Some(at), Some((31, 35))), "{found:?}");
        assert_eq!(verify(&storage).unwrap().quarantined, 1);
    }
}

// Goal: rot that touches only what Kafka has is no alarm; of a frame that Kafka has in part, only the rest is lost.
#[test]
fn what_kafka_has_is_not_missed() {
    let (_dir, storage) = made();
    spoil(&storage, &place(&storage, 12));
    let report = cure(&storage, Verdict::Sound, &[]);
    assert_eq!(report.findings.iter().map(|found| found.severity).collect::<Vec<_>>(), [Severity::Note]);

    let (_dir, storage) = made();
    spoil(&storage, &place(&storage, 16));
    let _ = cure(&storage, Verdict::Damaged, &[(18, 18), (20, 20)]);
}

// Goal: a segment that is gone, or whose header rotted, is missed by the numbers of its events, wherever it was.
#[test]
fn a_lost_segment_is_missed() {
    let (_dir, storage) = made();
    let segments: Vec<(String, u64, u64)> = Look::open(&storage)
        .unwrap()
        .segments
        .iter()
        .filter_map(|opened| opened.seal.filter(|seal| seal.events > 0).map(|seal| (opened.name.clone(), seal.first_seq, seal.last_seq)))
        .collect();
    assert!(segments.len() > 3, "{segments:?}");
    for (index, (name, first, last)) in segments.iter().enumerate().skip(1) {
        for removed in [true, false] {
            let (_dir, storage) = made();
            if removed {
                storage.remove(name).unwrap();
            } else {
                spoil(&storage, &(name.clone(), 10));
            }
            let report = cure(&storage, Verdict::Damaged, &[(*first, *last)]);
            assert!(report.findings.iter().any(|found| removed || found.file == *name), "{index}: {:#?}", report.findings);
        }
    }
}

// Goal: the segment that was being written when the relay was killed has lost its header: I am told which events are possibly lost, the same as
// are counted when it is repaired, and no more than there can have been.
#[test]
fn a_damaged_tail_is_announced() {
    for first_frame_too in [false, true] {
        let (_dir, storage) = made();
        let (tail, _) = place(&storage, 60);
        let (id, first) = (number(&tail), first_seq(&storage, &tail));
        // As after a kill: nothing but the segment itself knows of its events.
        for opened in Look::open(&storage).unwrap().segments.iter().filter(|opened| opened.header.segment_id > id) {
            storage.remove(&opened.name).unwrap();
        }
        let mut killed = read_marks(&storage).unwrap().unwrap();
        (killed.durable_seq, killed.clean) = (first - 1, false);
        Cursor::open(&storage, 0).unwrap().write(&killed).unwrap();
        assert_eq!(verify(&storage).unwrap().verdict, Verdict::Sound);
        spoil(&storage, &(tail.clone(), 10));
        if first_frame_too {
            spoil(&storage, &(tail.clone(), DATA_START));
        }
        let report = verify(&storage).unwrap();
        let most = if first_frame_too { first - 1 + (64 << 10) / 7 } else { 60 };
        assert_eq!((report.possibly_lost, report.lost_seqs.len()), (Some((first, most)), 0), "{:#?}", report.findings);
        let said = report.findings.iter().find(|found| found.what.contains("possibly lost")).expect("a finding");
        assert_eq!((report.verdict, said.file.as_str(), said.seqs), (Verdict::Damaged, tail.as_str(), Some((first, most))));
        assert_eq!(repair(&storage, Repair::default()).unwrap().lost_events, most + 1 - first);
        assert_eq!(verify(&storage).unwrap().possibly_lost, None);
    }
    // After a stop in good order nothing is in doubt.
    let (_dir, storage) = made();
    let (tail, _) = place(&storage, 60);
    spoil(&storage, &(tail.clone(), 10));
    assert_eq!(verify(&storage).unwrap().possibly_lost, None);
}

fn number(name: &str) -> u64 {
    number_in(name, "seg-").unwrap()
}

fn first_seq(storage: &DiskStorage, name: &str) -> u64 {
    let look = Look::open(storage).unwrap();
    look.segments.iter().find(|opened| opened.name == name).unwrap().seal_or_scan().first_seq
}

// Goal: a lost cursor costs no event, is an alarm all the same, and is repaired.
#[test]
fn a_lost_cursor() {
    let (_dir, storage) = made();
    for slot in [0, 1 << 16] {
        spoil(&storage, &("cursor".into(), slot));
    }
    let report = verify(&storage).unwrap();
    assert_eq!((report.verdict, report.ledger.error, report.lost_seqs.len()), (Verdict::Damaged, None, 0), "{:#?}", report.findings);
    let repaired = repair(&storage, Repair::default()).unwrap();
    assert_eq!(repaired.lost_events, 0);
    let after = verify(&storage).unwrap();
    assert_eq!((after.verdict, after.ledger.error), (Verdict::Sound, Some(0)), "{:#?}", after.findings);

    let (_dir, storage) = made();
    spoil(&storage, &("cursor".into(), 0));
    assert!(verify(&storage).unwrap().findings.iter().any(|found| found.what.contains("one of the cursor's two slots")));
}

// Goal: a damaged seal hides nothing and is made again; a copy of a segment is not taken for events.
#[test]
fn seals_and_copies() {
    let (_dir, storage) = made();
    let (name, _) = place(&storage, 33);
    spoil(&storage, &(name.clone(), 4096 + 20));
    let report = cure(&storage, Verdict::Damaged, &[]);
    assert!(report.findings[0].what.contains("seal"), "{:#?}", report.findings);

    let (dir, storage) = made();
    let (name, _) = place(&storage, 33);
    let copy = segment_name(0xFFFF);
    let _ = std::fs::copy(dir.path().join(&name), dir.path().join(&copy)).unwrap();
    let report = cure(&storage, Verdict::Damaged, &[]);
    assert_eq!((report.findings[0].file.as_str(), report.ledger.waiting), (copy.as_str(), 42), "{:#?}", report.findings);
    assert!(!dir.path().join(&copy).exists(), "moved to quarantine");
}

// Goal: no byte of a segment that holds waiting events can rot without being noticed.
#[test]
fn every_byte_counts() {
    let (_dir, storage) = made();
    let (name, at) = place(&storage, 33);
    let file = storage.open(&name, OpenMode::ReadWrite).unwrap();
    let places = (0..92).chain(92..200).chain(4096..4200).chain(at..at + 300).chain([4095, 8191]);
    for offset in places {
        let mut byte = [0_u8];
        assert_eq!(file.read_at(&mut byte, offset).unwrap(), 1);
        write_full(&*file, &[byte[0] ^ 1], offset).unwrap();
        let spoiled = verify(&storage);
        assert!(spoiled.is_ok_and(|report| !report.findings.is_empty()), "offset {offset}");
        write_full(&*file, &byte, offset).unwrap();
    }
    assert_eq!(verify(&storage).unwrap().findings, []);
}
