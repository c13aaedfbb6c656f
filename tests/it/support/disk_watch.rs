//! What a folder really takes on the disk, looked at all the time.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

/// Looks at a folder's allocated bytes all the time.
pub struct DiskWatch {
    stop: Arc<AtomicBool>,
    watcher: JoinHandle<Seen>,
}

/// What a [`DiskWatch`] saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// Looks that counted.
    pub looks: u64,
    /// Most bytes allocated at any look.
    pub most_bytes: u64,
    /// Highest segment number.
    pub newest_segment: u64,
    /// Files that were one segment and later another.
    pub reused: usize,
    segments: BTreeMap<(u64, Option<SystemTime>), u64>,
}

impl DiskWatch {
    /// Begins to look.
    pub fn start(dir: &Path) -> Self {
        let (stop, dir) = (Arc::new(AtomicBool::new(false)), dir.to_owned());
        let stopped = Arc::clone(&stop);
        let watcher = thread::spawn(move || {
            let mut seen = Seen::default();
            while !stopped.load(Ordering::Relaxed) {
                seen.look(&dir);
                thread::sleep(Duration::from_millis(2));
            }
            seen
        });
        Self { stop, watcher }
    }

    /// Ends looking.
    pub fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.watcher.join().unwrap();
        assert!(seen.most_bytes > 0, "the disk watch saw nothing");
        seen
    }
}

impl Seen {
    fn look(&mut self, dir: &Path) {
        let before = files(dir);
        // A file that was renamed or exchanged for another while we counted would be counted twice.
        if before.iter().map(|(path, _)| path).ne(files(dir).iter().map(|(path, _)| path)) {
            return;
        }
        let inodes: BTreeSet<u64> = before.iter().map(|(_, file)| file.ino()).collect();
        if inodes.len() < before.len() {
            return;
        }
        self.looks += 1;
        self.most_bytes = self.most_bytes.max(before.iter().map(|(_, file)| file.blocks() * 512).sum());
        for (path, file) in &before {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let number = name.strip_prefix("seg-").and_then(|rest| u64::from_str_radix(rest.strip_suffix(".log")?, 16).ok());
            let Some(number) = number else { continue };
            self.newest_segment = self.newest_segment.max(number);
            // An inode number may be given to a new file; with its birth it names one file for ever.
            let earlier = self.segments.insert((file.ino(), file.created().ok()), number);
            self.reused += usize::from(earlier.is_some_and(|earlier| earlier < number));
        }
    }
}

/// The folder and everything below it.
fn files(dir: &Path) -> Vec<(PathBuf, fs::Metadata)> {
    let Ok(metadata) = fs::symlink_metadata(dir) else { return Vec::new() };
    let mut below: Vec<PathBuf> = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    below.sort();
    let own = (dir.to_owned(), metadata);
    [own].into_iter().chain(below.iter().flat_map(|path| files(path))).collect()
}
