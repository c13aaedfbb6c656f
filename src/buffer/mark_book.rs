//! The books of the events that the buffer has: which are at their end, how many of each end, how old the rest is.
//!
//! Invariant (G9): what was given a seq is acked, dead-lettered, purged, lost, parked, or in the backlog; the backlog is counted by itself, so that a mistake
//! shows. Bounded: the watermark is, and the lists of ages and partitions are thinned out.

use super::log::cursor::{MAX_PARTITIONS, Marks, PartitionMark, newest_that_fit};
use super::watermark::{Above, Watermark};
use crate::event::{Place, Seq};
use crate::lifecycle::Ends;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Entries of the age index; thinned out beyond.
const MAX_AGES: usize = 4096;

/// How far things have come.
#[derive(Debug)]
pub(crate) struct MarkBook {
    pub(crate) durable: u64,
    pub(crate) watermark: Watermark,
    pub(crate) ends: Ends,
    /// Durable and not at their end: counted up by commits and down by ends, apart from the seqs.
    pub(crate) backlog: u64,
    /// Durable, parked, and not at their end: out of the log, so not in its backlog.
    pub(crate) parked: u64,
    pub(crate) partitions: BTreeMap<(Arc<str>, i32), (u64, i64)>,
    /// `(first seq, accepted ms)` of frames about a second apart.
    pub(crate) ages: VecDeque<(u64, u64)>,
    /// When the oldest leased and unacknowledged event was accepted.
    pub(crate) oldest_leased_ms: Option<u64>,
    /// The reader sleeps and wants to be woken: a wake-up costs a system call.
    pub(crate) reader_sleeps: bool,
    /// Somebody called [`super::ReaderWaker::wake`].
    pub(crate) woken: bool,
    /// Kafka may have events of which no report said so: the next life has to look, however this one ends.
    pub(crate) in_doubt: bool,
}

impl MarkBook {
    /// What a cursor should say.
    pub(crate) fn to_cursor(&self, relay_id: [u8; 16], segment_id: u64, clean: bool) -> Marks {
        let Above { bits, lost: lost_above, forgotten_acked, forgotten_lost } = self.watermark.above();
        // Parked events may be among what is forgotten. They are known from their files, and were never counted as ended: as many as there are
        // parked are not taken off, and opening, which counts the files, takes off what is too much.
        let (lost, left) = (forgotten_lost.saturating_sub(self.parked), self.parked.saturating_sub(forgotten_lost));
        let acked = forgotten_acked.saturating_sub(left);
        let ends = Ends { acked: self.ends.acked.saturating_sub(acked), lost: self.ends.lost.saturating_sub(lost), ..self.ends };
        let partitions = self.partitions.iter().map(|((topic, partition), (seq, offset))| PartitionMark {
            topic: topic.to_string(),
            partition: *partition,
            seq: *seq,
            offset: *offset,
        });
        Marks {
            relay_id,
            frontier: self.watermark.frontier(),
            ended_above: bits,
            lost_above,
            ends,
            durable_seq: self.durable,
            segment_id,
            clean: clean && !self.in_doubt,
            partitions: newest_that_fit(partitions.collect()),
        }
    }

    /// Books events as given up: those of ascending, inclusive ranges; returns which were not at their end before, as such ranges. `None`, with nothing
    /// changed, when they are too scattered.
    pub(crate) fn purge(&mut self, ranges: &[(u64, u64)]) -> Option<Vec<(u64, u64)>> {
        // Never what is not there yet.
        let ranges: Vec<_> = ranges.iter().map(|&(from, to)| (from, to.min(self.durable))).filter(|(from, to)| from <= to).collect();
        let frontier = self.watermark.frontier();
        let fresh = ranges.iter().flat_map(|&(from, to)| self.watermark.open_in(from, to)).collect();
        let purged = self.watermark.give_up(&ranges)?;
        self.ends.purged += purged;
        self.backlog = self.backlog.saturating_sub(purged);
        if self.watermark.frontier() > frontier {
            // Whatever was the oldest on its way to Kafka may be none any more; the index of ages knows it about as well.
            self.oldest_leased_ms = None;
        }
        Some(fresh)
    }

    /// Books what of an inclusive range is not at its end as lost; returns that, as ascending, inclusive ranges.
    pub(crate) fn lose(&mut self, from: u64, to: u64) -> Vec<(u64, u64)> {
        let fresh = self.watermark.open_in(from, to);
        let lost = self.watermark.lose(from, to);
        self.ends.lost += lost;
        self.backlog = self.backlog.saturating_sub(lost);
        fresh
    }

    /// Remembers when events were accepted, about once a second.
    pub(crate) fn note_age(&mut self, first_seq: u64, accepted_ms: u64) {
        if self.ages.back().is_none_or(|&(_, last)| accepted_ms >= last + 1000) {
            self.ages.push_back((first_seq, accepted_ms));
            if self.ages.len() > MAX_AGES {
                let mut keep = false;
                self.ages.retain(|_| {
                    keep = !keep;
                    keep
                });
            }
        }
    }

    /// When the oldest event that is not at its end was accepted, in Unix milliseconds.
    pub(crate) fn oldest_ms(&mut self) -> Option<u64> {
        if self.backlog == 0 {
            return None;
        }
        let oldest = self.watermark.frontier() + 1;
        while self.ages.get(1).is_some_and(|&(seq, _)| seq <= oldest) {
            let _ = self.ages.pop_front();
        }
        self.oldest_leased_ms.or_else(|| self.ages.front().map(|&(_, ms)| ms))
    }

    /// Everything that waits: in the log, and parked.
    pub(crate) fn waiting(&self) -> u64 {
        self.backlog + self.parked
    }

    /// Events left the log to be parked; those that had left it before do not count.
    pub(crate) fn park(&mut self, seqs: &[u64]) {
        let fresh = seqs.iter().filter(|seq| self.watermark.ack(**seq)).count() as u64;
        self.parked += fresh;
        self.backlog = self.backlog.saturating_sub(fresh);
    }

    /// Parked events reached their end, which `part` counts; returns all ends then.
    pub(crate) fn end_parked(&mut self, fresh: u64, part: fn(&mut Ends) -> &mut u64) -> Ends {
        *part(&mut self.ends) += fresh;
        self.parked = self.parked.saturating_sub(fresh);
        self.ends
    }

    /// The newest place of each partition that is known.
    pub(crate) fn places(&self) -> Vec<Place> {
        let place = |((topic, partition), (_, offset)): (&(Arc<str>, i32), &(u64, i64))| Place {
            topic: Arc::clone(topic),
            partition: *partition,
            offset: *offset,
        };
        self.partitions.iter().map(place).collect()
    }

    /// Remembers the newest acked place of a partition.
    pub(crate) fn mark_partition(&mut self, topic: &Arc<str>, partition: i32, seq: Seq, offset: i64) {
        let key = (Arc::clone(topic), partition);
        let newest = self.partitions.entry(key).or_insert((seq.0, offset));
        if seq.0 >= newest.0 {
            *newest = (seq.0, offset);
        }
        if self.partitions.len() > MAX_PARTITIONS {
            let oldest = self.partitions.iter().min_by_key(|(_, (seq, _))| *seq).map(|(key, _)| key.clone());
            if let Some(key) = oldest {
                let _ = self.partitions.remove(&key);
            }
        }
    }
}
