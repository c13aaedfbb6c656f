//! The `Storage` seam: all that the buffer needs from the world outside: files of one directory, a clock, chance.
//!
//! Names are relative to the buffer directory. The real implementation is here and is the only place that touches `std::fs`;
//! a simulated one (lost pages, torn writes, failing calls) can stand in for it.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// One open file.
pub trait StorageFile: Send + Sync + fmt::Debug {
    /// Reads up to `buf.len()` bytes at `offset`; 0 at the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes some of `buf` at `offset`; may be short.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize>;
    /// `fdatasync`.
    fn sync_data(&self) -> io::Result<()>;
    /// Length in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Bytes allocated on the volume (`st_blocks`).
    fn allocated_bytes(&self) -> io::Result<u64>;
    /// Makes the file `len` bytes long with its blocks reserved, so that a later write cannot fail for want of space.
    fn allocate(&self, len: u64) -> io::Result<()>;
}

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Must exist; reading only.
    Read,
    /// Must exist; reading and writing.
    ReadWrite,
    /// Created, or opened when it exists.
    Create,
}

/// What the volume is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// File system name, such as `ext4`.
    pub filesystem: String,
    /// Whether a sync makes data survive a power failure or the container's end.
    pub durable: bool,
}

/// A directory's files, a clock, and chance.
pub trait Storage: Send + Sync + fmt::Debug {
    /// The directory, for messages.
    fn dir(&self) -> &Path;
    /// Makes the directory (or one under it, for a non-empty name) when it is absent.
    fn create_dir(&self, name: &str) -> io::Result<()>;
    /// Names of all entries directly in the directory (or in one under it).
    fn list(&self, name: &str) -> io::Result<Vec<String>>;
    /// Opens a file.
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>>;
    /// Renames a file, replacing the target.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals durable.
    fn sync_dir(&self, name: &str) -> io::Result<()>;
    /// Takes the exclusive lock of a file for as long as the returned value lives; `None` when somebody else holds it.
    fn lock(&self, name: &str) -> io::Result<Option<Arc<dyn fmt::Debug + Send + Sync>>>;
    /// Whether somebody holds that lock; takes nothing.
    fn lock_state(&self, name: &str) -> io::Result<bool>;
    /// A number of a file that no copy of it has, and that stays for as long as the file does; `None` where nothing is known of that kind.
    fn identity(&self, name: &str) -> io::Result<Option<u64>> {
        let _ = name;
        Ok(None)
    }
    /// Bytes that an unprivileged process could still write to the volume.
    fn free_bytes(&self) -> io::Result<u64>;
    /// What the volume is.
    fn volume(&self) -> io::Result<Volume>;
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;
    /// Random bits.
    fn random(&self) -> u64;
}

