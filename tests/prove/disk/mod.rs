//! A disk in memory that may crash, fail and rot: the buffer's `Storage`, simulated.
//!
//! **What a crash keeps.** A file is made of 512-byte sectors, each written whole or not at all. After the last successful `fdatasync` of a
//! file each sector that was written since has any one of its contents: the synced one, or any that was written since, each sector for itself
//! (the page cache may write back at any moment and in any order). The file's length is any that it had since; it may have grown
//! without the data. Blocks that were reserved and never written read as zeros; blocks of a file that is used again hold its old bytes. A
//! name (created, renamed, removed) is on the disk for sure once all directories that it touches were synced after it. Before
//! that, either a journal was cut somewhere (ext4, XFS: a prefix of all operations), or each inode's operations got some way for
//! themselves (the most that POSIX leaves open to a file system whose rename is atomic). An `fdatasync` of a file settles no names.
//!
//! **What a failure does.** A failed `fdatasync` leaves each dirty sector on the disk or not, by chance, and clean: the cache shows the new or the
//! old content, and the next sync "succeeds" without them (as Linux does). A failed write may have written a part. Every other call that fails
//! has done nothing. A full volume is a real one: blocks are counted, and a removed file's are free only when nobody has it open.
//!
//! **What is not simulated**: a disk that lies about a sync, sectors that mix two writes, file systems whose rename is not atomic.

mod fault;
mod file;
mod names;
mod page;
mod world;

use crate::chance::Chance;
use dualstream::buffer::log::storage::{OpenMode, Storage, StorageFile, Volume};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

pub use fault::{Call, Fault, WAYS, Way};
use names::Ino;
pub use page::{PAGE, SECTOR};
pub use world::{Opens, World};

/// What happens between two calls: others may take their turn there.
pub type Between = Arc<dyn Fn() + Send + Sync>;

/// The world after a call that changed it.
#[derive(Clone)]
pub struct Moment {
    /// The call's number, from 1.
    pub number: u64,
    pub what: String,
    pub world: World,
}

struct State {
    world: World,
    open: BTreeMap<Ino, usize>,
    chance: Chance,
    capacity: u64,
    fault: Option<Fault>,
    fired: Option<(Call, String)>,
    unreadable: Vec<(Ino, Range<u64>)>,
    moments: Option<Vec<Moment>>,
    calls: Option<Vec<Call>>,
    peak: u64,
}

struct Shared {
    state: Mutex<State>,
    number: AtomicU64,
    now_ms: AtomicU64,
    between: Mutex<Option<Between>>,
    is_between: AtomicBool,
}

/// The simulated disk; clones share it.
#[derive(Clone)]
pub struct Disk {
    shared: Arc<Shared>,
}

impl Disk {
    /// A disk with `world` on it and room for `capacity` bytes.
    pub fn new(world: World, capacity: u64, seed: u64) -> Self {
        let peak = world.allocated();
        let state = State {
            world,
            open: BTreeMap::new(),
            chance: Chance::new(seed),
            capacity,
            fault: None,
            fired: None,
            unreadable: Vec::new(),
            moments: None,
            calls: None,
            peak,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                number: AtomicU64::new(0),
                now_ms: AtomicU64::new(1_700_000_000_000),
                between: Mutex::new(None),
                is_between: AtomicBool::new(false),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("no call panics")
    }

    /// Keeps the world after each call that changes it, from now on.
    pub fn remember(&self) {
        let mut state = self.state();
        let world = state.world.clone();
        state.moments = Some(vec![Moment { number: self.number(), what: "the beginning".to_owned(), world }]);
    }

    pub fn moments(&self) -> Vec<Moment> {
        self.state().moments.clone().unwrap_or_default()
    }

    /// Lists the calls from now on.
    pub fn list_calls(&self) {
        self.state().calls = Some(Vec::new());
    }

    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone().unwrap_or_default()
    }

    /// Number of calls so far.
    pub fn number(&self) -> u64 {
        self.shared.number.load(Ordering::Relaxed)
    }

    pub fn world(&self) -> World {
        self.state().world.clone()
    }

    /// Most bytes that were allocated at any moment.
    pub fn peak(&self) -> u64 {
        self.state().peak
    }

    pub fn set_fault(&self, fault: Option<Fault>) {
        self.state().fault = fault;
    }

    /// The first call that was made to fail.
    pub fn fired(&self) -> Option<(Call, String)> {
        self.state().fired.clone()
    }

