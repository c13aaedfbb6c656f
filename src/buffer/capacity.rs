//! How much fits: admission as bookkeeping, without I/O. Pure.
//!
//! A reservation is exact, not an estimate: it fixes where the frame will lie (this segment, or the next one), in the order in which the
//! committer will write. So what was admitted always fits, and allocated bytes never exceed the bound.

use super::log::frame::{self, HEADER_LEN};
use super::log::segment::DATA_START;

/// Smallest segment that is of any use.
pub(crate) const MIN_SEGMENT_BYTES: u64 = 1 << 16;
/// Largest segment: recovery scans one of them, and a cursor must pass a whole one to free any.
pub(crate) const MAX_SEGMENT_BYTES: u64 = 64 << 20;
/// Fewest segments in a buffer: one being written, one being drained, one being freed, one ready.
pub(crate) const MIN_SEGMENTS: u64 = 4;
/// What a file system may allocate for a segment besides its data (extent blocks), rounded up.
const SEGMENT_SLACK_BYTES: u64 = 1 << 14;
/// Cursor, lock, directories.
const FIXED_BYTES: u64 = super::log::cursor::CURSOR_BYTES + (1 << 16);

/// How the bytes of `max_bytes` are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) segment_bytes: u64,
    /// Most segment files at any time, spares included.
    pub(crate) max_segments: u64,
    pub(crate) quarantine_bytes: u64,
    pub(crate) dead_letter_bytes: u64,
    pub(crate) parked_bytes: u64,
}

impl Plan {
    /// Divides `max_bytes`; `largest_batch` is the largest payload that ingest may send, as a wish; `dead_letter_bytes` and `segment_bytes`
    /// are chosen where they are absent, `parked_bytes` are set apart as they are.
    ///
    /// # Errors
    /// A sentence, when the numbers cannot work together.
    pub(crate) fn new(
        max_bytes: u64,
        segment_bytes: Option<u64>,
        dead_letter_bytes: Option<u64>,
        parked_bytes: u64,
        largest_batch: u64,
    ) -> Result<Self, String> {
        let quarantine_bytes = (max_bytes / 32).clamp(1 << 16, 16 << 20);
        let dead_letter_bytes = dead_letter_bytes.unwrap_or((max_bytes / 32).clamp(1 << 16, 256 << 20));
        let room = max_bytes.saturating_sub(FIXED_BYTES + quarantine_bytes + dead_letter_bytes + parked_bytes);
        let most = (room / MIN_SEGMENTS).saturating_sub(SEGMENT_SLACK_BYTES);
        let wanted = segment_bytes.unwrap_or_else(|| {
            let for_batch = (frame::stored_len(largest_batch) + DATA_START + HEADER_LEN as u64).next_multiple_of(4096);
            (room / 16).max(for_batch).clamp(MIN_SEGMENT_BYTES, MAX_SEGMENT_BYTES).min(most)
        });
        let segment_bytes = wanted / 4096 * 4096;
        if segment_bytes < MIN_SEGMENT_BYTES {
            return Err(format!(
                "buffer.max_bytes = {max_bytes} (with buffer.segment_bytes = {wanted}) leaves no room for segments of at least \
                 {MIN_SEGMENT_BYTES} bytes; raise buffer.max_bytes"
            ));
        }
        let max_segments = room / (segment_bytes + SEGMENT_SLACK_BYTES);
        if max_segments < MIN_SEGMENTS {
            return Err(format!(
                "buffer.segment_bytes = {segment_bytes} is too large for buffer.max_bytes = {max_bytes}: at least {MIN_SEGMENTS} segments \
                 must fit; lower segment_bytes to {most} or raise max_bytes"
            ));
        }
        Ok(Self { segment_bytes, max_segments, quarantine_bytes, dead_letter_bytes, parked_bytes })
    }

    /// Bytes for frames in one segment: the end mark after the last frame is never used for data.
    pub(crate) fn segment_room(&self) -> u64 {
        self.segment_bytes - DATA_START - HEADER_LEN as u64
    }

    /// Largest payload of one batch.
    pub(crate) fn max_payload(&self) -> u64 {
        (self.segment_room() - HEADER_LEN as u64) / 8 * 8
    }
}

/// Where an admitted frame will lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// In the segment that is being written.
    Here,
    /// At the start of the next prepared segment.
    NextSegment,
}

