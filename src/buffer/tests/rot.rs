//! What rots or vanishes on disk, and what must not be taken for that.

use super::*;

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

fn frames_in(path: &Path) -> usize {
    std::fs::read(path).unwrap().windows(4).filter(|bytes| bytes == b"DSF1").count()
}
