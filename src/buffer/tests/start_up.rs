//! What opening a buffer reads, whatever its backlog.

use super::super::log::cursor::CURSOR_BYTES;
use super::super::log::frame;
use super::super::log::segment::{HEADER_LEN, SEAL_LEN, read_header};
use super::super::log::storage::OpenMode;
use super::super::memory::Memory;
use super::*;

const SEGMENT_BYTES: u64 = 64 << 10;

/// What a start after a kill read.
struct Read {
    /// By sealed segment.
    sealed: Vec<u64>,
    /// By segment that was being written, or only prepared.
    unsealed: Vec<u64>,
    rest: u64,
}

fn start_with(segments: u64) -> Read {
    let config = BufferConfig { segment_bytes: Some(SEGMENT_BYTES), ..config(Path::new("memory"), 8 << 20) };
    let memory = Memory::new(1);
    let buffer = open_on(&config, Arc::<Memory>::clone(&memory), Arc::default());
    // Three to a segment.
    for n in 0..3 * segments {
        let _ = buffer.append(batch(&[format!("{n} {}", "x".repeat(9 << 10))]), Duration::from_secs(20)).unwrap();
    }
    let killed = Memory::with(&memory.image(), 2);
    buffer.close();
    let is_sealed = |name: &String| {
        let file = killed.open(name, OpenMode::Read).unwrap();
        read_header(&*file).unwrap().unwrap().1.is_some()
    };
    let sealed: Vec<String> = killed.image().into_keys().filter(|name| name.starts_with("seg-")).filter(is_sealed).collect();
    let killed = Memory::with(&killed.image(), 2);
    let opened = Buffer::open(&config, Arc::<Memory>::clone(&killed), Arc::default(), 0).unwrap();
    assert_eq!(opened.gauges.snapshot().ledger.backlog, 3 * segments);
    let mut read = Read { sealed: Vec::new(), unsealed: Vec::new(), rest: 0 };
    for (name, bytes) in killed.bytes_read() {
        match name.as_str() {
            _ if sealed.contains(&name) => read.sealed.push(bytes),
            // One that was only prepared is a spare now.
            log if log.starts_with("seg-") || log.starts_with("spare-") => read.unsealed.push(bytes),
            _ => read.rest += bytes,
        }
    }
    read
}

// Goal: a start takes no longer because more is waiting: of a finished segment it reads header, seal and the first frame's header, and
// only what was being written is read whole.
#[test]
fn a_start_reads_finished_segments_by_their_ends_only() {
    let (few, many) = (start_with(5), start_with(40));
    for (read, segments) in [(&few, 5), (&many, 40)] {
        assert!(read.sealed.len() >= segments - 1, "{} of {segments}", read.sealed.len());
        let of_one = (HEADER_LEN + SEAL_LEN + frame::HEADER_LEN) as u64;
        assert!(read.sealed.iter().all(|bytes| *bytes == of_one), "{:?}", read.sealed);
        let whole = read.unsealed.iter().filter(|bytes| **bytes > 0);
        assert!((1..=3).contains(&whole.count()), "{:?}", read.unsealed);
        // Once whole, and its beginning for each unfinished one before it.
        assert!(read.unsealed.iter().all(|bytes| *bytes <= 3 * SEGMENT_BYTES), "{:?}", read.unsealed);
        assert!(read.rest <= 2 * CURSOR_BYTES, "{}", read.rest);
    }
}
