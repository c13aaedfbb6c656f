//! Recovery of directories that are made by hand, frame by frame: what one writer cannot be brought to leave behind.

use super::super::cursor::Cursor;
use super::super::frame::{FrameHeader, Kind};
use super::super::segment::SegmentHeader;
use super::super::storage::{DiskStorage, write_full};
use super::*;
use tempfile::TempDir;

const RELAY: [u8; 16] = [7; 16];

/// A directory in the making.
struct Made {
    storage: DiskStorage,
    _dir: TempDir,
}

/// A segment in the making.
struct Tail {
    segment: Segment,
    at: u64,
    frames: u32,
}

impl Made {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { storage: DiskStorage::new(dir.path()), _dir: dir }
    }

    fn with_cursor(durable_seq: u64) -> Self {
        let made = Self::new();
        let marks = Marks { relay_id: RELAY, durable_seq, ..Marks::default() };
        Cursor::open(&made.storage, 0).unwrap().write(&marks).unwrap();
        made
    }

    fn segment(&self, segment_id: u64, base_seq: u64) -> Tail {
        let header = SegmentHeader { segment_id, base_seq, salt: [1; 16], relay_id: RELAY, created_ms: 1, capacity: 1 << 16, key_id: 0 };
        Tail { segment: segment::prepare(&self.storage, None, header).unwrap(), at: DATA_START, frames: 0 }
    }

    fn recover(&self) -> Recovered {
        recover(&self.storage, 1 << 16).unwrap()
    }
}

impl Tail {
    /// Adds a frame of three events; returns where its payload is.
    fn frame(&mut self, first_seq: u64, durable_seq: u64) -> u64 {
        let payload = [42_u8; 100];
        let header = FrameHeader {
            first_seq,
            durable_seq,
            accepted_ms: 1_000 + first_seq,
            count: 3,
            len: 100,
            payload_crc: crc32c::crc32c(&payload),
            frame_no: self.frames,
            kind: Kind::Data,
            encrypted: false,
        };
        let at = self.at;
        write_full(&*self.segment.file, &header.encode(self.segment.header.seed(), at), at).unwrap();
        write_full(&*self.segment.file, &payload, at + frame::HEADER_LEN as u64).unwrap();
        self.frames += 1;
        self.at += header.stored_len();
        at + frame::HEADER_LEN as u64
    }

    /// Adds a mark: everything before `next_seq` is durable.
    fn mark(&mut self, next_seq: u64) {
        let (first_seq, durable_seq, frame_no) = (next_seq, next_seq - 1, self.frames);
        let header = FrameHeader {
            first_seq,
            durable_seq,
            accepted_ms: 1,
            count: 0,
            len: 0,
            payload_crc: 0,
            frame_no,
            kind: Kind::Mark,
            encrypted: false,
        };
        write_full(&*self.segment.file, &header.encode(self.segment.header.seed(), self.at), self.at).unwrap();
        self.frames += 1;
        self.at += header.stored_len();
    }

    fn rot(&self, at: u64) {
        write_full(&*self.segment.file, &[0xFF], at).unwrap();
    }
}

// Goal: acknowledged events that rotted are reported, also when the frame behind them was written together with them and proves nothing.
#[test]
fn rot_is_proven_by_any_later_group() {
    let made = Made::with_cursor(0);
    let mut tail = made.segment(1, 1);
    let first = tail.frame(1, 0);
    let _ = tail.frame(4, 0);
    let _ = tail.frame(7, 6);
    tail.rot(first);
    let found = made.recover();
    assert_eq!(found.report.lost.first(), Some(&(1, 3)));
    assert_eq!((found.report.torn_bytes, found.next_seq, found.ages), (0, 10, vec![(4, 1_001)]));
    let seal = found.segments[0].seal().unwrap();
    assert_eq!((seal.first_seq, seal.last_seq, seal.events), (4, 9, 6));
}

// Goal: a group of which the disk has only the end was answered to nobody: it is cut off whole, and nothing is reported lost.
#[test]
fn a_group_of_which_only_the_end_is_there_is_torn() {
    let made = Made::with_cursor(0);
    let mut tail = made.segment(1, 1);
    let _ = tail.frame(1, 0);
    let second = tail.frame(4, 3);
    let _ = tail.frame(7, 3);
    tail.rot(second);
    let found = made.recover();
    assert_eq!((found.report.lost, found.next_seq), (Vec::new(), 4));
    assert!(found.report.torn_bytes > 0);
    assert_eq!(found.segments[0].seal().unwrap().last_seq, 3);
}

// Goal: a segment that was prepared later proves what was durable by then.
#[test]
fn rot_is_proven_by_any_later_segment() {
    let made = Made::with_cursor(0);
    let mut tail = made.segment(1, 1);
    let first = tail.frame(1, 0);
    let (_early, _late) = (made.segment(2, 1), made.segment(3, 4));
    tail.rot(first);
    let found = made.recover();
    assert_eq!(found.report.lost.first(), Some(&(1, 3)));
    assert_eq!((found.report.torn_bytes, found.next_seq, found.spares.len()), (0, 4, 3));
}

