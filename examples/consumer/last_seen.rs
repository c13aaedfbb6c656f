//! Knows repeats: of each relay and partition, the highest seq that was seen.
//!
//! A relay sends the events of a partition in the order of their seqs, and what it sends again after a crash it begins again from a lower one; so
//! whatever is not above the last seen was there before. docs/consumers.md says what to keep where.

use std::collections::HashMap;

/// Which relay sent a record, and as which of its events: the `dualstream` header, `{relay-id}/{seq}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub relay: String,
    pub seq: u64,
}

impl Origin {
    /// Reads the header's value; `None` when it is none of a relay's.
    pub fn parse(header: &[u8]) -> Option<Self> {
        let (relay, seq) = std::str::from_utf8(header).ok()?.split_once('/')?;
        Some(Self { relay: relay.to_owned(), seq: seq.parse().ok()? })
    }
}

/// The marks of all relays, by relay-id and partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastSeen {
    marks: HashMap<(String, i32), u64>,
}

impl LastSeen {
    /// Whether a record is seen for the first time. From then on it is known.
    pub fn is_new(&mut self, origin: Origin, partition: i32) -> bool {
        let Origin { relay, seq } = origin;
        let mark = (relay, partition);
        let new = self.marks.get(&mark).is_none_or(|last| seq > *last);
        if new {
            self.marks.insert(mark, seq);
        }
        new
    }

    /// The marks as lines, `relay-id partition seq`.
    pub fn to_lines(&self) -> String {
        let mut lines: Vec<String> = self.marks.iter().map(|((relay, partition), seq)| format!("{relay} {partition} {seq}\n")).collect();
        lines.sort_unstable();
        lines.concat()
    }

    /// Reads [`LastSeen::to_lines`] back; `None` at the first line that is none.
    pub fn from_lines(lines: &str) -> Option<Self> {
        let mark = |line: &str| {
            let mut words = line.split(' ');
            let (relay, partition, seq) = (words.next()?, words.next()?, words.next()?);
            Some(((relay.to_owned(), partition.parse().ok()?), seq.parse().ok()?))
        };
        Some(Self { marks: lines.lines().map(mark).collect::<Option<_>>()? })
    }
}