    /// From now on reading these bytes fails.
    pub fn make_unreadable(&self, name: &str, range: Range<u64>) {
        let mut state = self.state();
        let ino = state.world.names().get(name).expect("a file");
        state.unreadable.push((ino, range));
    }

    /// Lets others take their turn before calls.
    pub fn set_between(&self, between: Option<Between>) {
        *self.shared.between.lock().expect("no panic") = between;
    }

    pub fn advance(&self, ms: u64) {
        let _ = self.shared.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    pub fn clock_ms(&self) -> u64 {
        self.shared.now_ms.load(Ordering::Relaxed)
    }

    /// One call: others may come before it, it may fail, and what it changes is remembered.
    fn call<T>(
        &self,
        call: Call,
        name: impl Fn(&World) -> String,
        changes: bool,
        act: impl FnOnce(&mut State, Option<Way>) -> io::Result<T>,
    ) -> io::Result<T> {
        self.let_others();
        let mut state = self.state();
        let number = self.shared.number.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(calls) = state.calls.as_mut() {
            calls.push(call);
        }
        let way = state.fault.filter(|fault| fault.hits(number, call)).map(|fault| fault.way);
        if way.is_some() && state.fired.is_none() {
            state.fired = Some((call, name(&state.world)));
        }
        let done = act(&mut state, way);
        if changes {
            state.peak = state.peak.max(state.world.allocated());
            if state.moments.is_some() {
                let moment = Moment { number, what: format!("{call:?} {}", name(&state.world)), world: state.world.clone() };
                state.moments.as_mut().expect("just seen").push(moment);
            }
        }
        done
    }

    fn let_others(&self) {
        let between = self.shared.between.lock().expect("no panic").clone();
        let Some(between) = between else { return };
        if !self.shared.is_between.swap(true, Ordering::Relaxed) {
            between();
            self.shared.is_between.store(false, Ordering::Relaxed);
        }
    }
}

impl State {
    /// Whether the volume has room for so much more.
    fn room_for(&self, more: u64) -> io::Result<()> {
        if more > 0 && self.world.allocated() + more > self.capacity {
            return Err(Way::Enospc.error().expect("an error"));
        }
        Ok(())
    }

    fn forget(&mut self) {
        let open = &self.open;
        self.world.forget(|ino| open.get(&ino).is_some_and(|count| *count > 0));
    }
}

/// The error of a call that fails as a whole.
fn fails(way: Option<Way>) -> io::Result<()> {
    way.and_then(Way::error).map_or(Ok(()), Err)
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disk")
    }
}

impl Storage for Disk {
    fn dir(&self) -> &Path {
        Path::new("simulated")
    }

    fn create_dir(&self, name: &str) -> io::Result<()> {
        if name.is_empty() || self.state().world.names().get(name).is_some() {
            return Ok(());
        }
        self.call(
            Call::MakeDir,
            |_| name.to_owned(),
            true,
            |state, way| {
                fails(way)?;
                let _ = state.world.create(name);
                Ok(())
            },
        )
    }