// Goal: seqs are never used twice, not even when the cursor is lost while everything was delivered: consumers would drop the new events.
#[test]
fn seqs_go_on_after_the_highest_that_was_durable() {
    let made = Made::new();
    let _prepared = (made.segment(3, 90), made.segment(4, 101));
    let found = made.recover();
    assert_eq!((found.report.lost, found.next_seq, found.marks.frontier), (Vec::new(), 101, 100));

    let made = Made::with_cursor(0);
    let mut tail = made.segment(1, 1);
    let _ = tail.frame(1, 0);
    let _prepared = made.segment(2, 10);
    let found = made.recover();
    assert!(found.report.lost.contains(&(4, 9)) && found.report.lost.iter().all(|(from, to)| *from >= 4 && *to <= 9));
    assert_eq!(found.next_seq, 10);
}

// Goal: the same where all that is left of the lost events is the mark that proves them: their seqs are not given again.
#[test]
fn seqs_that_only_a_mark_knows_are_not_given_again() {
    let made = Made::with_cursor(0);
    let mut tail = made.segment(1, 1);
    let only = tail.frame(1, 0);
    tail.mark(4);
    tail.rot(only);
    let found = made.recover();
    assert_eq!((found.report.lost.first(), found.next_seq, found.segments.len()), (Some(&(1, 3)), 4, 0));
}

// Goal: losing the cursor repeats events and raises no false alarm about events that were delivered long ago.
#[test]
fn a_lost_cursor_is_no_loss_of_events() {
    let made = Made::new();
    // Prepared when 5 events were durable; its turn came after 100.
    let mut tail = made.segment(9, 6);
    let _ = tail.frame(101, 100);
    let found = made.recover();
    assert_eq!((found.report.lost, found.marks.frontier, found.marks.ends.acked), (Vec::new(), 100, 100));
    assert_eq!((found.next_seq, found.ages, found.marks.relay_id), (104, vec![(101, 1_101)], RELAY));
}

/// A tail of six events, three of them after the last cursor, and a mark; and a segment prepared behind it.
fn with_tail() -> (Made, Tail, Tail) {
    let made = Made::with_cursor(3);
    let mut tail = made.segment(1, 1);
    let _ = tail.frame(1, 0);
    let _ = tail.frame(4, 3);
    tail.mark(7);
    let prepared = made.segment(2, 1);
    (made, tail, prepared)
}

/// Most events that fit into the files of these tests, which are of 64 KiB.
const MOST_EVENTS: u64 = (1 << 16) / 7;

// Goal: when the header of the last segment rots right after a crash, its frames still say how far the seqs went: exactly those events are
// reported lost, and no seq is given again, since consumers would drop the new events.
#[test]
fn a_tail_without_a_header_still_tells_its_seqs() {
    for at in [0, 9, 25, 45, 89] {
        let (made, tail, _prepared) = with_tail();
        tail.rot(at);
        let found = made.recover();
        assert_eq!((found.report.lost, found.next_seq), (vec![(1, 6)], 7), "byte {at}");
        assert!(found.next_segment_id > 2 && found.report.quarantined > 0);
    }
}

// Goal: where the frames cannot tell it either, or nothing is left of the file, or another one lies in its place, new events get seqs behind all
// that it can have held.
#[test]
fn seqs_go_on_behind_all_that_a_lost_tail_can_have_held() {
    fn no_frame(_: &Made, tail: &Tail) {
        tail.rot(9);
        tail.rot(DATA_START + 20);
    }
    fn cut(made: &Made, tail: &Tail) {
        let path = made.storage.dir().join(&tail.segment.name);
        std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(50).unwrap();
    }
    fn replaced(made: &Made, tail: &Tail) {
        let dir = made.storage.dir();
        let _ = std::fs::copy(dir.join(segment::segment_name(2)), dir.join(&tail.segment.name)).unwrap();
    }
    let damages: [fn(&Made, &Tail); 3] = [no_frame, cut, replaced];
    for (case, damage) in ["no frame", "cut", "replaced"].into_iter().zip(damages) {
        let (made, tail, _prepared) = with_tail();
        damage(&made, &tail);
        let found = made.recover();
        assert_eq!(found.report.lost, [(1, found.next_seq - 1)], "{case}");
        assert!((7..=3 + MOST_EVENTS + 1).contains(&found.next_seq) && found.next_seq > MOST_EVENTS / 2, "{case}: {}", found.next_seq);
    }
}

// Goal: the same damage where it can have cost nothing raises no alarm: in a segment that was only prepared, beside a tail that is whole.
#[test]
fn a_prepared_segment_without_a_header_is_no_loss() {
    for empty_directory in [false, true] {
        let (made, prepared, _tail) = if empty_directory {
            let made = Made::with_cursor(0);
            let (prepared, other) = (made.segment(1, 1), made.segment(2, 1));
            (made, prepared, other)
        } else {
            let (made, tail, prepared) = with_tail();
            (made, prepared, tail)
        };
        prepared.rot(25);
        let found = made.recover();
        assert_eq!((found.report.lost, found.next_seq), (Vec::new(), if empty_directory { 1 } else { 7 }));
    }
}
