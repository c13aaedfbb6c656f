//! A directory in which calls on the files of one folder fail, for tests. Everything else goes through.

use super::log::storage::{OpenMode, Storage, StorageFile, Volume};
use super::memory::Memory;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Which calls fail, counted from when that was said.
#[derive(Debug, Default)]
pub(super) struct Calls {
    made: AtomicU32,
    from: AtomicU32,
    to: AtomicU32,
}

impl Calls {
    /// These of the calls from here on fail.
    pub(super) fn fail(&self, calls: Range<u32>) {
        self.made.store(0, Ordering::Relaxed);
        self.from.store(calls.start, Ordering::Relaxed);
        self.to.store(calls.end, Ordering::Relaxed);
    }

    /// Whether one has failed.
    pub(super) fn have_failed(&self) -> bool {
        self.from.load(Ordering::Relaxed) < self.to.load(Ordering::Relaxed).min(self.made.load(Ordering::Relaxed))
    }

    /// No call fails any more.
    pub(super) fn go_on(&self) {
        self.fail(0..0);
    }

    fn go(&self) -> io::Result<()> {
        let made = self.made.fetch_add(1, Ordering::Relaxed);
        let fails = self.from.load(Ordering::Relaxed) <= made && made < self.to.load(Ordering::Relaxed);
        if fails { Err(io::Error::other("the disk says no")) } else { Ok(()) }
    }
}

#[derive(Debug)]
pub(super) struct Failing {
    pub(super) memory: Arc<Memory>,
    pub(super) calls: Arc<Calls>,
    /// What the names of its files begin with.
    pub(super) folder: &'static str,
}

impl Failing {
    fn go_if(&self, name: &str) -> io::Result<()> {
        if name.starts_with(self.folder) { self.calls.go() } else { Ok(()) }
    }
}

impl Storage for Failing {
    fn dir(&self) -> &Path {
        self.memory.dir()
    }

    fn create_dir(&self, name: &str) -> io::Result<()> {
        self.go_if(name)?;
        self.memory.create_dir(name)
    }

    fn list(&self, name: &str) -> io::Result<Vec<String>> {
        self.go_if(name)?;
        self.memory.list(name)
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>> {
        self.go_if(name)?;
        let file = self.memory.open(name, mode)?;
        if name.starts_with(self.folder) { Ok(Arc::new(FailingFile { file, calls: Arc::clone(&self.calls) })) } else { Ok(file) }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.go_if(from)?;
        self.memory.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.go_if(name)?;
        self.memory.remove(name)
    }

    fn sync_dir(&self, name: &str) -> io::Result<()> {
        self.go_if(name)?;
        self.memory.sync_dir(name)
    }

    fn lock(&self, name: &str) -> io::Result<Option<Arc<dyn fmt::Debug + Send + Sync>>> {
        self.memory.lock(name)
    }

    fn lock_state(&self, name: &str) -> io::Result<bool> {
        self.memory.lock_state(name)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.memory.free_bytes()
    }

    fn volume(&self) -> io::Result<Volume> {
        self.memory.volume()
    }

    fn now_ms(&self) -> u64 {
        self.memory.now_ms()
    }

    fn random(&self) -> u64 {
        self.memory.random()
    }
}

#[derive(Debug)]
struct FailingFile {
    file: Arc<dyn StorageFile>,
    calls: Arc<Calls>,
}

impl StorageFile for FailingFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.calls.go()?;
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.calls.go()?;
        self.file.write_at(buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.calls.go()?;
        self.file.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        self.file.allocated_bytes()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.calls.go()?;
        self.file.allocate(len)
    }
}
