//! One frame: a header and the payload of one request, stored whole or not at all. Pure.
//!
//! ```text
//!  0 u32 magic "DSF1"        4 u32 header_crc = crc32c(seed(salt, segment_id), offset, bytes 8..56)
//!  8 u64 first_seq          16 u64 durable_seq: highest seq known synced when this frame was written
//! 24 u64 accepted_ms        32 u32 count      36 u32 len (payload, unpadded)
//! 40 u32 payload_crc        44 u32 frame_no   48 u8 kind · u8 codec (1: encrypted) · u16 flags · u32 zero
//! 56 payload, zero-padded to a multiple of 8
//! ```
//! Two checksums: a good header makes `len` trustworthy, so a bad payload costs one frame. The seed binds a header to its place:
//! stale bytes of a reused segment and misdirected writes do not verify.

/// Bytes of a frame header.
pub(crate) const HEADER_LEN: usize = 56;
/// The first bytes of a frame.
pub(crate) const MAGIC: u32 = u32::from_le_bytes(*b"DSF1");
/// No seq, id or count is ever higher: 73 years of a billion events a second. What says otherwise is damaged, whatever its checksum
/// says, and sums of what is read cannot overflow.
pub(crate) const SEQ_MAX: u64 = 1 << 61;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Events.
    Data,
    /// No events: says that everything before it was durable when it was written, so that damage there is not taken for a torn tail.
    Mark,
}

/// A frame header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// Seq of the first event (of the next one, for a mark).
    pub(crate) first_seq: u64,
    /// Highest seq known durable when this was written.
    pub(crate) durable_seq: u64,
    /// When the events were accepted, Unix milliseconds.
    pub(crate) accepted_ms: u64,
    /// Number of events.
    pub(crate) count: u32,
    /// Payload bytes, without padding.
    pub(crate) len: u32,
    /// CRC-32C of the payload.
    pub(crate) payload_crc: u32,
    /// Counts the frames of a segment, failed ones included: never the same twice.
    pub(crate) frame_no: u32,
    /// What it is.
    pub(crate) kind: Kind,
    /// Whether the payload is stored encrypted.
    pub(crate) encrypted: bool,
}

/// Bytes that a payload takes on disk with its header and padding.
pub(crate) fn stored_len(payload_len: u64) -> u64 {
    HEADER_LEN as u64 + payload_len.next_multiple_of(8)
}

impl FrameHeader {
    /// The seq after the last event of the frame.
    pub(crate) fn next_seq(&self) -> u64 {
        self.first_seq + u64::from(self.count)
    }

    /// Bytes on disk, header and padding included.
    pub(crate) fn stored_len(&self) -> u64 {
        stored_len(u64::from(self.len))
    }

    /// Encodes for a place: `seed` is the segment's, `offset` the frame's byte offset in the file.
    pub(crate) fn encode(&self, seed: u32, offset: u64) -> [u8; HEADER_LEN] {
        let mut bytes = [0_u8; HEADER_LEN];
        bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.first_seq.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.durable_seq.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.accepted_ms.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.count.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.len.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.payload_crc.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.frame_no.to_le_bytes());
        bytes[48] = match self.kind {
            Kind::Data => 1,
            Kind::Mark => 3,
        };
        bytes[49] = u8::from(self.encrypted);
        let crc = header_crc(&bytes, seed, offset);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Decodes the header at the start of `bytes`; `None` unless it verifies for this place.
    pub(crate) fn decode(bytes: &[u8], seed: u32, offset: u64) -> Option<Self> {
        let bytes: &[u8; HEADER_LEN] = bytes.first_chunk()?;
        if u32_at(bytes, 0) != MAGIC || u32_at(bytes, 4) != header_crc(bytes, seed, offset) {
            return None;
        }
        // A later minor format may use more codecs, and flags.
        if bytes[49] > 1 || bytes[50..56] != [0; 6] {
            return None;
        }
        let kind = match bytes[48] {
            1 => Kind::Data,
            3 => Kind::Mark,
            _ => return None,
        };
        let header = Self {
            first_seq: u64_at(bytes, 8),
            durable_seq: u64_at(bytes, 16),
            accepted_ms: u64_at(bytes, 24),
            count: u32_at(bytes, 32),
            len: u32_at(bytes, 36),
            payload_crc: u32_at(bytes, 40),
            frame_no: u32_at(bytes, 44),
            kind,
            encrypted: bytes[49] == 1,
        };
        (header.first_seq <= SEQ_MAX).then_some(header)
    }
}

