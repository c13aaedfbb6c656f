//! `CloudEvents` in binary mode.

use super::*;
use http::{HeaderName, HeaderValue};

const NEEDED: [(&str, &str); 5] =
    [("ce-specversion", "1.0"), ("ce-id", "a"), ("ce-type", "t"), ("ce-source", "/u/1"), ("ce-time", "2026-01-01T00:00:00Z")];

#[track_caller]
fn check(headers: &[(&str, &str)], body: &[u8], expect: &str) {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (HeaderName::try_from(*name).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap()))
        .collect();
    assert_eq!(render(body, decode(Format::CloudEventBinary, &headers, body)).trim_end(), expect.trim());
}

/// The line of an event with the needed headers and something more.
fn value(more: &str) -> String {
    let (payload, others) = more.split_once('|').unwrap();
    format!(
        r#"a t u 1 {{"id":"a","type":"t","source_type":"u","source_id":"1","time":"2026-01-01T00:00:00Z"{payload},"specversion":"1.0"{others}}}"#
    )
}

fn with(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    [&NEEDED, more].concat()
}

// Goal: an event whose attributes are headers arrives in the same format, whatever its body is.
#[test]
fn bodies() {
    check(&NEEDED, b"", &value("|"));
    let json = with(&[("content-type", "application/json; charset=utf-8")]);
    check(&json, b" {\"x\": 1}\n", &value(r#","payload":{"x": 1}|,"datacontenttype":"application/json; charset=utf-8""#));
    check(
        &with(&[("content-type", "application/vnd.x+json")]),
        b"7",
        &value(r#","payload":7|,"datacontenttype":"application/vnd.x+json""#),
    );
    check(&with(&[("content-type", "text/plain")]), "h\"é\n".as_bytes(), &value(r#","payload":"h\"é\n"|,"datacontenttype":"text/plain""#));
    check(&with(&[("content-type", "image/png")]), b"\x89PNG", &value(r#","payload_base64":"iVBORw=="|,"datacontenttype":"image/png""#));
    check(&NEEDED, b"text", &value(r#","payload":"text"|"#));
    check(&json, b"{\"x\":}", "bad JSON at byte 5: expected value");
    check(&json, b"{}{}", "bad JSON at byte 2: trailing characters");
    check(&json, b"\xff", "not UTF-8 at byte 0");
    check(&json, format!("{}{}", "[".repeat(127), "]".repeat(127)).as_bytes(), "0 payload is nested deeper than 127 levels");
}

// Goal: header values are decoded as the HTTP binding of CloudEvents says.
#[test]
fn header_values() {
    let percent = with(&[("ce-subject", "Euro%20%E2%82%AC%20%F0%9F%98%80"), ("ce-quoted", "\"a \\\"b\\\"\""), ("ce-raw", "50%")]);
    check(&percent, b"", &value(r#"|,"subject":"Euro € 😀","quoted":"a \"b\"","raw":"50%""#));
}

// Goal: a forgotten or wrong header is named.
#[test]
fn wrong_headers() {
    check(&[("ce-id", "a")], b"", "0 ce-type is required\n0 ce-source is required\n0 ce-specversion is required");
    check(&with(&[("ce-id", "b")]), b"", "0 ce-id is given more than once");
    check(&with(&[("ce-x", "a"), ("ce-x", "b")]), b"", "0 event has a header ce-x that is given more than once");
    check(&with(&[("ce-subject", "%ff")]), b"", "0 event has a header ce-subject whose value is not UTF-8");
    check(&with(&[("ce-payload", "x")]), b"", "0 event has an attribute ce-payload, a name that the relay uses itself");
}

// Goal: one such header makes the request a binary event; headers that only look alike do not.
#[test]
fn detection() {
    let has = |name: &'static str| is_binary(&HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static("x"))]));
    assert!(has("ce-id") && has("ce-anything"));
    assert!(!has("content-type") && !has("ce-") && !has("cecil"));
}
