//! One segment file: a header page, a seal page, frames. Written once from front to back, never appended to after a crash.
//!
//! ```text
//! header (offset 0):    0 "DSTRMSEG"  8 u32 version  12 u32 incompat  16 u32 compat  20 u32 key_id  24 u64 segment_id
//!                      32 u64 base_seq  40 salt[16]  56 relay_id[16]  72 u64 created_ms  80 u64 capacity  88 u32 crc32c(0..88)
//! seal (offset 4096):   0 "DSTRMEND"  8 u64 segment_id  16 u64 first_seq  24 u64 last_seq  32 u64 frames  40 u64 events
//!                      48 u64 end  56 u32 headers_crc  60 u32 flags  64 u32 crc32c(salt, segment_id; 0..64)
//! ```
//! `base_seq` is a lower bound of the seqs inside. The seal says where the data ends; with it, opening needs no scan. It lies in a page of
//! its own, so that sealing never touches a block that holds data.

use super::frame::{SEQ_MAX, u32_at, u64_at};
use super::storage::{OpenMode, Storage, StorageFile, read_full, write_full};
use crate::sync::{AtomicU64, Mutex, Ordering};
use std::io;
use std::sync::{Arc, PoisonError};

/// The format this program writes.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// Where frames begin.
pub(crate) const DATA_START: u64 = 8192;
pub(crate) const SEAL_AT: u64 = 4096;
const HEADER_MAGIC: &[u8; 8] = b"DSTRMSEG";
const SEAL_MAGIC: &[u8; 8] = b"DSTRMEND";
pub(crate) const HEADER_LEN: usize = 92;
pub(crate) const SEAL_LEN: usize = 68;
/// Incompatible feature: payloads are encrypted.
const INCOMPATIBLE_ENCRYPTED: u32 = 1;
/// A larger segment is none of ours, whatever its header says.
const CAPACITY_MAX: u64 = 1 << 40;
/// Set on a seal that recovery wrote.
pub(crate) const SEAL_RECOVERED: u32 = 1;

/// A segment's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) segment_id: u64,
    pub(crate) base_seq: u64,
    pub(crate) salt: [u8; 16],
    pub(crate) relay_id: [u8; 16],
    pub(crate) created_ms: u64,
    pub(crate) capacity: u64,
    /// Which key its payloads are encrypted with; 0: none.
    pub(crate) key_id: u32,
}

/// Why a header page is not usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderProblem {
    /// Not there, or its checksum fails.
    Invalid,
    /// From a later format.
    Foreign(u32),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0_u8; HEADER_LEN];
        bytes[0..8].copy_from_slice(HEADER_MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.incompatible().to_le_bytes());
        bytes[20..24].copy_from_slice(&self.key_id.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.segment_id.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.base_seq.to_le_bytes());
        bytes[40..56].copy_from_slice(&self.salt);
        bytes[56..72].copy_from_slice(&self.relay_id);
        bytes[72..80].copy_from_slice(&self.created_ms.to_le_bytes());
        bytes[80..88].copy_from_slice(&self.capacity.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..88]);
        bytes[88..92].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeaderProblem> {
        let bytes: &[u8; HEADER_LEN] = bytes.first_chunk().ok_or(HeaderProblem::Invalid)?;
        if &bytes[0..8] != HEADER_MAGIC || u32_at(bytes, 88) != crc32c::crc32c(&bytes[..88]) {
            return Err(HeaderProblem::Invalid);
        }
        let (version, incompat) = (u32_at(bytes, 8), u32_at(bytes, 12));
        let unknown = incompat & !INCOMPATIBLE_ENCRYPTED != 0;
        if version != FORMAT_VERSION || unknown {
            return Err(HeaderProblem::Foreign(version.max(FORMAT_VERSION + u32::from(unknown))));
        }
        let mut header = Self {
            segment_id: u64_at(bytes, 24),
            base_seq: u64_at(bytes, 32),
            salt: [0; 16],
            relay_id: [0; 16],
            created_ms: u64_at(bytes, 72),
            capacity: u64_at(bytes, 80),
            key_id: u32_at(bytes, 20),
        };
        if header.incompatible() != incompat {
            return Err(HeaderProblem::Invalid);
        }
        header.salt.copy_from_slice(&bytes[40..56]);
        header.relay_id.copy_from_slice(&bytes[56..72]);
        let can_be = header.segment_id <= SEQ_MAX && header.base_seq <= SEQ_MAX && header.capacity <= CAPACITY_MAX;
        if can_be { Ok(header) } else { Err(HeaderProblem::Invalid) }
    }

    /// The features without which this segment cannot be read.
    fn incompatible(&self) -> u32 {
        if self.key_id == 0 { 0 } else { INCOMPATIBLE_ENCRYPTED }
    }

    /// The seed of every checksum in this segment.
    pub(crate) fn seed(&self) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.salt), &self.segment_id.to_le_bytes())
    }
}

