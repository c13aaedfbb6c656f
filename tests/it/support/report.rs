//! What became of the events of a [`super::load::Load`], and whether Kafka agrees.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::{
    consume::Record,
    order::{self, by_key},
};

/// One request of a writer: events `first .. first + count`.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub writer: usize,
    /// The source of its first event, and of all unless the plan spreads them.
    pub source: String,
    pub first: u64,
    pub count: u64,
    pub outcome: Outcome,
}

/// What the relay answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 200 or 202: every event must arrive. With `first_seq` and `last_seq`, when they were named.
    Accepted { status: u16, seqs: Option<(u64, u64)> },
    /// Any other answer: no event may arrive.
    Refused { status: u16 },
    /// No answer: all events arrive or none does.
    Unknown { why: String },
}

/// All attempts, each writer's in the order it made them.
#[derive(Debug)]
pub struct Report {
    pub attempts: Vec<Attempt>,
}

impl Report {
    pub(super) fn new(attempts: impl Iterator<Item = Vec<Attempt>>) -> Self {
        Self { attempts: attempts.flatten().collect() }
    }

    /// What several loads on one topic saw.
    pub fn join(reports: impl IntoIterator<Item = Self>) -> Self {
        Self { attempts: reports.into_iter().flat_map(|report| report.attempts).collect() }
    }

    /// Requests by status; unanswered ones under 0.
    pub fn statuses(&self) -> BTreeMap<u16, u64> {
        let mut counts = BTreeMap::new();
        for attempt in &self.attempts {
            let status = match attempt.outcome {
                Outcome::Accepted { status, .. } | Outcome::Refused { status } => status,
                Outcome::Unknown { .. } => 0,
            };
            *counts.entry(status).or_default() += 1;
        }
        counts
    }

    /// Events accepted.
    pub fn accepted(&self) -> u64 {
        self.events(|outcome| matches!(outcome, Outcome::Accepted { .. }))
    }

    /// Events refused.
    pub fn refused(&self) -> u64 {
        self.events(|outcome| matches!(outcome, Outcome::Refused { .. }))
    }

    /// Events without an answer.
    pub fn unknown(&self) -> u64 {
        self.events(|outcome| matches!(outcome, Outcome::Unknown { .. }))
    }

    /// Compares with a whole topic and panics at the first difference: after [`order::dedup`], every accepted event is
    /// there once, no refused one is, an unanswered request is there whole or not at all, and every source's events
    /// are in order. Gives the number of duplicates that a consumer had to drop.
    #[track_caller]
    pub fn assert_delivered(&self, records: &[Record]) -> usize {
        let (unique, duplicates) = order::dedup(records);
        order::assert_ordered(&unique);
        let arrived = counters(&unique);
        for attempt in &self.attempts {
            let here = (attempt.first..attempt.first + attempt.count).filter(|n| arrived.contains_key(&(attempt.writer as u64, *n))).count()
                as u64;
            let right = match attempt.outcome {
                Outcome::Accepted { .. } => here == attempt.count,
                Outcome::Refused { .. } => here == 0,
                Outcome::Unknown { .. } => here == 0 || here == attempt.count,
            };
            assert!(right, "{here} events are in Kafka of {attempt:?}");
        }
        let known: u64 = self.attempts.iter().map(|a| a.count).sum();
        assert!(arrived.len() as u64 <= known, "Kafka has {} events, the writers made {known}", arrived.len());
        duplicates
    }

    fn events(&self, is: impl Fn(&Outcome) -> bool) -> u64 {
        let attempts = self.attempts.iter().filter(|a| is(&a.outcome));
        attempts.map(|a| a.count).sum()
    }
}

/// Which (writer, counter) are there. Panics when one is twice, or when a source's counters do not only rise.
#[track_caller]
fn counters(unique: &[Record]) -> HashMap<(u64, u64), i64> {
    let mut arrived = HashMap::new();
    for (source, records) in by_key(unique) {
        let mut last = None;
        for record in records {
            let event = record.json();
            let number = |name: &str| event["payload"].get(name).and_then(Value::as_u64);
            let Some((writer, n)) = number("w").zip(number("n")) else {
                panic!("not an event of a writer: {event}");
            };
            assert!(last < Some(n), "source {source}: event {n} comes after {last:?} at {}/{}", record.partition, record.offset);
            last = Some(n);
            let before = arrived.insert((writer, n), record.offset);
            assert_eq!(before, None, "event {n} of writer {writer} is there twice");
        }
    }
    arrived
}
