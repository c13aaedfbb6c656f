//! Encryption at rest: AES-256-GCM, one key per segment, derived from a key of the key file.
//!
//! ```text
//! segment key = HKDF-SHA-256(key; salt of the segment; "dualstream segment" relay-id segment-id)     RFC 5869
//! nonce       = frame number, 12 bytes little-endian        never repeats: a recovered segment is not appended to
//! also bound  = the frame header from its seq to its length: a payload counts only in its place
//! journal key = HKDF-SHA-256(key; no salt; "dualstream ids" relay-id)     its nonces are random
//! key id      = 4 bytes derived from the key, in the segment header: says which key, tells nothing about it
//! ```
//! Checksums cover what is on disk, so that recovery, `verify` and quarantine need no key. Only payloads and the hashes of ids are
//! encrypted: how many events there are, when they came, and the cursor's topic names and offsets stay readable. Deliberately absent:
//! rewriting old segments under a new key. They drain away; their key stays in the file until then.

use super::frame::{FrameHeader, HEADER_LEN};
use super::segment::SegmentHeader;
use aes_gcm::aead::array::Array;
use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};
use bytes::Bytes;
use hkdf::Hkdf;
use sha2::Sha256;
use std::fmt;

/// What encryption adds to a payload.
const TAG_BYTES: u64 = 16;
/// Most keys in a file: one that writes and a few whose segments still drain.
const KEYS_MAX: usize = 16;

/// The keys that a buffer knows; the first one encrypts. Empty: no encryption.
#[derive(Clone, Default)]
pub struct Keyring {
    keys: Vec<Key>,
}

#[derive(Clone, PartialEq, Eq)]
struct Key {
    id: u32,
    secret: [u8; 32],
}

/// What is wrong with a key file. Never repeats what stands in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// A line that is no key.
    #[error("line {line} is not a key: a key is 64 hexadecimal digits (32 random bytes; `openssl rand -hex 32` makes one)")]
    NoKey {
        /// Counted from 1.
        line: usize,
    },
    /// Nothing but blanks and comments.
    #[error("there is no key in it: write one of 64 hexadecimal digits (`openssl rand -hex 32` makes one)")]
    Empty,
    /// More than anybody rotates.
    #[error("there are more than {KEYS_MAX} keys in it: remove those whose events have drained")]
    TooMany,
    /// The same key twice.
    #[error("line {line} repeats a key")]
    Twice {
        /// Counted from 1.
        line: usize,
    },
}

impl Keyring {
    /// Reads a key file: a key of 64 hexadecimal digits a line, the one that encrypts first; blank lines and `#` comments are skipped.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn parse(text: &str) -> Result<Self, KeyFileError> {
        let mut keys: Vec<Key> = Vec::new();
        for (line, text) in (1..).zip(text.lines().map(str::trim)) {
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let key = Key::new(secret_of(text).ok_or(KeyFileError::NoKey { line })?);
            if keys.iter().any(|other| other.id == key.id) {
                return Err(KeyFileError::Twice { line });
            }
            keys.push(key);
        }
        match keys.len() {
            0 => Err(KeyFileError::Empty),
            1..=KEYS_MAX => Ok(Self { keys }),
            _ => Err(KeyFileError::TooMany),
        }
    }

    /// The id that new segments carry; 0: they are not encrypted.
    pub(crate) fn writing_key_id(&self) -> u32 {
        self.keys.first().map_or(0, |key| key.id)
    }

    /// Bytes that a payload grows by when it is stored.
    pub(crate) fn overhead_bytes(&self) -> u64 {
        if self.keys.is_empty() { 0 } else { TAG_BYTES }
    }

    /// Whether segments with this key id can be read.
    pub(crate) fn knows(&self, key_id: u32) -> bool {
        key_id == 0 || self.keys.iter().any(|key| key.id == key_id)
    }

    /// The cipher of a segment; `None` when it is not encrypted or its key is not here.
    pub(crate) fn cipher(&self, segment: &SegmentHeader) -> Option<Cipher> {
        let key = self.keys.iter().find(|key| key.id == segment.key_id)?;
        let mut info = *b"dualstream segment........................";
        info[18..34].copy_from_slice(&segment.relay_id);
        info[34..42].copy_from_slice(&segment.segment_id.to_le_bytes());
        let secret = derive(&key.secret, &segment.salt, &info);
        Some(Cipher(Box::new(Aes256Gcm::new(&Array::from(secret)))))
    }

    /// The cipher of the journal of ids under a key; `None` when the key is not here, or 0.
    pub(crate) fn journal_cipher(&self, key_id: u32, relay_id: &[u8; 16]) -> Option<JournalCipher> {
        let key = self.keys.iter().find(|key| key.id == key_id)?;
        let mut info = *b"dualstream ids................";
        info[14..30].copy_from_slice(relay_id);
        let secret = derive(&key.secret, &[], &info);
        Some(JournalCipher { key_id, cipher: Box::new(Aes256Gcm::new(&Array::from(secret))) })
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| format!("{:08x}", key.id))).finish()
    }
}

