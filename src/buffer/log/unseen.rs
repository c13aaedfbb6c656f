//! What a damaged end of the log may have held: events that nobody can read any more, and whose seqs must not be given to others.
//! Consumers take a seq for one that they have seen.
//!
//! A segment's header holds the salt of its checksums. When it is damaged, the first frame still tells the seed, because a checksum gives
//! its seed back; what verifies with that seed says how far the seqs went. Where that cannot be read either, seqs go on behind the most that
//! the file can have held. All of these are reported as lost: possibly too many, never too few.
//!
//! Deliberately absent: delivering the frames of a segment without a header. That they are of this directory, and in this place, was proven
//! by the header alone. And a last segment that is not there at all, or was cut off behind its header: what proves that events are gone is the
//! cursor, as for any other damage.

use super::frame::{self, HEADER_LEN};
use super::scan::{Found, Scanner};
use super::segment::{self, DATA_START, SegmentHeader};
use super::storage::{StorageFile, read_full};
use std::io;

/// No event takes less of a frame: two lengths and five fields.
const SMALLEST_EVENT_BYTES: u64 = 7;
/// Where no file tells how large segments are: the largest that the settings choose by themselves.
const UNKNOWN_CAPACITY: u64 = 64 << 20;

/// What a damaged file may have held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// Events up to this seq; 0: none.
    UpTo(u64),
    /// Events in so many bytes beyond what was found.
    Within(u64),
    /// Anything; the file has this length now.
    Unknown(u64),
}

/// How far the seqs of a segment went whose header cannot be read.
pub(crate) fn without_header(file: &dyn StorageFile) -> Held {
    match highest_without_header(file) {
        Ok(Some(seq)) => Held::UpTo(seq),
        Ok(None) | Err(_) => Held::Unknown(file.size().unwrap_or(0)),
    }
}

/// What an unsealed segment may hold where its scan stopped: nothing, unless the disk does not give the `len` bytes `at` which it stopped.
/// `end` is the end of its good frames.
pub(crate) fn behind_the_end(file: &dyn StorageFile, header: &SegmentHeader, end: u64, at: u64, len: u64) -> Held {
    if is_readable(file, at, len) { Held::UpTo(0) } else { Held::Within(header.capacity.saturating_sub(end)) }
}

/// The highest seq that may have been given out, when everything that was found or proven goes up to `known`. `capacities` are those of the
/// segments that are there.
pub(crate) fn highest(known: u64, held: impl Iterator<Item = Held>, capacities: impl Iterator<Item = u64>) -> u64 {
    let capacity = capacities.max().unwrap_or(UNKNOWN_CAPACITY);
    let beyond = |bytes: u64| known + bytes / SMALLEST_EVENT_BYTES;
    let reached = held.map(|held| match held {
        // What claims more than fits into a segment is not what it seems to be.
        Held::UpTo(seq) => seq.min(beyond(capacity)),
        Held::Within(bytes) => beyond(bytes),
        Held::Unknown(size) => beyond(size.max(capacity)),
    });
    reached.fold(known, u64::max)
}

fn highest_without_header(file: &dyn StorageFile) -> io::Result<Option<u64>> {
    let limit = file.size()?;
    let mut first = [0_u8; HEADER_LEN];
    if read_full(file, &mut first, DATA_START)? < HEADER_LEN {
        return Ok(None);
    }
    if first == [0; HEADER_LEN] {
        // Prepared, and never written to; if it is a segment at all.
        return Ok(segment::begins_as_one(file)?.then_some(0));
    }
    let Some(seed) = frame::seed_of(&first, DATA_START) else { return Ok(None) };
    let mut scanner = Scanner::default();
    scanner.insist(false);
    if !matches!(scanner.frame_at(file, seed, DATA_START, limit)?, Found::Frame(..)) {
        return Ok(None);
    }
    let (mut at, mut highest, mut frames) = (DATA_START, 0, 0);
    loop {
        match scanner.frame_at(file, seed, at, limit)? {
            Found::Frame(header, _) | Found::BadPayload(header) => {
                highest = highest.max(header.next_seq() - 1);
                at += header.stored_len();
                frames += 1;
            }
            Found::NoFrame { blank } => match scanner.resync(file, seed, at, limit, highest + 1)? {
                Some((good, _)) => at = good,
                // A damaged header tells a seed, too, with which nothing else verifies. What is alone is followed by the end mark.
                None => return Ok(((blank || frames > 1) && is_readable(file, at, HEADER_LEN as u64)).then_some(highest)),
            },
        }
    }
}

/// Whether the disk gives a stretch; what is beyond the end of the file does not count.
fn is_readable(file: &dyn StorageFile, at: u64, len: u64) -> bool {
    let mut bytes = vec![0_u8; usize::try_from(len).unwrap_or_default()];
    read_full(file, &mut bytes, at).is_ok()
}
