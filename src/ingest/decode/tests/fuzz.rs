//! Fuzz target of decoding: every format, from a grammar of nearly valid requests and from any bytes.
//!
//! An input begins with the format and the way: `0r…` is the rest as `application/json`, `1g…` chooses an NDJSON body from the grammar.

use super::*;
use crate::fuzzing::{Dice, fuzz};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderName, HeaderValue};
use serde_json::value::RawValue;

const FORMATS: [Format; 5] = [Format::Json, Format::JsonLines, Format::CloudEvent, Format::CloudEventBatch, Format::CloudEventBinary];

// Goal: nothing that a client sends brings the relay down, and what it accepts goes on exactly as it was sent.
#[test]
fn decode_any() {
    fuzz("decode", target);
}

/// What is read back from a stored value.
#[derive(serde::Deserialize)]
struct Kept<'a> {
    id: String,
    r#type: String,
    source_type: String,
    source_id: String,
    time: String,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    payload_base64: Option<String>,
}

/// What a structured event carries.
#[derive(serde::Deserialize)]
struct Sent<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

fn target(input: &[u8]) {
    let mut dice = Dice::new(input);
    let format = FORMATS[usize::from(dice.u8().wrapping_sub(b'0')) % FORMATS.len()];
    let raw = dice.u8() == b'r';
    let headers = if format == Format::CloudEventBinary { any_headers(&mut dice) } else { HeaderMap::new() };
    let body = if raw { dice.rest().to_vec() } else { any_body(&mut dice, format) };
    match decode(format, &headers, &body) {
        Ok(decoded) => accepted(format, &headers, &body, &decoded),
        Err(DecodeError::Malformed(malformed)) => assert!(malformed.at <= body.len()),
        Err(DecodeError::NotUtf8 { at }) => assert!(std::str::from_utf8(&body[..at]).is_ok() && at < body.len()),
        Err(DecodeError::Invalid(errors)) => assert!(errors.total > 0 && errors.listed.len() <= FIELD_ERRORS_LISTED_MAX),
        Err(_) => {}
    }
}

