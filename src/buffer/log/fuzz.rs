//! Fuzz targets of everything that is read from disk: frames, segments with a cursor through recovery and reader, cursor slots.

use super::cursor::{self, Cursor, Found, Marks, PartitionMark};
use super::frame::{FrameHeader, HEADER_LEN, Kind};
use super::segment::{DATA_START, Seal, SegmentHeader, segment_name};
use super::storage::{OpenMode, Storage};
use crate::buffer::life::Life;
use crate::buffer::memory::{Image, Memory};
use crate::event::{BatchBuilder, EventParts, Field, Records};
use crate::fuzzing::{Dice, fuzz};
use crate::lifecycle::Ends;
use std::collections::BTreeMap;

// Goal: a frame header is what was written in this place, or none.
#[test]
fn frame() {
    fuzz("frame", frame_target);
}

// Goal: a cursor slot is what was written, or none; never a panic, whatever is in it.
#[test]
fn cursor() {
    fuzz("cursor", cursor_target);
}

// Goal: whatever the disk made of my segments, the buffer opens, and gives only events that were stored, in order, or says they are lost.
#[test]
fn segment() {
    fuzz("segment", segment_target);
}

fn any_frame(dice: &mut Dice<'_>) -> FrameHeader {
    let kind = if dice.one_in(3) { Kind::Mark } else { Kind::Data };
    let (first_seq, durable_seq, accepted_ms) = (dice.number(), dice.number(), dice.number());
    FrameHeader {
        first_seq,
        durable_seq,
        accepted_ms,
        count: dice.u32(),
        len: dice.u32(),
        payload_crc: dice.u32(),
        frame_no: dice.u32(),
        kind,
        encrypted: dice.one_in(4),
    }
}

fn frame_target(input: &[u8]) {
    let mut dice = Dice::new(input);
    let (seed, offset) = (dice.u32(), dice.number());
    let header = any_frame(&mut dice);
    let written = header.encode(seed, offset);
    // One whose numbers no relay ever gives is none, also with a good checksum: whoever reads on may add to them.
    if let Some(read) = FrameHeader::decode(&written, seed, offset) {
        assert_eq!(read, header);
        assert!(read.next_seq() >= read.first_seq && read.stored_len() >= HEADER_LEN as u64);
    }
    let mut damaged = written.to_vec();
    for _ in 0..=dice.below(3) {
        dice.damage(&mut damaged);
    }
    for bytes in [damaged.as_slice(), dice.rest()] {
        if let Some(read) = FrameHeader::decode(bytes, seed, offset) {
            assert_eq!(read.encode(seed, offset), bytes[..HEADER_LEN], "what is accepted is what would be written");
        }
    }
}

fn any_marks(dice: &mut Dice<'_>) -> Marks {
    let topics = ["events", "a.b_c-d", ""];
    Marks {
        relay_id: [dice.u8(); 16],
        frontier: dice.number(),
        ended_above: (0..dice.below(5)).map(|_| dice.u64()).collect(),
        lost_above: (0..dice.below(4)).map(|_| (dice.number(), dice.number())).collect(),
        ends: Ends { acked: dice.number(), dead_lettered: dice.number(), purged: dice.number(), lost: dice.number() },
        durable_seq: dice.number(),
        segment_id: dice.number(),
        clean: dice.one_in(2),
        partitions: (0..dice.below(3))
            .map(|_| PartitionMark {
                topic: dice.pick(&topics).to_owned(),
                partition: i32::from(dice.u8()),
                seq: dice.number(),
                offset: i64::from(dice.u32()) - 1,
            })
            .collect(),
    }
}