impl Key {
    fn new(secret: [u8; 32]) -> Self {
        let id = derive(&secret, &[], b"dualstream key id");
        // 0 stands for "not encrypted".
        Self { id: u32::from_le_bytes([id[0], id[1], id[2], id[3]]).max(1), secret }
    }
}

fn derive(secret: &[u8; 32], salt: &[u8], info: &[u8]) -> [u8; 32] {
    let mut derived = [0; 32];
    let expanded = Hkdf::<Sha256>::new(Some(salt), secret).expand(info, &mut derived);
    // 32 bytes are one block of SHA-256; HKDF gives up to 255.
    debug_assert!(expanded.is_ok(), "a length that HKDF cannot give");
    derived
}

fn secret_of(hex: &str) -> Option<[u8; 32]> {
    let mut secret = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    for (byte, pair) in secret.iter_mut().zip(hex.as_bytes().chunks(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = u8::try_from(digit(0)? << 4 | digit(1)?).ok()?;
    }
    Some(secret)
}

/// Encrypts and decrypts the payloads of one segment.
pub(crate) struct Cipher(Box<Aes256Gcm>);

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher")
    }
}

impl Cipher {
    /// The payload as it is stored. `header` has its place in the segment already; its length, checksum and codec follow the result.
    pub(crate) fn seal(&self, header: &mut FrameHeader, mut payload: Vec<u8>) -> Vec<u8> {
        let stored = payload.len() as u64 + TAG_BYTES;
        header.encrypted = true;
        // A payload never exceeds a segment, whose size is far below 4 GiB.
        header.len = u32::try_from(stored).unwrap_or(u32::MAX);
        let sealed = self.0.encrypt_in_place(&nonce(header), &bound(header), &mut payload);
        // The limit is 64 GiB of payload.
        debug_assert!(sealed.is_ok(), "a payload that is too large to encrypt");
        header.payload_crc = crc32c::crc32c(&payload);
        payload
    }

    /// The payload as it was; `None` when it was not stored here, with this key, as the header says.
    pub(crate) fn open(&self, header: &FrameHeader, stored: &[u8]) -> Option<Bytes> {
        let mut payload = stored.to_vec();
        self.0.decrypt_in_place(&nonce(header), &bound(header), &mut payload).ok()?;
        Some(payload.into())
    }
}

/// Encrypts and decrypts blocks of the journal of ids.
pub(crate) struct JournalCipher {
    pub(crate) key_id: u32,
    cipher: Box<Aes256Gcm>,
}

impl fmt::Debug for JournalCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JournalCipher")
    }
}

impl JournalCipher {
    /// Encrypts `bytes` in their place but for the last 16, which become the tag.
    pub(crate) fn seal(&self, nonce: [u8; 12], bound: &[u8], bytes: &mut [u8]) {
        let Some((bytes, tag)) = bytes.split_last_chunk_mut::<16>() else { return };
        let sealed = self.cipher.encrypt_inout_detached(&nonce.into(), bound, (&mut *bytes).into());
        debug_assert!(sealed.is_ok(), "a block that is too large to encrypt");
        match sealed {
            Ok(made) => *tag = made.into(),
            // Nothing rather than plain text.
            Err(_) => bytes.fill(0),
        }
    }

    /// The reverse; `None` when they were not encrypted so.
    pub(crate) fn open(&self, nonce: [u8; 12], bound: &[u8], bytes: &mut [u8]) -> Option<()> {
        let (bytes, tag) = bytes.split_last_chunk_mut::<16>()?;
        self.cipher.decrypt_inout_detached(&nonce.into(), bound, bytes.into(), &(*tag).into()).ok()
    }
}

fn nonce(header: &FrameHeader) -> aes_gcm::Nonce<aes_gcm::aead::consts::U12> {
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&header.frame_no.to_le_bytes());
    nonce.into()
}