fn accepted(format: Format, headers: &HeaderMap, body: &[u8], decoded: &Decoded) {
    let records: Vec<_> = Records::new(decoded.batch.payload()).map(Result::unwrap).collect();
    assert_eq!(records.len(), decoded.batch.count() as usize);
    assert!(!records.is_empty() && records.len() <= 200);
    let sent_bytes = body.len() + headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
    assert!(decoded.batch.payload().len() <= 8 * sent_bytes + 512 * records.len(), "what is stored is not much more than what was sent");
    let mut payloads = Vec::new();
    for record in &records {
        let value = std::str::from_utf8(record.value).unwrap();
        let kept: Kept<'_> = serde_json::from_str(value).unwrap_or_else(|e| panic!("{e}: {value}"));
        assert_eq!(
            (record.id, record.kind, record.source_type, record.source_id),
            (&*kept.id, &*kept.r#type, &*kept.source_type, &*kept.source_id)
        );
        assert!([record.id, record.kind, record.source_type, record.source_id].iter().all(|name| !name.is_empty() && name.len() <= 1024));
        assert!(kept.time.len() >= "2026-01-01T00:00:00Z".len());
        assert!(record.value.len() <= 4096);
        payloads.push((kept.payload.map(RawValue::get), kept.payload_base64));
    }
    match format {
        Format::Json | Format::JsonLines => {
            let text = std::str::from_utf8(body).unwrap();
            for record in &records {
                assert!(is_verbatim(std::str::from_utf8(record.value).unwrap(), text), "{record:?}");
            }
        }
        Format::CloudEvent => {
            let sent: Sent<'_> = serde_json::from_slice(body).unwrap();
            assert_eq!(payloads[0].0, sent.data.map(RawValue::get));
        }
        Format::CloudEventBatch => {
            let sent: Vec<Sent<'_>> = serde_json::from_slice(body).unwrap();
            assert!(payloads.iter().map(|(payload, _)| *payload).eq(sent.iter().map(|sent| sent.data.map(RawValue::get))));
        }
        Format::CloudEventBinary => assert!(is_body(&payloads[0], body), "{payloads:?}"),
    }
}

/// Whether a value is an event of the body, but for an `id` and a `time` put in after the brace.
fn is_verbatim(value: &str, body: &str) -> bool {
    let rest = value.strip_prefix('{').unwrap();
    let without_id = rest.strip_prefix("\"id\":\"").and_then(|rest| Some(rest.split_once("\",")?.1));
    let time = format!("\"time\":\"{NOW}\",");
    let candidates = [Some(rest), without_id].into_iter().flatten();
    candidates.flat_map(|rest| [Some(rest), rest.strip_prefix(&time)]).flatten().any(|rest| body.contains(&format!("{{{rest}")))
}

/// Whether the payload of a binary event is the body: as JSON, as a string, or in base64.
fn is_body(payload: &(Option<&str>, Option<String>), body: &[u8]) -> bool {
    match payload {
        (None, None) => body.is_empty() || body.trim_ascii() == b"null",
        (None, Some(base64)) => BASE64_STANDARD.decode(base64).unwrap() == body && std::str::from_utf8(body).is_err(),
        (Some(json), None) => json.as_bytes() == body.trim_ascii() || serde_json::from_str::<String>(json).unwrap().as_bytes() == body,
        (Some(_), Some(_)) => false,
    }
}

const HEADERS: [(&str, &[&str]); 8] = [
    ("ce-specversion", &["1.0", "1.0", "1.0", "0.3"]),
    ("ce-id", &["a", "\"quoted \\\" id\"", "%41%20", "%ff", "\"", "\"\\"]),
    ("ce-type", &["t", "order.created", ""]),
    ("ce-source", &["/user/42", "/a/%E2%82%AC", "//", "/user/%00"]),
    ("ce-time", &["2026-01-01T00:00:00Z", "yesterday"]),
    ("ce-subject", &["x", "%", "é"]),
    ("ce-payload", &["x"]),
    ("content-type", &["application/json", "text/plain", "image/png", "application/a+JSON; x=y", ""]),
];

fn any_headers(dice: &mut Dice<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (i, (name, values)) in HEADERS.iter().enumerate() {
        let mostly = i < 4 && !dice.one_in(16);
        if mostly || dice.one_in(3) {
            let value = if dice.one_in(3) { dice.pick(values) } else { values[0] };
            let _ = headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
    }
    headers
}

fn any_body(dice: &mut Dice<'_>, format: Format) -> Vec<u8> {
    let cloud = matches!(format, Format::CloudEvent | Format::CloudEventBatch);
    let many = dice.below(5);
    let mut text = match format {
        Format::CloudEventBinary => any_value(dice, 0),
        Format::CloudEvent => any_event(dice, cloud),
        Format::Json if many == 0 => any_event(dice, cloud),
        Format::Json | Format::CloudEventBatch => {
            let events: Vec<_> = (0..many).map(|_| any_event(dice, cloud)).collect();
            format!("{}[{}]{}", space(dice), events.join(&format!("{},{}", space(dice), space(dice))), space(dice))
        }
        Format::JsonLines => {
            (0..many).map(|_| any_event(dice, cloud).replace('\n', " ") + dice.pick(&["\n", "\r\n", "\n\n", ""])).collect()
        }
    }
    .into_bytes();
    if dice.one_in(3) {
        dice.damage(&mut text);
    }
    text
}

fn space(dice: &mut Dice<'_>) -> &'static str {
    dice.pick(&["", "", "", " ", "\n", "\t \r\n"])
}

/// An event with most of its fields, in any order, with odd spelling here and there.
fn any_event(dice: &mut Dice<'_>, cloud: bool) -> String {
    let native = ["type", "source_type", "source_id", "id", "time", "payload", "extra", "payload"];
    let structured = ["type", "source", "specversion", "id", "time", "data", "subject", "data_base64"];
    let names = if cloud { structured } else { native };
    let start = dice.below(names.len());
    let mut members = Vec::new();
    for n in 0..names.len() {
        let at = (start + n) % names.len();
        let needed = at < if cloud { 4 } else { 3 };
        // The last name is a second payload: mostly wrong.
        let wanted = if needed {
            !dice.one_in(64)
        } else if at == 7 {
            dice.one_in(16)
        } else {
            dice.one_in(2)
        };
        if wanted {
            let key = if dice.one_in(12) { names[at].replacen('t', "\\u0074", 1) } else { names[at].to_owned() };
            let value = member_value(dice, names[at]);
            members.push(format!("{}\"{key}\"{}:{}{value}", space(dice), space(dice), space(dice)));
        }
    }
    format!("{{{}{}}}", members.join(","), space(dice))
}

fn member_value(dice: &mut Dice<'_>, name: &str) -> String {
    if dice.one_in(40) {
        return any_value(dice, 0);
    }
    let (good, bad): (&[&str], &[&str]) = match name {
        "time" => (&["\"2026-01-01T00:00:00Z\"", "\"2026-01-01T00:00:00.5+02:00\""], &["\"now\"", "null"]),
        "source" => (&["\"/user/42\"", "\"/repo/owner\\/name\"", "\"/a/%41\""], &["\"urn:x\"", "\"/a/%ff\""]),
        "specversion" => (&["\"1.0\"", "\"1\\u002e0\""], &["\"0.3\""]),
        "data_base64" => (&["\"aGk=\"", "null"], &["\"?\""]),
        "payload" | "extra" | "data" | "subject" => return any_value(dice, 0),
        _ => {
            let good = &["\"a\"", "\"order.created\"", "\"Zürich 東京\"", "\"a\\\"b\\u0041\\ud83e\\udd80\""];
            (good, &["\"\"", "\"a\\u0000\"", "\"\\ud83e\""])
        }
    };
    let texts = if dice.one_in(32) { bad } else { good };
    dice.pick(texts).to_owned()
}

fn any_value(dice: &mut Dice<'_>, depth: usize) -> String {
    let scalars = ["null", "true", "-0", "1e999999", "0.10", "12345678901234567890123", "\"\"", "\"x\\n\\u00e9\"", "\"é\"", "\"{[\\\"\""];
    match dice.below(6) {
        4 if depth < 5 => {
            let items: Vec<_> = (0..dice.below(4)).map(|_| any_value(dice, depth + 1)).collect();
            format!("[{}{}]", space(dice), items.join(","))
        }
        5 if depth < 5 => {
            let items: Vec<_> = (0..dice.below(4)).map(|n| format!("\"k{n}\":{}{}", space(dice), any_value(dice, depth + 1))).collect();
            format!("{{{}}}", items.join(","))
        }
        // Around the deepest that is allowed.
        3 if dice.one_in(30) => {
            let levels = 120 + dice.below(12);
            format!("{}{}", "[".repeat(levels), "]".repeat(levels))
        }
        _ => dice.pick(&scalars).to_owned(),
    }
}

// Goal: the grammar is near enough to what clients send that much of it is accepted, in every format.
#[test]
fn the_grammar_is_accepted_often() {
    let mut rng = fastrand::Rng::with_seed(1);
    for format in FORMATS {
        let accepted = (0..400).filter(|_| {
            let input: Vec<u8> = (0..300).map(|_| rng.u8(..)).collect();
            let mut dice = Dice::new(&input);
            let headers = if format == Format::CloudEventBinary { any_headers(&mut dice) } else { HeaderMap::new() };
            let body = any_body(&mut dice, format);
            decode(format, &headers, &body).is_ok()
        });
        assert!(accepted.count() > 40, "{format:?}");
    }
}
