//! One block of the journal of ids: the entries of 168 consecutive seqs. Pure.
//!
//! ```text
//!  0 "DSJ1"  4 u32 key id (0: plain)  8 u64 XXH3(seed; bytes 16..4096)  16 u64 generation  24 u64 number  32 u32 entries  36 nonce[12]
//! 48 168 × (id hash u128, body hash u64)  4080 tag[16]
//! ```
//! Block `n` is about the seqs from `168 n + 1` on; an entry of zeros says that nothing is known. The seed is the relay-id's: a block that
//! came from another directory does not verify. With encryption at rest the entries are AES-256-GCM ciphertext under a random nonce, and
//! everything before them is bound to it: hashes of ids that somebody may guess would tell that they are there.

use super::window::Entry;
use crate::buffer::log::cipher::{JournalCipher, Keyring};
use crate::buffer::log::frame::{SEQ_MAX, u32_at, u64_at};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

pub(super) const BLOCK_LEN: usize = 4096;
/// Entries of a block.
pub(super) const ENTRIES: usize = 168;
const HEADER_LEN: usize = 48;
const ENTRY_LEN: usize = 24;
const TAG_AT: usize = HEADER_LEN + ENTRIES * ENTRY_LEN;
const MAGIC: &[u8; 4] = b"DSJ1";

const _: () = assert!(TAG_AT + 16 == BLOCK_LEN);

/// A block as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Rises with every block that is written.
    pub(super) generation: u64,
    pub(super) number: u64,
    /// From the first seq on; as many as there are.
    pub(super) entries: Vec<Entry>,
}

/// The block that a seq belongs to.
pub(super) fn number_of(seq: u64) -> u64 {
    seq.saturating_sub(1) / ENTRIES as u64
}

/// The first seq of a block.
pub(super) fn first_seq(number: u64) -> u64 {
    number * ENTRIES as u64 + 1
}

/// The seed of a directory's checksums.
pub(super) fn seed(relay_id: &[u8; 16]) -> u64 {
    xxh3_64(relay_id)
}

impl Block {
    /// Its bytes; `nonce` is random.
    pub(super) fn encode(&self, seed: u64, cipher: Option<&JournalCipher>, nonce: [u8; 12]) -> Vec<u8> {
        let mut bytes = vec![0_u8; BLOCK_LEN];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[4..8].copy_from_slice(&cipher.map_or(0, |cipher| cipher.key_id).to_le_bytes());
        bytes[16..24].copy_from_slice(&self.generation.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.number.to_le_bytes());
        bytes[32..36].copy_from_slice(&u32::try_from(self.entries.len()).unwrap_or(u32::MAX).to_le_bytes());
        for (place, entry) in bytes[HEADER_LEN..TAG_AT].chunks_exact_mut(ENTRY_LEN).zip(&self.entries) {
            place[..16].copy_from_slice(&entry.id().to_le_bytes());
            place[16..].copy_from_slice(&entry.body.to_le_bytes());
        }
        if let Some(cipher) = cipher {
            bytes[36..48].copy_from_slice(&nonce);
            let (header, rest) = bytes.split_at_mut(HEADER_LEN);
            cipher.seal(nonce, &header[16..36], rest);
        }
        let checksum = xxh3_64_with_seed(&bytes[16..], seed);
        bytes[8..16].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// What the bytes say; `None` when they are no block of this directory, or one whose key is not there.
    pub(super) fn decode(bytes: &[u8], seed: u64, keyring: &Keyring, relay_id: &[u8; 16]) -> Option<Self> {
        let bytes: &[u8; BLOCK_LEN] = bytes.first_chunk()?;
        if &bytes[..4] != MAGIC || u64_at(bytes, 8) != xxh3_64_with_seed(&bytes[16..], seed) {
            return None;
        }
        let (key_id, generation, number) = (u32_at(bytes, 4), u64_at(bytes, 16), u64_at(bytes, 24));
        let count = usize::try_from(u32_at(bytes, 32)).ok().filter(|count| *count <= ENTRIES)?;
        if generation > SEQ_MAX || number > SEQ_MAX / ENTRIES as u64 {
            return None;
        }
        let mut rest = bytes[HEADER_LEN..].to_vec();
        if key_id != 0 {
            let nonce = bytes[36..48].first_chunk::<12>()?;
            keyring.journal_cipher(key_id, relay_id)?.open(*nonce, &bytes[16..36], &mut rest)?;
        }
        let entry = |place: &[u8]| {
            let id = place.first_chunk().map(|id| u128::from_le_bytes(*id)).unwrap_or_default();
            Entry::new(id, u64_at(place, 16))
        };
        let entries = rest[..count * ENTRY_LEN].chunks_exact(ENTRY_LEN).map(entry).collect();
        Some(Self { generation, number, entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELAY: [u8; 16] = [7; 16];
    const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn block() -> Block {
        Block { generation: 9, number: 3, entries: (1..=5).map(|n| Entry::new(n << 64 | 0xfeed_f00d, 77)).collect() }
    }

    // Goal: no single flipped bit of a block is believed, plain or encrypted, nor a block of another directory.
    #[test]
    fn every_flipped_bit_is_seen() {
        for keyring in [Keyring::default(), Keyring::parse(KEY).unwrap()] {
            let cipher = keyring.journal_cipher(keyring.writing_key_id(), &RELAY);
            assert_eq!(cipher.is_some(), keyring.writing_key_id() != 0);
            let good = block().encode(seed(&RELAY), cipher.as_ref(), [5; 12]);
            assert_eq!(Block::decode(&good, seed(&RELAY), &keyring, &RELAY), Some(block()));
            assert_eq!(Block::decode(&good, seed(&[8; 16]), &keyring, &[8; 16]), None);
            for bit in (0..BLOCK_LEN * 8).filter(|bit| bit % 61 == 0 || *bit < HEADER_LEN * 8) {
                let mut bytes = good.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Block::decode(&bytes, seed(&RELAY), &keyring, &RELAY), None, "bit {bit}");
            }
        }
    }

    // Goal: with encryption at rest nobody finds out from the disk which ids there were, and without the key nothing is believed.
    #[test]
    fn hashes_do_not_show() {
        let keyring = Keyring::parse(KEY).unwrap();
        let cipher = keyring.journal_cipher(keyring.writing_key_id(), &RELAY);
        let stored = block().encode(seed(&RELAY), cipher.as_ref(), [5; 12]);
        let hash = 0xfeed_f00d_u64.to_le_bytes();
        assert!(!stored.windows(8).any(|window| window == hash));
        assert!(block().encode(seed(&RELAY), None, [0; 12]).windows(8).any(|window| window == hash));
        assert_eq!(Block::decode(&stored, seed(&RELAY), &Keyring::default(), &RELAY), None);
    }
}
