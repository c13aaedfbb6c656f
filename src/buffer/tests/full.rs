//! The bounds: full, and room again.

use super::*;

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

// Goal: "full in 40 minutes" is true from the first events on, however few they are.
#[test]
fn the_time_to_full_follows_from_the_size_of_the_events() {
    let dir = tempfile::tempdir().unwrap();
    let buffer = open(&config(dir.path(), 4 << 20));
    let event = batch(&["x".repeat(1000)]);
    let len = crate::buffer::log::frame::stored_len(event.payload().len() as u64);
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

fn allocated(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::read_dir(dir).unwrap().flatten().filter_map(|entry| entry.metadata().ok()).map(|meta| meta.blocks() * 512).sum()
}