fn cursor_target(input: &[u8]) {
    let mut dice = Dice::new(input);
    let memory = Memory::new(1);
    let generation = u64::from(dice.u8());
    let mut file = Cursor::open(&*memory, generation).unwrap();
    let written: Vec<Marks> = (0..=dice.below(3)).map(|_| any_marks(&mut dice)).collect();
    for marks in &written {
        file.write(marks).unwrap();
    }
    let mut image = memory.image();
    let bytes = image.get_mut("cursor").unwrap();
    for _ in 0..dice.below(4) {
        dice.damage(bytes);
    }
    let again = Memory::with(&image, 1);
    match cursor::read(&*again.open("cursor", OpenMode::Read).unwrap()) {
        Found::Marks(marks, found) => {
            let nth = usize::try_from(found - generation).unwrap() - 1;
            assert_eq!(*marks, written[nth], "what is believed is what was written");
        }
        Found::Nothing => {}
        Found::Foreign(version) => panic!("damage is not taken for version {version}"),
    }
    // Whatever the marks say, opening believes them or not, and goes on.
    drop(Life::open(&again));
}

/// A segment in the making.
struct Making {
    header: SegmentHeader,
    bytes: Vec<u8>,
    at: u64,
    seal: Seal,
}

/// What was stored, by seq.
type Stored = BTreeMap<u64, Vec<u8>>;

impl Making {
    fn new(segment_id: u64, base_seq: u64) -> Self {
        let salt = [u8::try_from(segment_id % 251).unwrap(); 16];
        let header = SegmentHeader { segment_id, base_seq, salt, relay_id: [7; 16], created_ms: 1, capacity: 1 << 16, key_id: 0 };
        let mut bytes = vec![0; 1 << 16];
        let encoded = header.encode();
        bytes[..encoded.len()].copy_from_slice(&encoded);
        Self { header, bytes, at: DATA_START, seal: Seal { end: DATA_START, ..Seal::default() } }
    }

    fn put(&mut self, first_seq: u64, durable_seq: u64, values: &[Vec<u8>]) -> bool {
        let mut builder = BatchBuilder::default();
        for value in values {
            let text = Field::Text("t");
            builder.push(&EventParts { value, id: text, kind: text, source_type: text, source_id: text, traceparent: Field::Absent });
        }
        let batch = builder.finish();
        let header = FrameHeader {
            first_seq,
            durable_seq,
            accepted_ms: 1_000 + first_seq,
            count: batch.count(),
            len: u32::try_from(batch.payload().len()).unwrap(),
            payload_crc: if values.is_empty() { 0 } else { batch.crc() },
            frame_no: u32::try_from(self.seal.frames).unwrap(),
            kind: if values.is_empty() { Kind::Mark } else { Kind::Data },
            encrypted: false,
        };
        if self.at + header.stored_len() + HEADER_LEN as u64 > self.header.capacity {
            return false;
        }
        let at = usize::try_from(self.at).unwrap();
        self.bytes[at..at + HEADER_LEN].copy_from_slice(&header.encode(self.header.seed(), self.at));
        self.bytes[at + HEADER_LEN..at + HEADER_LEN + batch.payload().len()].copy_from_slice(batch.payload());
        super::recovery::account(&mut self.seal, &header, self.at);
        self.at += header.stored_len();
        true
    }

    fn sealed(&mut self) {
        let encoded = self.seal.encode(&self.header);
        self.bytes[4096..4096 + encoded.len()].copy_from_slice(&encoded);
    }
}

