//! What a store uses: memory and disk, as the kernel counts them.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};

/// The largest resident set this process ever had, in bytes (`VmHWM`).
pub(crate) fn peak_rss_bytes() -> Result<u64> {
    Ok(proc_number("/proc/self/status", "VmHWM:")? * 1024)
}

/// What this process caused to be written to disk so far, in bytes (`write_bytes`).
pub(crate) fn written_bytes() -> Result<u64> {
    proc_number("/proc/self/io", "write_bytes:")
}

fn proc_number(path: &str, label: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("read {path}"))?;
    let value = text.lines().find_map(|line| line.strip_prefix(label)).and_then(|rest| rest.split_whitespace().next());
    value.with_context(|| format!("{path} has no {label}"))?.parse().with_context(|| format!("{label} in {path}"))
}

/// The blocks allocated to everything below `dir`, in bytes. A file that disappears meanwhile counts as nothing.
pub(crate) fn disk_bytes(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(data) if data.is_dir() => data.blocks() * 512 + disk_bytes(&entry.path()),
        Ok(data) => data.blocks() * 512,
        Err(_) => 0,
    });
    sizes.sum()
}

/// Writes out everything that waits on the file system of `dir`, whoever wrote it.
pub(crate) fn sync_file_system(dir: &Path) -> Result<()> {
    let dir = File::open(dir).with_context(|| format!("open {}", dir.display()))?;
    rustix::fs::syncfs(&dir).context("sync the file system")
}

/// The kind of file system below `dir`, and whether a sync on it means anything.
pub(crate) fn file_system(dir: &Path) -> Result<(String, bool)> {
    let kind = rustix::fs::statfs(dir).with_context(|| format!("statfs {}", dir.display()))?.f_type;
    Ok(match kind {
        0xEF53 => ("ext4".into(), true),
        0x5846_5342 => ("xfs".into(), true),
        0x9123_683E => ("btrfs".into(), true),
        0x2FC1_2FC1 => ("zfs".into(), true),
        0x0102_1994 => ("tmpfs".into(), false),
        0x794C_7630 => ("overlay".into(), true),
        other => (format!("{other:#x}"), true),
    })
}
