//! What is known of events whose neighbours were purged, or rotted: they have their own end, or none yet.

use super::repeats::{Stepped, look};
use super::*;
use crate::buffer::purge::Selection;
use crate::config::WhenFull;
use crate::lifecycle::Stage;
use std::path::PathBuf;
use tokio::sync::oneshot;

fn stages(buffer: &Stepped, seqs: std::ops::RangeInclusive<u64>) -> Vec<Option<Stage>> {
    seqs.map(|seq| buffer.appender.history().get(Seq(seq)).map(|fate| fate.stage)).collect()
}

/// Parks the events of a source, each of which was a request of its own.
fn park(buffer: &mut Stepped, source: &str) {
    let frames = std::iter::from_fn(|| buffer.reader.next_frame().unwrap());
    let of_source = frames.filter(|frame| Records::new(&frame.payload).next().unwrap().unwrap().source_id == source);
    let events: Vec<ParkedEvent> = of_source.flat_map(|frame| events_of(&frame)).collect();
    let _ = buffer.reader.park_topic(source);
    buffer.reader.park(source, &events).unwrap();
}

/// The file that an event is in.
fn file_of(dir: &Path, value: &str) -> PathBuf {
    segment_files(dir).into_iter().find(|path| contains(path, value.as_bytes())).unwrap()
}

/// One event of a source, stored with a receipt asked for.
fn store(buffer: &mut Stepped, source: &str, id: &str) -> oneshot::Receiver<Vec<crate::lifecycle::Receipt>> {
    let mut builder = BatchBuilder::default();
    let (text, source_id) = (Field::Text("t"), Field::Text(source));
    builder.push(&EventParts { value: b"{}", id: Field::Text(id), kind: text, source_type: text, source_id, traceparent: Field::Absent });
    let (sender, receipts) = oneshot::channel();
    let options = AppendOptions { deadline: Instant::now() + Duration::from_secs(60), receipts: Some(sender) };
    let (appender, batch) = (buffer.appender.clone(), builder.finish());
    buffer.complete(Box::pin(async move { appender.append(batch, options).await }));
    receipts
}

// Goal: a purge of one source says nothing about an event of another that is parked between its events: whoever waits for that one goes on waiting.
#[test]
fn a_purge_around_a_parked_event() {
    let dir = tempfile::tempdir().unwrap();
    let mut buffer = Stepped::open(&BufferConfig { parked_bytes: Some(1 << 20), ..config(dir.path(), 4 << 20) });
    buffer.reader.parking("{source_id}");
    let mut waiting: Vec<_> = [("a", "1"), ("b", "2"), ("a", "3")].iter().map(|(source, id)| store(&mut buffer, source, id)).collect();
    park(&mut buffer, "b");
    // The selection is read from the disk: its cursor has to know what is parked.
    assert!(buffer.keeper.turn(Instant::now()).is_continue());

    let (purged, _) = buffer.purger.begin(&Selection { source: Some("a".to_owned()), ..Selection::default() }).unwrap();
    assert_eq!((purged.events, purged.first_seq, purged.last_seq), (2, Some(1), Some(3)));
    assert_eq!(stages(&buffer, 1..=3), [Some(Stage::Purged), Some(Stage::Buffered), Some(Stage::Purged)]);
    let over: Vec<bool> = waiting.iter_mut().map(|receipts| receipts.try_recv() == Err(oneshot::error::TryRecvError::Closed)).collect();
    assert_eq!(over, [true, false, true]);
}

