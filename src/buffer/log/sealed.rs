//! What files that are written whole (dead letters, parked events) have in common in their bytes: a body under a checksum and, with a key, encrypted as
//! the one frame of a segment of its own; and marks that are written in place later. Pure.

use super::cipher::Keyring;
use super::frame::{FrameHeader, Kind, u32_at, u64_at};
use super::segment::SegmentHeader;
use bytes::Bytes;

/// Bytes of a mark. It lies within one sector, so that it is there or it is not.
pub(crate) const MARK_LEN: usize = 16;

/// Why a file is none that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    Damaged(&'static str),
    Locked(u32),
}

/// What a body is bound to by its encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) key_id: u32,
    /// New for each file, so that nothing else has its key.
    pub(crate) salt: [u8; 16],
    pub(crate) relay_id: [u8; 16],
    pub(crate) first_seq: u64,
    pub(crate) accepted_ms: u64,
    pub(crate) count: u32,
    /// Whatever else must not be exchanged; a frame has its durable seq there.
    pub(crate) besides: u64,
}

impl Binding {
    /// A body as it is stored, and its checksum.
    pub(crate) fn seal(&self, keyring: &Keyring, body: Vec<u8>) -> (Vec<u8>, u32) {
        let stored = match keyring.cipher(&self.as_segment()) {
            Some(cipher) => cipher.seal(&mut self.as_frame(0), body),
            None => body,
        };
        let crc = crc32c::crc32c(&stored);
        (stored, crc)
    }

    /// The body that is stored with this checksum.
    pub(crate) fn open(&self, keyring: &Keyring, stored: &[u8], crc: u32) -> Result<Bytes, Problem> {
        if crc32c::crc32c(stored) != crc {
            return Err(Problem::Damaged("its checksum fails"));
        }
        if self.key_id == 0 {
            return Ok(Bytes::copy_from_slice(stored));
        }
        let cipher = keyring.cipher(&self.as_segment()).ok_or(Problem::Locked(self.key_id))?;
        // What was read is as long as a u32 said.
        let frame = self.as_frame(u32::try_from(stored.len()).unwrap_or(u32::MAX));
        cipher.open(&frame, stored).ok_or(Problem::Damaged("it was changed after it was encrypted"))
    }

    fn as_segment(&self) -> SegmentHeader {
        SegmentHeader {
            segment_id: self.first_seq,
            base_seq: self.first_seq,
            salt: self.salt,
            relay_id: self.relay_id,
            created_ms: self.accepted_ms,
            capacity: 0,
            key_id: self.key_id,
        }
    }

    fn as_frame(&self, len: u32) -> FrameHeader {
        FrameHeader {
            first_seq: self.first_seq,
            durable_seq: self.besides,
            accepted_ms: self.accepted_ms,
            count: self.count,
            len,
            payload_crc: 0,
            frame_no: 0,
            kind: Kind::Data,
            encrypted: true,
        }
    }
}

/// A mark that says a seq, in the file with this salt.
pub(crate) fn encode_mark(salt: &[u8; 16], seq: u64) -> [u8; MARK_LEN] {
    let mut mark = [0; MARK_LEN];
    mark[..8].copy_from_slice(&seq.to_le_bytes());
    mark[12..].copy_from_slice(&mark_crc(salt, seq).to_le_bytes());
    mark
}

/// The seq that the mark at `at` says; `None` when there is none that verifies, or it says 0.
pub(crate) fn decode_mark(file: &[u8], at: u64, salt: &[u8; 16]) -> Option<u64> {
    let mark: &[u8; MARK_LEN] = file.get(usize::try_from(at).ok()?..)?.first_chunk()?;
    let seq = u64_at(mark, 0);
    (seq > 0 && u32_at(mark, 12) == mark_crc(salt, seq)).then_some(seq)
}

fn mark_crc(salt: &[u8; 16], seq: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(salt), &seq.to_le_bytes())
}
