//! The worst power failure: of files and names, nothing is left but what was synced. At the moment before each sync takes effect, the
//! directory that it would leave is opened, and has to hold everything that was answered or leased.

use super::inspect::inspect;
use super::life::{Life, Shared};
use super::log::cursor::CURSOR_NAME;
use super::log::frame::FrameHeader;
use super::log::segment::{self, DATA_START};
use super::log::storage::{OpenMode, Storage};
use super::memory::{Image, Memory};
use crate::event::{Batch, BatchBuilder, EventParts, Field, Records, Seq};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// What the test knows.
#[derive(Default)]
struct Book {
    rng: fastrand::Rng,
    /// Batches without an answer yet, in order.
    submitted: VecDeque<Vec<String>>,
    answered: BTreeMap<u64, String>,
    leased: BTreeMap<u64, String>,
    acked: BTreeSet<u64>,
    made: u64,
    checks: u64,
}

fn batch(values: &[String]) -> Batch {
    let mut builder = BatchBuilder::default();
    for value in values {
        let text = Field::Text("t");
        let (value, id) = (value.as_bytes(), Field::Text("id"));
        builder.push(&EventParts { value, id, kind: text, source_type: text, source_id: text, traceparent: Field::Absent });
    }
    builder.finish()
}

/// All that the drain would get, by seq.
fn read(life: &mut Life) -> BTreeMap<u64, String> {
    let mut events = BTreeMap::new();
    while let Some(frame) = life.reader.next_frame().unwrap() {
        for (seq, record) in (frame.first_seq.0..).zip(Records::new(&frame.payload)) {
            let value = String::from_utf8(record.unwrap().value.to_vec()).unwrap();
            assert!(events.insert(seq, value).is_none(), "seq {seq} came twice");
        }
    }
    events
}

impl Book {
    fn submit(&mut self, life: &mut Life) {
        for _ in 0..self.rng.u32(1..=3) {
            let large = if self.rng.bool() { 18_000 } else { 50 };
            let values: Vec<String> =
                (0..self.rng.u64(1..=3)).map(|n| format!("{}-{}", self.made + n, "x".repeat(self.rng.usize(0..large / 3)))).collect();
            self.made += values.len() as u64;
            life.submit(batch(&values));
            self.submitted.push_back(values);
        }
    }

    fn take_answers(&mut self, life: &mut Life) {
        for appended in life.answers() {
            let values = self.submitted.pop_front().unwrap();
            self.answered.extend((appended.unwrap().first_seq.0..).zip(values));
        }
    }

    /// As the drain does: leases all there is, acknowledges most of it, not in order.
    fn drain(&mut self, life: &mut Life) {
        self.leased.extend(read(life));
        let mut open: Vec<u64> = self.leased.keys().copied().filter(|seq| !self.acked.contains(seq)).collect();
        self.rng.shuffle(&mut open);
        open.truncate(open.len() - open.len() / 8);
        let _ = life.reader.ack(&open.iter().copied().map(Seq).collect::<Vec<_>>());
        self.acked.extend(open);
    }

    /// After the keeper's turn the cursor on the disk knows every ack.
    fn check_cursor(&self, image: &Image) {
        let acked = inspect(&*Memory::with(image, 2)).unwrap().ends.acked;
        assert_eq!(acked, self.acked.len() as u64, "acks that the cursor on the disk knows");
    }

    /// Opens what a power failure would leave.
    fn check(&mut self, image: &Image) {
        self.checks += 1;
        assert_sealed(image);
        let mut again = Life::open(&Memory::with(image, 2));
        let found = read(&mut again);
        let snapshot = again.gauges.snapshot();
        assert_eq!((snapshot.ledger.ends.lost, snapshot.quarantined), (0, 0), "reported lost or damaged after check {}", self.checks);
        assert_eq!(snapshot.ledger.conservation_error(), 0);
        for (seq, value) in self.answered.iter().chain(&self.leased).filter(|(seq, _)| !self.acked.contains(seq)) {
            assert_eq!(found.get(seq), Some(value), "seq {seq} was promised, check {}", self.checks);
        }
        let promised = self.answered.keys().chain(self.leased.keys()).max().copied().unwrap_or(0);
        assert!(snapshot.durable_seq >= promised, "seq {promised} would be given again");
        for (seq, value) in &found {
            assert!(self.answered.get(seq).is_none_or(|known| known == value), "seq {seq} came out as another event");
        }
    }
}

/// Only the newest segment with events may lack its seal: what a refused write left in an older one could come out some day.
fn assert_sealed(image: &Image) {
    let memory = Memory::with(image, 2);
    let read = |name: &String| segment::read_header(&*memory.open(name, OpenMode::Read).unwrap()).unwrap().ok();
    let found = image.iter().filter(|(name, _)| name.starts_with("seg-")).filter_map(|(name, bytes)| Some((read(name)?, bytes)));
    let mut written: Vec<_> = found
        .filter(|((header, _), bytes)| {
            FrameHeader::decode(&bytes[usize::try_from(DATA_START).unwrap()..], header.seed(), DATA_START).is_some()
        })
        .map(|((header, seal), _)| (header.segment_id, seal.is_some()))
        .collect();
    written.sort_unstable();
    let _ = written.pop();
    assert!(written.iter().all(|(_, sealed)| *sealed), "{written:?}");
}

