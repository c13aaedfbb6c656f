//! The books: which events are there, which are at their end, which are missing, and whether it adds up. Pure.

use super::super::log::cursor::Marks;
use super::super::parked::{PARKED_DIR, Settled, Survey, settle};
use super::super::watermark::Watermark;
use super::parked::Parked;
use super::{Finding, NOTHING, OfflineLedger, Scanned, Severity, ended_by, without};
use crate::lifecycle::Ends;

/// What is compared.
pub(super) struct Books {
    /// The highest seq that is known to have been durable.
    durable: u64,
    /// Which are at their end.
    ended: Watermark,
    ends: Option<Ends>,
    /// How many events were read in the log that are not at their end.
    waiting: u64,
    parked: Parked,
    /// Neither at their end nor readable.
    pub(super) missing: Vec<(u64, u64)>,
}

impl Books {
    pub(super) fn new(durable: u64, marks: Option<&Marks>, scanned: &[Scanned], (survey, parked): (&Survey, Parked)) -> Self {
        let mut found: Vec<(u64, u64)> = scanned.iter().flat_map(|scanned| scanned.scan.found.iter().copied()).collect();
        found.sort_unstable();
        // Without a cursor, what came before the oldest event that is left was delivered, or reported: only the cursor knew.
        let begin = || Watermark::restore(found.first().map_or(durable, |(first, _)| first - 1), &[], &[]);
        let mut ended = marks.map_or_else(begin, ended_by);
        survey.take_out_of(&mut ended);
        let unread = without((ended.frontier() + 1, durable), &found);
        let missing = unread.into_iter().flat_map(|range| unended(range, &ended)).collect();
        let waiting = found.iter().map(|&(from, to)| to - from + 1 - ended.ended_in(from, to)).sum();
        Self { durable, ended, ends: marks.map(|marks| marks.ends), waiting, parked, missing }
    }

    /// The highest seq that is known to have been given out.
    pub(super) fn durable(&self) -> u64 {
        self.durable.max(self.ended.frontier())
    }

    /// Whether every event of a range is at its end.
    pub(super) fn all_ended(&self, (from, to): (u64, u64)) -> bool {
        self.ended.ended_in(from, to) == to - from + 1
    }

    /// The parts of a range that are lost.
    pub(super) fn lost_in(&self, (from, to): (u64, u64)) -> Option<(u64, u64)> {
        let cut = self.missing.iter().map(|&(a, b)| (a.max(from), b.min(to))).filter(|(a, b)| a <= b);
        cut.reduce(|(first, _), (_, last)| (first, last))
    }

    pub(super) fn ledger(&self, in_use: bool) -> OfflineLedger {
        let Settled { mut ends, lost, .. } = self.settled();
        ends.lost -= lost;
        let unreadable = self.missing.iter().map(|(from, to)| to - from + 1).sum::<u64>() + self.parked.unreadable + lost;
        let waiting = self.waiting + self.parked.waiting;
        // What the cursor calls ended must be what it counts as ended, whatever moves; the rest holds still only in a stopped buffer.
        let ended = self.ended.frontier() + self.ended.ended_above();
        let left_over = if in_use {
            // What is parked is out of the log and waits: as many, at another moment, as the cursor counts neither as waiting nor as ended.
            let parked = if self.parked.is_any { i128::from(ended.saturating_sub(ends.total())) } else { 0 };
            i128::from(ended) - i128::from(ends.total()) - parked
        } else {
            let accounted = i128::from(ends.total()) + i128::from(waiting) + i128::from(unreadable);
            i128::from(self.durable.max(self.ended.frontier())) - accounted
        };
        let error = self.ends.map(|_| i64::try_from(left_over).unwrap_or(i64::MAX));
        OfflineLedger { accepted: self.durable.max(self.ended.frontier()), ends, waiting, unreadable, error }
    }

    /// The ends as a start would settle them with what is parked.
    fn settled(&self) -> Settled {
        let ended = self.ended.frontier().saturating_add(self.ended.ended_above());
        let alive = self.parked.waiting + self.parked.unreadable;
        match self.ends {
            Some(ends) if self.parked.is_any => settle(ends, ended, alive, self.parked.dead),
            ends => Settled { ends: ends.unwrap_or_default(), ..Settled::default() },
        }
    }

    /// What is missing without a trace, and books that do not balance.
    pub(super) fn findings(&self, scanned: &[Scanned], in_use: bool) -> Vec<Finding> {
        let traces = scanned.iter().flat_map(|scanned| scanned.scan.pieces.iter().filter_map(|piece| piece.seqs));
        let mut traces: Vec<(u64, u64)> = traces.collect();
        traces.sort_unstable();
        let untraced = self.missing.iter().flat_map(|range| without(*range, &traces));
        let mut findings: Vec<Finding> = untraced
            .map(|range| {
                let then = "the events are reported lost; their seqs are not used again";
                Finding::new(Severity::Damage, "", "accepted events are in no file of this directory", then).of(Some(range))
            })
            .collect();
        if let Some(error) = self.ledger(in_use).error.filter(|error| *error != 0) {
            let what = format!("the books do not balance: {error} accepted events are neither waiting nor accounted for");
            findings.push(Finding::new(
                Severity::Damage,
                "cursor",
                what,
                "this is a defect in the relay: keep a copy of the directory and report it",
            ));
        }
        let lost = self.settled().lost;
        if lost > 0 && !in_use {
            let what = format!("{lost} parked events are in no file that can be read");
            findings.push(Finding::new(Severity::Damage, PARKED_DIR, what, "the events are reported lost"));
        }
        if let Some(first) = self.repeated(scanned) {
            findings.push(Finding::new(Severity::Note, "", "events are in two files", NOTHING).of(Some(first)));
        }
        findings
    }

    /// The first range that is found twice.
    fn repeated(&self, scanned: &[Scanned]) -> Option<(u64, u64)> {
        let mut found: Vec<(u64, u64)> = scanned.iter().flat_map(|scanned| scanned.scan.found.iter().copied()).collect();
        found.sort_unstable();
        let twice = found.windows(2).find(|pair| pair[1].0 <= pair[0].1).map(|pair| (pair[1].0, pair[0].1.min(pair[1].1)));
        twice.filter(|range| !self.all_ended(*range))
    }
}

/// The parts of a range that are not at their end.
fn unended((from, to): (u64, u64), ended: &Watermark) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    let mut at = from;
    while at <= to {
        let left = to - at + 1;
        let done = ended.ended_in(at, to);
        if done == 0 {
            ranges.push((at, to));
            break;
        }
        if done == left {
            break;
        }
        // Halves until a half is all of one kind: few steps for the few ranges that there are.
        let half = at + (left - 1) / 2;
        ranges.extend(unended((at, half), ended));
        at = half + 1;
    }
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some((_, to)) if *to + 1 == range.0 => *to = range.1,
            _ => joined.push(range),
        }
    }
    joined
}
