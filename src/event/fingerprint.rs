//! What is remembered of an event to know it again: a hash of its id, and one of what its client posted.
//!
//! 128 bits of the id, so that two ids never count as one by chance. The body's hash covers the id as well: should two ids ever meet, their
//! bodies differ, and the second event is refused in plain words instead of being taken for the first. Both hashes are XXH3: the same in
//! every version and on every machine, since they are kept on disk.

use xxhash_rust::xxh3::{Xxh3Default, xxh3_64, xxh3_128};

/// Two events with the same one are the same event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Of the id; never 0.
    pub id: u128,
    /// Of what was posted, without what the relay added.
    pub body: u64,
}

impl Fingerprint {
    /// Of an event whose client posted what hashes to `body`.
    pub fn new(id: &str, body: u64) -> Self {
        Self { id: id_hash(id), body }
    }
}

/// The hash of an id; never 0, which stands for "not known".
pub fn id_hash(id: &str) -> u128 {
    xxh3_128(id.as_bytes()).max(1)
}

/// The hash of what a client posted.
pub fn body_hash(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// The same of bytes in several pieces.
pub fn body_hash_of(pieces: &[&[u8]]) -> u64 {
    let mut hasher = Xxh3Default::new();
    for piece in pieces {
        hasher.update(piece);
    }
    hasher.digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: what a relay wrote down before an upgrade is known after it; and pieces are the whole.
    #[test]
    fn hashes_are_fixed() {
        assert_eq!(id_hash(""), 0x99aa_06d3_0147_98d8_6001_c324_468d_497f);
        assert_eq!(body_hash(b""), 0x2d06_8005_38d3_94c2);
        let text = "x".repeat(1000);
        let (head, tail) = text.as_bytes().split_at(300);
        assert_eq!(body_hash_of(&[head, tail]), body_hash(text.as_bytes()));
    }
}
