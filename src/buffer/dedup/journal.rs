//! The journal of ids: a file of fixed size that says which ids the newest events have, for when their segments are freed.
//!
//! ```text
//! ids:   two blocks for the newest, unfinished stretch, written in turn  ·  a ring of whole blocks, block n at place n mod its length
//! ```
//! Written about once a second, and before a segment is freed whose events are younger than the window is long. One sync a time. What was
//! synced is never written over while it counts: the two places for the newest stretch take turns, and the ring is longer than the window.
//! Generations rise with every block; when the file is read, a block ends all that older generations say about its own seqs and those after
//! it.
//!
//! A block that does not verify is as if it had never been written: its events are read from their segments, where those are still there.
//! Deliberately absent: a refusal to open.

use super::block::{BLOCK_LEN, Block, ENTRIES, first_seq, number_of, seed};
use super::window::{Entry, Window};
use crate::buffer::log::cipher::{JournalCipher, Keyring};
use crate::buffer::log::storage::{OpenMode, Storage, StorageFile, read_full, write_full};
use crate::buffer::shared::lock;
use crate::sync::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

pub(crate) const JOURNAL_NAME: &str = "ids";
/// The journal in another size, while it is made.
pub(crate) const NEW_NAME: &str = "ids-new";
/// Places for the newest stretch.
const TURNS: u64 = 2;
/// Of `max_bytes` at most this part is spent on it.
const SHARE: u64 = 16;

/// Blocks of the ring of a window. One more than the window needs: it may end anywhere in a block.
fn ring_len(limit: u64) -> u64 {
    limit.div_ceil(ENTRIES as u64) + 1
}

/// Bytes of the journal of a window; 0 without one.
pub(crate) fn bytes_of(limit: u64) -> u64 {
    if limit == 0 { 0 } else { (TURNS + ring_len(limit)) * BLOCK_LEN as u64 }
}

/// The window of at most `wanted` events whose journal is within its share of `max_bytes`.
pub(crate) fn window_within(max_bytes: u64, wanted: u64) -> u64 {
    let blocks = (max_bytes / SHARE / BLOCK_LEN as u64).saturating_sub(TURNS + 1);
    wanted.min(blocks * ENTRIES as u64)
}

/// What a journal says.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    blocks: BTreeMap<u64, Vec<Entry>>,
    generation: u64,
    /// The place of the newest stretch to write next.
    turn: u64,
    /// Blocks that were written and do not verify.
    pub(super) damaged: u64,
}

impl Loaded {
    /// What is known of an event.
    pub(super) fn entry(&self, seq: u64) -> Entry {
        let at = usize::try_from(seq - first_seq(number_of(seq))).unwrap_or(usize::MAX);
        self.blocks.get(&number_of(seq)).and_then(|entries| entries.get(at)).copied().unwrap_or_default()
    }
}

/// Reads all that verifies; syncs it first, since after a kill pages may be seen that never reached the disk.
pub(super) fn load(storage: &dyn Storage, keyring: &Keyring, relay_id: &[u8; 16]) -> io::Result<Loaded> {
    let file = match storage.open(JOURNAL_NAME, OpenMode::ReadWrite) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Loaded::default()),
        Err(error) => return Err(error),
    };
    file.sync_data()?;
    let (mut found, mut loaded) = (Vec::new(), Loaded::default());
    let mut bytes = vec![0_u8; BLOCK_LEN];
    for place in 0..file.size()? / BLOCK_LEN as u64 {
        let mut give = || read_full(&*file, &mut bytes, place * BLOCK_LEN as u64);
        // What the disk does not give, tried twice, is damage.
        let read = give().or_else(|_| give()).unwrap_or(0);
        match Block::decode(&bytes[..read], seed(relay_id), keyring, relay_id) {
            Some(block) => found.push((place, block)),
            None if read == BLOCK_LEN && bytes.iter().all(|byte| *byte == 0) => {}
            None => loaded.damaged += 1,
        }
    }
    found.sort_unstable_by_key(|(_, block)| block.generation);
    for (place, block) in found {
        if place < TURNS {
            loaded.turn = (place + 1) % TURNS;
        }
        loaded.generation = block.generation;
        let _ = loaded.blocks.split_off(&block.number);
        let _ = loaded.blocks.insert(block.number, block.entries);
    }
    Ok(loaded)
}

