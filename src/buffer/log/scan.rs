//! Reading frames from a segment: in order, verified, and finding the next good one after damage.

use super::frame::{FrameHeader, HEADER_LEN, MAGIC};
use super::storage::{StorageFile, read_full};
use bytes::Bytes;
use std::io;

const CHUNK: usize = 1 << 18;
const PAGE: usize = 4096;

/// What is at an offset.
#[derive(Debug)]
pub(crate) enum Found {
    /// A frame; its payload verifies.
    Frame(FrameHeader, Bytes),
    /// A frame whose header verifies and whose payload does not.
    BadPayload(FrameHeader),
    /// No header verifies here. `blank` when all its bytes are zero: the end mark.
    NoFrame {
        /// Whether the bytes are zeros.
        blank: bool,
    },
}

/// A window of a segment file, read ahead.
#[derive(Debug)]
pub(crate) struct Scanner {
    chunk: Bytes,
    chunk_at: u64,
    /// A stretch of which the disk gives nothing at all is an error, and not taken for damaged.
    insists: bool,
}

impl Default for Scanner {
    fn default() -> Self {
        Self { chunk: Bytes::new(), chunk_at: 0, insists: true }
    }
}

impl Scanner {
    /// Forgets what was read (the file changed, or is another one).
    pub(crate) fn reset(&mut self) {
        self.chunk = Bytes::new();
    }

    /// Whether a stretch of which the disk gives nothing at all is an error; otherwise it counts as damaged.
    pub(crate) fn insist(&mut self, insists: bool) {
        self.insists = insists;
    }

    /// The frame at `offset` of a segment whose data ends at `limit`.
    pub(crate) fn frame_at(&mut self, file: &dyn StorageFile, seed: u32, offset: u64, limit: u64) -> io::Result<Found> {
        let bytes = self.bytes(file, offset, HEADER_LEN, limit)?;
        let Some(header) = FrameHeader::decode(&bytes, seed, offset) else {
            return Ok(Found::NoFrame { blank: bytes.iter().all(|byte| *byte == 0) });
        };
        if header.stored_len() > limit.saturating_sub(offset) {
            return Ok(Found::BadPayload(header));
        }
        let payload = self.bytes(file, offset + HEADER_LEN as u64, header.len as usize, limit)?;
        if payload.len() != header.len as usize || crc32c::crc32c(&payload) != header.payload_crc {
            return Ok(Found::BadPayload(header));
        }
        Ok(Found::Frame(header, payload))
    }

    /// Offset and header of the first verifying header after `offset`, on 8-byte steps, with a seq of at least `min_seq`.
    pub(crate) fn resync(
        &mut self,
        file: &dyn StorageFile,
        seed: u32,
        offset: u64,
        limit: u64,
        min_seq: u64,
    ) -> io::Result<Option<(u64, FrameHeader)>> {
        let mut at = offset + 8;
        while at + HEADER_LEN as u64 <= limit {
            let bytes = self.bytes(file, at, HEADER_LEN, limit)?;
            if bytes.len() < HEADER_LEN {
                break;
            }
            if let Some(header) = FrameHeader::decode(&bytes, seed, at).filter(|header| header.first_seq >= min_seq) {
                return Ok(Some((at, header)));
            }
            // On to the next place that looks like one. Most of an unfinished segment is blank: looking at every place takes long.
            at += 8;
            let rest = usize::try_from(at - self.chunk_at).ok().and_then(|start| self.chunk.get(start..)).unwrap_or_default();
            let looks = memchr::memmem::find(rest, &MAGIC.to_le_bytes()).unwrap_or(rest.len()) as u64;
            at += looks / 8 * 8;
        }
        Ok(None)
    }

    /// `len` bytes at `offset`, fewer at the end of the data.
    fn bytes(&mut self, file: &dyn StorageFile, offset: u64, len: usize, limit: u64) -> io::Result<Bytes> {
        let len = len.min(usize::try_from(limit.saturating_sub(offset)).unwrap_or(usize::MAX));
        let start = offset.checked_sub(self.chunk_at).and_then(|start| usize::try_from(start).ok());
        if let Some(start) = start.filter(|start| start + len <= self.chunk.len()) {
            return Ok(self.chunk.slice(start..start + len));
        }
        let want = len.max(CHUNK).min(usize::try_from(limit.saturating_sub(offset)).unwrap_or(usize::MAX));
        self.chunk = read_tolerantly(file, offset, want, self.insists)?.into();
        self.chunk_at = offset;
        Ok(self.chunk.slice(..len.min(self.chunk.len())))
    }
}

/// Reads; where the disk fails twice, page by page, with zeros for the pages that cannot be read: they fail their checksums and are
/// handled as damage, instead of stopping everything behind them.
fn read_tolerantly(file: &dyn StorageFile, offset: u64, len: usize, insists: bool) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0_u8; len];
    for _ in 0..2 {
        if let Ok(n) = read_full(file, &mut bytes, offset) {
            bytes.truncate(n);
            return Ok(bytes);
        }
    }
    let mut unreadable = 0_usize;
    for (i, page) in bytes.chunks_mut(PAGE).enumerate() {
        if let Err(error) = read_full(file, page, offset + (i * PAGE) as u64) {
            page.fill(0);
            unreadable += 1;
            if insists && unreadable * PAGE >= len {
                return Err(error);
            }
        }
    }
    tracing::error!(offset, unreadable, "the disk cannot read some pages of the buffer");
    Ok(bytes)
}
