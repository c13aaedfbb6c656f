//! The file of a run of parked events. Pure.
//!
//! ```text
//!   0 "DSTRMPRK"   8 u32 version  12 u32 incompat (1: encrypted)  16 u32 key_id  20 u32 head_len
//!  24 u64 first_seq  32 u64 last_seq  40 u64 queue  48 u64 template  56 u64 accepted_ms of the first
//!  64 salt[16]    80 relay_id[16]
//!  96 u32 count  100 u32 table_len  104 u32 body_len (stored)  108 u32 table_crc  112 u32 body_crc (stored)  116 u32 crc32c(0..116)
//! 128 done mark: u64 seq · u32 zero · u32 crc32c(salt, seq)
//! 160 table: of each event the seq, when it was accepted, and the length of its record, as differences, varints
//!     body: the head as JSON, then the records
//! ```
//! The table is never encrypted, as the headers of frames are not: without any key the books can be kept. Encryption binds it: its checksum stands
//! where a frame has its durable seq. The done mark is written in place; it lies within one sector, so it is there or it is not.

use super::super::log::cipher::Keyring;
use super::super::log::frame::{SEQ_MAX, u32_at, u64_at};
use super::super::log::sealed::{self, Binding, MARK_LEN, Problem};
use super::ParkedEvent;
use super::varint::{put, take};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Where the done mark lies.
pub(super) const MARK_AT: u64 = 128;
/// Where the table begins.
pub(super) const TABLE_AT: usize = 160;
/// Nothing stored is larger: a forged length must not take all memory.
pub(super) const MAX_FILE_BYTES: u64 = 1 << 30;

const MAGIC: &[u8; 8] = b"DSTRMPRK";
const VERSION: u32 = 1;
const ENCRYPTED: u32 = 1;
const CRC_AT: usize = 116;
/// Most bytes that an event takes in the table: three varints.
const ENTRY_MAX: u64 = 30;

/// A header, verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::buffer) struct Header {
    pub(super) first_seq: u64,
    pub(in crate::buffer) last_seq: u64,
    /// The number of the topic's queue, which is in the file's name, too.
    pub(super) queue: u64,
    /// Tells the `kafka.topic` under which the events were parked.
    pub(super) template: u64,
    pub(super) count: u32,
    pub(super) table_len: u32,
    pub(super) body_len: u32,
    pub(super) key_id: u32,
    head_len: u32,
    accepted_ms: u64,
    salt: [u8; 16],
    relay_id: [u8; 16],
    table_crc: u32,
    body_crc: u32,
}

/// What the events of a file have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) topic: String,
    /// `kafka.topic` when they were parked.
    pub(super) template: String,
}

/// One event in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::buffer) struct Entry {
    pub(in crate::buffer) seq: u64,
    pub(in crate::buffer) accepted_ms: u64,
    pub(super) len: usize,
}

/// A whole file, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) head: Head,
    pub(super) entries: Vec<Entry>,
    /// All records, one after the other.
    pub(super) records: Bytes,
}

impl Content {
    /// The events, one by one.
    pub(super) fn events(&self) -> impl Iterator<Item = ParkedEvent> {
        let mut at = 0;
        self.entries.iter().map(move |entry| {
            at += entry.len;
            ParkedEvent { seq: entry.seq, accepted_ms: entry.accepted_ms, record: self.records.slice(at - entry.len..at) }
        })
    }
}

/// What identifies a queue and a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) queue: u64,
    pub(super) template: u64,
    pub(super) relay_id: [u8; 16],
    /// New for each file.
    pub(super) salt: [u8; 16],
}

/// The most that a file of these events takes, unless it is `None`: too much for one.
pub(super) fn max_len(events: usize, record_bytes: u64, head: &Head) -> u64 {
    TABLE_AT as u64 + events as u64 * ENTRY_MAX + (head.topic.len() + head.template.len()) as u64 * 6 + 64 + record_bytes + 16
}