/// The journal of a running buffer.
#[derive(Debug)]
pub(crate) struct Journal {
    file: Arc<dyn StorageFile>,
    limit: u64,
    seed: u64,
    cipher: Option<JournalCipher>,
    generation: u64,
    turn: u64,
    /// Everything up to this seq is in it, durably.
    covered: u64,
    /// The log knows that it could not be written.
    pub(crate) told_waits: bool,
}

impl Journal {
    /// Opens it for a window, after what was loaded, or makes it. Holds everything that the window knows once it is there.
    pub(super) fn open(
        storage: &dyn Storage,
        keyring: &Keyring,
        relay_id: &[u8; 16],
        loaded: &Loaded,
        window: &Mutex<Window>,
    ) -> io::Result<Self> {
        let limit = lock(window).limit();
        let wanted = bytes_of(limit);
        let existing = storage.open(JOURNAL_NAME, OpenMode::ReadWrite).and_then(|file| Ok((file.size()?, file)));
        let (file, is_new) = match existing {
            Ok((size, file)) if size == wanted => (file, false),
            Ok(_) => (storage.open(NEW_NAME, OpenMode::Create)?, true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (storage.open(NEW_NAME, OpenMode::Create)?, true),
            Err(error) => return Err(error),
        };
        let cipher = keyring.journal_cipher(keyring.writing_key_id(), relay_id);
        let covered = if is_new { 0 } else { lock(window).durable() };
        let mut journal = Self {
            file,
            limit,
            seed: seed(relay_id),
            cipher,
            generation: loaded.generation,
            turn: loaded.turn,
            covered,
            told_waits: false,
        };
        if is_new {
            journal.file.allocate(wanted)?;
        }
        // Whole blocks only where they are not what the file says already: after a crash, what was read from the segments.
        journal.covered = journal.covered.min(first_gap(&lock(window), loaded).saturating_sub(1));
        journal.write(storage, window)?;
        if is_new {
            storage.rename(NEW_NAME, JOURNAL_NAME)?;
            storage.sync_dir("")?;
        }
        Ok(journal)
    }

    /// Whether an event may lose its segment: it is in the journal, or too old to be remembered.
    pub(crate) fn covers(&self, seq: u64, durable: u64) -> bool {
        seq <= self.covered || seq + self.limit <= durable
    }

    /// Whether there is anything to write.
    pub(crate) fn lags(&self, window: &Window) -> bool {
        window.outgrew(self.covered)
    }

    /// Bytes that it takes on disk.
    pub(crate) fn allocated_bytes(&self) -> u64 {
        self.file.allocated_bytes().unwrap_or_else(|_| bytes_of(self.limit))
    }

    /// Writes what became durable since the last time, durably.
    pub(crate) fn write(&mut self, storage: &dyn Storage, window: &Mutex<Window>) -> io::Result<()> {
        let (durable, oldest, outdated) = {
            let mut window = lock(window);
            (window.durable(), window.oldest(), window.take_outdated())
        };
        self.covered = self.covered.min(outdated.saturating_sub(1));
        let (first, tail) = (number_of((self.covered + 1).max(oldest)), number_of(durable + 1));
        for number in first..tail {
            let place = TURNS + number % ring_len(self.limit);
            self.put(storage, window, number, ENTRIES as u64, place)?;
        }
        self.put(storage, window, tail, durable + 1 - first_seq(tail), self.turn)?;
        self.file.sync_data()?;
        self.turn = (self.turn + 1) % TURNS;
        self.covered = durable;
        Ok(())
    }

    fn put(&mut self, storage: &dyn Storage, window: &Mutex<Window>, number: u64, count: u64, place: u64) -> io::Result<()> {
        let first = first_seq(number);
        let entries = lock(window).copy(first..first + count).collect();
        self.generation += 1;
        let block = Block { generation: self.generation, number, entries };
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&storage.random().to_le_bytes());
        nonce[8..].copy_from_slice(&storage.random().to_le_bytes()[..4]);
        write_full(&*self.file, &block.encode(self.seed, self.cipher.as_ref(), nonce), place * BLOCK_LEN as u64)
    }
}

/// The first event that the window knows otherwise than the journal.
fn first_gap(window: &Window, loaded: &Loaded) -> u64 {
    let range = window.oldest()..window.durable() + 1;
    let differs = range.clone().zip(window.copy(range)).find(|(seq, entry)| loaded.entry(*seq) != *entry);
    differs.map_or(window.durable() + 1, |(seq, _)| seq)
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