/// The part of the header that is fixed before its checksums are.
fn bound(header: &FrameHeader) -> [u8; 32] {
    let bytes = header.encode(0, 0);
    debug_assert!(bytes.len() == HEADER_LEN, "the layout of the frame header changed");
    bytes[8..40].first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::frame::Kind;
    use super::*;

    const OLD: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const NEW: &str = "FF0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn segment(keys: &Keyring) -> SegmentHeader {
        let key_id = keys.writing_key_id();
        SegmentHeader { segment_id: 3, base_seq: 1, salt: [1; 16], relay_id: [2; 16], created_ms: 1, capacity: 1 << 16, key_id }
    }

    fn header(frame_no: u32) -> FrameHeader {
        FrameHeader {
            first_seq: 17,
            durable_seq: 16,
            accepted_ms: 1_700_000_000_000,
            count: 3,
            len: 0,
            payload_crc: 0,
            frame_no,
            kind: Kind::Data,
            encrypted: false,
        }
    }

    // Goal: what is on disk does not show an event, and comes back byte for byte.
    #[test]
    fn round_trip() {
        let keys = Keyring::parse(OLD).unwrap();
        let cipher = keys.cipher(&segment(&keys)).unwrap();
        let mut header = header(0);
        let stored = cipher.seal(&mut header, b"secret secret secret".to_vec());
        assert!(!stored.windows(6).any(|window| window == b"secret"));
        assert_eq!((header.len as usize, header.payload_crc), (stored.len(), crc32c::crc32c(&stored)));
        assert_eq!(cipher.open(&header, &stored).unwrap(), &b"secret secret secret"[..]);
    }

    // Goal: a payload that was changed, or put elsewhere, is not accepted, even with its checksums made to fit.
    #[test]
    fn is_bound_to_its_place() {
        let keys = Keyring::parse(OLD).unwrap();
        let here = segment(&keys);
        let cipher = keys.cipher(&here).unwrap();
        let mut good = header(5);
        let stored = cipher.seal(&mut good, b"payload".to_vec());
        for bit in 0..stored.len() * 8 {
            let mut changed = stored.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(cipher.open(&good, &changed), None, "bit {bit}");
        }
        for moved in [
            FrameHeader { frame_no: 6, ..good },
            FrameHeader { first_seq: 18, ..good },
            FrameHeader { count: 2, ..good },
            FrameHeader { accepted_ms: 0, ..good },
        ] {
            assert_eq!(cipher.open(&moved, &stored), None, "{moved:?}");
        }
        for elsewhere in
            [SegmentHeader { segment_id: 4, ..here }, SegmentHeader { salt: [9; 16], ..here }, SegmentHeader { relay_id: [9; 16], ..here }]
        {
            assert_eq!(keys.cipher(&elsewhere).unwrap().open(&good, &stored), None, "{elsewhere:?}");
        }
    }

    // Goal: keys are rotated by putting the new one first; what the old one wrote stays readable for as long as it is in the file.
    #[test]
    fn rotation() {
        let old = Keyring::parse(OLD).unwrap();
        let both = Keyring::parse(&format!("# 2026-11\n{NEW}\n\n  {OLD}  \n")).unwrap();
        let (before, after) = (segment(&old), segment(&both));
        assert_ne!(before.key_id, after.key_id);
        assert!(both.knows(before.key_id) && both.knows(after.key_id) && both.knows(0) && !old.knows(after.key_id));
        let mut header = header(1);
        let stored = old.cipher(&before).unwrap().seal(&mut header, b"old".to_vec());
        assert_eq!(both.cipher(&before).unwrap().open(&header, &stored).unwrap(), &b"old"[..]);
        assert!(old.cipher(&after).is_none());
    }

    // Goal: a mistake in a key file is named by its line, and no key is ever printed.
    #[test]
    fn mistakes_in_a_key_file() {
        for (text, expect) in [
            ("", KeyFileError::Empty),
            ("# none\n", KeyFileError::Empty),
            (&format!("{OLD}\nhunter2"), KeyFileError::NoKey { line: 2 }),
            (&OLD.replace('0', "g"), KeyFileError::NoKey { line: 1 }),
            (&OLD[1..], KeyFileError::NoKey { line: 1 }),
            (&format!("{OLD}\n{}", OLD.to_uppercase()), KeyFileError::Twice { line: 2 }),
            (&(0..17).map(|i| format!("{i:064x}")).collect::<Vec<_>>().join("\n"), KeyFileError::TooMany),
        ] {
            let error = Keyring::parse(text).unwrap_err();
            assert_eq!(error, expect);
            assert!(!error.to_string().contains("hunter2"));
        }
        let shown = format!("{:?}", Keyring::parse(OLD).unwrap());
        assert!(!shown.contains("0001") && shown.len() < 16, "{shown}");
    }

    // Goal: a key file that works today works in every later version. The numbers agree with another implementation of the same (Python's
    // `cryptography`).
    #[test]
    fn derivation_is_fixed() {
        let keys = Keyring::parse(OLD).unwrap();
        let stored = keys.cipher(&segment(&keys)).unwrap().seal(&mut header(7), b"fixed".to_vec());
        assert_eq!((keys.writing_key_id(), crc32c::crc32c(&stored)), (1_558_900_280, 442_358_811));
    }
}