/// What a finished segment holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seal {
    /// Seq of the first event; 0 when the segment holds none.
    pub(crate) first_seq: u64,
    /// Seq of the last event; 0 when the segment holds none.
    pub(crate) last_seq: u64,
    pub(crate) frames: u64,
    pub(crate) events: u64,
    /// File offset after the last frame.
    pub(crate) end: u64,
    /// CRC-32C over the header checksums of all frames in order.
    pub(crate) headers_crc: u32,
    pub(crate) flags: u32,
}

impl Seal {
    pub(crate) fn encode(&self, header: &SegmentHeader) -> [u8; SEAL_LEN] {
        let mut bytes = [0_u8; SEAL_LEN];
        bytes[0..8].copy_from_slice(SEAL_MAGIC);
        bytes[8..16].copy_from_slice(&header.segment_id.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first_seq.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.last_seq.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.frames.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.events.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.end.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.headers_crc.to_le_bytes());
        bytes[60..64].copy_from_slice(&self.flags.to_le_bytes());
        let crc = crc32c::crc32c_append(header.seed(), &bytes[..64]);
        bytes[64..68].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8], header: &SegmentHeader) -> Option<Self> {
        let bytes: &[u8; SEAL_LEN] = bytes.first_chunk()?;
        let verifies = &bytes[0..8] == SEAL_MAGIC
            && u64_at(bytes, 8) == header.segment_id
            && u32_at(bytes, 64) == crc32c::crc32c_append(header.seed(), &bytes[..64]);
        let seal = verifies.then(|| Self {
            first_seq: u64_at(bytes, 16),
            last_seq: u64_at(bytes, 24),
            frames: u64_at(bytes, 32),
            events: u64_at(bytes, 40),
            end: u64_at(bytes, 48),
            headers_crc: u32_at(bytes, 56),
            flags: u32_at(bytes, 60),
        });
        seal.filter(|seal| {
            let in_order = seal.events == 0 || (1..=seal.last_seq).contains(&seal.first_seq) && seal.last_seq <= SEQ_MAX;
            in_order && (DATA_START..=header.capacity).contains(&seal.end)
        })
    }
}

/// A segment that is part of the buffer.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) name: String,
    pub(crate) header: SegmentHeader,
    pub(crate) file: Arc<dyn StorageFile>,
    /// Its blocks were written in an earlier life, so that writing them again changes nothing but their content.
    pub(crate) recycled: bool,
    /// File offset up to which frames are durable.
    durable_end: AtomicU64,
    seal: Mutex<Option<Seal>>,
}

impl Segment {
    /// A segment whose frames up to `durable_end` are known good to read.
    pub(crate) fn new(name: String, header: SegmentHeader, file: Arc<dyn StorageFile>, durable_end: u64, seal: Option<Seal>) -> Self {
        Self { name, header, file, recycled: false, durable_end: AtomicU64::new(durable_end), seal: Mutex::new(seal) }
    }

    pub(crate) fn id(&self) -> u64 {
        self.header.segment_id
    }

    pub(crate) fn durable_end(&self) -> u64 {
        self.durable_end.load(Ordering::Acquire)
    }

    pub(crate) fn set_durable_end(&self, end: u64) {
        self.durable_end.store(end, Ordering::Release);
    }

    /// The seal, once written.
    pub(crate) fn seal(&self) -> Option<Seal> {
        *self.seal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the seal durably: nothing is written to this segment after it, and bytes beyond `seal.end` are no data.
    pub(crate) fn write_seal(&self, seal: Seal) -> io::Result<()> {
        write_full(&*self.file, &seal.encode(&self.header), SEAL_AT)?;
        self.file.sync_data()?;
        *self.seal.lock().unwrap_or_else(PoisonError::into_inner) = Some(seal);
        Ok(())
    }
}

/// File name of a segment.
pub(crate) fn segment_name(id: u64) -> String {
    format!("seg-{id:016x}.log")
}

/// File name of a spare.
pub(crate) fn spare_name(id: u64) -> String {
    format!("spare-{id:016x}.log")
}

/// The number in a `seg-…` or `spare-…` name.
pub(crate) fn number_in(name: &str, prefix: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_prefix(prefix)?.strip_suffix(".log")?, 16).ok()
}

