//! Disjoint, inclusive ranges of seqs. Pure.

use std::collections::BTreeMap;

/// A set of seqs, as ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spans(BTreeMap<u64, u64>);

impl Spans {
    pub(super) fn contains(&self, seq: u64) -> bool {
        self.0.range(..=seq).next_back().is_some_and(|(_, to)| seq <= *to)
    }

    /// Adds an inclusive range.
    pub(super) fn add(&mut self, from: u64, to: u64) {
        if from > to {
            return;
        }
        let (mut from, mut to) = (from, to);
        // Whatever it touches becomes part of it.
        while let Some((a, b)) =
            self.0.range(..=to.saturating_add(1)).next_back().map(|(a, b)| (*a, *b)).filter(|(_, b)| b.saturating_add(1) >= from)
        {
            let _ = self.0.remove(&a);
            (from, to) = (from.min(a), to.max(b));
        }
        let _ = self.0.insert(from, to);
    }

    /// Takes one seq out.
    pub(super) fn take_out(&mut self, seq: u64) {
        let Some((from, to)) = self.0.range(..=seq).next_back().map(|(a, b)| (*a, *b)).filter(|(_, to)| seq <= *to) else { return };
        let _ = self.0.remove(&from);
        if from < seq {
            let _ = self.0.insert(from, seq - 1);
        }
        if seq < to {
            let _ = self.0.insert(seq + 1, to);
        }
    }

    /// Forgets everything up to and including a seq.
    pub(super) fn forget_to(&mut self, seq: u64) {
        while let Some((from, to)) = self.0.first_key_value().map(|(a, b)| (*a, *b)).filter(|(from, _)| *from <= seq) {
            let _ = self.0.remove(&from);
            if to > seq {
                let _ = self.0.insert(seq + 1, to);
            }
        }
    }

    /// How many ranges.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        // Goal: ranges are a plain set of seqs, whatever is added and taken out in whatever order.
        #[test]
        fn equals_a_plain_set(steps in prop::collection::vec((0_u8..3, 1_u64..60, 0_u64..12), 0..120)) {
            let (mut spans, mut plain) = (Spans::default(), BTreeSet::new());
            for (what, seq, len) in steps {
                match what {
                    0 => {
                        spans.add(seq, seq + len);
                        plain.extend(seq..=seq + len);
                    }
                    1 => {
                        spans.take_out(seq);
                        let _ = plain.remove(&seq);
                    }
                    _ => {
                        spans.forget_to(seq / 2);
                        plain = plain.split_off(&(seq / 2 + 1));
                    }
                }
                for seq in 0..90 {
                    prop_assert_eq!(spans.contains(seq), plain.contains(&seq), "seq {}", seq);
                }
                let gaps = plain.iter().filter(|seq| !plain.contains(&(*seq + 1))).count();
                prop_assert_eq!(spans.len(), gaps);
            }
        }
    }
}
