//! Acks in any order → the contiguous frontier. Pure.
//!
//! Invariants: the frontier never passes a seq that is neither acked nor reported lost; an ack counts once.
//! Bounded: frames are leased that begin at most [`MAX_SPAN`] above the frontier, and acks are accepted no farther than such a frame reaches.

use super::log::cursor::MAX_LOST_RANGES;
use std::collections::VecDeque;

/// Farthest above the frontier that an event may be leased, in seqs. Bounds the memory here and the cursor on disk: 8 KiB of bits.
pub(crate) const MAX_SPAN: usize = 1 << 16;

/// Farthest above the frontier that an event may be acknowledged: a frame has to begin inside the span, and may hold as many events as
/// a request may (`ingest.max_batch_events`).
const MAX_AHEAD: usize = MAX_SPAN + (1 << 20);

/// The frontier and what is beyond it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watermark {
    frontier: u64,
    /// Bit i of the sequence of words stands for `base + i`; `base` is a multiple of 64 and at most `frontier + 1`.
    words: VecDeque<u64>,
    base: u64,
    /// Lost ranges (inclusive) above the frontier, in order.
    lost: VecDeque<(u64, u64)>,
}

/// What a cursor keeps of what is above the frontier.
#[derive(Debug)]
pub(crate) struct Above {
    /// Bit i stands for `frontier + 1 + i`.
    pub(crate) bits: Vec<u64>,
    /// Inclusive ranges.
    pub(crate) lost: Vec<(u64, u64)>,
    /// Acked events for which there is no room: after a restart they are delivered, and counted, again.
    pub(crate) forgotten_acked: u64,
    /// Lost events likewise.
    pub(crate) forgotten_lost: u64,
}

/// How many events inclusive ranges have.
pub(crate) fn events_in(ranges: &[(u64, u64)]) -> u64 {
    ranges.iter().map(|(from, to)| to - from + 1).sum()
}

impl Watermark {
    /// Continues from a cursor's marks.
    pub(crate) fn restore(frontier: u64, ended_above: &[u64], lost_above: &[(u64, u64)]) -> Self {
        let mut mark = Self { frontier, base: (frontier + 1) / 64 * 64, ..Self::default() };
        for (i, word) in ended_above.iter().take(MAX_SPAN / 64).enumerate() {
            for bit in (0..64).filter(|bit| word >> bit & 1 == 1) {
                let _ = mark.ack(frontier + 1 + i as u64 * 64 + bit);
            }
        }
        for &(from, to) in lost_above {
            mark.lose(from, to);
        }
        mark
    }

    /// Every seq up to and including this one is at its end.
    pub(crate) fn frontier(&self) -> u64 {
        self.frontier
    }

    /// The highest seq that may be at its end.
    pub(crate) fn highest_ended(&self) -> u64 {
        let acked = self.base + self.words.len() as u64 * 64;
        let lost = self.lost.iter().map(|&(_, to)| to).max().unwrap_or(0);
        acked.max(lost).max(self.frontier)
    }

    /// How many seqs above the frontier are at their end.
    pub(crate) fn ended_above(&self) -> u64 {
        let acked = self.bits_in(self.frontier + 1, u64::MAX);
        let lost = self.lost.iter().map(|&(from, to)| to - from + 1 - self.bits_in(from, to)).sum::<u64>();
        acked + lost
    }

    /// How many seqs of an inclusive range are at their end.
    pub(crate) fn ended_in(&self, from: u64, to: u64) -> u64 {
        if from > to {
            return 0;
        }
        let below = (self.frontier + 1).min(to + 1).saturating_sub(from);
        let from = from.max(self.frontier + 1);
        let cut = self.lost.iter().map(|&(a, b)| (a.max(from), b.min(to))).filter(|(a, b)| a <= b);
        let lost: u64 = cut.map(|(a, b)| b - a + 1 - self.bits_in(a, b)).sum();
        below + lost + if from <= to { self.bits_in(from, to) } else { 0 }
    }