/// Reads header and seal of a segment file.
pub(crate) fn read_header(file: &dyn StorageFile) -> io::Result<Result<(SegmentHeader, Option<Seal>), HeaderProblem>> {
    let mut page = [0_u8; HEADER_LEN];
    let n = read_full(file, &mut page, 0)?;
    let header = match SegmentHeader::decode(&page[..n]) {
        Ok(header) => header,
        Err(problem) => return Ok(Err(problem)),
    };
    let mut page = [0_u8; SEAL_LEN];
    let n = read_full(file, &mut page, SEAL_AT)?;
    Ok(Ok((header, Seal::decode(&page[..n], &header))))
}

/// Whether a file begins as a segment does, whatever follows.
pub(crate) fn begins_as_one(file: &dyn StorageFile) -> io::Result<bool> {
    let mut magic = [0_u8; HEADER_MAGIC.len()];
    Ok(read_full(file, &mut magic, 0)? == magic.len() && magic == *HEADER_MAGIC)
}

/// Turns a file (new or a spare named `from`) into the segment `header`, durably: its name and header survive a crash before its first
/// frame is written. Until both are there it is called a spare, so that a crash half-way leaves nothing that looks damaged. When it fails,
/// a spare is a spare again, and nothing is left of a new file: what nobody knows of would take space that nobody counts.
pub(crate) fn prepare(storage: &dyn Storage, from: Option<&str>, header: SegmentHeader) -> io::Result<Segment> {
    let name = segment_name(header.segment_id);
    let fresh = spare_name(header.segment_id);
    let source = from.unwrap_or(&fresh);
    let file = storage.open(source, if from.is_some() { OpenMode::ReadWrite } else { OpenMode::Create })?;
    let made = fill(&*file, from.is_none(), &header).and_then(|()| storage.rename(source, &name)).and_then(|()| storage.sync_dir(""));
    if let Err(error) = made {
        drop(storage.rename(&name, source));
        if from.is_none() {
            drop(storage.remove(source));
        }
        return Err(error);
    }
    Ok(Segment { recycled: from.is_some(), ..Segment::new(name, header, file, DATA_START, None) })
}

/// Everything up to the first frame is written anew: no stale seal, and a blank header where the first frame will be.
fn fill(file: &dyn StorageFile, is_new: bool, header: &SegmentHeader) -> io::Result<()> {
    // A spare may have been cut short behind our back.
    if is_new || file.size()? < header.capacity {
        file.allocate(header.capacity)?;
    }
    let mut front = vec![0_u8; usize::try_from(DATA_START).unwrap_or_default() + super::frame::HEADER_LEN];
    front[..HEADER_LEN].copy_from_slice(&header.encode());
    write_full(file, &front, 0)?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: no single flipped bit of a segment's header or seal is believed, so no segment is taken for another, or for longer.
    #[test]
    fn every_flipped_bit_is_seen() {
        let header =
            SegmentHeader { segment_id: 3, base_seq: 90, salt: [5; 16], relay_id: [7; 16], created_ms: 1, capacity: 1 << 16, key_id: 0 };
        let seal = Seal { first_seq: 91, last_seq: 95, frames: 2, events: 5, end: DATA_START + 400, headers_crc: 6, flags: SEAL_RECOVERED };
        let (good_header, good_seal) = (header.encode(), seal.encode(&header));
        assert_eq!((SegmentHeader::decode(&good_header), Seal::decode(&good_seal, &header)), (Ok(header), Some(seal)));
        for bit in 0..good_header.len() * 8 {
            let mut bytes = good_header;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&bytes), Err(HeaderProblem::Invalid), "bit {bit} of the header");
        }
        for bit in 0..good_seal.len() * 8 {
            let mut bytes = good_seal;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Seal::decode(&bytes, &header), None, "bit {bit} of the seal");
        }
        let other_life = SegmentHeader { salt: [6; 16], ..header };
        assert_eq!(Seal::decode(&good_seal, &other_life), None, "a seal of an earlier life of the file");
    }
}
