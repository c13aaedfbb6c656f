//! Requests that ask for the wrong thing, or in the wrong way.

use super::{EVENTS, JSON, Target};
use crate::support::http::Headers;

const GOOD: &str = r#"{"type":"t","source_type":"user","source_id":"42"}"#;

// Goal: a content type that the relay does not read is refused with those that it reads; so is a compressed body.
#[test]
fn a_wrong_content_type_is_refused_with_the_right_ones() {
    let mut target = Target::start("content-type");
    let wrong: &[Headers<'_>] = &[
        &[],
        &[("content-type", "")],
        &[("content-type", "text/plain")],
        &[("content-type", "application/x-www-form-urlencoded")],
        &[("content-type", "application/jsonx")],
        &[("content-type", "application/xml; charset=\"application/json\"")],
        &[("content-type", "application/cloudevents+xml")],
    ];
    for headers in wrong {
        let problem = target.refused(415, "unsupported-media-type", headers, GOOD);
        let detail = problem["detail"].as_str().unwrap();
        let offered =
            ["application/json", "application/x-ndjson", "application/cloudevents+json", "application/cloudevents-batch+json", "ce-*"];
        assert!(offered.iter().all(|name| detail.contains(name)), "{detail}");
    }
    let problem =
        target.refused(415, "unsupported-media-type", &[("content-type", "application/json"), ("content-encoding", "gzip")], GOOD);
    assert!(problem["detail"].as_str().unwrap().contains("gzip"), "{problem}");
    target.check_unharmed(&[]);
}

// Goal: a wrong path or method is told as such, with what would be right.
#[test]
fn a_wrong_path_or_method_is_told_with_the_right_one() {
    let mut target = Target::start("path");
    for path in ["/", "/v1", "/v1/event", "/v1/events/", "/v2/events", "/v1/status", "/metrics", "//v1/events", "/V1/EVENTS"] {
        let problem = target.refused_at(404, "not-found", "POST", path, JSON, GOOD);
        assert!(problem["detail"].as_str().unwrap().contains("POST /v1/events"), "{problem}");
    }
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
        let response = target.client.request(method, EVENTS, JSON, "");
        assert_eq!(response.header("allow"), Some("POST"), "{method}");
        let _ = target.count_refusal(&response, 405, "method-not-allowed");
    }
    target.check_unharmed(&[]);
}

// Goal: a query that the relay does not understand is refused, not ignored: a misspelt ack would be a weaker promise.
#[test]
fn a_wrong_query_is_refused_by_its_parameter() {
    let mut target = Target::start("query");
    for (query, part) in [
        ("akc=kafka", "akc"),
        ("ack=Kafka", "ack must be buffered or kafka"),
        ("ack=", "ack must be buffered or kafka"),
        ("ack=all", "\"all\""),
        ("ack=kafka&ack=buffered", "ack is given more than once"),
        ("timeout=5", "timeout must be a duration such as 500ms"),
        ("timeout=-1s", "timeout must be a duration"),
        ("timeout=301s", "at most 5m"),
        ("timeout=1s&timeout=1s", "timeout is given more than once"),
        ("topic=elsewhere", "topic"),
    ] {
        let problem = target.refused_at(400, "bad-query", "POST", &format!("{EVENTS}?{query}"), JSON, GOOD);
        assert!(problem["detail"].as_str().unwrap().contains(part), "{query}: {problem}");
    }
    target.check_unharmed(&[]);
}

// Goal: refusals do not cost me my connection, and do not leak into the next request.
#[test]
fn a_kept_connection_survives_refusals() {
    let mut target = Target::start("kept");
    for _ in 0..20 {
        let _ = target.refused(400, "malformed", JSON, "{");
        let _ = target.refused_at(404, "not-found", "POST", "/nowhere", JSON, GOOD.repeat(100));
        target.accept_one();
    }
    let connections = target.relay.metric("ingest_connections");
    assert!(connections <= 1.0, "one connection was enough, not {connections}");
    target.check_unharmed(&[]);
}