    /// What of an inclusive range is not at its end, as ascending, inclusive ranges: at most one more than half of the span, and one for each
    /// range that was lost.
    pub(crate) fn open_in(&self, from: u64, to: u64) -> Vec<(u64, u64)> {
        let bits_end = self.base + self.words.len() as u64 * 64;
        let (mut open, mut seq) = (Vec::new(), from.max(self.frontier + 1));
        while seq <= to {
            let lost_to = self.lost.iter().find(|&&(a, b)| (a..=b).contains(&seq)).map(|&(_, b)| b);
            if lost_to.is_some() || self.bit(seq) {
                seq = lost_to.unwrap_or(seq) + 1;
                continue;
            }
            let next_lost = self.lost.iter().map(|&(a, _)| a).filter(|a| *a > seq).min();
            let end = next_lost.map_or(to, |a| to.min(a - 1));
            let last = (seq..end.min(bits_end)).find(|seq| self.bit(seq + 1)).unwrap_or(end);
            open.push((seq, last));
            seq = last + 1;
        }
        open
    }

    /// Whether a seq is at its end.
    pub(crate) fn ended(&self, seq: u64) -> bool {
        seq <= self.frontier || self.bit(seq) || self.lost.iter().any(|&(from, to)| (from..=to).contains(&seq))
    }

    /// The first seq from `seq` on that is above the frontier and not reported lost.
    pub(crate) fn first_open(&self, seq: u64) -> u64 {
        let mut open = seq.max(self.frontier + 1);
        while let Some(&(_, to)) = self.lost.iter().find(|&&(from, to)| (from..=to).contains(&open)) {
            open = to + 1;
        }
        open
    }

    /// Marks one seq; `false` when it was already at its end or is farther away than anything leased.
    pub(crate) fn ack(&mut self, seq: u64) -> bool {
        if self.ended(seq) {
            return false;
        }
        let Ok(index) = usize::try_from(seq - self.base) else { return false };
        if index > MAX_AHEAD {
            return false;
        }
        if self.words.len() <= index / 64 {
            self.words.resize(index / 64 + 1, 0);
        }
        self.words[index / 64] |= 1 << (index % 64);
        self.advance();
        true
    }

    /// Reports an inclusive range lost; returns how many of its seqs were not at their end before.
    pub(crate) fn lose(&mut self, from: u64, to: u64) -> u64 {
        let mut pieces = vec![(from.max(self.frontier + 1), to)];
        for &(a, b) in &self.lost {
            let cut = |(from, to): (u64, u64)| [(from, to.min(a - 1)), (from.max(b + 1), to)];
            pieces = pieces.into_iter().flat_map(cut).filter(|(from, to)| from <= to).collect();
        }
        pieces.retain(|(from, to)| from <= to);
        let fresh = pieces.iter().map(|&(from, to)| to - from + 1 - self.bits_in(from, to)).sum();
        self.lost.extend(pieces);
        self.advance();
        fresh
    }

    /// Ends the events of ascending, inclusive ranges that an operator gave up; returns how many were not at their end before. `None`,
    /// with nothing changed, when a cursor has no room to remember them: near the frontier it has a bit for each event, farther away
    /// only ranges.
    pub(crate) fn give_up(&mut self, ranges: &[(u64, u64)]) -> Option<u64> {
        let mut mark = self.clone();
        let (mut fresh, mut far_away) = (0, false);
        for &(from, to) in ranges {
            if from <= mark.frontier + 1 {
                fresh += mark.lose(from, to);
                continue;
            }
            let near_end = to.min(mark.frontier + MAX_SPAN as u64);
            fresh += (from..=near_end).filter(|seq| mark.ack(*seq)).count() as u64;
            let far_from = from.max(near_end + 1);
            if far_from <= to {
                fresh += mark.lose(far_from, to);
                far_away = true;
            }
        }
        if far_away && mark.lost.len() > MAX_LOST_RANGES {
            return None;
        }
        *self = mark;
        Some(fresh)
    }

