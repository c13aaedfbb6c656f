//! What a crash leaves, as a copy of the directory at that moment.

use super::*;

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
