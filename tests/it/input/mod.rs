//! Input that is wrong, slow, broken or hostile: answered with what is wrong, never stored, never harmful.
#![allow(clippy::cast_precision_loss, clippy::float_cmp, reason = "metrics are small whole numbers")]

mod bodies;
mod clients;
mod crowd;
mod requests;

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use crate::support::{
    consume::read_topic,
    http::{Client, Headers, Response},
    kafka::Kafka,
    metrics,
    relay::Relay,
    relay_builder::Builder,
    wait,
};

const SOON: Duration = Duration::from_secs(30);

const EVENTS: &str = "/v1/events";
const JSON: Headers<'static> = &[("content-type", "application/json")];
const LINES: Headers<'static> = &[("content-type", "application/x-ndjson")];

/// Limits small enough to be exceeded at no cost.
const MAX_EVENT_BYTES: usize = 2 << 10;
const MAX_BODY_BYTES: usize = 16 << 10;
const MAX_BATCH_EVENTS: usize = 50;

/// A relay that is mistreated, and the books about it.
struct Target {
    relay: Relay,
    topic: String,
    client: Client,
    /// Answers by status.
    answers: BTreeMap<u16, u64>,
    /// Ids of the events that were accepted.
    accepted: Vec<String>,
}

impl Target {
    fn start(name: &str) -> Self {
        Self::start_with(name, |builder| builder)
    }

    fn start_with(name: &str, configure: impl FnOnce(Builder) -> Builder) -> Self {
        let kafka = Kafka::shared();
        let topic = kafka.topic(name, 1);
        let builder = Relay::builder()
            .kafka(&kafka.bootstrap(), &topic)
            .set("ingest.max_event_bytes", format!("{}KiB", MAX_EVENT_BYTES >> 10))
            .set("ingest.max_body_bytes", format!("{}KiB", MAX_BODY_BYTES >> 10))
            .set("ingest.max_batch_events", i64::try_from(MAX_BATCH_EVENTS).unwrap());
        let relay = configure(builder).start();
        let client = relay.client();
        Self { relay, topic, client, answers: BTreeMap::new(), accepted: Vec::new() }
    }

    /// Sends a request that must be refused, and gives the problem, whose form is checked.
    #[track_caller]
    fn refused(&mut self, status: u16, kind: &str, headers: Headers<'_>, body: impl AsRef<[u8]>) -> Value {
        self.refused_at(status, kind, "POST", EVENTS, headers, body)
    }

    #[track_caller]
    fn refused_at(&mut self, status: u16, kind: &str, method: &str, path: &str, headers: Headers<'_>, body: impl AsRef<[u8]>) -> Value {
        let response = self.client.request(method, path, headers, body);
        self.count_refusal(&response, status, kind)
    }

    /// Counts an answer that must be this refusal, and gives the problem.
    #[track_caller]
    fn count_refusal(&mut self, response: &Response, status: u16, kind: &str) -> Value {
        *self.answers.entry(response.status).or_default() += 1;
        assert_eq!(response.status, status, "{}", response.text());
        assert_eq!(response.header("content-type"), Some("application/problem+json"));
        let problem = response.json();
        assert_eq!(problem["type"], format!("urn:dualstream:problem/{kind}"), "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
        problem
    }

    /// Sends one good event, and remembers that it must be the only one in Kafka besides others sent so.
    #[track_caller]
    fn accept_one(&mut self) {
        let id = format!("good-{}", self.accepted.len());
        let event = json!({"id": id, "type": "t", "source_type": "user", "source_id": "42"});
        let response = self.client.post_json("/v1/events?ack=kafka&timeout=60s", &event);
        self.count_accepted(&response, 200, &id);
    }

    /// Counts an answer that must be an acceptance of this event.
    #[track_caller]
    fn count_accepted(&mut self, response: &Response, status: u16, id: &str) {
        *self.answers.entry(response.status).or_default() += 1;
        assert_eq!(response.status, status, "{}", response.text());
        self.accepted.push(id.to_owned());
    }

    /// After all that: Kafka has the good events and nothing else, the process is well, and the counts are right.
    /// `uncounted` are statuses that may also have been given to a client that was no longer there to see it.
    #[track_caller]
    fn check_unharmed(mut self, uncounted: &[u16]) {
        self.accept_one();
        self.relay.wait_metric("buffer_events", SOON, |backlog| backlog == 0.0);
        let records = read_topic(&Kafka::shared().bootstrap(), &self.topic);
        let mut ids: Vec<_> = records.iter().map(|record| record.json()["id"].as_str().expect("an id").to_owned()).collect();
        ids.sort_unstable();
        self.accepted.sort_unstable();
        assert_eq!(ids, self.accepted, "what is in Kafka");
        for probe in ["/startupz", "/livez", "/readyz"] {
            self.relay.probe_client().get(probe).expect(200);
        }
        // Counted after the answer is given, so the last may be on its way.
        self.answers.retain(|status, _| !uncounted.contains(status));
        wait::until_eq("requests by status", SOON, &self.answers, || {
            let mut counted = requests_by_status(&self.relay.metrics());
            counted.retain(|status, _| !uncounted.contains(status));
            counted
        });
        let accepted = metrics::value(&self.relay.metrics(), r#"ingest_events_total{result="accepted"}"#);
        assert_eq!(accepted, Some(self.accepted.len() as f64));
        let conservation = self.relay.metric("conservation_error");
        assert_eq!(conservation, 0.0);
    }
}

/// `ingest_requests_total` by code, without those that did not occur.
fn requests_by_status(metrics: &str) -> BTreeMap<u16, u64> {
    let series = metrics::samples(metrics).filter_map(|(series, value)| {
        let code = series.strip_prefix("dualstream_ingest_requests_total{code=\"")?.strip_suffix("\"}")?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
        let count = value as u64;
        Some((code.parse().expect("a status"), count))
    });
    series.filter(|(_, count)| *count > 0).collect()
}

/// An event of exactly this many bytes of JSON, without id and time.
fn event_of(bytes: usize) -> String {
    let empty = r#"{"type":"t","source_type":"user","source_id":"42","payload":""}"#;
    let padding = "x".repeat(bytes - empty.len());
    empty.replace(r#":""}"#, &format!(r#":"{padding}"}}"#))
}
