//! An event as a `CloudEvents` 1.0 record: structured or binary mode of the Kafka protocol binding.
//!
//! The event's JSON is scanned once, over its members only, without building a tree; `payload` goes out as the bytes that came in.
//! Members that are not ours become extension attributes when `CloudEvents` allows their name (lower-case letters and digits) and
//! their value (a text, a boolean, a 32-bit whole number). Others are left out: what must travel belongs into the payload, or wants
//! the format `event`.

use crate::event::EventRef;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// The content type of a record in structured mode.
pub(super) const STRUCTURED: &str = "application/cloudevents+json; charset=UTF-8";
/// What the data is when the event does not say so.
const JSON: &str = "application/json";

/// What a path segment of a URI may not hold as it is; `/` is added for the first one.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@')
    .remove(b'/');
const IN_SEGMENT: &AsciiSet = &IN_PATH.add(b'/');

/// Members of our format that have a place of their own, and names that an attribute of `CloudEvents` has taken.
const TAKEN: [&str; 11] =
    ["id", "type", "source_type", "source_id", "time", "payload", "payload_base64", "source", "specversion", "data", "data_base64"];

/// What is needed of an event besides its names, which the buffer has already.
#[derive(Default)]
pub(super) struct CloudEvent<'a> {
    time: Option<Cow<'a, str>>,
    payload: Option<&'a RawValue>,
    payload_base64: Option<Cow<'a, str>>,
    content_type: Option<Cow<'a, str>>,
    /// Of a name that is given twice, the last counts.
    extensions: BTreeMap<Cow<'a, str>, Value<'a>>,
}

/// The value of an attribute.
enum Value<'a> {
    Text(Cow<'a, str>),
    /// A boolean or a whole number, as JSON and everybody else write it.
    Plain(&'a str),
}

impl<'a> CloudEvent<'a> {
    /// Scans a stored event.
    ///
    /// # Errors
    /// When it is not the JSON object that ingest took.
    pub(super) fn scan(value: &'a [u8]) -> Result<Self, serde_json::Error> {
        let Members(members) = serde_json::from_slice(value)?;
        let mut event = Self::default();
        for (name, raw) in members {
            match &*name {
                "time" => event.time = text(raw),
                "payload" => event.payload = Some(raw),
                "payload_base64" => event.payload_base64 = text(raw),
                "datacontenttype" => event.content_type = text(raw),
                _ if TAKEN.contains(&&*name) || !is_attribute_name(&name) => {}
                _ => event.extensions.extend(attribute(raw).map(|value| (name, value))),
            }
        }
        Ok(event)
    }

    /// Binary mode: the data, and what it is; the attributes are given to `header`, each with its name. `None`: there is no data.
    pub(super) fn binary(&self, of: &EventRef<'_>, out: &mut Vec<u8>, mut header: impl FnMut(&str, &str)) -> (bool, &str) {
        header("ce_specversion", "1.0");
        header("ce_id", of.id);
        header("ce_type", of.kind);
        header("ce_source", &source(of));
        if let Some(time) = &self.time {
            header("ce_time", time);
        }
        let mut name = String::from("ce_");
        for (extension, value) in &self.extensions {
            name.truncate(3);
            name.push_str(extension);
            header(&name, value.text());
        }
        out.clear();
        (self.put_data(out), self.content_type.as_deref().unwrap_or(JSON))
    }

    /// Appends the data as its content type means it; false when there is none.
    fn put_data(&self, out: &mut Vec<u8>) -> bool {
        if let Some(payload) = self.payload {
            // Text that is not JSON is stored as a JSON string.
            match text(payload).filter(|_| self.content_type.as_deref().is_some_and(|kind| !is_json(kind))) {
                Some(text) => out.extend_from_slice(text.as_bytes()),
                None => out.extend_from_slice(payload.get().as_bytes()),
            }
            return true;
        }
        let Some(encoded) = &self.payload_base64 else { return false };
        // Members that only look like base64, in an event of our own format, are data as they stand.
        match BASE64_STANDARD.decode(encoded.as_bytes()) {
            Ok(bytes) => out.extend_from_slice(&bytes),
            Err(_) => out.extend_from_slice(encoded.as_bytes()),
        }
        true
    }

    /// Structured mode: the whole event as `CloudEvents` JSON.
    pub(super) fn structured(&self, of: &EventRef<'_>, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(b"{\"specversion\":\"1.0\"");
        put_text(out, "id", of.id);
        put_text(out, "source", &source(of));
        put_text(out, "type", of.kind);
        for (name, text) in [("time", &self.time), ("datacontenttype", &self.content_type)] {
            if let Some(text) = text {
                put_text(out, name, text);
            }
        }
        for (name, value) in &self.extensions {
            match value {
                Value::Text(text) => put_text(out, name, text),
                Value::Plain(json) => put_raw(out, name, json),
            }
        }
        if let Some(payload) = self.payload {
            put_raw(out, "data", payload.get());
        } else if let Some(encoded) = &self.payload_base64 {
            let name = if BASE64_STANDARD.decode(encoded.as_bytes()).is_ok() { "data_base64" } else { "data" };
            put_text(out, name, encoded);
        }
        out.push(b'}');
    }
}

impl Value<'_> {
    fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Plain(text) => text,
        }
    }
}

/// `/{source_type}/{source_id}` as a URI reference: what ingest makes the same source of.
fn source(of: &EventRef<'_>) -> String {
    format!("/{}/{}", utf8_percent_encode(of.source_type, IN_SEGMENT), utf8_percent_encode(of.source_id, IN_PATH))
}

fn is_attribute_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// A JSON string's text; `None` for anything else.
fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    let json = raw.get();
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str(json).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

