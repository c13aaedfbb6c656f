//! Guarantees G3 and G4 as a consumer can check them: the `dualstream` header tells duplicates and order.

use std::collections::{BTreeMap, HashMap};

use super::consume::Record;

#[path = "../../../examples/consumer/last_seen.rs"]
mod last_seen;

use last_seen::LastSeen;
pub use last_seen::Origin;

/// The origin of a record, if a relay sent it.
#[track_caller]
pub fn origin(record: &Record) -> Option<Origin> {
    let header = record.header("dualstream")?;
    Some(Origin::parse(header).unwrap_or_else(|| panic!("{header:?} is not relay-id/seq")))
}

/// What a consumer keeps that drops `seq <= last seen` per relay and partition (docs/consumers.md), in order, and how many it dropped.
/// Records without the header are kept. The marks go through their text, as a consumer's that is killed again and again.
pub fn dedup(records: &[Record]) -> (Vec<Record>, usize) {
    let mut seen = LastSeen::default();
    let mut unique = Vec::new();
    for (index, record) in records.iter().enumerate() {
        if index % 1000 == 999 {
            seen = LastSeen::from_lines(&seen.to_lines()).expect("marks survive");
        }
        if origin(record).is_none_or(|origin| seen.is_new(origin, record.partition)) {
            unique.push(record.clone());
        }
    }
    let duplicates = records.len() - unique.len();
    (unique, duplicates)
}

/// The records of each key, in the order of the log.
pub fn by_key(records: &[Record]) -> BTreeMap<&str, Vec<&Record>> {
    let mut keys: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for record in records {
        keys.entry(record.key_str()).or_default().push(record);
    }
    keys
}

/// Panics unless, after [`dedup`], every key is on one partition and its `seq` only rises, per relay.
#[track_caller]
pub fn assert_ordered(unique: &[Record]) {
    for (key, records) in by_key(unique) {
        let mut last: HashMap<String, u64> = HashMap::new();
        for record in &records {
            assert_eq!(record.partition, records[0].partition, "source {key} is on two partitions");
            let Some(Origin { relay, seq }) = origin(record) else {
                continue;
            };
            let before = last.insert(relay, seq);
            assert!(before < Some(seq), "source {key}: seq {seq} comes after {before:?} at {}/{}", record.partition, record.offset);
        }
    }
}