/// The whole file of at least one event, in seq order.
pub(super) fn encode(head: &Head, events: &[ParkedEvent], place: &Place, keyring: &Keyring) -> Vec<u8> {
    let head = serde_json::to_vec(head).unwrap_or_default();
    let table = encode_table(events);
    let (first_seq, last_seq) = (events.first().map_or(0, |event| event.seq), events.last().map_or(0, |event| event.seq));
    // What goes into one file is bounded far below 4 GiB by the caller.
    let length = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
    let mut header = Header {
        first_seq,
        last_seq,
        queue: place.queue,
        template: place.template,
        count: length(events.len()),
        table_len: length(table.len()),
        body_len: 0,
        key_id: keyring.writing_key_id(),
        head_len: length(head.len()),
        accepted_ms: events.first().map_or(0, |event| event.accepted_ms),
        salt: place.salt,
        relay_id: place.relay_id,
        table_crc: crc32c::crc32c(&table),
        body_crc: 0,
    };
    let mut body = head;
    for event in events {
        body.extend_from_slice(&event.record);
    }
    let (body, body_crc) = header.binding().seal(keyring, body);
    (header.body_len, header.body_crc) = (length(body.len()), body_crc);
    let mut file = header.encode();
    file.extend_from_slice(&table);
    file.extend_from_slice(&body);
    file
}

fn encode_table(events: &[ParkedEvent]) -> Vec<u8> {
    let mut table = Vec::with_capacity(events.len() * 8);
    let (mut seq, mut ms) = (0_u64, 0_u64);
    for event in events {
        put(&mut table, event.seq.wrapping_sub(seq));
        let moved = event.accepted_ms.wrapping_sub(ms).cast_signed();
        put(&mut table, ((moved << 1) ^ (moved >> 63)).cast_unsigned());
        put(&mut table, event.record.len() as u64);
        (seq, ms) = (event.seq, event.accepted_ms);
    }
    table
}

/// The table of a file of which at least the front is there.
pub(super) fn decode_table(front: &[u8], header: &Header) -> Result<Vec<Entry>, Problem> {
    let mut bytes = front.get(TABLE_AT..header.body_at()).ok_or(Problem::Damaged("it ends too early"))?;
    if crc32c::crc32c(bytes) != header.table_crc {
        return Err(Problem::Damaged("the checksum of its table fails"));
    }
    let odd = Problem::Damaged("its table does not decode");
    let mut entries = Vec::with_capacity(header.count as usize);
    let (mut seq, mut ms) = (0_u64, 0_u64);
    for _ in 0..header.count {
        let (step, moved, len) = (take(&mut bytes).ok_or(odd)?, take(&mut bytes).ok_or(odd)?, take(&mut bytes).ok_or(odd)?);
        seq = seq.checked_add(step).filter(|_| step > 0).ok_or(odd)?;
        ms = ms.wrapping_add((moved >> 1) ^ (moved & 1).wrapping_neg());
        entries.push(Entry { seq, accepted_ms: ms, len: usize::try_from(len).map_err(|_| odd)? });
    }
    let ends = (entries.first().map(|entry| entry.seq), entries.last().map(|entry| entry.seq));
    if ends == (Some(header.first_seq), Some(header.last_seq)) && bytes.is_empty() { Ok(entries) } else { Err(odd) }
}

/// Everything in a whole file.
pub(super) fn decode(file: &[u8], keyring: &Keyring) -> Result<Content, Problem> {
    let header = Header::decode(file)?;
    let entries = decode_table(file, &header)?;
    let end = header.body_at() + header.body_len as usize;
    let stored = file.get(header.body_at()..end).ok_or(Problem::Damaged("it ends too early"))?;
    let body = header.binding().open(keyring, stored, header.body_crc)?;
    let head_len = header.head_len as usize;
    let odd = Problem::Damaged("its parts do not fit");
    let head: Head = serde_json::from_slice(body.get(..head_len).ok_or(odd)?).map_err(|_| Problem::Damaged("its head is no JSON"))?;
    let records = body.slice(head_len..);
    let len = entries.iter().try_fold(0_usize, |sum, entry| sum.checked_add(entry.len));
    if len == Some(records.len()) { Ok(Content { head, entries, records }) } else { Err(odd) }
}

