//! A FIFO on top of an ordered key-value store: the key is the position, big-endian.
//!
//! Each append is one commit, and it takes the acks since the last one with it: a store pays one sync per batch, not
//! two, and frees the old events as soon as it can. When nothing is appended (the drain), acks are committed on their own
//! after every [`ACKS_PER_COMMIT`] events.

use std::ops::Range;

use anyhow::Result;

use super::Engine;

/// As many acks as the segment log keeps back between two checkpoints of its own.
const ACKS_PER_COMMIT: u64 = 65_536;

/// The ordered key-value store below the FIFO.
pub(crate) trait KeyValue {
    /// Removes the keys in `remove`, inserts `events` at `first` and the keys after it, in one transaction where that
    /// is not slower. Returns once it is durable.
    fn commit(&mut self, remove: Range<u64>, first: u64, events: &[&[u8]]) -> Result<()>;

    /// Shows the values of `keys` to `visit`, in the order of their keys. Every one of them exists.
    fn scan(&mut self, keys: Range<u64>, visit: &mut dyn FnMut(&[u8])) -> Result<()>;

    /// Closes the store the orderly way.
    fn close(self) -> Result<()>;
}

/// The FIFO: `removed <= acked <= read <= appended`.
pub(crate) struct Fifo<S> {
    store: S,
    removed: u64,
    acked: u64,
    read: u64,
    appended: u64,
}

impl<S: KeyValue> Fifo<S> {
    /// An empty FIFO on an empty store.
    pub(crate) fn new(store: S) -> Self {
        Self { store, removed: 0, acked: 0, read: 0, appended: 0 }
    }
}

impl<S: KeyValue> Engine for Fifo<S> {
    fn append_batch(&mut self, events: &[&[u8]]) -> Result<()> {
        self.store.commit(self.removed..self.acked, self.appended, events)?;
        self.removed = self.acked;
        self.appended += events.len() as u64;
        Ok(())
    }

    fn read(&mut self, max: usize, visit: &mut dyn FnMut(&[u8])) -> Result<usize> {
        let end = self.appended.min(self.read + max as u64);
        let keys = self.read..end;
        self.read = end;
        let count = usize::try_from(keys.end - keys.start)?;
        self.store.scan(keys, visit)?;
        Ok(count)
    }

    fn ack_below(&mut self, position: u64) -> Result<()> {
        self.acked = position;
        if self.acked - self.removed >= ACKS_PER_COMMIT {
            self.settle()?;
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<()> {
        if self.removed < self.acked {
            self.store.commit(self.removed..self.acked, self.appended, &[])?;
            self.removed = self.acked;
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.store.close()
    }
}