// Goal: an event whose dead letter had to make room for another one's may be sent again, whether its topic was parked or not.
#[test]
fn a_dead_letter_that_made_room() {
    for parked in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let settings = BufferConfig { parked_bytes: Some(1 << 20), dead_letter_bytes: Some(64 << 10), ..config(dir.path(), 4 << 20) };
        let mut buffer = Stepped::open(&BufferConfig { dead_letters_full: WhenFull::DropOldest, ..settings });
        buffer.reader.parking("{source_id}");
        // As many letters as there is room for, and one more.
        let ids: Vec<String> = (1..=17).map(|n| format!("event {n}")).collect();
        for id in &ids {
            drop(store(&mut buffer, "a", id));
        }
        if parked {
            park(&mut buffer, "a");
            buffer.parked.turn_to("a");
        }
        let mut next = || if parked { buffer.parked.next_frame() } else { buffer.reader.next_frame() }.unwrap();
        let events: Vec<ParkedEvent> = std::iter::from_fn(&mut next).flat_map(|frame| events_of(&frame)).collect();
        assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), (1..=17).collect::<Vec<_>>());
        for event in events {
            let letter = letter(&event);
            if parked { buffer.parked.dead_letter(&letter) } else { buffer.reader.dead_letter(&letter) }.unwrap();
        }
        assert!(buffer.appender.find(&ids[0]).is_none(), "parked {parked}");
        assert!(ids[1..].iter().all(|id| buffer.appender.find(id).is_some()), "parked {parked}");
    }
}

// Goal: where a part of a request is in Kafka and its bytes then rot, the rest is lost and may be sent again; what is delivered stays delivered, and a
// repeat of it stays a repeat: seen while the relay runs, and at the next start.
#[test]
fn rot_around_a_delivered_event() {
    for restart in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let settings = config(dir.path(), 1 << 20);
        let mut buffer = Stepped::open(&settings);
        let mut first = buffer.append(&["event a", "event b", "event c"]);
        assert_eq!(look(&mut first), None);
        buffer.commit();
        assert_eq!(buffer.reader.next_frame().unwrap().unwrap().count, 3);
        assert_eq!(buffer.reader.ack(&[Seq(2)]), 1);
        // Late enough for the journal of ids.
        assert!(buffer.keeper.turn(Instant::now() + Duration::from_secs(2)).is_continue());
        corrupt(&file_of(dir.path(), "event a"), b"event a");
        drop(first);
        if restart {
            drop(buffer);
            buffer = Stepped::open(&settings);
        } else {
            buffer.reader.rewind();
            assert_eq!(stages(&buffer, 1..=3), [const { Some(Stage::Buffered) }; 3]);
        }
        assert!(buffer.reader.next_frame().unwrap().is_none());
        assert_eq!(buffer.reader.acked(), Seq(3), "restart {restart}");
        assert_eq!(look(&mut buffer.append(&["event b"])), Some((0, 2, 1)), "restart {restart}");
        if !restart {
            assert_eq!(stages(&buffer, 1..=3), [Some(Stage::Lost), Some(Stage::Buffered), Some(Stage::Lost)]);
        }
        let mut again = buffer.append(&["event a"]);
        assert_eq!(look(&mut again), None, "it is lost, so it is stored anew");
        buffer.commit();
        assert_eq!(look(&mut again), Some((1, 4, 0)), "restart {restart}");
    }
}

// Goal: where the disk forgot the newest events but has the dead letter of one of them, no seq is given twice, and ids are known under the seqs that events
// have: a repeat is not answered before the first one is durable.
#[test]
fn a_dead_letter_beyond_the_end_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let settings = config(dir.path(), 1 << 20);
    let mut buffer = Stepped::open(&settings);
    buffer.complete(buffer.append(&["event a"]));
    assert!(buffer.keeper.turn(Instant::now()).is_continue());
    let before = std::fs::read(dir.path().join("cursor")).unwrap();
    for value in ["event b", "event c"] {
        buffer.complete(buffer.append(&[value]));
    }
    let frames: Vec<_> = std::iter::from_fn(|| buffer.reader.next_frame().unwrap()).collect();
    buffer.reader.dead_letter(&letter(&events_of(&frames[2])[0])).unwrap();
    drop(buffer);
    std::fs::write(dir.path().join("cursor"), before).unwrap();
    let file = file_of(dir.path(), "event b");
    for value in [b"event b", b"event c"] {
        corrupt(&file, value);
    }

    let mut buffer = Stepped::open(&settings);
    let mut first = buffer.append(&["event d"]);
    let mut again = buffer.append(&["event d"]);
    assert_eq!((look(&mut first), look(&mut again)), (None, None));
    buffer.commit();
    assert_eq!((look(&mut first), look(&mut again)), (Some((1, 4, 0)), Some((0, 4, 1))));
    assert_eq!(look(&mut buffer.append(&["event a"])), Some((0, 1, 1)));
}
