//! The cursor: the buffer's durable marks and ledger, in two slots written in turn, so that one of them is always whole.
//!
//! ```text
//! slot (at 0 and at 65536):  0 "DSTRMCUR"  8 u32 version  12 u32 len  16 u64 generation  24 u32 crc32c(8..24 ++ body)  28 u32 zero
//!                           32 body: postcard of [`Marks`], len bytes
//! ```
//! Losing the cursor loses nothing: events are delivered again from the oldest segment. It is written lazily, and always before a
//! segment that it has passed is reused.

use super::frame::{SEQ_MAX, u32_at, u64_at};
use super::segment::FORMAT_VERSION;
use super::storage::{OpenMode, Storage, StorageFile, read_full, write_full};
use crate::lifecycle::Ends;
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::Arc;

pub(crate) const CURSOR_NAME: &str = "cursor";
const SLOT_LEN: usize = 1 << 16;
const HEADER_LEN: usize = 32;
const MAGIC: &[u8; 8] = b"DSTRMCUR";
/// What the cursor file takes at most.
pub(crate) const CURSOR_BYTES: u64 = 2 * SLOT_LEN as u64;
/// Most partitions whose marks are kept; those written longest ago are forgotten first.
pub(crate) const MAX_PARTITIONS: usize = 512;
/// Most bytes that they may take: topic names may be long.
const PARTITION_BYTES: usize = 48 << 10;
/// What a partition mark takes at most besides the topic's name.
const PARTITION_MARK_BYTES: usize = 32;
/// Most ranges of lost seqs above the frontier that are kept.
pub(crate) const MAX_LOST_RANGES: usize = 256;

/// The newest acked place of a partition: where to look for our own records after a crash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartitionMark {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) seq: u64,
    pub(crate) offset: i64,
}

/// Everything that a restart wants to know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marks {
    pub(crate) relay_id: [u8; 16],
    /// Every event up to and including this seq is at its end.
    pub(crate) frontier: u64,
    /// Events above the frontier that are at their end: bit i stands for `frontier + 1 + i`.
    pub(crate) ended_above: Vec<u64>,
    /// Lost seqs above the frontier, as inclusive ranges.
    pub(crate) lost_above: Vec<(u64, u64)>,
    pub(crate) ends: Ends,
    /// Highest durable seq when this was written.
    pub(crate) durable_seq: u64,
    /// Highest segment id given out: ids are never reused.
    pub(crate) segment_id: u64,
    /// Written by a stop in good order that leaves nothing in doubt.
    pub(crate) clean: bool,
    pub(crate) partitions: Vec<PartitionMark>,
}

/// The newest marks, as many as a slot has room for.
pub(crate) fn newest_that_fit(mut marks: Vec<PartitionMark>) -> Vec<PartitionMark> {
    marks.sort_unstable_by_key(|mark| std::cmp::Reverse(mark.seq));
    let mut bytes = 0;
    let mut fits = |mark: &PartitionMark| {
        bytes += mark.topic.len() + PARTITION_MARK_BYTES;
        bytes <= PARTITION_BYTES
    };
    let count = marks.iter().take_while(|mark| fits(mark)).count();
    marks.truncate(count);
    marks
}

/// The cursor file of a running buffer.
#[derive(Debug)]
pub(crate) struct Cursor {
    file: Arc<dyn StorageFile>,
    generation: u64,
}

/// What was found in a cursor file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The newest slot that verifies.
    Marks(Box<Marks>, u64),
    /// Both slots are damaged or blank.
    Nothing,
    /// From a later format.
    Foreign(u32),
}

impl Cursor {
    /// Opens (or creates) the cursor file and continues after `generation`.
    pub(crate) fn open(storage: &dyn Storage, generation: u64) -> io::Result<Self> {
        let file = storage.open(CURSOR_NAME, OpenMode::Create)?;
        if file.size()? < CURSOR_BYTES {
            file.allocate(CURSOR_BYTES)?;
        }
        if generation == 0 {
            // Nothing could be read. What cannot be read today must not come back tomorrow with a higher generation than ours.
            for slot in 0..2 {
                write_full(&*file, &[0; 4096], slot * SLOT_LEN as u64)?;
            }
        }
        file.sync_data()?;
        Ok(Self { file, generation })
    }

    /// Writes the marks durably into the older slot.
    pub(crate) fn write(&mut self, marks: &Marks) -> io::Result<()> {
        let generation = self.generation + 1;
        let bytes = encode(marks, generation).ok_or_else(|| io::Error::other("the cursor does not fit its slot"))?;
        write_full(&*self.file, &bytes, (generation % 2) * SLOT_LEN as u64)?;
        self.file.sync_data()?;
        self.generation = generation;
        Ok(())
    }
}

/// What is in one slot.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Marks and their generation.
    Marks(Box<Marks>, u64),
    /// Never written.
    Blank,
    /// Written, and does not verify; or the disk does not give it.
    Damaged,
    /// From a later format.
    Foreign(u32),
}

/// Offset and length of slot `number`.
pub(crate) fn slot_place(number: u64) -> (u64, u64) {
    (number * SLOT_LEN as u64, SLOT_LEN as u64)
}

