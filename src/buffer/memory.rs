//! A directory in memory for tests: the same content gives the same bytes, and a power failure keeps nothing but what was synced.
//!
//! The clock stands where the test puts it; chance is a sequence from a seed. What happens "during a sync" is given as steps: each
//! sync of the thread that commits runs the next one, so that a test decides what arrives meanwhile, without a second thread.
//!
//! Deliberately absent: partial survival of what was not synced, failing calls, time that passes.

use super::log::storage::{OpenMode, Storage, StorageFile, Volume};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Runs during a sync.
pub(crate) type Step = Box<dyn FnOnce() + Send>;

/// File contents by name.
pub(crate) type Image = BTreeMap<String, Vec<u8>>;

type Names = BTreeMap<String, Arc<Content>>;

/// What a file holds, and what of it is on the disk.
#[derive(Debug, Default)]
struct Content {
    now: Mutex<Vec<u8>>,
    synced: Mutex<Vec<u8>>,
    /// Bytes that were read from it.
    read: AtomicU64,
}

/// A directory, a clock and chance.
#[derive(Default)]
pub(crate) struct Memory {
    names: Mutex<Names>,
    synced_names: Mutex<Names>,
    clock_ms: AtomicU64,
    chance: AtomicU64,
    during_syncs: Arc<DuringSyncs>,
    recorded: Mutex<Option<Vec<Image>>>,
    myself: Weak<Self>,
}

#[derive(Default)]
struct DuringSyncs {
    steps: Mutex<VecDeque<Step>>,
    busy: AtomicBool,
}

impl DuringSyncs {
    /// Runs the next step, unless this sync belongs to a step itself.
    fn next(&self) {
        if self.busy.swap(true, Ordering::Relaxed) {
            return;
        }
        let step = lock(&self.steps).pop_front();
        if let Some(step) = step {
            step();
        }
        self.busy.store(false, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(lock(&self.names).keys()).finish()
    }
}

impl Memory {
    /// An empty directory.
    pub(crate) fn new(clock_ms: u64) -> Arc<Self> {
        Arc::new_cyclic(|myself| Self { clock_ms: AtomicU64::new(clock_ms), myself: Weak::clone(myself), ..Self::default() })
    }

    /// A directory with these files, all on the disk.
    pub(crate) fn with(image: &Image, clock_ms: u64) -> Arc<Self> {
        let memory = Self::new(clock_ms);
        for (name, bytes) in image {
            let content = Content { now: Mutex::new(bytes.clone()), synced: Mutex::new(bytes.clone()), ..Content::default() };
            let _ = lock(&memory.names).insert(name.clone(), Arc::new(content));
        }
        *lock(&memory.synced_names) = lock(&memory.names).clone();
        memory
    }

    /// Puts the clock.
    pub(crate) fn set_clock(&self, ms: u64) {
        self.clock_ms.store(ms, Ordering::Relaxed);
    }

    /// What the next syncs run, in order.
    pub(crate) fn during_syncs(&self, steps: impl IntoIterator<Item = Step>) {
        *lock(&self.during_syncs.steps) = steps.into_iter().collect();
    }

    /// Steps that no sync has run yet.
    pub(crate) fn steps_left(&self) -> usize {
        lock(&self.during_syncs.steps).len()
    }

    /// A copy in which what is not synced here is not synced either: where a kill -9 now would leave the next start.
    pub(crate) fn fork(&self) -> Arc<Self> {
        let fork = Self::new(self.now_ms());
        let mut copies: Vec<(Arc<Content>, Arc<Content>)> = Vec::new();
        for (from, to) in [(&self.names, &fork.names), (&self.synced_names, &fork.synced_names)] {
            for (name, content) in &*lock(from) {
                let known = copies.iter().find(|(original, _)| Arc::ptr_eq(original, content)).map(|(_, copy)| Arc::clone(copy));
                let copy = known.unwrap_or_else(|| {
                    let (now, synced) = (Mutex::new(lock(&content.now).clone()), Mutex::new(lock(&content.synced).clone()));
                    let copy = Arc::new(Content { now, synced, ..Content::default() });
                    copies.push((Arc::clone(content), Arc::clone(&copy)));
                    copy
                });
                let _ = lock(to).insert(name.clone(), copy);
            }
        }
        fork
    }

