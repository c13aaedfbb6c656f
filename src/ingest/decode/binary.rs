//! `CloudEvents` in binary mode: attributes in `ce-*` headers, data in the body.
//!
//! Header values are unquoted and percent-decoded as the HTTP binding of `CloudEvents` says. The body becomes `payload` as it is when
//! its content type is JSON; else `payload` as a JSON string when it is UTF-8 text, and `payload_base64` when it is not. An empty
//! body is no payload. `content-type` is kept as `datacontenttype`.

use super::assemble::Assembly;
use super::cloud_value::{Attribute, CloudEvent, HEADER_NAMES, Payload, push};
use super::depth::{DEPTH_MAX, TOO_DEEP, is_too_deep};
use super::error::DecodeError;
use super::framing::explain;
use super::text::{Slot, TWICE};
use super::utf8;
use http::{HeaderMap, HeaderValue, header};
use percent_encoding::percent_decode;
use serde::de::IgnoredAny;
use std::borrow::Cow;

/// Whether a request carries an event in binary mode: one such header is enough, so that a forgotten one is named in the reply.
pub(crate) fn is_binary(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| attribute_name(name).is_some())
}

/// Checks the event and adds it to the batch. `scratch` holds the value; it is of no use afterwards.
pub(super) fn take(assembly: &mut Assembly<'_>, scratch: &mut String, headers: &HeaderMap, body: &[u8]) -> Result<(), DecodeError> {
    let mut event = CloudEvent {
        id: Slot::Absent,
        kind: Slot::Absent,
        source: Slot::Absent,
        specversion: Slot::Absent,
        time: Slot::Absent,
        payload: None,
        others: Vec::new(),
    };
    let mut checker = assembly.begin(0, body.len())?;
    for (header, value) in headers {
        let Some(name) = attribute_name(header) else { continue };
        let text = decode_value(value);
        let slot = match name {
            "id" => &mut event.id,
            "type" => &mut event.kind,
            "source" => &mut event.source,
            "specversion" => &mut event.specversion,
            "time" => &mut event.time,
            _ => {
                match text {
                    Some(_) if event.others.iter().any(|(other, _)| other == name) => {
                        checker.note("event", format!("has a header {header} that {TWICE}"));
                    }
                    Some(text) => event.others.push((Cow::Borrowed(name), Attribute::Text(text.into()))),
                    None => checker.note("event", format!("has a header {header} whose value is not UTF-8")),
                }
                continue;
            }
        };
        slot.fill(text.map_or(Slot::Not("bytes that are not UTF-8"), |text| Slot::Text(text.into())));
    }
    let content_type = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    event.payload = payload(content_type.as_deref(), body)?;
    if let Some(Payload::Json(json)) = event.payload
        && is_too_deep(json, DEPTH_MAX - 1)
    {
        checker.note("payload", TOO_DEEP);
    }
    if let Some(content_type) = content_type {
        event.others.retain(|(name, _)| name != "datacontenttype");
        event.others.push(("datacontenttype".into(), Attribute::Text(content_type)));
    }
    push(assembly, scratch, 0, event, &HEADER_NAMES)
}

/// `subject` of `ce-subject`. Header names come in lower case.
fn attribute_name(header: &http::HeaderName) -> Option<&str> {
    header.as_str().strip_prefix("ce-").filter(|name| !name.is_empty())
}

fn payload<'a>(content_type: Option<&str>, body: &'a [u8]) -> Result<Option<Payload<'a>>, DecodeError> {
    if body.is_empty() {
        return Ok(None);
    }
    if !content_type.is_some_and(is_json) {
        return Ok(Some(utf8(body).map_or(Payload::Bytes(body), Payload::Text)));
    }
    let text = utf8(body)?;
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => Ok(Some(Payload::Json(text.trim_ascii()))),
        Err(error) => Err(DecodeError::Malformed(explain(&error, text, 0, None))),
    }
}

/// Whether a content type says that the data is JSON: `application/json`, `text/json` or anything that ends in `+json`.
fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(kind.as_str(), "application/json" | "text/json") || kind.ends_with("+json")
}

/// The text of a header value; `None` when it is not UTF-8.
fn decode_value(value: &HeaderValue) -> Option<String> {
    let unquoted = unquote(value.as_bytes());
    percent_decode(&unquoted).decode_utf8().ok().map(Cow::into_owned)
}

/// Resolves a double-quoted string of RFC 9110; anything else stays as it is.
fn unquote(value: &[u8]) -> Cow<'_, [u8]> {
    let Some(inner) = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else { return Cow::Borrowed(value) };
    let mut text = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied();
    while let Some(byte) = bytes.next() {
        text.push(if byte == b'\\' { bytes.next().unwrap_or(byte) } else { byte });
    }
    Cow::Owned(text)
}