/// Reads until `buf` is full or the file ends; returns the bytes read. A signal in between is not an error.
pub(crate) fn read_full(file: &dyn StorageFile, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match file.read_at(&mut buf[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Writes all of `buf`, through short writes and signals.
pub(crate) fn write_full(file: &dyn StorageFile, buf: &[u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < buf.len() {
        match file.write_at(&buf[done..], offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether an error says that the volume, or the quota, is used up: it may end by itself.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The real file system.
#[derive(Debug)]
pub struct DiskStorage {
    dir: PathBuf,
}

impl DiskStorage {
    /// Storage in `dir`, which need not exist yet.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.dir.clone() } else { self.dir.join(name) }
    }
}

impl Storage for DiskStorage {
    fn dir(&self) -> &Path {
        &self.dir
    }

    fn create_dir(&self, name: &str) -> io::Result<()> {
        fs::create_dir_all(self.path(name))
    }

    fn list(&self, name: &str) -> io::Result<Vec<String>> {
        fs::read_dir(self.path(name))?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn StorageFile>> {
        let mut options = OpenOptions::new();
        let _ = options.read(true).write(mode != OpenMode::Read).create(mode == OpenMode::Create);
        Ok(Arc::new(DiskFile(options.open(self.path(name))?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_dir(&self, name: &str) -> io::Result<()> {
        File::open(self.path(name))?.sync_all()
    }

    fn lock(&self, name: &str) -> io::Result<Option<Arc<dyn fmt::Debug + Send + Sync>>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(self.path(name))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Arc::new(file))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn lock_state(&self, name: &str) -> io::Result<bool> {
        let file = OpenOptions::new().read(true).open(self.path(name))?;
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(fs::TryLockError::WouldBlock) => Ok(true),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn identity(&self, name: &str) -> io::Result<Option<u64>> {
        // Where the volume is not durable, a file may get another number by itself (overlay: when it is first written to).
        if !self.volume()?.durable {
            return Ok(None);
        }
        fs::metadata(self.path(name)).map(|metadata| Some(metadata.ino()))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn volume(&self) -> io::Result<Volume> {
        Ok(volume_of(rustix::fs::statfs(&self.dir)?.f_type))
    }

    fn now_ms(&self) -> u64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Never 0, which Kafka clients read as "now".
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX).max(1)
    }

    fn random(&self) -> u64 {
        fastrand::u64(..)
    }
}

/// Names a file system by its `statfs` magic number (linux/magic.h).
#[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "the field's type differs between targets; magics are 32 bits")]
fn volume_of<T: TryInto<i64>>(magic: T) -> Volume {
    let (filesystem, durable) = match magic.try_into().unwrap_or(0) as u32 {
        0xEF53 => ("ext4", true),
        0x5846_5342 => ("xfs", true),
        0x9123_683E => ("btrfs", true),
        0x2FC1_2FC1 => ("zfs", true),
        0xF2F5_2010 => ("f2fs", true),
        0xCA45_1A4E => ("bcachefs", true),
        0x00C3_6400 => ("ceph", true),
        0x0102_1994 => ("tmpfs", false),
        0x8584_58F6 => ("ramfs", false),
        // A container's own layer: it ends with the container.
        0x794C_7630 => ("overlay", false),
        // What a sync means is up to somebody else: a server that may answer early (an NFS export with `async`), a host that may cache,
        // a process. Nothing on this side can tell.
        0x6969 => ("nfs", false),
        0xFF53_4D42 => ("cifs", false),
        0xFE53_4D42 => ("smb2", false),
        0x517B => ("smbfs", false),
        0x0102_1997 => ("9p", false),
        // FUSE, and virtiofs, which has the same number.
        0x6573_5546 => ("fuse", false),
        other => return Volume { filesystem: format!("file system {other:#x}"), durable: true },
    };
    Volume { filesystem: filesystem.to_owned(), durable }
}

#[derive(Debug)]
struct DiskFile(File);

impl StorageFile for DiskFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn allocated_bytes(&self) -> io::Result<u64> {
        // st_blocks counts 512-byte units whatever the block size (stat(2)).
        Ok(self.0.metadata()?.blocks() * 512)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), 0, len) {
            // Not every file system has it (some NFS, FUSE): writing zeros reserves the blocks as well.
            Err(rustix::io::Errno::OPNOTSUPP) => {
                let zeros = vec![0_u8; 1 << 16];
                let mut at = 0;
                while at < len {
                    let n = usize::try_from((len - at).min(zeros.len() as u64)).unwrap_or(zeros.len());
                    write_full(self, &zeros[..n], at)?;
                    at += n as u64;
                }
                Ok(())
            }
            other => Ok(other?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: a volume on which a sync proves nothing is called by its name, and not durable; a disk is; one that is not known has its number.
    #[test]
    fn volumes() {
        for (magic, filesystem, durable) in [
            (0xEF53_i64, "ext4", true),
            (0x5846_5342, "xfs", true),
            (0x9123_683E, "btrfs", true),
            (0x0102_1994, "tmpfs", false),
            (0x794C_7630, "overlay", false),
            (0x6969, "nfs", false),
            (0xFF53_4D42, "cifs", false),
            // Where the field is a signed 32-bit number.
            (i64::from(0xFF53_4D42_u32.cast_signed()), "cifs", false),
            (0xFE53_4D42, "smb2", false),
            (0x0102_1997, "9p", false),
            (0x6573_5546, "fuse", false),
            (0x1234, "file system 0x1234", true),
        ] {
            assert_eq!(volume_of(magic), Volume { filesystem: filesystem.to_owned(), durable }, "{magic:#x}");
        }
    }
}
