//! A `CloudEvents` event of either mode becomes an event in our format:
//! `{"id", "type", "source_type", "source_id", "time", "payload" or "payload_base64", …all other attributes}`.

use super::assemble::{Assembly, Name, Ready};
use super::check::Checker;
use super::error::DecodeError;
use super::fields::name_problem;
use super::source::split;
use super::text::Slot;
use crate::event::body_hash_of;
use crate::ingest::json_text::push_string;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::borrow::Cow;

/// What an event carries.
pub(super) enum Payload<'a> {
    /// JSON, kept verbatim as `payload`.
    Json(&'a str),
    /// Text that is no JSON: a JSON string as `payload`.
    Text(&'a str),
    /// Bytes that are no text: `payload_base64`.
    Bytes(&'a [u8]),
    /// Bytes that came in base64: `payload_base64`.
    Base64(Cow<'a, str>),
}

/// The value of an attribute that this relay only passes on.
pub(super) enum Attribute<'a> {
    /// JSON, kept verbatim.
    Json(&'a str),
    /// Text, kept as a JSON string.
    Text(Cow<'a, str>),
}

/// An event, its attributes not checked yet.
pub(super) struct CloudEvent<'a> {
    /// `id`
    pub id: Slot<'a>,
    /// `type`
    pub kind: Slot<'a>,
    /// `source`
    pub source: Slot<'a>,
    /// `specversion`
    pub specversion: Slot<'a>,
    /// `time`
    pub time: Slot<'a>,
    /// The data.
    pub payload: Option<Payload<'a>>,
    /// All other attributes.
    pub others: Vec<(Cow<'a, str>, Attribute<'a>)>,
}

/// What the attributes are called where they came from, so that a problem names what the client wrote.
pub(super) struct Names {
    id: &'static str,
    kind: &'static str,
    source: &'static str,
    specversion: &'static str,
    time: &'static str,
    prefix: &'static str,
}

/// Attribute names in JSON.
pub(super) const JSON_NAMES: Names =
    Names { id: "id", kind: "type", source: "source", specversion: "specversion", time: "time", prefix: "" };

/// Attribute names as headers.
pub(super) const HEADER_NAMES: Names =
    Names { id: "ce-id", kind: "ce-type", source: "ce-source", specversion: "ce-specversion", time: "ce-time", prefix: "ce-" };

/// Fields of our format that an extension attribute must not be called.
const RESERVED: [&str; 4] = ["payload", "payload_base64", "source_type", "source_id"];

/// Checks the attributes and adds the event to the batch. `scratch` holds the value; it is of no use afterwards.
pub(super) fn push(
    assembly: &mut Assembly<'_>,
    scratch: &mut String,
    index: u32,
    event: CloudEvent<'_>,
    names: &Names,
) -> Result<(), DecodeError> {
    let mut checker = assembly.checker(index);
    let id = checker.name(names.id, event.id);
    let kind = checker.name(names.kind, event.kind);
    let source = checker.name(names.source, event.source);
    let specversion = checker.name(names.specversion, event.specversion);
    let time = checker.time(names.time, event.time);
    if specversion.is_some_and(|version| version != "1.0") {
        checker.note(names.specversion, "must be \"1.0\"");
    }
    for name in RESERVED.into_iter().filter(|name| event.others.iter().any(|(other, _)| other == name)) {
        checker.note("event", format!("has an attribute {}{name}, a name that the relay uses itself", names.prefix));
    }
    let source = source.as_deref().and_then(|source| source_of(source, names, &mut checker));
    let (true, Some(id), Some(kind), Some((source_type, source_id))) = (checker.is_clean(), id, kind, source) else { return Ok(()) };

    scratch.clear();
    let id_at = put_member(scratch, "id", &id);
    let kind_at = put_member(scratch, "type", &kind);
    let source_type_at = put_member(scratch, "source_type", &source_type);
    let source_id_at = put_member(scratch, "source_id", &source_id);
    let time_at = scratch.len();
    put_member(scratch, "time", time.as_deref().unwrap_or_else(|| assembly.time_now()));
    let time_end = scratch.len();
    put_payload(scratch, event.payload);
    put_member(scratch, "specversion", "1.0");
    for (name, value) in &event.others {
        match value {
            Attribute::Json(raw) => put_raw(scratch, name, raw),
            Attribute::Text(text) => {
                put_member(scratch, name, text);
            }
        }
    }
    scratch.push('}');

    let value = scratch.as_bytes();
    let ready = Ready {
        value,
        posted: time.is_none().then(|| body_hash_of(&[&value[..time_at], &value[time_end..]])),
        id: placed(id_at, &id),
        kind: placed(kind_at, &kind),
        source_type: placed(source_type_at, &source_type),
        source_id: placed(source_id_at, &source_id),
    };
    assembly.push(index, &ready)
}

/// Type and id of the source, each a good name.
fn source_of<'a>(source: &'a str, names: &Names, checker: &mut Checker<'_>) -> Option<(Cow<'a, str>, Cow<'a, str>)> {
    let found = split(source).map_err(Cow::Borrowed).and_then(|(source_type, source_id)| {
        match name_problem(&source_type).or_else(|| name_problem(&source_id)) {
            Some(problem) => Err(format!("names a source whose type or id {problem}").into()),
            None => Ok((source_type, source_id)),
        }
    });
    found.map_err(|problem| checker.note(names.source, problem)).ok()
}

fn put_payload(out: &mut String, payload: Option<Payload<'_>>) {
    match payload {
        None => {}
        Some(Payload::Json(json)) => put_raw(out, "payload", json),
        Some(Payload::Text(text)) => {
            put_member(out, "payload", text);
        }
        Some(Payload::Bytes(bytes)) => put_raw(out, "payload_base64", &format!("\"{}\"", BASE64_STANDARD.encode(bytes))),
        Some(Payload::Base64(text)) => {
            put_member(out, "payload_base64", &text);
        }
    }
}

/// Writes a member whose value is text; gives where the text stands when it stands there verbatim.
fn put_member(out: &mut String, name: &str, text: &str) -> Option<usize> {
    put_name(out, name);
    push_string(out, text)
}

fn put_raw(out: &mut String, name: &str, json: &str) {
    put_name(out, name);
    out.push_str(json);
}

fn put_name(out: &mut String, name: &str) {
    out.push(if out.is_empty() { '{' } else { ',' });
    push_string(out, name);
    out.push(':');
}

fn placed(at: Option<usize>, text: &str) -> Name<'_> {
    at.map_or(Name::beside(text), |at| Name::at(at, text))
}
