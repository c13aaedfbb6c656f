use super::super::OpenError;
use super::super::failing::Calls;
use super::super::log::storage::{OpenMode, Storage, write_full};
use super::super::memory::Memory;
use super::super::tests::letter;
use super::bench::{Bench, config, open, try_open, try_open_with};
use super::*;
use crate::event::Seq;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn fresh() -> Bench {
    open(&Memory::new(1_000))
}

// Goal: events of a blocked topic leave the way of the others, still count as waiting, and are sent in order later; then their disk is free again.
#[test]
fn parked_events_wait_beside_the_log_and_go_in_order() {
    for kill in [false, true] {
        let mut bench = fresh();
        let _ = bench.append(&["a", "b", "a", "b", "a"], 10);
        let events = bench.log();
        let a: Vec<ParkedEvent> = events.iter().filter(|(topic, _)| topic == "a").map(|(_, event)| event.clone()).collect();
        assert!(!bench.buffer.reader.parks() && !bench.buffer.reader.is_parked("a"));
        bench.park("a", &a).unwrap();
        assert!(bench.buffer.reader.parks() && bench.buffer.reader.is_parked("a") && !bench.buffer.reader.is_parked("b"));
        assert_eq!(bench.buffer.reader.ack(&[Seq(2), Seq(4)]), 2);
        assert_eq!(bench.buffer.reader.acked(), Seq(5), "nothing holds the log");
        assert_eq!(bench.buffer.gauges.backlog(), 3);
        bench.assert_books();
        bench.tick();
        let mut bench = if kill { bench.killed() } else { bench.stopped() };
        bench.assert_books();
        assert_eq!(bench.parked("a"), a);
        assert!(bench.rewound().is_empty() && bench.buffer.reader.is_parked("a"));
        assert!((bench.buffer.gauges.snapshot().oldest_age_seconds - 8.0).abs() < 1e-9);
        assert_eq!((bench.buffer.parked.acked(), bench.buffer.parked.durable()), (Seq(0), Seq(5)));
        assert!(!bench.buffer.parked.release(), "they wait");
        assert_eq!(bench.ack(&[3, 5]), 2);
        assert_eq!((bench.ack(&[3]), bench.buffer.parked.acked()), (0, Seq(0)));
        bench.buffer.parked.rewind();
        assert_eq!(bench.line().iter().map(|event| event.seq).collect::<Vec<_>>(), [1]);
        assert_eq!((bench.ack(&[1]), bench.buffer.parked.acked()), (1, Seq(5)));
        assert!(bench.buffer.parked.release() && !bench.buffer.reader.is_parked("a") && !bench.buffer.reader.parks());
        bench.assert_books();
        bench.settle();
        assert_eq!((bench.files(), bench.buffer.gauges.backlog()), (0, 0));
        let ledger = bench.killed().buffer.gauges.snapshot().ledger;
        assert_eq!((ledger.ends.acked, ledger.ends.lost, ledger.backlog), (5, 0, 0));
    }
}

// Goal: after a crash, what was sent and not yet written down is sent again; what was written down is not.
#[test]
fn a_done_mark_never_runs_ahead_of_the_cursor() {
    let mut bench = fresh();
    let _ = bench.append_parked("a", 6, 10);
    let _ = bench.seqs("a");
    assert_eq!(bench.ack(&[1, 2]), 2);
    bench.buffer.parked.keep_books();
    let mut early = open(&Memory::with(&bench.memory.image(), 9_000));
    assert_eq!(early.seqs("a"), [1, 2, 3, 4, 5, 6], "no cursor knows the end of 1 and 2, so no mark may");
    early.assert_books();
    bench.settle();
    let mut late = open(&Memory::with(&bench.memory.image(), 9_000));
    assert_eq!(late.seqs("a"), [3, 4, 5, 6]);
    late.assert_books();
    assert_eq!(late.buffer.gauges.snapshot().ledger.ends.acked, 2);
}