fn attribute(raw: &RawValue) -> Option<Value<'_>> {
    let json = raw.get();
    let plain = json == "true" || json == "false" || json.parse::<i32>().is_ok();
    if plain { Some(Value::Plain(json)) } else { text(raw).map(Value::Text) }
}

/// As ingest has it, of the same attribute.
fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(kind.as_str(), JSON | "text/json") || kind.ends_with("+json")
}

fn put_text(out: &mut Vec<u8>, name: &str, text: &str) {
    put_name(out, name);
    if text.bytes().any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        out.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
    } else {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    }
}

fn put_raw(out: &mut Vec<u8>, name: &str, json: &str) {
    put_name(out, name);
    out.extend_from_slice(json.as_bytes());
}

/// Names are ours, or attribute names: none needs an escape.
fn put_name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// The members of an object, as they stand.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

/// A name with its escapes resolved, borrowed where there were none.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(value: &str) -> EventRef<'_> {
        EventRef { id: "e1", kind: "made", source_type: "a/b", source_id: "x y/ü?1", traceparent: None, value: value.as_bytes() }
    }

    fn binary(value: &str) -> (Vec<(String, String)>, Option<Vec<u8>>, String) {
        let (event, mut headers, mut out) = (event(value), Vec::new(), Vec::new());
        let cloud = CloudEvent::scan(event.value).unwrap();
        let (has_data, kind) = cloud.binary(&event, &mut out, |name, value| headers.push((name.to_owned(), value.to_owned())));
        let kind = kind.to_owned();
        (headers, has_data.then_some(out), kind)
    }

    fn structured(value: &str) -> serde_json::Value {
        let (event, mut out) = (event(value), Vec::new());
        CloudEvent::scan(event.value).unwrap().structured(&event, &mut out);
        serde_json::from_slice(&out).unwrap()
    }

    // Goal: consumers of CloudEvents find the attributes where the Kafka binding puts them, and the payload byte for byte.
    #[test]
    fn binary_mode() {
        let value = r#"{"id":"e1","time":"2026-01-02T03:04:05Z","subject":"A\u00e9\n","retries":3,"dry":true,"payload":{ "a" : [1.0] },"source_id":"x"}"#;
        let (headers, data, kind) = binary(value);
        let wanted = [
            ("ce_specversion", "1.0"),
            ("ce_id", "e1"),
            ("ce_type", "made"),
            ("ce_source", "/a%2Fb/x%20y/%C3%BC%3F1"),
            ("ce_time", "2026-01-02T03:04:05Z"),
            ("ce_dry", "true"),
            ("ce_retries", "3"),
            ("ce_subject", "Aé\n"),
        ];
        assert_eq!(headers, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!((data.as_deref(), kind.as_str()), (Some(&b"{ \"a\" : [1.0] }"[..]), "application/json"));
    }

    // Goal: data that is not JSON leaves as the text or the bytes that it was, and no data is no data.
    #[test]
    fn data_is_what_its_content_type_says() {
        for (value, data, kind) in [
            (r#"{"payload":"a\"b","datacontenttype":"text/plain"}"#, Some(&b"a\"b"[..]), "text/plain"),
            (r#"{"payload":"a\"b"}"#, Some(br#""a\"b""#), "application/json"),
            (r#"{"payload":"a","datacontenttype":"application/x+json; v=1"}"#, Some(br#""a""#), "application/x+json; v=1"),
            (r#"{"payload":[1],"datacontenttype":"text/plain"}"#, Some(b"[1]"), "text/plain"),
            (r#"{"payload_base64":"AP8=","datacontenttype":"image/x"}"#, Some(b"\x00\xff"), "image/x"),
            (r#"{"payload":null}"#, Some(b"null"), "application/json"),
            (r#"{"id":"e1"}"#, None, "application/json"),
        ] {
            let (_, got, got_kind) = binary(value);
            assert_eq!((got.as_deref(), got_kind.as_str()), (data, kind), "{value}");
        }
    }

    // Goal: a structured event is CloudEvents JSON that any SDK reads, with the data as it was.
    #[test]
    fn structured_mode() {
        let value = r#"{"time":"2026-01-02T03:04:05Z","payload":{"a":1.50},"subject":"s\"","n":-7}"#;
        let mut wanted = json!({"specversion": "1.0", "id": "e1", "source": "/a%2Fb/x%20y/%C3%BC%3F1", "type": "made"});
        for (name, value) in
            [("time", json!("2026-01-02T03:04:05Z")), ("subject", json!("s\"")), ("n", json!(-7)), ("data", json!({"a": 1.5}))]
        {
            wanted[name] = value;
        }
        assert_eq!(structured(value), wanted);
        assert_eq!(structured(r#"{"payload_base64":"AP8="}"#)["data_base64"], "AP8=");
        assert_eq!(structured(r#"{"payload_base64":"no base64"}"#)["data"], "no base64");
        assert_eq!(structured("{}").get("data"), None);
    }

    // Goal: what CloudEvents has no place for is left out, as the documentation says, and never breaks a record.
    #[test]
    fn what_is_no_attribute_is_left_out() {
        let value = r#"{"camelCase":1,"with_underscore":1,"":1,"ok":1,"list":[1],"float":1.5,"big":9999999999,"none":null,"source":"/x/y","data":2,"specversion":"0.3"}"#;
        let (headers, ..) = binary(value);
        let names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["ce_specversion", "ce_id", "ce_type", "ce_source", "ce_ok"]);
        assert_eq!(structured(value).as_object().unwrap().len(), 5);
        assert!(CloudEvent::scan(b"[1]").is_err());
    }
}
