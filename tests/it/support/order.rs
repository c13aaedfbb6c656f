//! Guarantees G3 and G4 as a consumer can check them: the `dualstream` header tells duplicates and order.

use std::collections::{BTreeMap, HashMap};

use super::consume::Record;

/// Which relay sent a record, and as which of its events: the `dualstream` header, `{relay-id}/{seq}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    pub relay: String,
    pub seq: u64,
}

/// The origin of a record, if a relay sent it.
#[track_caller]
pub fn origin(record: &Record) -> Option<Origin> {
    let header = std::str::from_utf8(record.header("dualstream")?).expect("the header is text");
    let parsed = header.split_once('/').and_then(|(relay, seq)| Some(Origin { relay: relay.to_owned(), seq: seq.parse().ok()? }));
    Some(parsed.unwrap_or_else(|| panic!("{header:?} is not relay-id/seq")))
}

/// What a consumer keeps that drops `seq <= last seen` per relay and partition, in order, and how many it dropped.
/// Records without the header are kept.
pub fn dedup(records: &[Record]) -> (Vec<Record>, usize) {
    let mut last_seen: HashMap<(String, i32), u64> = HashMap::new();
    let unique: Vec<_> = records
        .iter()
        .filter(|record| {
            let Some(Origin { relay, seq }) = origin(record) else {
                return true;
            };
            let last = last_seen.get(&(relay.clone(), record.partition));
            let is_new = last.is_none_or(|last| seq > *last);
            if is_new {
                last_seen.insert((relay, record.partition), seq);
            }
            is_new
        })
        .cloned()
        .collect();
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