/// One to three segments, the last one mostly unsealed, with a cursor or without.
fn any_directory(dice: &mut Dice<'_>) -> (Image, Stored) {
    let (mut image, mut stored) = (Image::new(), Stored::new());
    let (mut seq, mut durable) = (1, 0);
    let segments = 1 + dice.below(3);
    for id in 1..=segments {
        let mut making = Making::new(id as u64, durable + 1);
        for _ in 0..dice.below(8) {
            let values: Vec<Vec<u8>> =
                (0..dice.below(4)).map(|n| format!("{}-{}", seq + n as u64, "v".repeat(dice.below(700))).into()).collect();
            if !making.put(seq, durable, &values) {
                break;
            }
            stored.extend((seq..).zip(values.iter().cloned()));
            seq += values.len() as u64;
            if dice.one_in(2) {
                durable = seq - 1;
            }
        }
        durable = seq - 1;
        if id < segments || dice.one_in(4) {
            making.sealed();
        }
        let _ = image.insert(segment_name(id as u64), making.bytes);
    }
    if !dice.one_in(4) {
        let frontier = dice.below(usize::try_from(seq).unwrap()) as u64;
        let ends = Ends { acked: frontier, ..Ends::default() };
        let durable_seq = frontier.max(durable.saturating_sub(dice.below(8) as u64));
        let marks = Marks { relay_id: [7; 16], frontier, ends, durable_seq, segment_id: segments as u64, ..Marks::default() };
        let memory = Memory::new(1);
        Cursor::open(&*memory, 4).unwrap().write(&marks).unwrap();
        image.extend(memory.image());
    }
    (image, stored)
}

fn segment_target(input: &[u8]) {
    let mut dice = Dice::new(input);
    let (mut image, stored) = any_directory(&mut dice);
    let names: Vec<String> = image.keys().cloned().collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for _ in 0..dice.below(5) {
        let name = dice.pick(&names);
        let bytes = image.get_mut(name).unwrap();
        if dice.one_in(3) {
            dice.damage(bytes);
        } else {
            damage_data(&mut dice, bytes);
        }
    }
    if dice.one_in(12) {
        let _ = image.remove(dice.pick(&names));
    }
    let first = opened(&image, &stored);
    // What recovery has written is a directory like any other, and means the same.
    assert_eq!(opened(&first.1, &stored).0, first.0, "opening again gives the same");
}

/// Where the frames are, rather than somewhere in the blank space behind them.
fn damage_data(dice: &mut Dice<'_>, bytes: &mut [u8]) {
    let start = usize::try_from(DATA_START).unwrap();
    if let Some(data) = bytes.get_mut(start..) {
        let used = data.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
        let at = dice.below(used);
        let end = (at + 1 + dice.below(300)).min(data.len());
        if dice.one_in(2) { data[at] ^= 1 << dice.below(8) } else { data[at..end].fill(dice.u8()) }
    }
}

/// The events that come out, and the directory afterwards.
fn opened(image: &Image, stored: &Stored) -> (Vec<u64>, Image) {
    let memory = Memory::with(image, 9);
    let mut life = Life::open(&memory);
    let mut seqs = Vec::new();
    while let Some(frame) = life.reader.next_frame().unwrap() {
        let records: Vec<_> = Records::new(&frame.payload).map(Result::unwrap).collect();
        assert_eq!(records.len(), frame.count as usize, "a request comes whole");
        for (seq, record) in (frame.first_seq.0..).zip(records) {
            assert_eq!(stored.get(&seq).map(Vec::as_slice), Some(record.value), "seq {seq} is what was stored as such");
            assert!(seqs.last().is_none_or(|last| *last < seq), "seq {seq} comes in order");
            seqs.push(seq);
        }
    }
    let snapshot = life.gauges.snapshot();
    assert_eq!(snapshot.ledger.conservation_error(), 0, "{snapshot:?}");
    (seqs, memory.image())
}

// Goal: the segment target tries what it says: directories in which something is stored, most of them damaged in their data.
#[test]
fn the_segment_target_reaches_the_data() {
    let mut rng = fastrand::Rng::with_seed(1);
    let (mut filled, mut delivered) = (0, 0);
    for _ in 0..50 {
        let input: Vec<u8> = (0..300).map(|_| rng.u8(..)).collect();
        let (image, stored) = any_directory(&mut Dice::new(&input));
        filled += usize::from(!stored.is_empty());
        delivered += opened(&image, &stored).0.len();
    }
    assert!(filled > 40 && delivered > 100, "{filled} directories, {delivered} events");
}