/// Reads slot `number`, 0 or 1. One that the disk does not give, tried twice, is a damaged one.
pub(crate) fn read_slot(file: &dyn StorageFile, number: u64) -> Slot {
    let mut bytes = vec![0_u8; SLOT_LEN];
    let mut give = || read_full(file, &mut bytes, slot_place(number).0);
    let n = match give().or_else(|_| give()) {
        Ok(n) => n,
        Err(error) => {
            tracing::error!(slot = number, %error, "the disk cannot read a slot of the cursor: counted as damaged");
            return Slot::Damaged;
        }
    };
    match decode(&bytes[..n]) {
        Some(Ok((marks, generation))) => Slot::Marks(Box::new(marks), generation),
        Some(Err(version)) => Slot::Foreign(version),
        None if bytes[..n].iter().all(|byte| *byte == 0) => Slot::Blank,
        None => Slot::Damaged,
    }
}

/// Reads the newest good slot.
pub(crate) fn read(file: &dyn StorageFile) -> Found {
    let mut best = Found::Nothing;
    for number in 0..2 {
        match read_slot(file, number) {
            Slot::Marks(marks, generation) if !matches!(best, Found::Marks(_, newer) if newer > generation) => {
                best = Found::Marks(marks, generation);
            }
            Slot::Foreign(version) => return Found::Foreign(version),
            Slot::Marks(..) | Slot::Blank | Slot::Damaged => {}
        }
    }
    best
}

fn encode(marks: &Marks, generation: u64) -> Option<Vec<u8>> {
    let body = postcard::to_stdvec(marks).ok()?;
    if HEADER_LEN + body.len() > SLOT_LEN {
        return None;
    }
    let mut bytes = vec![0_u8; HEADER_LEN];
    bytes[0..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&u32::try_from(body.len()).ok()?.to_le_bytes());
    bytes[16..24].copy_from_slice(&generation.to_le_bytes());
    bytes.extend_from_slice(&body);
    let crc = slot_crc(&bytes);
    bytes[24..28].copy_from_slice(&crc.to_le_bytes());
    // Whole pages, so that the device never has to read before it writes.
    bytes.resize(bytes.len().next_multiple_of(4096).min(SLOT_LEN), 0);
    Some(bytes)
}

fn decode(bytes: &[u8]) -> Option<Result<(Marks, u64), u32>> {
    if bytes.len() < HEADER_LEN || &bytes[0..8] != MAGIC {
        return None;
    }
    let len = u32_at(bytes, 12) as usize;
    let used = bytes.get(..HEADER_LEN.checked_add(len)?)?;
    if u32_at(bytes, 24) != slot_crc(used) {
        return None;
    }
    let version = u32_at(bytes, 8);
    if version != FORMAT_VERSION {
        return Some(Err(version));
    }
    let marks: Marks = postcard::from_bytes(&used[HEADER_LEN..]).ok().filter(can_be)?;
    Some(Ok((marks, u64_at(bytes, 16))))
}

/// Whether a relay may ever have written these marks.
fn can_be(marks: &Marks) -> bool {
    let Ends { acked, dead_lettered, purged, lost } = marks.ends;
    let numbers = [marks.frontier, marks.durable_seq, marks.segment_id, acked, dead_lettered, purged, lost];
    let in_order = |&(from, to): &(u64, u64)| (1..=to).contains(&from) && to <= SEQ_MAX;
    numbers.iter().all(|number| *number <= SEQ_MAX) && marks.lost_above.iter().all(in_order)
}

fn slot_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[8..24]), &bytes[HEADER_LEN..])
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: the fullest cursor there can be fits its slot (a cursor that does not fit would stop the buffer from freeing disk).
    #[test]
    fn the_fullest_cursor_fits() {
        // The longest name that Kafka allows.
        let partition = |n| PartitionMark { topic: "x".repeat(249), partition: i32::MAX - n, seq: u64::MAX, offset: i64::MAX };
        let marks = Marks {
            ended_above: vec![u64::MAX; crate::buffer::watermark::MAX_SPAN / 64],
            lost_above: vec![(SEQ_MAX, SEQ_MAX); MAX_LOST_RANGES],
            partitions: newest_that_fit((0..512).map(partition).collect()),
            relay_id: [255; 16],
            frontier: SEQ_MAX,
            ends: Ends { acked: SEQ_MAX, dead_lettered: SEQ_MAX, purged: SEQ_MAX, lost: SEQ_MAX },
            durable_seq: SEQ_MAX,
            segment_id: SEQ_MAX,
            clean: true,
        };
        assert!(marks.partitions.len() > 150);
        let bytes = encode(&marks, 9).unwrap();
        assert_eq!(decode(&bytes), Some(Ok((marks, 9))));
    }

    // Goal: no single flipped bit of a slot is believed.
    #[test]
    fn every_flipped_bit_is_seen() {
        let marks = Marks { frontier: 7, ended_above: vec![5], ..Marks::default() };
        let good = encode(&marks, 3).unwrap();
        let used = HEADER_LEN + u32_at(&good, 12) as usize;
        for bit in (0..used * 8).filter(|bit| !(28 * 8..32 * 8).contains(bit)) {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bytes), None, "bit {bit}");
        }
    }
}