// Goal: a trickle of events shares a file, and a flood is divided over files of about a mebibyte.
#[test]
fn files_are_neither_tiny_nor_huge() {
    let mut bench = fresh();
    let mut seqs = Vec::new();
    for _ in 0..40 {
        seqs.extend(bench.append_parked("a", 1, 10));
        bench.assert_books();
    }
    assert_eq!((bench.files(), bench.seqs("a")), (1, seqs.clone()));
    assert_eq!(bench.ack(&seqs[..30]), 30);
    bench.settle();
    seqs.extend(bench.append_parked("a", 1, 10));
    assert_eq!(bench.seqs("a"), seqs[30..]);
    let mut bench = bench.killed();
    assert_eq!((bench.files(), bench.seqs("a")), (1, seqs[30..].to_vec()));
    let big = BufferConfig { max_bytes: 64 << 20, parked_bytes: Some(16 << 20), ..config() };
    let mut bench = try_open(&Memory::with(&bench.memory.image(), 9_000), &big).unwrap();
    for _ in 0..10 {
        let _ = bench.append(&["a"; 4], 100_000);
    }
    let events: Vec<ParkedEvent> = bench.log().into_iter().map(|(_, event)| event).collect();
    bench.park("a", &events).unwrap();
    assert_eq!(bench.files(), 4);
    assert_eq!(bench.seqs("a").len(), 11 + 40);
    let usage = bench.buffer.gauges.snapshot().parked;
    assert!(usage.bytes > 4_000_000 && usage.bytes < 5_000_000, "{usage:?}");
    bench.assert_books();
}

// Goal: parking never takes more disk than was set apart for it; what does not fit stays in the log, and nothing changes.
#[test]
fn the_budget_holds() {
    let mut bench = fresh();
    let mut parked = 0;
    let full = loop {
        let _ = bench.append(&["a"], 30_000);
        let events: Vec<ParkedEvent> = bench.rewound().into_iter().map(|(_, event)| event).collect();
        let before = bench.buffer.gauges.snapshot().parked;
        match bench.park("a", &events) {
            Ok(()) => parked += 1,
            Err(error) => {
                assert_eq!(bench.buffer.gauges.snapshot().parked, before);
                break error;
            }
        }
        bench.assert_books();
    };
    assert!(matches!(full, ParkError::Full { max_bytes: 1_048_576, .. }) && parked > 20, "{full:?} after {parked}");
    assert_eq!((bench.seqs("a").len(), bench.rewound().len()), (parked, 1));
    // Off: what is there is sent on, and nothing is added.
    let off = BufferConfig { parked_bytes: None, ..config() };
    let mut bench = try_open(&Memory::with(&bench.memory.image(), 9_000), &off).unwrap();
    assert_eq!(bench.seqs("a").len(), parked);
    assert!(!bench.buffer.reader.park_topic("b") && bench.buffer.reader.is_parked("a"));
    bench.assert_books();
}

// Goal: there is a bound on the topics.
#[test]
fn only_so_many_topics() {
    let mut bench = fresh();
    for n in 0..MAX_TOPICS {
        assert!(bench.buffer.reader.park_topic(&format!("t{n}")), "{n}");
    }
    assert!(!bench.buffer.reader.park_topic("one more") && bench.buffer.reader.park_topic("t7"));
    assert_eq!(bench.buffer.parked.topics().len(), MAX_TOPICS);
    bench.buffer.parked.turn_to("t7");
    assert!(bench.buffer.parked.release() && bench.buffer.reader.park_topic("one more"));
}

// Goal: a parked event that Kafka will never take becomes a dead letter once, whenever the machine stops.
#[test]
fn a_parked_event_becomes_a_dead_letter() {
    for (ticks, settles) in [(false, false), (true, false), (true, true)] {
        let mut bench = fresh();
        let _ = bench.append_parked("a", 3, 10);
        bench.tick();
        let events = bench.parked("a");
        assert_eq!(bench.ack(&[1]), 1);
        bench.buffer.parked.dead_letter(&letter(&events[1])).unwrap();
        assert_eq!(bench.buffer.parked.acked(), Seq(2));
        bench.assert_books();
        if ticks {
            bench.tick();
        }
        if settles {
            bench.settle();
        }
        let mut bench = bench.killed();
        bench.assert_books();
        let ledger = bench.buffer.gauges.snapshot().ledger;
        assert_eq!(ledger.ends.lost, 0);
        assert_eq!(bench.seqs("a"), if settles { vec![3] } else { vec![1, 3] }, "settles {settles}");
        assert_eq!(bench.buffer.dead_letters.usage().count, 1);
    }
}