    /// What a power failure would have left before each sync that `act` made.
    pub(crate) fn before_each_sync(&self, act: impl FnOnce()) -> Vec<Image> {
        *lock(&self.recorded) = Some(Vec::new());
        act();
        lock(&self.recorded).take().unwrap_or_default()
    }

    fn record(&self) {
        let mut recorded = lock(&self.recorded);
        if let Some(images) = recorded.as_mut() {
            images.push(self.synced_image());
        }
    }

    /// How many bytes of each file were read.
    pub(crate) fn bytes_read(&self) -> BTreeMap<String, u64> {
        lock(&self.names).iter().map(|(name, content)| (name.clone(), content.read.load(Ordering::Relaxed))).collect()
    }

    /// All files as they are now: what a kill -9 leaves.
    pub(crate) fn image(&self) -> Image {
        lock(&self.names).iter().map(|(name, content)| (name.clone(), lock(&content.now).clone())).collect()
    }

    /// All files as they were synced: what the worst power failure leaves.
    pub(crate) fn synced_image(&self) -> Image {
        lock(&self.synced_names).iter().map(|(name, content)| (name.clone(), lock(&content.synced).clone())).collect()
    }
}

impl Storage for Memory {
    fn dir(&self) -> &Path {
        Path::new("memory")
    }

    fn create_dir(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, name: &str) -> io::Result<Vec<String>> {
        let names = lock(&self.names);
        if name.is_empty() {
            return Ok(names.keys().filter(|name| !name.contains('/')).cloned().collect());
        }
        Ok(names.keys().filter_map(|full| full.strip_prefix(name)?.strip_prefix('/')).map(str::to_owned).collect())
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>> {
        let mut names = lock(&self.names);
        let content = match names.get(name) {
            Some(content) => Arc::clone(content),
            None if mode == OpenMode::Create => {
                let content = Arc::default();
                let _ = names.insert(name.to_owned(), Arc::clone(&content));
                content
            }
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Arc::new(MemoryFile { content, memory: Weak::clone(&self.myself), during_syncs: Arc::clone(&self.during_syncs) }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut names = lock(&self.names);
        let content = names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        let _ = names.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        lock(&self.names).remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, name: &str) -> io::Result<()> {
        self.record();
        let names = lock(&self.names);
        let mut synced = lock(&self.synced_names);
        let is_in = |full: &str| full.rsplit_once('/').map_or("", |(dir, _)| dir) == name;
        synced.retain(|full, _| !is_in(full));
        synced.extend(names.iter().filter(|(full, _)| is_in(full)).map(|(full, content)| (full.clone(), Arc::clone(content))));
        Ok(())
    }

    fn lock(&self, name: &str) -> io::Result<Option<Arc<dyn fmt::Debug + Send + Sync>>> {
        let _ = self.open(name, OpenMode::Create)?;
        Ok(Some(Arc::new(())))
    }

    fn lock_state(&self, _: &str) -> io::Result<bool> {
        Ok(false)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn volume(&self) -> io::Result<Volume> {
        Ok(Volume { filesystem: "memory".to_owned(), durable: true })
    }

    fn now_ms(&self) -> u64 {
        self.clock_ms.load(Ordering::Relaxed)
    }

    /// The sequence of `SplitMix64` (Steele, Lea, Flood 2014): short, and the same for ever.
    fn random(&self) -> u64 {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut z = self.chance.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

struct MemoryFile {
    content: Arc<Content>,
    memory: Weak<Memory>,
    during_syncs: Arc<DuringSyncs>,
}

impl fmt::Debug for MemoryFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", lock(&self.content.now).len())
    }
}

impl StorageFile for MemoryFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = lock(&self.content.now);
        let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        let _ = self.content.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let mut bytes = lock(&self.content.now);
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start + buf.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[start..end].copy_from_slice(buf);
        Ok(buf.len())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.during_syncs.next();
        if let Some(memory) = self.memory.upgrade() {
            memory.record();
        }
        let bytes = lock(&self.content.now).clone();
        *lock(&self.content.synced) = bytes;
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(lock(&self.content.now).len() as u64)
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        Ok(self.size()?.next_multiple_of(4096))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let mut bytes = lock(&self.content.now);
        if bytes.len() < len {
            bytes.resize(len, 0);
        }
        Ok(())
    }
}
