//! The documented metrics and probes, on a real scrape.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::json;

use super::{SOON, nowhere};
use crate::support::{kafka::Kafka, metrics, redis::Redis, relay::Relay};

/// A row of the table in docs/metrics.md.
struct Row {
    name: String,
    kind: String,
    labels: BTreeSet<String>,
}

fn documented() -> Vec<Row> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md")).unwrap();
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<_> = line.strip_prefix("| `")?.split('|').collect();
        let name = cells[0].trim().trim_end_matches('`').to_owned();
        let labels = cells[2].split('`').map(str::trim).filter(|label| !label.is_empty()).map(str::to_owned);
        Some(Row { name, kind: cells[1].trim().to_owned(), labels: labels.collect() })
    });
    rows.collect()
}

/// The family of `# TYPE`, for the name in the page: counters and infos are declared without their suffix.
fn family(row: &Row) -> String {
    let suffix = match row.kind.as_str() {
        "counter" => "_total",
        "info" => "_info",
        _ => "",
    };
    row.name.strip_suffix(suffix).unwrap_or(&row.name).to_owned()
}

// Goal: every metric that the documentation lists is in a real scrape, with its type and its labels, and none that it does not list:
// dashboards made from the page work.
#[test]
fn a_scrape_has_exactly_what_is_documented() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("metrics", 1);
    let redis = Redis::start();
    let relay = Relay::builder().kafka(&kafka.bootstrap(), &topic).redis(&redis.url()).set("kafka.dead_letter_topic", "dead").start();
    let event = json!({"type": "t", "source_type": "user", "source_id": "42"});
    relay.client().post_json("/v1/events?ack=kafka&timeout=60s", &event).expect(200);
    relay.client().post_json("/v1/events", &json!([])).expect(422);
    relay.wait_metric("notify_published_total", SOON, |published| published >= 1.0);
    let rows = documented();
    assert!(rows.len() > 25, "the page was understood");

    let scrape = relay.probe_client().get("/metrics").expect(200);

    assert!(scrape.header("content-type").unwrap().starts_with("application/openmetrics-text"), "{:?}", scrape.headers);
    let text = scrape.text();
    assert!(text.ends_with("# EOF\n"));
    let declared: BTreeSet<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(str::to_owned).collect();
    let wanted: BTreeSet<_> = rows.iter().map(|row| format!("{} {}", family(row), row.kind)).collect();
    assert_eq!(declared, wanted);
    for row in &rows {
        for (series, _) in metrics::samples(&text).filter(|(series, _)| is_of(series, row)) {
            assert_eq!(labels(series), row.labels, "{series}");
        }
    }
    let sampled = |row: &&Row| metrics::samples(&text).any(|(series, _)| is_of(series, row));
    let silent: Vec<_> = rows.iter().filter(|row| !sampled(row)).map(|row| row.name.as_str()).collect();
    assert!(silent.is_empty(), "documented and without a sample: {silent:?}");
}

/// Whether a series is of a metric; those of a histogram have suffixes.
fn is_of(series: &str, row: &Row) -> bool {
    let name = series.split('{').next().unwrap_or_default();
    let of_histogram = || ["_bucket", "_sum", "_count"].iter().any(|suffix| name.strip_suffix(suffix) == Some(&row.name));
    name == row.name || row.kind == "histogram" && of_histogram()
}

fn labels(series: &str) -> BTreeSet<String> {
    let Some((_, inside)) = series.trim_end_matches('}').split_once('{') else { return BTreeSet::new() };
    let names = inside.split("\",").filter_map(|pair| Some(pair.split_once('=')?.0.to_owned()));
    // The buckets of a histogram.
    names.filter(|name| name != "le").collect()
}

// Goal: the probes answer where they are documented, in words for people and in JSON for machines; Kafka being away is no reason to be
// unready or dead.
#[test]
fn probes_answer_without_kafka() {
    let relay = Relay::builder().kafka(&nowhere(), "events").redis(&format!("redis://{}", nowhere())).start();
    relay.client().post_json("/v1/events", &json!({"type": "t", "source_type": "user", "source_id": "42"})).expect(202);
    for probe in ["/startupz", "/livez", "/readyz"] {
        for mut client in [relay.probe_client(), relay.ops_client()] {
            let words = client.get(probe).expect(200);
            assert!(words.header("content-type").unwrap().starts_with("text/plain"), "{:?}", words.headers);
            let answer = client.request("GET", probe, &[("accept", "application/json")], "").expect(200).json();
            assert_eq!((&answer["ok"], &answer["reasons"]), (&json!(true), &json!([])), "{probe}: {answer}");
        }
    }
    assert_eq!(relay.metric("buffer_events"), 1.0);
    assert_eq!(relay.metric("ready"), 1.0);
}