/// The room that is left, in the order of admission.
#[derive(Clone, Debug)]
pub(crate) struct Capacity {
    segment_room: u64,
    /// Left in the segment that admissions go to.
    tail_room: u64,
    /// Prepared segments that no admission has claimed.
    ready: u64,
    /// Events admitted and not yet at their end.
    events: u64,
    /// Bound on `events`; 0: none.
    max_events: u64,
}

impl Capacity {
    /// Room of a buffer that holds `events`; writing begins with a prepared segment.
    pub(crate) fn new(plan: &Plan, events: u64, max_events: u64) -> Self {
        Self { segment_room: plan.segment_room(), tail_room: 0, ready: 0, events, max_events }
    }

    /// Claims room for a frame, or says that there is none.
    pub(crate) fn admit(&mut self, stored_len: u64, count: u64) -> Option<Slot> {
        // A batch larger than max_events gets in when it is alone; it could never otherwise.
        if self.max_events > 0 && self.events > 0 && self.events + count > self.max_events {
            return None;
        }
        let slot = if stored_len <= self.tail_room {
            self.tail_room -= stored_len;
            Slot::Here
        } else if self.ready > 0 && stored_len <= self.segment_room {
            self.ready -= 1;
            self.tail_room = self.segment_room - stored_len;
            Slot::NextSegment
        } else {
            return None;
        };
        self.events += count;
        Some(slot)
    }

    /// Claims room for a mark in the current segment, if it costs nobody anything.
    pub(crate) fn admit_mark(&mut self) -> bool {
        let fits = self.tail_room >= HEADER_LEN as u64;
        if fits {
            self.tail_room -= HEADER_LEN as u64;
        }
        fits
    }

    /// A segment was prepared.
    pub(crate) fn add_ready(&mut self) {
        self.ready += 1;
    }

    /// Events reached their end.
    pub(crate) fn ended(&mut self, count: u64) {
        self.events = self.events.saturating_sub(count);
    }

    /// Everything admitted and not durable was refused: `events` of them; admissions go on in one of the `ready` segments.
    pub(crate) fn start_over(&mut self, ready: u64, events: u64) {
        self.tail_room = 0;
        self.ready = ready;
        self.ended(events);
    }

    /// Prepared segments that nothing has claimed.
    pub(crate) fn ready(&self) -> u64 {
        self.ready
    }

    /// Events admitted and not at their end.
    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    /// Bytes that can still be admitted without anything being freed or prepared.
    pub(crate) fn free_bytes(&self) -> u64 {
        self.tail_room + self.ready * self.segment_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        // Goal: allocated disk never exceeds max_bytes, whatever the settings.
        #[test]
        fn a_plan_never_exceeds_its_bound(max_bytes in (1_u64 << 20)..(64 << 30), batch in 0_u64..(32 << 20), segment in prop::option::of((1_u64 << 16)..(256 << 20)), dead in prop::option::of((1_u64 << 16)..(256 << 20)), parked in prop::option::of((1_u64 << 16)..(8 << 30))) {
            if let Ok(plan) = Plan::new(max_bytes, segment, dead, parked.unwrap_or(0), batch) {
                let apart = FIXED_BYTES + plan.quarantine_bytes + plan.dead_letter_bytes + plan.parked_bytes;
                let total = plan.max_segments * (plan.segment_bytes + SEGMENT_SLACK_BYTES) + apart;
                prop_assert!(total <= max_bytes);
                prop_assert!(plan.max_segments >= MIN_SEGMENTS);
                prop_assert!(plan.segment_bytes % 4096 == 0);
            } else {
                prop_assert!(segment.is_some() || dead.is_some() || parked.is_some(), "with defaults every max_bytes from 1 MiB works");
            }
        }

        // Goal: what was admitted fits where it was told to lie.
        #[test]
        fn admitted_frames_fit(lens in prop::collection::vec((56_u64..50_000, any::<bool>()), 1..200)) {
            let plan = Plan::new(1 << 20, None, None, 0, 0).unwrap();
            let mut capacity = Capacity::new(&plan, 0, 0);
            let (mut used, mut ready) = (plan.segment_room(), 0_u64);
            for (len, prepare) in lens {
                if prepare {
                    capacity.add_ready();
                    ready += 1;
                }
                match capacity.admit(len, 1) {
                    Some(Slot::Here) => used += len,
                    Some(Slot::NextSegment) => {
                        prop_assert!(ready > 0);
                        ready -= 1;
                        used = len;
                    }
                    None => prop_assert!(ready == 0 && used + len > plan.segment_room()),
                }
                prop_assert!(used <= plan.segment_room());
            }
        }
    }
}
