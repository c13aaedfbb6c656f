//! A scrape is read back line by line, as Prometheus would.

use super::*;
use crate::config::KafkaConfig;
use crate::drain::{CopyStats, DrainState, DrainStats};
use crate::notify::NotifyStats;
use crate::ops::source::{Handles, StatusSource};
use crate::ops::testing::FakeBuffer;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A relay in which every metric has a number.
fn busy() -> StatusSource {
    let drain = Arc::new(DrainStats::default());
    drain.acked.add(41);
    drain.last_ack_ms.set(1);
    drain.ack_seconds.observe(Duration::from_millis(3));
    drain.ack_seconds.observe(Duration::from_secs(60));
    *drain.state.lock().unwrap() = DrainState::Blocked { reason: "unknown_topic", detail: "a \"quoted\"\nreason".into() };
    let notify = Some(Arc::new(NotifyStats::default()));
    let copies = CopyStats::of(&KafkaConfig { dead_letter_topic: Some("dead".into()), ..KafkaConfig::default() });
    let source = StatusSource::new(Handles { drain, copies, notify, ..Handles::default() });
    let buffer = FakeBuffer::shared(|buffer| (buffer.ledger.accepted, buffer.ledger.backlog) = (7, 7));
    source.buffer_opened(buffer.clone(), buffer.clone());
    source.keeps_dead_letters_in(buffer);
    source.serving();
    source
}

/// Samples by name and labels; panics on anything that is not `OpenMetrics` text.
fn parse(scrape: &str) -> (BTreeMap<String, String>, BTreeMap<String, f64>) {
    let body = scrape.strip_suffix("# EOF\n").expect("the end is marked");
    let (mut types, mut samples) = (BTreeMap::new(), BTreeMap::new());
    let mut open = String::new();
    for line in body.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words.as_slice() {
            ["#", "HELP", name, help] => {
                open = (*name).to_owned();
                assert!(!help.is_empty(), "{line}");
            }
            ["#", "TYPE", name, kind] => {
                assert_eq!(*name, open, "{line}");
                assert_eq!(types.insert(open.clone(), (*kind).to_owned()), None, "family twice: {line}");
            }
            ["#", "UNIT", name, unit] => assert!(*name == open && name.ends_with(&format!("_{unit}")), "{line}"),
            _ => {
                let (series, value) = line.rsplit_once(' ').expect(line);
                assert!(series.starts_with(&open), "sample outside its family: {line}");
                assert_eq!(samples.insert(series.to_owned(), value.parse().expect(line)), None, "series twice: {line}");
            }
        }
    }
    (types, samples)
}

// Goal: Prometheus reads every documented metric, each family once, of the documented type.
#[test]
fn a_scrape_has_every_metric_of_the_table_once() {
    let (types, samples) = parse(&render(busy().snapshot()).unwrap());
    let expected: BTreeMap<String, String> = TABLE.iter().map(|m| (m.family().to_owned(), m.kind.label().to_owned())).collect();
    assert_eq!(expected.len(), TABLE.len(), "a name stands twice in the table");
    assert_eq!(types, expected);
    for metric in TABLE {
        let found = samples.keys().any(|series| series.starts_with(metric.name));
        assert!(found, "no sample of {}", metric.name);
    }
}

// Goal: the numbers of a scrape are those of the stages, in Prometheus' own form.
#[test]
fn numbers_and_labels_come_through() {
    let (_, samples) = parse(&render(busy().snapshot()).unwrap());
    let expected = [
        ("dualstream_drain_acked_total", 41.0),
        ("dualstream_buffer_events", 7.0),
        ("dualstream_buffer_max_bytes", 1_048_576.0),
        ("dualstream_buffer_seconds_to_full", f64::INFINITY),
        ("dualstream_drain_blocked{reason=\"unknown_topic\"}", 1.0),
        ("dualstream_degraded{reason=\"drain_blocked\"}", 1.0),
        ("dualstream_degraded{reason=\"events_lost\"}", 0.0),
        ("dualstream_ingest_requests_total{code=\"503\"}", 0.0),
        ("dualstream_notify_dropped_total{reason=\"queue_full\"}", 0.0),
        ("dualstream_drain_ack_seconds_count", 2.0),
        ("dualstream_drain_ack_seconds_bucket{le=\"0.002\"}", 0.0),
        ("dualstream_drain_ack_seconds_bucket{le=\"0.005\"}", 1.0),
        ("dualstream_drain_ack_seconds_bucket{le=\"10.0\"}", 1.0),
        ("dualstream_drain_ack_seconds_bucket{le=\"+Inf\"}", 2.0),
        ("dualstream_ready", 1.0),
        ("dualstream_dead_letters_uncopied", 1.0),
        ("dualstream_dead_letters_gave_way_total", 3.0),
        ("dualstream_dead_letter_copies_total{result=\"copied_without_value\"}", 0.0),
    ];
    for (series, value) in expected {
        assert_eq!(samples.get(series), Some(&value), "{series}");
    }
}

// Goal: a relay without Redis, or one that still recovers, shows no zero that an alert would take for an outage.
#[test]
fn what_is_not_there_is_absent() {
    let (types, _) = parse(&render(StatusSource::new(Handles::default()).snapshot()).unwrap());
    let absent = |prefix: &str| !types.keys().any(|name| name.starts_with(prefix));
    assert!(absent("dualstream_dead_letters_uncopied") && absent("dualstream_dead_letter_copies"));
    assert!(absent("dualstream_notify_") && absent("dualstream_buffer_") && absent("dualstream_events_lost"));
}

// Goal: names follow the Prometheus conventions, so that dashboards and linters take them.
#[test]
fn names_follow_the_conventions() {
    for metric in TABLE {
        assert!(metric.name.starts_with("dualstream_") || metric.name.starts_with("process_"), "{}", metric.name);
        assert_eq!(matches!(metric.kind, Kind::Counter | Kind::Tally), metric.name.ends_with("_total"), "{}", metric.name);
        assert_eq!(metric.kind == Kind::Info, metric.name.ends_with("_info"), "{}", metric.name);
        assert!(metric.unit.is_none_or(|unit| metric.family().ends_with(unit)), "{}", metric.name);
        assert!(metric.labels.len() <= 1 || metric.kind == Kind::Info, "{}", metric.name);
        assert!(!metric.help.contains(['\n', '\\', '|']) && !metric.help.ends_with('.'), "{}", metric.name);
    }
}

// Goal: every metric that the contract promises is in the table.
#[test]
fn the_promised_metrics_are_there() {
    let names: BTreeSet<&str> = TABLE.iter().map(|metric| metric.name).collect();
    let promised = "ingest_requests_total ingest_events_total ingest_append_seconds buffer_events buffer_bytes buffer_max_bytes \
        buffer_oldest_age_seconds buffer_seconds_to_full buffer_fsync_seconds buffer_waiters drain_acked_total drain_retries_total \
        drain_inflight_events drain_ack_seconds drain_blocked notify_published_total notify_dropped_total notify_up events_lost_total \
        conservation_error build_info";
    for name in promised.split_whitespace() {
        assert!(names.contains(format!("dualstream_{name}").as_str()), "{name}");
    }
}

// Goal: no page tells an operator to look at a metric that does not exist.
#[test]
fn the_documents_name_only_real_metrics() {
    for page in ["docs/runbook.md", "README.md"] {
        let text = std::fs::read_to_string(format!("{}/{page}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let names = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.starts_with("dualstream_"));
        for name in names {
            let family = ["_bucket", "_sum", "_count"].into_iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
            assert!(TABLE.iter().any(|metric| metric.name == family), "{page} names {name}");
        }
    }
}