// Goal: what the log still has after a crash is not parked twice, and takes its place before what was parked after it.
#[test]
fn what_comes_again_after_a_crash_takes_its_place() {
    let mut bench = fresh();
    let _ = bench.append(&["a"; 6], 10);
    let events: Vec<ParkedEvent> = bench.log().into_iter().map(|(_, event)| event).collect();
    // The first three were sent; no cursor says so.
    assert_eq!(bench.buffer.reader.ack(&[Seq(1), Seq(2), Seq(3)]), 3);
    bench.park("a", &events[3..]).unwrap();
    let mut bench = bench.killed();
    assert_eq!(bench.seqs("a"), [4, 5, 6]);
    assert_eq!(bench.ack(&[4, 5]), 2);
    let again: Vec<ParkedEvent> = bench.rewound().into_iter().map(|(_, event)| event).collect();
    assert_eq!(again, events[..3]);
    bench.park("a", &events).unwrap();
    bench.assert_books();
    assert_eq!(bench.buffer.parked.acked(), Seq(0));
    assert!(bench.line().is_empty(), "6 is on its way: what belongs before it has to wait for it");
    bench.buffer.parked.rewind();
    assert_eq!(bench.line(), [&events[..3], &events[5..]].concat());
    assert_eq!(bench.ack(&[1, 2, 3, 6]), 4);
    assert!(bench.buffer.parked.release());
    bench.settle();
    assert_eq!(bench.files(), 0);
    bench.assert_books();
}

// Goal: whatever happens to a file, nothing wrong comes out, the relay starts, each lost event is counted, and the bytes are kept.
#[test]
fn a_rotten_file_is_set_aside() {
    let mut bench = fresh();
    let _ = bench.append(&["a", "b", "a", "b"], 10);
    let events = bench.log();
    for topic in ["a", "b"] {
        let of: Vec<ParkedEvent> = events.iter().filter(|(other, _)| other == topic).map(|(_, event)| event.clone()).collect();
        bench.park(topic, &of).unwrap();
    }
    bench.tick();
    let sound = bench.memory.image();
    let name = sound.keys().find(|name| name.starts_with(PARKED_DIR)).unwrap().clone();
    let (rotten, other) = if bench.seqs("a") == [1, 3] && name.contains("00001-") { ("a", "b") } else { ("b", "a") };
    let expected = bench.parked(rotten);
    let bytes = sound[&name].clone();
    for bit in 0..bytes.len() * 8 {
        for running in [false, true] {
            let mut image = sound.clone();
            image.get_mut(&name).unwrap()[bit / 8] ^= 1 << (bit % 8);
            let start = if running { &sound } else { &image };
            let memory = Memory::with(start, 9_000);
            let mut bench = open(&memory);
            if running {
                let file = memory.open(&name, OpenMode::ReadWrite).unwrap();
                write_full(&*file, &image[&name], 0).unwrap();
            }
            let read = bench.parked(rotten);
            let lost = bench.buffer.gauges.snapshot().ledger.ends.lost;
            assert!((read == expected && lost == 0) || (read.is_empty() && lost == 2), "bit {bit}: {lost} lost, {read:?}");
            assert_eq!(bench.parked(other).len(), 2, "bit {bit}");
            assert_eq!(bench.buffer.gauges.snapshot().quarantined, lost / 2);
            bench.assert_books();
        }
    }
}

// Goal: a line that rests hears of what is parked, and of whoever wakes it.
#[test]
fn the_line_is_woken() {
    let mut bench = fresh();
    let _ = bench.append(&["a"], 10);
    let event = bench.log().remove(0).1;
    let _ = bench.buffer.parked.topics();
    bench.buffer.parked.wait_for_topics(Duration::from_millis(1));
    bench.park("a", &[event]).unwrap();
    bench.buffer.parked.wait_for_topics(Duration::from_secs(60));
    assert_eq!(bench.buffer.parked.topics(), [Arc::from("a")]);
    bench.buffer.parked.waker().wake();
    bench.buffer.parked.wait_for_topics(Duration::from_secs(60));
}

