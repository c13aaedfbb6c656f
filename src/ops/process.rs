//! What the system knows about this process.

use rustix::fs::{Mode, OFlags, open};
use rustix::io::read;

/// Resident memory in bytes; `None` where `/proc` does not tell.
///
/// Through a buffer on the stack: asking for memory must not use any.
pub(super) fn resident_memory_bytes() -> Option<u64> {
    let file = open("/proc/self/status", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut text = [0_u8; 4096];
    let length = read(&file, &mut text).ok()?;
    parse_rss(std::str::from_utf8(&text[..length]).ok()?)
}

fn parse_rss(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: the memory shown is this process's own.
    #[test]
    fn memory_is_read_from_the_kernel() {
        assert_eq!(parse_rss("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t3\n"), Some(2 << 20));
        assert_eq!(parse_rss("Name:\tx\n"), None);
        if cfg!(target_os = "linux") {
            assert!(resident_memory_bytes().unwrap() > 1 << 16);
        }
    }
}