fn header_crc(bytes: &[u8; HEADER_LEN], seed: u32, offset: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(seed, &offset.to_le_bytes()), &bytes[8..])
}

/// The seed with which the header at the start of `bytes` verifies at `offset`; `None` where there is none. Only what other frames say
/// with that seed shows whether it is the segment's.
///
/// A checksum is a linear function of its seed, one to one: each bit of the seed flips bits of its own, whatever the others are.
pub(crate) fn seed_of(bytes: &[u8], offset: u64) -> Option<u32> {
    let bytes: &[u8; HEADER_LEN] = bytes.first_chunk()?;
    if u32_at(bytes, 0) != MAGIC {
        return None;
    }
    let unseeded = header_crc(bytes, 0, offset);
    // By its highest bit: what flips in the checksum with which bits of the seed.
    let mut flips = [(0_u32, 0_u32); 32];
    for bit in 0..32 {
        let mut seed = 1_u32 << bit;
        let mut flip = header_crc(bytes, seed, offset) ^ unseeded;
        while flip != 0 {
            let known = &mut flips[flip.ilog2() as usize];
            if known.0 == 0 {
                *known = (flip, seed);
                break;
            }
            flip ^= known.0;
            seed ^= known.1;
        }
    }
    let (mut seed, mut left) = (0, u32_at(bytes, 4) ^ unseeded);
    while left != 0 {
        let (flip, bits) = flips[left.ilog2() as usize];
        if flip == 0 {
            return None;
        }
        left ^= flip;
        seed ^= bits;
    }
    Some(seed)
}

/// A little-endian `u32`; the caller knows that it is there.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

/// A little-endian `u64`; the caller knows that it is there.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> FrameHeader {
        FrameHeader {
            first_seq: 17,
            durable_seq: 16,
            accepted_ms: 1_700_000_000_000,
            count: 3,
            len: 900,
            payload_crc: 0xDEAD_BEEF,
            frame_no: 5,
            kind: Kind::Data,
            encrypted: false,
        }
    }

    // Goal: a header is read back as it was written.
    #[test]
    fn round_trip() {
        let bytes = header().encode(7, 8192);
        assert_eq!(FrameHeader::decode(&bytes, 7, 8192), Some(header()));
    }

    // Goal: a header found elsewhere (stale bytes of a reused segment, a misdirected write) is never taken for data.
    #[test]
    fn is_bound_to_its_place() {
        let bytes = header().encode(7, 8192);
        assert_eq!(FrameHeader::decode(&bytes, 8, 8192), None);
        assert_eq!(FrameHeader::decode(&bytes, 7, 8200), None);
    }

    // Goal: when the segment's own header is gone, a frame still tells the seed of its checksums.
    #[test]
    fn a_header_tells_its_seed() {
        for seed in [0, 1, 7, 0x8000_0000, 0xDEAD_BEEF, u32::MAX] {
            assert_eq!(seed_of(&header().encode(seed, 8192), 8192), Some(seed));
        }
        assert_eq!(seed_of(&[0; HEADER_LEN], 8192), None);
    }

    // Goal: no single flipped bit of a header goes unnoticed.
    #[test]
    fn every_flipped_bit_is_seen() {
        let good = header().encode(7, 8192);
        for bit in 0..good.len() * 8 {
            let mut bytes = good;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FrameHeader::decode(&bytes, 7, 8192), None, "bit {bit}");
        }
    }

    // Goal: blank space is not a frame.
    #[test]
    fn zeros_are_no_frame() {
        assert_eq!(FrameHeader::decode(&[0; HEADER_LEN], 0, 0), None);
    }
}
