//! The ceiling: one `pwrite` and one `fdatasync` per batch, over a file whose blocks were all written before the clock
//! started, so that no sync has to wait for the file system's journal. No headers, no checksums, no recovery: this is not a
//! store, it is what the disk allows a store that syncs every batch.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::{Engine, Limits};

/// Fixed-size events in a ring of a fixed number of slots.
pub(crate) struct Ring {
    file: File,
    event_bytes: usize,
    slots: u64,
    acked: u64,
    read: u64,
    appended: u64,
    buffer: Vec<u8>,
}

impl Ring {
    /// Writes the whole ring once, so that its blocks exist.
    pub(crate) fn open(dir: &Path, limits: &Limits) -> Result<Self> {
        let batch = limits.batch as u64;
        let slots = (limits.backlog.div_ceil(batch) + 2) * batch;
        let file = File::create_new(dir.join("ring")).context("create the ring")?;
        let mut writer = BufWriter::new(&file);
        let zeros = vec![0; limits.event_bytes];
        for _ in 0..slots {
            writer.write_all(&zeros).context("write the ring")?;
        }
        writer.flush().context("write the ring")?;
        drop(writer);
        file.sync_all().context("sync the ring")?;
        let file = File::options().read(true).write(true).open(dir.join("ring")).context("open the ring")?;
        Ok(Self { file, event_bytes: limits.event_bytes, slots, acked: 0, read: 0, appended: 0, buffer: Vec::new() })
    }

    fn offset(&self, position: u64) -> u64 {
        position % self.slots * self.event_bytes as u64
    }
}

impl Engine for Ring {
    /// Batches are all of one size and the ring holds a whole number of them, so none wraps around.
    fn append_batch(&mut self, events: &[&[u8]]) -> Result<()> {
        ensure!(self.appended + events.len() as u64 - self.acked <= self.slots, "the ring is full");
        self.buffer.clear();
        for event in events {
            self.buffer.extend_from_slice(event);
        }
        self.file.write_all_at(&self.buffer, self.offset(self.appended)).context("write a batch")?;
        self.file.sync_data().context("fdatasync")?;
        self.appended += events.len() as u64;
        Ok(())
    }

    fn read(&mut self, max: usize, visit: &mut dyn FnMut(&[u8])) -> Result<usize> {
        let to_wrap = self.slots - self.read % self.slots;
        let count = (self.appended - self.read).min(to_wrap).min(max as u64);
        self.buffer.resize(usize::try_from(count)? * self.event_bytes, 0);
        let offset = self.offset(self.read);
        self.file.read_exact_at(&mut self.buffer, offset).context("read from the ring")?;
        self.buffer.chunks_exact(self.event_bytes).for_each(visit);
        self.read += count;
        Ok(usize::try_from(count)?)
    }

    fn ack_below(&mut self, position: u64) -> Result<()> {
        self.acked = position;
        Ok(())
    }

    fn settle(&mut self) -> Result<()> {
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