    fn list(&self, name: &str) -> io::Result<Vec<String>> {
        self.call(
            Call::List,
            |_| name.to_owned(),
            false,
            |state, way| {
                fails(way)?;
                if !name.is_empty() {
                    let _ = state.world.lookup(name)?;
                }
                Ok(state.world.names().list(name))
            },
        )
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>> {
        self.call(
            Call::Open,
            |_| name.to_owned(),
            mode == OpenMode::Create,
            |state, way| {
                fails(way)?;
                let ino = if mode == OpenMode::Create { state.world.create(name) } else { state.world.lookup(name)? };
                *state.open.entry(ino).or_default() += 1;
                Ok(Arc::new(Handle { disk: self.clone(), ino }) as Arc<dyn StorageFile>)
            },
        )
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.call(
            Call::Rename,
            |_| format!("{from} to {to}"),
            true,
            |state, way| {
                fails(way)?;
                let _ = state.world.lookup(from)?;
                let _ = state.world.names_mut().rename(from, to);
                state.forget();
                Ok(())
            },
        )
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.call(
            Call::Remove,
            |_| name.to_owned(),
            true,
            |state, way| {
                fails(way)?;
                let _ = state.world.names_mut().remove(name).ok_or(io::ErrorKind::NotFound)?;
                state.forget();
                Ok(())
            },
        )
    }

    fn sync_dir(&self, name: &str) -> io::Result<()> {
        self.call(
            Call::SyncDir,
            |_| format!("directory {name:?}"),
            true,
            |state, way| {
                fails(way)?;
                state.world.names_mut().sync(name);
                state.forget();
                Ok(())
            },
        )
    }

    fn lock(&self, name: &str) -> io::Result<Option<Arc<dyn fmt::Debug + Send + Sync>>> {
        self.call(
            Call::Lock,
            |_| name.to_owned(),
            true,
            |state, way| {
                fails(way)?;
                let _ = state.world.create(name);
                Ok(Some(Arc::new(()) as Arc<dyn fmt::Debug + Send + Sync>))
            },
        )
    }

    fn lock_state(&self, name: &str) -> io::Result<bool> {
        self.call(
            Call::Lock,
            |_| name.to_owned(),
            false,
            |state, way| {
                fails(way)?;
                state.world.lookup(name).map(|_| false)
            },
        )
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.call(
            Call::FreeBytes,
            |_| String::new(),
            false,
            |state, way| {
                fails(way)?;
                Ok(state.capacity.saturating_sub(state.world.allocated()))
            },
        )
    }

    fn volume(&self) -> io::Result<Volume> {
        self.call(
            Call::Volume,
            |_| String::new(),
            false,
            |_, way| {
                fails(way)?;
                Ok(Volume { filesystem: "simulated".to_owned(), durable: true })
            },
        )
    }

    fn now_ms(&self) -> u64 {
        self.clock_ms()
    }

    fn random(&self) -> u64 {
        self.state().chance.next()
    }
}

struct Handle {
    disk: Disk,
    ino: Ino,
}

impl Handle {
    fn call<T>(&self, call: Call, changes: bool, act: impl FnOnce(&mut State, Option<Way>) -> io::Result<T>) -> io::Result<T> {
        let name = |world: &World| {
            let mut names = world.names().all();
            names.find(|(_, ino)| *ino == self.ino).map_or_else(|| "a removed file".to_owned(), |(name, _)| name.clone())
        };
        self.disk.call(call, name, changes, act)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file {}", self.ino)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if let Some(count) = state.open.get_mut(&self.ino) {
            *count -= 1;
            if *count == 0 {
                state.forget();
            }
        }
    }
}

impl StorageFile for Handle {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.call(Call::Read, false, |state, way| {
            fails(way)?;
            let mut len = if way == Some(Way::Short) { buf.len().div_ceil(2) } else { buf.len() };
            for (_, bad) in state.unreadable.iter().filter(|(ino, _)| *ino == self.ino) {
                if bad.contains(&offset) {
                    return Err(Way::Eio.error().expect("an error"));
                }
                if bad.start > offset {
                    len = len.min(usize::try_from(bad.start - offset).unwrap_or(usize::MAX));
                }
            }
            Ok(state.world.file(self.ino).read(&mut buf[..len], offset))
        })
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.call(Call::Write, true, |state, way| {
            if way == Some(Way::Short) {
                let len = buf.len().div_ceil(2);
                state.world.file_mut(self.ino).write(&buf[..len], offset);
                return Ok(len);
            }
            if way.is_some() && way != Some(Way::Eintr) && state.chance.one_in(2) {
                let len = state.chance.index(buf.len() + 1);
                state.world.file_mut(self.ino).write(&buf[..len], offset);
            }
            fails(way)?;
            let growth = state.world.file(self.ino).growth(offset + buf.len() as u64);
            state.room_for(growth)?;
            state.world.file_mut(self.ino).write(buf, offset);
            Ok(buf.len())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.call(Call::Sync, true, |state, way| {
            if way.is_some() {
                let State { world, chance, .. } = state;
                world.file_mut(self.ino).fail_sync(chance);
            }
            fails(way)?;
            if !state.world.file(self.ino).is_clean() {
                state.world.file_mut(self.ino).sync();
            }
            Ok(())
        })
    }

    fn size(&self) -> io::Result<u64> {
        self.call(Call::Size, false, |state, way| {
            fails(way)?;
            Ok(state.world.file(self.ino).size())
        })
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        self.call(Call::Allocated, false, |state, way| {
            fails(way)?;
            Ok(state.world.file(self.ino).allocated())
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.call(Call::Allocate, true, |state, way| {
            fails(way)?;
            state.room_for(state.world.file(self.ino).growth(len))?;
            state.world.file_mut(self.ino).reserve(len);
            Ok(())
        })
    }
}