/// One sync: what would be left if the power failed now; then the drain, the keeper and new requests have their turn.
fn turn(book: &Mutex<Book>, life: &mut Life, last: bool) {
    let mut book = book.lock().unwrap();
    book.take_answers(life);
    book.check(&life.memory.synced_image());
    book.drain(life);
    book.check(&life.memory.synced_image());
    let memory = Arc::clone(&life.memory);
    for image in memory.before_each_sync(|| life.keeper.tick(Instant::now())) {
        book.check(&image);
    }
    book.check(&memory.synced_image());
    book.check_cursor(&memory.synced_image());
    if last {
        life.close();
    } else {
        book.submit(life);
    }
}

// Goal: whatever was answered or sent on is on the disk, at every moment: the power may fail in a way that keeps nothing unsynced.
#[test]
fn what_was_promised_was_synced() {
    for seed in 1..=3 {
        let memory = Memory::new(1);
        let book = Arc::new(Mutex::new(Book { rng: fastrand::Rng::with_seed(seed), ..Book::default() }));
        let life: Shared = Life::open(&memory).share();
        book.lock().unwrap().submit(&mut life.lock());
        let turns = 60;
        let steps: Vec<_> = (1..=turns).map(|n| (Arc::clone(&book), n == turns)).collect();
        life.commit(steps.into_iter().map(|(book, last)| life.step(move |life| turn(&book, life, last))));
        let mut life = life.take();
        let mut book = book.lock().unwrap();
        book.take_answers(&mut life);
        assert!(book.submitted.is_empty(), "every batch was answered");
        book.check(&memory.synced_image());
        assert!(book.answered.len() > 100 && book.checks > 150, "{} events, {} checks", book.answered.len(), book.checks);
        let image = memory.image();
        let number = |name: &String| u64::from_str_radix(name.strip_prefix("seg-")?.strip_suffix(".log")?, 16).ok();
        let (newest, files) = (image.keys().filter_map(number).max().unwrap(), image.len() as u64);
        assert!(newest > files, "segment {newest}, {files} files: none is in its second life");
    }
}

// Goal: what the first start after a kill -9 sends on cannot be taken back by a power failure: it was synced before it was believed.
#[test]
fn what_a_start_believes_is_synced_first() {
    let memory = Memory::new(1);
    let life = Life::open(&memory).share();
    life.lock().submit(batch(&["first".to_owned()]));
    let forked = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&forked);
    life.commit([
        life.step(|life| life.submit(batch(&["second".to_owned()]))),
        // Written and not synced: only the page cache has it.
        life.step(move |life| {
            *keep.lock().unwrap() = Some(life.memory.fork());
            life.close();
        }),
    ]);
    let forked = forked.lock().unwrap().take().unwrap();
    assert_eq!(read(&mut Life::open(&Memory::with(&forked.synced_image(), 2))).len(), 1, "the second is not on the disk");
    let believed = read(&mut Life::open(&forked));
    assert_eq!(believed.len(), 2, "the page cache is seen");
    assert_eq!(read(&mut Life::open(&Memory::with(&forked.synced_image(), 2))), believed);
}

// Goal: the same for acks: a start after a kill -9 gives up no segment on the word of a cursor that a power failure could take back.
#[test]
fn a_cursor_is_synced_before_a_start_believes_it() {
    let memory = Memory::new(1);
    let life = Life::open(&memory).share();
    for n in 0..2 {
        life.lock().submit(batch(&[format!("{n}-{}", "x".repeat(40_000))]));
    }
    life.commit([life.step(|life| life.close())]);
    let before = memory.synced_image();
    let mut life = life.take();
    assert_eq!(read(&mut life).len(), 2);
    assert_eq!(life.reader.ack(&[Seq(1), Seq(2)]), 2);
    life.keeper.tick(Instant::now());

    // The new cursor is in the page cache only.
    let again = Memory::with(&before, 2);
    let cursor = again.open(CURSOR_NAME, OpenMode::ReadWrite).unwrap();
    assert!(cursor.write_at(&memory.image()[CURSOR_NAME], 0).is_ok());
    let mut images = again.before_each_sync(|| drop(Life::open(&again)));
    images.push(again.synced_image());
    assert!(images.len() > 4, "{}", images.len());
    for (n, image) in images.iter().enumerate() {
        let snapshot = Life::open(&Memory::with(image, 3)).gauges.snapshot();
        assert_eq!((snapshot.ledger.ends.lost, snapshot.durable_seq), (0, 2), "before sync {n}");
    }
}
