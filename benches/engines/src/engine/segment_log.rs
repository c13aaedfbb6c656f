//! dualstream's own segment log, through the buffer's public API: what ingest and the drain use.
//!
//! Each batch becomes one frame. An event's id, type and source are marked as spans of its bytes, as ingest does, so that a
//! record is as large here as in the product. The buffer may take twice the backlog on disk; all else is its default.

use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use dualstream::buffer::log::storage::DiskStorage;
use dualstream::buffer::{AppendOptions, Appender, Buffer, Closer, Reader};
use dualstream::config::{BufferConfig, IngestConfig};
use dualstream::event::{Batch, BatchBuilder, EventParts, Field, Records, Seq};
use dualstream::lifecycle::{AckWaiters, Heartbeats};
use tokio::runtime::{self, Runtime};

use super::{Engine, Limits};
use crate::events::NUMBER_BYTES;

/// The bound on disk is this many times the backlog,
const HEADROOM: u64 = 2;
/// but not below this: a buffer needs a few segments.
const MAX_BYTES_MIN: u64 = 64 << 20;
/// Longer than any append has to wait for room.
const PATIENCE: Duration = Duration::from_secs(30);

/// The buffer's two ends, the threads between them, and what runs their futures.
pub(crate) struct SegmentLog {
    appender: Appender,
    reader: Reader,
    closer: Closer,
    committer: JoinHandle<()>,
    keeper: JoinHandle<()>,
    runtime: Runtime,
    acked: u64,
    done: Vec<Seq>,
}

impl SegmentLog {
    /// Opens a new buffer in `dir`.
    pub(crate) fn open(dir: &Path, limits: &Limits) -> Result<Self> {
        let dir = dir.join("buffer");
        let max_bytes = (limits.backlog * limits.event_bytes as u64 * HEADROOM).max(MAX_BYTES_MIN);
        let config = BufferConfig { dir: dir.clone(), max_bytes, ..BufferConfig::default() };
        let largest_batch = IngestConfig::default().max_body_bytes;
        let storage = Arc::new(DiskStorage::new(dir));
        let buffer = Buffer::open(&config, storage, Arc::new(AckWaiters::default()), largest_batch).context("open the buffer")?;
        let Buffer { appender, reader, committer, keeper, closer, .. } = buffer;
        // Nobody watches the loops here, but they insist on ticking.
        let beats = Heartbeats::default();
        let (commits, keeps) = (beats.register("commit"), beats.register("keep"));
        Ok(Self {
            appender,
            reader,
            closer,
            committer: thread::spawn(move || committer.run(&commits)),
            keeper: thread::spawn(move || keeper.run(&keeps)),
            runtime: runtime::Builder::new_current_thread().enable_time().build().context("start a runtime")?,
            acked: 0,
            done: Vec::new(),
        })
    }
}

/// The stored form of a batch, as ingest makes it.
fn encode(events: &[&[u8]]) -> Batch {
    let bytes = events.iter().map(|event| event.len() + 16).sum();
    let mut batch = BatchBuilder::with_capacity(bytes);
    for event in events {
        batch.push(&EventParts {
            value: event,
            id: Field::Span { offset: 0, len: NUMBER_BYTES },
            kind: Field::Span { offset: 16, len: 12 },
            source_type: Field::Span { offset: 28, len: 6 },
            source_id: Field::Span { offset: 34, len: 10 },
            traceparent: Field::Absent,
        });
    }
    batch.finish()
}

impl Engine for SegmentLog {
    fn append_batch(&mut self, events: &[&[u8]]) -> Result<()> {
        let options = AppendOptions { deadline: Instant::now() + PATIENCE, receipts: None };
        let appended = self.runtime.block_on(self.appender.append(encode(events), options)).context("append")?;
        ensure!(appended.count as usize == events.len(), "{} events stored in place of {}", appended.count, events.len());
        Ok(())
    }

    /// Frames come whole, so one frame at a time: `max` is never below the size of a batch.
    fn read(&mut self, max: usize, visit: &mut dyn FnMut(&[u8])) -> Result<usize> {
        let Some(frame) = self.reader.next_frame().context("read")? else { return Ok(0) };
        let count = frame.count as usize;
        ensure!(count <= max, "a frame of {count} events where {max} were asked for");
        for record in Records::new(&frame.payload) {
            visit(record.context("decode a record")?.value);
        }
        Ok(count)
    }

    /// Seqs start at 1, positions at 0.
    fn ack_below(&mut self, position: u64) -> Result<()> {
        self.done.clear();
        self.done.extend((self.acked + 1..=position).map(Seq));
        self.acked = position;
        let fresh = self.reader.ack(&self.done);
        ensure!(fresh == self.done.len(), "{fresh} of {} acks were new", self.done.len());
        Ok(())
    }

    /// The keeper does it by itself, ten times a second.
    fn settle(&mut self) -> Result<()> {
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.closer.close_appends();
        self.committer.join().map_err(|_| anyhow!("the committer panicked"))?;
        self.closer.close_keeper();
        self.keeper.join().map_err(|_| anyhow!("the keeper panicked"))
    }
}
