//! One bounded durable FIFO, five ways to keep it.
//!
//! [`Engine`] is all that the workload knows. Events have positions, counted from 0 in the order they were appended; an
//! engine maps them to whatever its store calls them.
//!
//! The one promise that costs anything is in [`Engine::append_batch`]: it returns when the batch is durable. Acks need not
//! be durable at once (a relay that loses an ack sends a duplicate, which it may), so an engine can keep them back and let
//! them ride along with a later append, which is the cheapest way for every store here.

mod bare;
mod fjall;
mod keyed;
mod redb;
mod segment_log;
mod sled;

use std::path::Path;

use anyhow::Result;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The bounded durable FIFO under test.
pub(crate) trait Engine {
    /// Appends the batch behind everything else, in order, and returns once all of it is durable.
    fn append_batch(&mut self, events: &[&[u8]]) -> Result<()>;

    /// Shows the oldest events that were not read yet to `visit`, in order: at least one and at most `max` if there are
    /// any. Returns how many.
    fn read(&mut self, max: usize, visit: &mut dyn FnMut(&[u8])) -> Result<usize>;

    /// The events before `position` are done with: their space may be used again. They have all been read.
    fn ack_below(&mut self, position: u64) -> Result<()>;

    /// No more acks for now: every one so far takes effect in the store, durably, at once or soon.
    fn settle(&mut self) -> Result<()>;

    /// Closes the store the orderly way.
    fn close(self: Box<Self>) -> Result<()>;
}

/// The engines by name, in the order of the report: the ceiling, ours, the others from fast to slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// The ceiling: nothing but `write` and `fdatasync`, over blocks that exist already
    Bare,
    /// The product's own segment log, through its public buffer API
    SegmentLog,
    /// redb, a copy-on-write B-tree
    Redb,
    /// fjall, a log-structured merge tree
    Fjall,
    /// sled 0.34, whose flush is not an fsync on Linux
    Sled,
}

/// What an engine may know in advance about its use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Events per append.
    pub(crate) batch: usize,
    /// Bytes of one event.
    pub(crate) event_bytes: usize,
    /// Events that are kept waiting at most, one batch in flight aside.
    pub(crate) backlog: u64,
    /// Cache to give to a store that has one.
    pub(crate) cache_bytes: u64,
}

impl Kind {
    /// Its name on the command line and in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::SegmentLog => "segment-log",
            Self::Redb => "redb",
            Self::Fjall => "fjall",
            Self::Sled => "sled",
        }
    }

    /// Opens an empty FIFO in `dir`, which exists and is empty.
    pub(crate) fn open(self, dir: &Path, limits: &Limits) -> Result<Box<dyn Engine>> {
        Ok(match self {
            Self::Bare => Box::new(bare::Ring::open(dir, limits)?),
            Self::SegmentLog => Box::new(segment_log::SegmentLog::open(dir, limits)?),
            Self::Redb => Box::new(keyed::Fifo::new(redb::Store::open(dir, limits)?)),
            Self::Fjall => Box::new(keyed::Fifo::new(fjall::Store::open(dir, limits)?)),
            Self::Sled => Box::new(keyed::Fifo::new(sled::Store::open(dir, limits)?)),
        })
    }
}