    /// What a cursor keeps: bits from `frontier + 1` on, and the lost ranges, as many as it has room for.
    pub(crate) fn above(&self) -> Above {
        let first = self.frontier + 1;
        let end = self.base + self.words.len() as u64 * 64;
        let mut bits = vec![0_u64; usize::try_from(end.saturating_sub(first)).unwrap_or(0).div_ceil(64).min(MAX_SPAN / 64)];
        for (i, word) in bits.iter_mut().enumerate() {
            for bit in 0..64 {
                *word |= u64::from(self.bit(first + i as u64 * 64 + bit)) << bit;
            }
        }
        while bits.last() == Some(&0) {
            let _ = bits.pop();
        }
        let ended: u64 = bits.iter().map(|word| u64::from(word.count_ones())).sum();
        let (lost, forgotten): (Vec<_>, Vec<_>) = self.lost.iter().copied().enumerate().partition(|(i, _)| *i < MAX_LOST_RANGES);
        Above {
            forgotten_acked: self.bits_in(first, u64::MAX) - ended,
            forgotten_lost: forgotten.iter().map(|&(_, (from, to))| to - from + 1 - self.bits_in(from, to)).sum(),
            bits,
            lost: lost.into_iter().map(|(_, range)| range).collect(),
        }
    }

    /// Acked seqs in an inclusive range.
    fn bits_in(&self, from: u64, to: u64) -> u64 {
        let first = from.saturating_sub(self.base) / 64;
        let last = to.saturating_sub(self.base) / 64;
        let words = self.words.iter().enumerate().map(|(i, word)| (i as u64, word)).filter(|(i, _)| (first..=last).contains(i));
        let bits = words.map(|(i, word)| {
            let start = self.base + i * 64;
            let low = u64::MAX << from.saturating_sub(start).min(63);
            let high = u64::MAX >> (63 - to.saturating_sub(start).min(63));
            let outside = from > start + 63 || to < start;
            if outside { 0 } else { u64::from((word & low & high).count_ones()) }
        });
        bits.sum()
    }