// Goal: while all topics rest, what is parked costs no processor: the line sleeps although there would be more to send of the topic that was refused.
#[test]
fn a_line_that_rests_sleeps() {
    let mut bench = fresh();
    let _ = bench.append(&["a", "b", "a"], 10);
    let events: Vec<ParkedEvent> = bench.log().into_iter().filter(|(topic, _)| topic == "a").map(|(_, event)| event).collect();
    bench.park("a", &events).unwrap();
    let topics = bench.buffer.parked.topics();
    bench.buffer.parked.turn_to(&topics[0]);
    assert_eq!(bench.buffer.parked.next_frame().unwrap().unwrap().count, 1);
    let (began, pause) = (Instant::now(), Duration::from_millis(50));
    bench.buffer.parked.wait(Duration::from_secs(60));
    bench.buffer.parked.wait_for_topics(pause);
    assert!(began.elapsed() >= pause);
}

// Goal: what was parked under another kafka.topic comes before all else, until it is sent.
#[test]
fn another_template_comes_first() {
    let mut bench = fresh();
    let _ = bench.append_parked("a", 1, 10);
    assert!(!bench.buffer.reader.parked_come_first());
    let mut bench = bench.killed();
    assert!(!bench.buffer.reader.parked_come_first());
    bench.buffer.reader.parking("other.{type}");
    assert!(bench.buffer.reader.parked_come_first());
    let _ = bench.seqs("a");
    assert_eq!(bench.ack(&[1]), 1);
    assert!(!bench.buffer.reader.parked_come_first());
}

// Goal: whichever call fails while the relay starts, it says so, and the next start has everything: what cannot be read now is never taken for lost.
#[test]
fn a_start_on_a_failing_disk_loses_nothing() {
    let mut bench = fresh();
    let a = bench.append_parked("a", 6, 10);
    let b = bench.append_parked("b", 2, 20_000);
    assert_eq!((bench.seqs("a").len(), bench.ack(&a[..2])), (6, 2));
    bench.settle();
    let image = bench.memory.image();
    for after in 0.. {
        let memory = Memory::with(&image, 9_000);
        let calls = Arc::<Calls>::default();
        calls.fail(after..after + 1);
        match try_open_with(&memory, &config(), Arc::clone(&calls)) {
            Err(OpenError::Io { .. }) => assert!(calls.have_failed()),
            Err(error) => panic!("{error:?}"),
            Ok(bench) => bench.assert_books(),
        }
        let mut bench = open(&memory);
        bench.assert_books();
        assert_eq!(bench.buffer.gauges.snapshot().ledger.ends.lost, 0, "the call after {after} others");
        assert_eq!((bench.seqs("a"), bench.seqs("b")), (a[2..].to_vec(), b.clone()));
        if !calls.have_failed() {
            assert!(after > 8, "{after} calls");
            return;
        }
    }
}

// Goal: a batch that could not be parked, because its file could not be made durable, nor taken back at once, is parked once in the end and not twice: also
// after a crash. Meanwhile the line gets what was parked before, and nothing else.
#[test]
fn what_a_failed_write_left_is_taken_back() {
    let mut bench = fresh();
    let before = bench.append_parked("a", 1, 10);
    let _ = bench.append(&["a", "a"], 10);
    let more: Vec<ParkedEvent> = bench.log().into_iter().map(|(_, event)| event).collect();
    let mut refused = 0;
    for from in 0.. {
        bench.calls.fail(from..from + 4);
        let parked = bench.park("a", &more);
        let failed = bench.calls.have_failed();
        assert_eq!(parked.is_ok(), bench.buffer.reader.is_acked(Seq(more[0].seq)));
        bench.calls.go_on();
        if !failed {
            break;
        }
        refused += u32::from(parked.is_err());
        if parked.is_err() {
            assert_eq!(bench.seqs("a"), before, "{from} calls went through");
        }
        bench.assert_books();
    }
    assert!(refused > 5, "{refused}");
    let all: Vec<u64> = before.into_iter().chain(more.iter().map(|event| event.seq)).collect();
    let mut bench = bench.killed();
    bench.assert_books();
    assert_eq!((bench.seqs("a"), bench.rewound().len()), (all.clone(), 0));
    assert_eq!(bench.ack(&all), 3);
    bench.settle();
    assert_eq!((bench.buffer.gauges.backlog(), bench.files()), (0, 0));
}