/// A done mark: everything up to and including `seq` is at its end.
pub(super) fn encode_mark(header: &Header, seq: u64) -> [u8; MARK_LEN] {
    sealed::encode_mark(&header.salt, seq)
}

/// Up to where everything is at its end; 0 when nothing says so.
pub(super) fn decode_mark(front: &[u8], header: &Header) -> u64 {
    sealed::decode_mark(front, MARK_AT, &header.salt).unwrap_or(0)
}

impl Header {
    pub(super) fn decode(front: &[u8]) -> Result<Self, Problem> {
        let bytes: &[u8; TABLE_AT] = front.first_chunk().ok_or(Problem::Damaged("it is too short"))?;
        if &bytes[..8] != MAGIC || u32_at(bytes, CRC_AT) != crc32c::crc32c(&bytes[..CRC_AT]) {
            return Err(Problem::Damaged("its header does not verify"));
        }
        if u32_at(bytes, 8) != VERSION || u32_at(bytes, 12) & !ENCRYPTED != 0 {
            return Err(Problem::Damaged("it is from a later version"));
        }
        let mut header = Self {
            key_id: u32_at(bytes, 16),
            head_len: u32_at(bytes, 20),
            first_seq: u64_at(bytes, 24),
            last_seq: u64_at(bytes, 32),
            queue: u64_at(bytes, 40),
            template: u64_at(bytes, 48),
            accepted_ms: u64_at(bytes, 56),
            salt: [0; 16],
            relay_id: [0; 16],
            count: u32_at(bytes, 96),
            table_len: u32_at(bytes, 100),
            body_len: u32_at(bytes, 104),
            table_crc: u32_at(bytes, 108),
            body_crc: u32_at(bytes, 112),
        };
        header.salt.copy_from_slice(&bytes[64..80]);
        header.relay_id.copy_from_slice(&bytes[80..96]);
        if header.can_be() { Ok(header) } else { Err(Problem::Damaged("its figures cannot be")) }
    }

    /// Whether its figures fit each other, so that nobody sets memory aside for what is not there.
    fn can_be(&self) -> bool {
        let count = u64::from(self.count);
        let seqs = 1 <= self.first_seq && self.first_seq <= self.last_seq && self.last_seq <= SEQ_MAX;
        let table = (3 * count..=ENTRY_MAX * count).contains(&u64::from(self.table_len));
        seqs && count >= 1 && self.last_seq - self.first_seq + 1 >= count && table && self.len() <= MAX_FILE_BYTES
    }

    /// As whoever forges a table would.
    #[cfg(test)]
    pub(super) fn trust_table(&mut self, table: &[u8]) {
        self.table_crc = crc32c::crc32c(table);
    }

    /// Bytes of the whole file.
    pub(super) fn len(&self) -> u64 {
        TABLE_AT as u64 + u64::from(self.table_len) + u64::from(self.body_len)
    }

    /// Where the body begins.
    pub(super) fn body_at(&self) -> usize {
        TABLE_AT + self.table_len as usize
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0_u8; TABLE_AT];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&u32::from(self.key_id != 0).to_le_bytes());
        bytes[16..20].copy_from_slice(&self.key_id.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.head_len.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first_seq.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.last_seq.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.queue.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.template.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.accepted_ms.to_le_bytes());
        bytes[64..80].copy_from_slice(&self.salt);
        bytes[80..96].copy_from_slice(&self.relay_id);
        bytes[96..100].copy_from_slice(&self.count.to_le_bytes());
        bytes[100..104].copy_from_slice(&self.table_len.to_le_bytes());
        bytes[104..108].copy_from_slice(&self.body_len.to_le_bytes());
        bytes[108..112].copy_from_slice(&self.table_crc.to_le_bytes());
        bytes[112..116].copy_from_slice(&self.body_crc.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..CRC_AT]);
        bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The parts that encryption binds: the first seq, how many, when the first was accepted, and the table.
    fn binding(&self) -> Binding {
        Binding {
            key_id: self.key_id,
            salt: self.salt,
            relay_id: self.relay_id,
            first_seq: self.first_seq,
            accepted_ms: self.accepted_ms,
            count: self.count,
            besides: u64::from(self.table_crc),
        }
    }
}
