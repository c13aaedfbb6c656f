//! The books of one request: which of its events were known, and what its answer says of them. Pure.

use super::dedup::{Original, Seen};
use super::error::{AppendError, Conflict};
use super::{Appended, Repeat};
use crate::event::{Batch, Seq};

/// Most conflicts that a refusal lists.
const CONFLICTS_MAX: usize = 100;

/// Events of a request that are not stored with it.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Position in the request of each event that is left in the batch; empty while all are.
    left: Vec<usize>,
    /// Known ones by position in the request: the first one's seq, or its position in the request.
    known: Vec<(usize, Original)>,
}

impl Known {
    /// Refuses what has a known id and another body.
    pub(super) fn check(&self, seen: &[Seen]) -> Result<(), AppendError> {
        let conflict = |seen: &Seen| Conflict {
            position: self.position(seen.position),
            accepted_as: match seen.original {
                Original::Before(seq) => Some(seq),
                Original::Here(_) => None,
            },
        };
        let conflicts: Vec<_> = seen.iter().filter(|seen| !seen.same_body).take(CONFLICTS_MAX).map(conflict).collect();
        if conflicts.is_empty() { Ok(()) } else { Err(AppendError::Conflict(conflicts)) }
    }

    /// The batch without what was seen in it.
    pub(super) fn take_out(&mut self, seen: &[Seen], batch: &Batch) -> Batch {
        for seen in seen {
            let original = match seen.original {
                Original::Here(position) => Original::Here(self.position(position)),
                before @ Original::Before(_) => before,
            };
            self.known.push((self.position(seen.position), original));
        }
        let left_out: Vec<usize> = seen.iter().map(|seen| seen.position).collect();
        let mut next = left_out.iter().copied().peekable();
        let left = (0..batch.count() as usize).filter(|position| next.next_if_eq(position).is_none());
        self.left = left.map(|position| self.position(position)).collect();
        batch.without(&left_out)
    }

    /// The answer, once the rest is stored.
    pub(super) fn complete(mut self, mut appended: Appended) -> Appended {
        if self.known.is_empty() {
            return appended;
        }
        self.known.sort_unstable_by_key(|(position, _)| *position);
        for (position, original) in &self.known {
            let seq = self.seq_of(*original, appended.first_seq);
            appended.repeats.push(Repeat { position: *position, seq });
        }
        appended
    }

    /// The answer when all were known.
    pub(super) fn all(self, durable: bool) -> Appended {
        let mut appended = self.complete(Appended { first_seq: Seq(0), count: 0, durable, repeats: Vec::new() });
        appended.first_seq = appended.repeats.first().map_or(Seq(0), |repeat| repeat.seq);
        appended
    }

    fn position(&self, in_batch: usize) -> usize {
        if self.left.is_empty() { in_batch } else { self.left.get(in_batch).copied().unwrap_or(in_batch) }
    }

    /// The seq of a first one. One of this request may itself have turned out to be known when the request was looked at again.
    fn seq_of(&self, original: Original, first_stored: Seq) -> Seq {
        let position = match original {
            Original::Before(seq) => return seq,
            Original::Here(position) => position,
        };
        match self.known.binary_search_by_key(&position, |(position, _)| *position) {
            Ok(at) => match self.known[at].1 {
                Original::Before(seq) => seq,
                // An event that is left out never stands for another one.
                Original::Here(_) => first_stored,
            },
            Err(known_before) => first_stored.plus((position - known_before) as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{BatchBuilder, EventParts, Field};

    fn batch(count: usize) -> Batch {
        let mut builder = BatchBuilder::default();
        for n in 0..count {
            let id = n.to_string();
            let name = Field::Text("t");
            builder.push(&EventParts {
                value: id.as_bytes(),
                id: Field::Span { offset: 0, len: id.len() },
                kind: name,
                source_type: name,
                source_id: name,
                traceparent: Field::Absent,
            });
        }
        builder.finish()
    }

    // Goal: the answer gives the right seq for each event of a request, whichever of them were known, also when that was found out bit by
    // bit.
    #[test]
    fn seqs_of_a_mixed_request() {
        let mut known = Known::default();
        // 0 1 2 3 4 5: event 1 is known, 4 is event 2 once more; then, of the rest 0 2 3 5, event 2 turns out to be known.
        let rest = known.take_out(&[Seen::repeat(1, Original::Before(Seq(7))), Seen::repeat(4, Original::Here(2))], &batch(6));
        let rest = known.take_out(&[Seen::repeat(1, Original::Before(Seq(50)))], &rest);
        assert_eq!(rest.count(), 3);
        let appended = known.complete(Appended { first_seq: Seq(100), count: 3, durable: true, repeats: Vec::new() });
        assert_eq!(appended.seqs().map(|seq| seq.0).collect::<Vec<_>>(), [100, 7, 50, 101, 50, 102]);
        assert_eq!((appended.repeats.len(), appended.last_seq()), (3, Seq(102)));
    }

    // Goal: a request that was there before is answered with the seqs it had.
    #[test]
    fn all_known() {
        let mut known = Known::default();
        let rest = known.take_out(&[Seen::repeat(0, Original::Before(Seq(7))), Seen::repeat(1, Original::Before(Seq(8)))], &batch(2));
        assert_eq!(rest.count(), 0);
        let appended = known.all(true);
        assert_eq!((appended.first_seq, appended.last_seq(), appended.count, appended.repeats.len()), (Seq(7), Seq(8), 0, 2));
    }

    // Goal: a refusal names the events by their positions in the request as it was sent.
    #[test]
    fn conflicts_are_named() {
        let mut known = Known::default();
        let _ = known.take_out(&[Seen::repeat(0, Original::Before(Seq(7)))], &batch(3));
        let mut other = Seen::repeat(1, Original::Before(Seq(3)));
        other.same_body = false;
        let Err(AppendError::Conflict(conflicts)) = known.check(&[Seen::repeat(0, Original::Before(Seq(1))), other]) else {
            panic!("no conflict")
        };
        assert_eq!(conflicts, [Conflict { position: 2, accepted_as: Some(Seq(3)) }]);
    }
}
