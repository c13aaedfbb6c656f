//! The file of one dead letter. Pure.
//!
//! ```text
//!   0 "DSTRMDED"   8 u32 version  12 u32 incompat (1: encrypted)  16 u32 key_id  20 u32 cause_len
//!  24 u64 seq     32 u64 accepted_ms  40 salt[16]  56 relay_id[16]
//!  72 u32 body_len (stored)  76 u32 body_crc (stored)  80 u32 zero  84 u32 crc32c(0..84)
//!  96 retry mark: u64 from_seq · u32 zero · u32 crc32c(salt, from_seq)
//! 112 copied mark: u32 how (1: whole, 2: without its value) · u64 zero · u32 crc32c(salt, the 12 bytes before)
//! 128 body: the cause as JSON, then the record
//! ```
//! The retry mark is written in place before the event is appended again: with it, opening can tell whether that append happened. The copied mark
//! is written in place once the dead-letter topic has the event; one that does not verify is none, and the event is copied again. Each lies
//! within one sector, so it is there or it is not.

use super::super::log::cipher::Keyring;
use super::super::log::frame::{SEQ_MAX, u32_at, u64_at};
use super::super::log::sealed::{self, Binding, MARK_LEN, Problem};
use super::{Cause, Copied, DeadLetter};

/// Where the retry mark lies.
pub(super) const MARK_AT: u64 = 96;
/// Where the copied mark lies; as long as a retry mark.
pub(super) const COPIED_AT: u64 = 112;
/// Where the body begins.
pub(super) const BODY_AT: usize = 128;

const MAGIC: &[u8; 8] = b"DSTRMDED";
const VERSION: u32 = 1;
const ENCRYPTED: u32 = 1;
const CRC_AT: usize = 84;

/// A header, verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) seq: u64,
    pub(super) body_len: u32,
    key_id: u32,
    cause_len: u32,
    accepted_ms: u64,
    salt: [u8; 16],
    relay_id: [u8; 16],
    body_crc: u32,
}

/// The whole file; `salt` is new for each.
pub(super) fn encode(letter: &DeadLetter, keyring: &Keyring, relay_id: [u8; 16], salt: [u8; 16]) -> Vec<u8> {
    let cause = serde_json::to_vec(&letter.cause).unwrap_or_default();
    let key_id = keyring.writing_key_id();
    let mut header = Header {
        seq: letter.seq,
        body_len: 0,
        key_id,
        // A cause is bounded by what librdkafka says, a record by a segment: both far below 4 GiB.
        cause_len: u32::try_from(cause.len()).unwrap_or(u32::MAX),
        accepted_ms: letter.accepted_ms,
        salt,
        relay_id,
        body_crc: 0,
    };
    let mut body = cause;
    body.extend_from_slice(&letter.record);
    let (body, body_crc) = header.binding().seal(keyring, body);
    (header.body_len, header.body_crc) = (u32::try_from(body.len()).unwrap_or(u32::MAX), body_crc);
    let mut file = header.encode();
    file.extend_from_slice(&body);
    file
}

/// The letter in a whole file.
pub(super) fn decode(file: &[u8], keyring: &Keyring) -> Result<DeadLetter, Problem> {
    let header = Header::decode(file)?;
    let end = BODY_AT + header.body_len as usize;
    let stored = file.get(BODY_AT..end).ok_or(Problem::Damaged("it ends too early"))?;
    let body = header.binding().open(keyring, stored, header.body_crc)?;
    let cause_len = header.cause_len as usize;
    let cause = body.get(..cause_len).ok_or(Problem::Damaged("its parts do not fit"))?;
    let cause: Cause = serde_json::from_slice(cause).map_err(|_| Problem::Damaged("its cause is no JSON"))?;
    Ok(DeadLetter { seq: header.seq, accepted_ms: header.accepted_ms, cause, record: body.slice(cause_len..) })
}

/// A retry mark: events appended from `from_seq` on may be this one again.
pub(super) fn encode_mark(header: &Header, from_seq: u64) -> [u8; MARK_LEN] {
    sealed::encode_mark(&header.salt, from_seq)
}

/// From which seq on a retry may have been appended; `None` when none was begun.
pub(super) fn decode_mark(file: &[u8], header: &Header) -> Option<u64> {
    sealed::decode_mark(file, MARK_AT, &header.salt)
}

/// A copied mark: the dead-letter topic has the event.
pub(super) fn encode_copied(header: &Header, how: Copied) -> [u8; MARK_LEN] {
    let mut mark = [0; MARK_LEN];
    mark[..4].copy_from_slice(&how.number().to_le_bytes());
    let crc = copied_crc(header, &mark);
    mark[12..].copy_from_slice(&crc.to_le_bytes());
    mark
}

/// How the dead-letter topic has the event; `None` when nothing that verifies says so.
pub(super) fn decode_copied(file: &[u8], header: &Header) -> Option<Copied> {
    let at = usize::try_from(COPIED_AT).ok()?;
    let mark: &[u8; MARK_LEN] = file.get(at..)?.first_chunk()?;
    let how = Copied::of_number(u32_at(mark, 0))?;
    (u32_at(mark, 12) == copied_crc(header, mark)).then_some(how)
}

fn copied_crc(header: &Header, mark: &[u8; MARK_LEN]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header.salt), &mark[..12])
}

impl Header {
    pub(super) fn decode(file: &[u8]) -> Result<Self, Problem> {
        let bytes: &[u8; BODY_AT] = file.first_chunk().ok_or(Problem::Damaged("it is too short"))?;
        if &bytes[..8] != MAGIC || u32_at(bytes, CRC_AT) != crc32c::crc32c(&bytes[..CRC_AT]) {
            return Err(Problem::Damaged("its header does not verify"));
        }
        if u32_at(bytes, 8) != VERSION || u32_at(bytes, 12) & !ENCRYPTED != 0 {
            return Err(Problem::Damaged("it is from a later version"));
        }
        let mut header = Self {
            seq: u64_at(bytes, 24),
            body_len: u32_at(bytes, 72),
            key_id: u32_at(bytes, 16),
            cause_len: u32_at(bytes, 20),
            accepted_ms: u64_at(bytes, 32),
            salt: [0; 16],
            relay_id: [0; 16],
            body_crc: u32_at(bytes, 76),
        };
        header.salt.copy_from_slice(&bytes[40..56]);
        header.relay_id.copy_from_slice(&bytes[56..72]);
        if header.seq == 0 || header.seq > SEQ_MAX { Err(Problem::Damaged("its seq cannot be")) } else { Ok(header) }
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0_u8; BODY_AT];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&u32::from(self.key_id != 0).to_le_bytes());
        bytes[16..20].copy_from_slice(&self.key_id.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.cause_len.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.seq.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.accepted_ms.to_le_bytes());
        bytes[40..56].copy_from_slice(&self.salt);
        bytes[56..72].copy_from_slice(&self.relay_id);
        bytes[72..76].copy_from_slice(&self.body_len.to_le_bytes());
        bytes[76..80].copy_from_slice(&self.body_crc.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..CRC_AT]);
        bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The parts that encryption binds: the seq and when it was accepted.
    fn binding(&self) -> Binding {
        Binding {
            key_id: self.key_id,
            salt: self.salt,
            relay_id: self.relay_id,
            first_seq: self.seq,
            accepted_ms: self.accepted_ms,
            count: 1,
            besides: 0,
        }
    }
}
