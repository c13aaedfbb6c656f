//! Will the disk do? Measured where the buffer will be, without leaving anything there.

use super::super::exit::Exit;
use super::super::human::{size, time};
use super::Check;
use crate::buffer::inspect::inspect;
use crate::buffer::log::storage::{DiskStorage, OpenMode, Storage, write_full};
use crate::config::{BufferConfig, Config};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Syncs that are measured.
const SAMPLES: usize = 32;

/// What each of them writes, in bytes: a small commit.
const SAMPLE_BYTES: usize = 4096;

/// A median above this is felt by every request.
const SLOW_SYNC: Duration = Duration::from_millis(20);

/// What the disk showed.
#[derive(Clone, Debug)]
struct Facts {
    /// Where it was measured.
    place: PathBuf,
    filesystem: String,
    durable: bool,
    free_bytes: u64,
    /// Allocated by a buffer that is there already.
    used_bytes: u64,
    /// Durations of syncs, shortest first; never empty.
    syncs: Vec<Duration>,
}

/// Looks at the disk of `buffer.dir`.
pub(super) fn checks(config: &Config) -> Vec<Check> {
    let dir = &config.buffer.dir;
    match measure(dir) {
        Ok(facts) => judge(&facts, &config.buffer),
        Err(error) => {
            let text = format!("buffer.dir, {}, cannot be written: {error}", dir.display());
            vec![Check::fail("disk", Exit::Failed, text, "mount a volume there that the relay's user may write to")]
        }
    }
}

fn measure(dir: &Path) -> io::Result<Facts> {
    let place = nearest_existing(dir);
    let storage = DiskStorage::new(&place);
    let volume = storage.volume()?;
    let used_bytes = if place == dir { inspect(&storage).map_or(0, |info| info.bytes) } else { 0 };
    let mut syncs = sync_times(&storage)?;
    syncs.sort_unstable();
    Ok(Facts { place, filesystem: volume.filesystem, durable: volume.durable, free_bytes: storage.free_bytes()?, used_bytes, syncs })
}

/// A directory that does not exist yet will be made on the volume of its nearest ancestor.
fn nearest_existing(dir: &Path) -> PathBuf {
    let existing = dir.ancestors().find(|path| path.is_dir());
    existing.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

/// Writes and syncs a file that has no name any more, so that nothing is left behind whatever happens.
fn sync_times(storage: &DiskStorage) -> io::Result<Vec<Duration>> {
    let name = format!(".dualstream-check-{}", std::process::id());
    let file = storage.open(&name, OpenMode::Create)?;
    storage.remove(&name)?;
    // Blocks that were written before, as the buffer's recycled segments are.
    let block = [0x5a; SAMPLE_BYTES];
    let offsets = (0..SAMPLES as u64).map(|index| index * SAMPLE_BYTES as u64);
    for offset in offsets.clone() {
        write_full(&*file, &block, offset)?;
    }
    file.sync_data()?;
    offsets
        .map(|offset| {
            let start = Instant::now();
            write_full(&*file, &block, offset)?;
            file.sync_data()?;
            Ok(start.elapsed())
        })
        .collect()
}

fn judge(facts: &Facts, config: &BufferConfig) -> Vec<Check> {
    vec![durability(facts, config), room(facts, config), sync_speed(facts)]
}

fn durability(facts: &Facts, config: &BufferConfig) -> Check {
    let place = format!("{} is on {}", facts.place.display(), facts.filesystem);
    let cure = "mount a volume there";
    if facts.durable {
        Check::ok("disk", format!("{place}, where a sync makes data durable"))
    } else if config.require_durable {
        let text = format!("{place}, where a sync does not make data durable, and buffer.require_durable is set");
        Check::fail("disk", Exit::Failed, text, cure)
    } else {
        Check::warn("disk", format!("{place}, where a sync does not make data durable: replies will say \"durable\":false"), cure)
    }
}

fn room(facts: &Facts, config: &BufferConfig) -> Check {
    let has = facts.free_bytes.saturating_add(facts.used_bytes);
    let needs = config.max_bytes.saturating_add(config.min_free_bytes);
    let figures = format!("{} are free or the buffer's own; buffer.max_bytes and buffer.min_free_bytes need {}", size(has), size(needs));
    if has >= needs {
        Check::ok("room", figures)
    } else {
        Check::warn(
            "room",
            format!("{figures}: the buffer will be full before it reaches its bound"),
            "lower buffer.max_bytes, or give it a larger volume",
        )
    }
}

fn sync_speed(facts: &Facts) -> Check {
    let [median, longest] = [facts.syncs[facts.syncs.len() / 2], facts.syncs[facts.syncs.len() - 1]];
    let figures =
        format!("a sync takes {} (median of {}; longest {})", time(median.as_secs_f64()), facts.syncs.len(), time(longest.as_secs_f64()));
    if median <= SLOW_SYNC {
        Check::ok("sync", figures)
    } else {
        Check::warn("sync", format!("{figures}: every reply waits for one"), "use a faster volume; larger requests share one sync")
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn verdicts(change: impl FnOnce(&mut Facts, &mut BufferConfig)) -> Vec<(&'static str, Verdict)> {
        let mut facts = Facts {
            place: "/data".into(),
            filesystem: "ext4".into(),
            durable: true,
            free_bytes: 2 << 30,
            used_bytes: 0,
            syncs: vec![Duration::from_millis(1); SAMPLES],
        };
        let mut config = BufferConfig::default();
        change(&mut facts, &mut config);
        judge(&facts, &config).iter().map(|check| (check.name, check.verdict)).filter(|(_, verdict)| *verdict != Verdict::Ok).collect()
    }

    // Goal: a disk that forgets, is too small or is slow is named before it goes live; a good one gets no warning.
    #[test]
    fn verdicts_on_disks() {
        assert_eq!(verdicts(|_, _| {}), []);
        assert_eq!(verdicts(|facts, _| facts.durable = false), [("disk", Verdict::Warn)]);
        assert_eq!(verdicts(|facts, config| (facts.durable, config.require_durable) = (false, true)), [("disk", Verdict::Fail)]);
        assert_eq!(verdicts(|facts, _| facts.free_bytes = 1 << 30), [("room", Verdict::Warn)]);
        assert_eq!(verdicts(|facts, _| (facts.free_bytes, facts.used_bytes) = (1 << 30, 1 << 30)), []);
        assert_eq!(verdicts(|facts, _| facts.syncs = vec![Duration::from_millis(21); SAMPLES]), [("sync", Verdict::Warn)]);
    }

    // Goal: a check leaves nothing behind, and makes no directory.
    #[test]
    fn nothing_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let absent = dir.path().join("a/b");
        let facts = measure(&absent).unwrap();
        assert_eq!((facts.place.as_path(), facts.syncs.len()), (dir.path(), SAMPLES));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(nearest_existing(Path::new("dualstream-data-that-is-not-there")), Path::new("."));
    }

    // Goal: a directory that cannot be written is a failure with its name, not a surprise at start.
    #[test]
    fn not_writable() {
        let config = Config { buffer: BufferConfig { dir: "/proc/dualstream".into(), ..BufferConfig::default() }, ..Config::default() };
        let found = checks(&config);
        assert_eq!((found.len(), found[0].verdict, found[0].exit_on_fail), (1, Verdict::Fail, Exit::Failed));
        assert!(found[0].text.starts_with("buffer.dir, /proc/dualstream, cannot be written: "), "{}", found[0].text);
    }
}
