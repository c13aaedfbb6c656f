//! A broken sequence: Kafka has lost track of the producer, which may never send again. librdkafka calls that fatal, and many a client stays
//! stuck until somebody restarts it.

use std::{collections::BTreeSet, time::Duration};

use super::{SOON, drained};
use crate::support::{
    consume::{Record, read_topic},
    kafka::{Kafka, unique},
    load::{Load, Plan},
    order::{self, Origin, assert_ordered, dedup},
    proxy::{Lie, Proxy},
    relay::Relay,
    wait,
};

/// One load through a Kafka that tells a lie about one batch.
struct Trial {
    /// Everything in the topic.
    records: Vec<Record>,
    /// The seqs of the batch.
    batch: BTreeSet<u64>,
    /// Events that were accepted.
    accepted: u64,
}

fn start(kafka: &Kafka, proxy: &Proxy, recovery: &str) -> (Relay, String) {
    let topic = unique("fatal");
    kafka.create_topic(&topic, 1, 1, &[]);
    // Without compression the seqs of a batch can be read from its request. Short, so that the end of the black hole is noticed soon.
    let relay = Relay::builder().kafka(proxy.address(), &topic).set("kafka.compression", "none").set("kafka.recovery", recovery);
    let relay = relay.kafka_property("socket.timeout.ms", "3000").kafka_property("request.timeout.ms", "2000");
    (relay.start(), topic)
}

/// The line stops, everybody can see why, and it goes on by itself; nothing is given up, and nobody restarted anything.
fn trial(lie: Lie, recovery: &str) -> Trial {
    let (kafka, proxy) = Kafka::start_proxied();
    let (relay, topic) = start(&kafka, &proxy, recovery);
    let plan = Plan { writers: 3, sources: 3, batch: 20, spread: true, pause: Duration::from_millis(2), ..Plan::default() };
    let load = Load::start(relay.ingest_socket(), &plan);
    load.wait_accepted(2_000, SOON);
    proxy.lie(lie);
    let request = wait::until("a batch that Kafka refuses", SOON, || proxy.lied_about());
    let words = "the broker lost track of this handle's sequence";
    // The network holds still until we have looked.
    wait::until_ok("the state to be on show", SOON, || {
        let drain = relay.status()["drain"].clone();
        let is_told = drain["state"] == "recovering" && drain["reason"].as_str().is_some_and(|reason| reason.contains(words));
        if is_told { Ok(()) } else { Err(drain) }
    });
    relay.wait_metric(r#"drain_retries_total{reason="fatal"}"#, SOON, |retries| retries == 1.0);
    let is_told = |line: &serde_json::Value| line["level"] == "WARN" && line["reason"] == "fatal" && line.to_string().contains(words);
    assert!(relay.json_logs().iter().any(is_told), "the log does not say why: {:#?}", relay.json_logs());
    load.wait_accepted(500, SOON);
    relay.probe_client().get("/readyz").expect(200);
    proxy.black_hole(false);
    load.wait_accepted(500, SOON);
    let report = load.stop();
    drained(&relay);
    wait::until("the line to run", SOON, || (relay.status()["drain"]["state"] == "running").then_some(()));
    assert_eq!(relay.metric(r#"drain_retries_total{reason="fatal"}"#), 1.0, "one new handle is enough");
    assert_eq!((relay.metric("dead_letters"), relay.metric("dead_letters_total")), (0.0, 0.0), "no event is to blame");
    let records = read_topic(&kafka.bootstrap(), &topic);
    assert_eq!((report.refused(), report.unknown()), (0, 0));
    if lie == Lie::Refused {
        let _ = report.assert_delivered(&records);
    }
    assert_eq!(relay.stop(SOON), 0);
    Trial { records, batch: seqs_in(&request), accepted: report.accepted() }
}

/// The seqs in a produce request: each record has a header of this name, and behind it the length of its value, times two.
fn seqs_in(request: &[u8]) -> BTreeSet<u64> {
    let name = b"dualstream";
    let at = (0..request.len()).filter(|at| request[*at..].starts_with(name)).map(|at| at + name.len());
    let value = |at: usize| request.get(at + 1..at + 1 + usize::from(*request.get(at)? / 2));
    at.filter_map(|at| Origin::parse(value(at)?)).map(|origin| origin.seq).collect()
}

fn seqs(records: &[Record]) -> BTreeSet<u64> {
    records.iter().map(|record| order::origin(record).expect("an origin").seq).collect()
}

// Goal: Kafka has lost events that it had acknowledged, and my producer's place with them: I am told, the relay goes on by itself, and nothing is
// missing, repeated or reordered but for what Kafka itself has lost.
#[test]
fn after_kafka_has_lost_events_the_line_goes_on() {
    let Trial { records, batch, accepted } = trial(Lie::Taken, "checkpoint");
    assert!(!batch.is_empty());
    let (unique, _) = dedup(&records);
    assert_ordered(&unique);
    let wanted: BTreeSet<u64> = (1..=accepted).filter(|seq| !batch.contains(seq)).collect();
    assert_eq!(seqs(&unique), wanted);
    assert_eq!(unique.len(), records.len(), "nothing was in doubt");
}

// Goal: Kafka has a batch and says that it does not: the batch comes twice, recognisable, unless I ask the relay to look first.
#[test]
fn what_was_in_doubt_is_looked_for_first() {
    let Trial { records, batch, accepted } = trial(Lie::Refused, "checkpoint");
    let wanted: BTreeSet<u64> = (1..=accepted).collect();
    let (unique, repeats) = dedup(&records);
    assert_eq!((seqs(&unique), repeats), (wanted, batch.len()));
    assert!(repeats > 0);

    let Trial { records, batch, accepted } = trial(Lie::Refused, "reconcile");
    assert!(!batch.is_empty());
    assert_eq!((seqs(&records).len() as u64, records.len() as u64), (accepted, accepted), "each event once");
}
