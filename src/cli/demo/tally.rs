//! The end of the story: does it add up, and what differs; pure.

use super::numbered::id;
use super::witness::{Counts, Fault, Faults, Witness};
use crate::cli::human::{count, time};
use serde::Serialize;
use std::time::Duration;

/// What there is to tell about the outage.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Outage {
    /// How long Kafka was away.
    pub(super) lasted: Duration,
    /// The largest backlog that was seen, in events.
    pub(super) max_depth: u64,
    /// The oldest that an event in the backlog was seen to become, in seconds.
    pub(super) max_age_seconds: f64,
}

/// The final tally.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    events: u32,
    counts: Counts,
    faults: Faults,
    repeats: u64,
    first_unread: Option<u32>,
    first_unnotified: Option<u32>,
    outage: Outage,
}

impl Tally {
    /// The tally of a run that was to have `events`.
    pub(super) fn new(events: u32, witness: &Witness, outage: Outage) -> Self {
        Self {
            events,
            counts: witness.counts(),
            faults: witness.faults(),
            repeats: witness.repeats(),
            first_unread: witness.first_unread(),
            first_unnotified: witness.first_unnotified(),
            outage,
        }
    }

    /// What differs from what was promised, a sentence each; empty when all is well.
    pub(super) fn problems(&self) -> Vec<String> {
        let Counts { sent, consumed, notified } = self.counts;
        let mut problems = Vec::new();
        if sent != u64::from(self.events) {
            problems.push(format!("{} events were to be sent, the relay has confirmed {}", count(self.events.into()), count(sent)));
        }
        problems.extend(missing("consumed from Kafka", sent, consumed, self.first_unread));
        problems.extend(missing("notified", sent, notified, self.first_unnotified));
        let Faults { disorder_in_kafka, disorder_in_redis, notified_early } = self.faults;
        problems.extend(fault(disorder_in_kafka, "behind a later event of the same source in Kafka"));
        problems.extend(fault(disorder_in_redis, "notified twice, or behind a later event of the same source"));
        problems.extend(fault(notified_early, "notified before it was in Kafka"));
        problems
    }

    /// For machines.
    pub(super) fn json(&self) -> String {
        #[derive(Serialize)]
        struct Line {
            sent: u64,
            consumed: u64,
            notified: u64,
            outage_seconds: f64,
            max_depth: u64,
        }
        let Counts { sent, consumed, notified } = self.counts;
        let outage_seconds = (self.outage.lasted.as_secs_f64() * 1e3).round() / 1e3;
        let line = Line { sent, consumed, notified, outage_seconds, max_depth: self.outage.max_depth };
        serde_json::to_string(&line).unwrap_or_default()
    }

    /// For people: the three numbers and what each of them says.
    pub(super) fn lines(&self) -> Vec<String> {
        let Counts { sent, consumed, notified } = self.counts;
        let clean = |fault: Fault, text: &str| if fault.times == 0 { text.to_owned() } else { String::new() };
        let repeats = match self.repeats {
            0 => String::new(),
            repeats => format!("; {} repeats dropped by their seq", count(repeats)),
        };
        let order = clean(self.faults.disorder_in_kafka, ", in order per source");
        let early = clean(self.faults.notified_early, ", each after Kafka had the event");
        let Outage { lasted, max_depth, max_age_seconds } = self.outage;
        let row = |label, number, says: &str| format!("  {label:<10}{:>9}  {says}", count(number)).trim_end().to_owned();
        vec![
            row("sent", sent, "answered by the relay: on disk"),
            row("consumed", consumed, &format!("from Kafka{order}{repeats}")),
            row("notified", notified, &format!("through Redis{early}")),
            String::new(),
            format!(
                "  Kafka was away for {}. Up to {} events waited on disk, the oldest for {}.",
                time(lasted.as_secs_f64()),
                count(max_depth),
                time(max_age_seconds)
            ),
        ]
    }
}

fn missing(where_to: &str, sent: u64, arrived: u64, first: Option<u32>) -> Option<String> {
    let first = first.map(|first| format!("; the first that was not: {}", id(first))).unwrap_or_default();
    (sent != arrived).then(|| format!("{} were sent, {} were {where_to}{first}", count(sent), count(arrived)))
}

fn fault(fault: Fault, what: &str) -> Option<String> {
    let first = fault.first?;
    Some(format!("{} times an event was {what}, first {}", count(fault.times), id(first)))
}

#[cfg(test)]
mod tests {
    use super::super::witness::Place;
    use super::*;

    fn outage() -> Outage {
        Outage { lasted: Duration::from_micros(5_002_400), max_depth: 1_234, max_age_seconds: 5.12 }
    }

    fn witness(read: u32, notified: u32) -> Witness {
        let mut witness = Witness::new(4);
        witness.sent(&[0, 1, 2, 3]);
        for number in 0..read {
            witness.read(number, Place { partition: 0, offset: number.into(), seq: number.into() });
        }
        (0..notified).for_each(|number| witness.notified(number));
        witness
    }

    // Goal: a script reads exactly the five keys of the contract.
    #[test]
    fn for_machines() {
        let tally = Tally::new(4, &witness(4, 4), outage());
        assert_eq!(tally.json(), r#"{"sent":4,"consumed":4,"notified":4,"outage_seconds":5.002,"max_depth":1234}"#);
        assert_eq!(tally.problems(), Vec::<String>::new());
    }

    // Goal: a newcomer sees that the three numbers are the same, and what each of them means.
    #[test]
    fn for_people() {
        let mut witness = witness(4, 4);
        let again = Place { partition: 1, offset: 9, seq: 3 };
        assert_eq!([witness.is_new(again), witness.is_new(again)], [true, false]);
        let expect = "
  sent              4  answered by the relay: on disk
  consumed          4  from Kafka, in order per source; 1 repeats dropped by their seq
  notified          4  through Redis, each after Kafka had the event

  Kafka was away for 5.0s. Up to 1,234 events waited on disk, the oldest for 5.1s.";
        assert_eq!(format!("\n{}", Tally::new(4, &witness, outage()).lines().join("\n")), expect);
    }

    // Goal: when it does not add up, it says what is missing and where to begin to look.
    #[test]
    fn what_differs_is_told() {
        let mut witness = witness(3, 1);
        witness.notified(0);
        let problems = Tally::new(5, &witness, outage()).problems();
        let expect = [
            "5 events were to be sent, the relay has confirmed 4",
            "4 were sent, 3 were consumed from Kafka; the first that was not: demo-000003",
            "4 were sent, 1 were notified; the first that was not: demo-000001",
            "1 times an event was notified twice, or behind a later event of the same source, first demo-000000",
        ];
        assert_eq!(problems, expect);
    }
}