    fn bit(&self, seq: u64) -> bool {
        let Some(index) = seq.checked_sub(self.base).and_then(|index| usize::try_from(index).ok()) else { return false };
        self.words.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    fn advance(&mut self) {
        loop {
            // Whole words first: acks come in long runs.
            while self.frontier + 1 == self.base && self.words.front() == Some(&u64::MAX) {
                self.frontier += 64;
                self.shift();
            }
            let next = self.frontier + 1;
            if self.bit(next) {
                self.frontier = next;
            } else if let Some(i) = self.lost.iter().position(|&(from, to)| (from..=to).contains(&next)) {
                self.frontier = self.lost[i].1;
                let _ = self.lost.remove(i);
            } else {
                break;
            }
            while self.base + 64 <= self.frontier + 1 {
                self.shift();
                if self.words.is_empty() {
                    self.base = (self.frontier + 1) / 64 * 64;
                }
            }
        }
        self.lost.retain(|&(_, to)| to > self.frontier);
    }

    fn shift(&mut self) {
        let _ = self.words.pop_front();
        self.base += 64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        // Goal: whatever the order of acks and losses, the frontier is the longest gapless run, and a restart continues from it.
        #[test]
        fn equals_the_plain_definition(start in 0_u64..200, steps in prop::collection::vec((0_u64..300, 0_u64..40, any::<bool>(), any::<bool>()), 0..300)) {
            let mut mark = Watermark::restore(start, &[], &[]);
            let mut ended: BTreeSet<u64> = (1..=start).collect();
            for (at, len, lose, restart) in steps {
                let seq = start.saturating_sub(20) + at + 1;
                if lose {
                    let (from, to) = (seq, seq + len % 5);
                    let before = ended.len() as u64;
                    ended.extend(from..=to);
                    prop_assert_eq!(mark.lose(from, to), ended.len() as u64 - before);
                } else {
                    for seq in seq..=seq + len {
                        prop_assert_eq!(mark.ack(seq), ended.insert(seq));
                    }
                }
                let frontier = (1..1000).take_while(|seq| ended.contains(seq)).last().unwrap_or(0);
                prop_assert_eq!(mark.frontier(), frontier);
                prop_assert_eq!(mark.ended_above(), ended.iter().filter(|seq| **seq > frontier).count() as u64);
                let (from, to) = (seq.saturating_sub(7), seq + 2 * len);
                prop_assert_eq!(mark.ended_in(from.max(1), to), ended.range(from.max(1)..=to).count() as u64, "{}..={}", from, to);
                let open: Vec<u64> = mark.open_in(from, to).into_iter().flat_map(|(from, to)| from..=to).collect();
                prop_assert_eq!(open, (from.max(1)..=to).filter(|seq| !ended.contains(seq)).collect::<Vec<_>>());
                for seq in 1..400 {
                    prop_assert_eq!(mark.ended(seq), ended.contains(&seq), "seq {}", seq);
                }
                if restart {
                    let Above { bits, lost, .. } = mark.above();
                    mark = Watermark::restore(mark.frontier(), &bits, &lost);
                }
            }
        }
    }

    // Goal: what the cursor has no room for is delivered again, and not counted twice.
    #[test]
    fn what_a_cursor_forgets_is_told() {
        let mut mark = Watermark::default();
        let far = MAX_SPAN as u64 + 100;
        assert!((2..=far).all(|seq| mark.ack(seq)));
        for n in 0..MAX_LOST_RANGES as u64 + 3 {
            assert_eq!(mark.lose(far + 10 * n + 5, far + 10 * n + 6), 2);
        }
        let Above { bits, lost, forgotten_acked, forgotten_lost } = mark.above();
        let kept = Watermark::restore(mark.frontier(), &bits, &lost);
        assert_eq!((forgotten_acked, forgotten_lost), (100, 6));
        assert_eq!(kept.ended_above(), mark.ended_above() - 106);
    }

    // Goal: what an operator gives up is given up for good: a restart knows all of it, or the operator is told that there is no room.
    #[test]
    fn what_is_given_up_stays_given_up() {
        let restarted = |mark: &Watermark| {
            let Above { bits, lost, forgotten_acked, forgotten_lost } = mark.above();
            assert_eq!((forgotten_acked, forgotten_lost), (0, 0));
            Watermark::restore(mark.frontier(), &bits, &lost)
        };
        let mut mark = Watermark::restore(100, &[], &[]);
        let far = 100 + MAX_SPAN as u64;
        // One after the other near the frontier, one range across the border, one that begins at the frontier.
        let near: Vec<(u64, u64)> = (0..1_000).map(|n| (200 + 2 * n, 200 + 2 * n)).collect();
        assert_eq!(mark.give_up(&near), Some(1_000));
        assert_eq!(mark.give_up(&[(far - 9, far + 10), (far + 1_000, far + 9_999)]), Some(20 + 9_000));
        assert_eq!(mark.give_up(&[(1, 199)]), Some(99));
        let again = restarted(&mark);
        assert_eq!((again.frontier(), again.ended_above()), (200, 999 + 20 + 9_000));
        assert!(again.ended(202) && !again.ended(203) && again.ended(far + 10) && !again.ended(far + 11));
        // Too many pieces far away: refused whole.
        let scattered: Vec<(u64, u64)> = (0..=MAX_LOST_RANGES as u64).map(|n| (2 * far + 2 * n, 2 * far + 2 * n)).collect();
        assert_eq!(mark.give_up(&scattered), None);
        assert_eq!(restarted(&mark).ended_above(), again.ended_above());
    }

    // Goal: every event of the largest request that begins inside the span can be acknowledged, in any order.
    #[test]
    fn the_last_event_of_a_huge_request_counts() {
        let mut mark = Watermark::default();
        let last = MAX_SPAN as u64 + 1_000_000;
        assert!(mark.ack(last) && !mark.ack(last));
        assert_eq!((mark.frontier(), mark.ended_above()), (0, 1));
    }
}
