//! Where Java producers would put an event.

use std::collections::BTreeSet;

use serde_json::json;

use super::{SOON, Stream};
use crate::support::consume::read_count;

// Goal: events of one source lie where any Java producer would have put them, so that consumers that join topics by key, and
// producers that I move over to the relay one after the other, find a source on one partition.
#[test]
fn a_source_is_on_the_partition_that_java_would_choose() {
    const PARTITIONS: usize = 7;
    const SOURCES: usize = 100;
    let stream = Stream::start("partitioner", PARTITIONS);
    let sources: Vec<String> = (0..SOURCES).map(|n| format!("quelle-{n}-{}", "ü".repeat(n % 5))).collect();
    let events: Vec<_> = sources.iter().map(|source| json!({"type": "t", "source_type": "user", "source_id": source})).collect();

    stream.relay.client().post_json("/v1/events", &json!(events)).expect(202);

    let records = read_count(&stream.kafka.bootstrap(), &stream.topic, SOURCES, SOON);
    for record in &records {
        let key = record.key.as_deref().unwrap();
        assert_eq!(usize::try_from(record.partition), Ok(java_partition(key, PARTITIONS)), "{}", record.key_str());
    }
    let used: BTreeSet<_> = records.iter().map(|record| record.partition).collect();
    assert_eq!(used.len(), PARTITIONS, "100 sources use every partition");
}

// Goal: the yardstick above is Kafka's own (the vectors of its test for murmur2).
#[test]
fn the_yardstick_is_kafkas() {
    for (text, hash) in [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("abc", 479_470_107),
    ] {
        assert_eq!(murmur2(text.as_bytes()).cast_signed(), hash, "{text}");
    }
}

fn java_partition(key: &[u8], partitions: usize) -> usize {
    (murmur2(key) & 0x7fff_ffff) as usize % partitions
}

/// The hash of Kafka's default partitioner: `MurmurHash2`, 32 bits, with Kafka's seed.
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let (words, tail) = data.as_chunks::<4>();
    let mut hash = SEED ^ u32::try_from(data.len()).unwrap();
    for word in words {
        let word = word.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ (word ^ word >> 24).wrapping_mul(M);
    }
    if !tail.is_empty() {
        hash = (hash ^ tail.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte))).wrapping_mul(M);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(M);
    hash ^ hash >> 15
}
