//! `GET /v1/events/{id}`: what became of an event, as far as somebody has seen it.

use super::problem::{Kind, Problem};
use crate::event::Seq;
use crate::lifecycle::{Fate, Stage};
use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body_util::Full;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use std::borrow::Cow;

/// A receipt; what is not known is left out.
#[derive(Serialize)]
struct Receipt<'a> {
    id: &'a str,
    seq: u64,
    state: &'static str,
    buffered: At,
    #[serde(skip_serializing_if = "Option::is_none")]
    acked: Option<Acked<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notified: Option<At>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead: Option<Dead<'a>>,
}

#[derive(Serialize)]
struct At {
    at: Option<String>,
}

#[derive(Serialize)]
struct Acked<'a> {
    at: Option<String>,
    topic: Option<&'a str>,
    partition: Option<i32>,
    /// Unknown when the broker recognised a retry that it already had, and did not say where.
    offset: Option<i64>,
}

#[derive(Serialize)]
struct Dead<'a> {
    at: Option<String>,
    reason: &'a str,
}

/// The id in a path below `/v1/events/`. One that is not UTF-8 is nobody's.
pub(super) fn id_in(path: &str) -> Cow<'_, str> {
    percent_decode_str(path).decode_utf8_lossy()
}

/// The reply.
pub(super) fn response(id: &str, seq: Seq, fate: &Fate) -> Response<Full<Bytes>> {
    // Strings and numbers always serialise.
    let body = serde_json::to_vec(&receipt(id, seq, fate)).unwrap_or_default();
    let mut response = Response::new(Full::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The refusal of an id that is not known.
pub(super) fn unknown(id: &str, window: usize) -> Problem {
    let which = match window {
        0 => "no ids are remembered (ingest.dedup_window_events = 0)".to_owned(),
        window => format!("it is not among the newest {window} events (ingest.dedup_window_events)"),
    };
    Problem::new(Kind::NOT_FOUND, format!("no event with the id {id:?} is known: {which}, or never came, or is not on disk yet"))
}

fn receipt<'a>(id: &'a str, seq: Seq, fate: &'a Fate) -> Receipt<'a> {
    let buffered = At { at: fate.accepted_ms.and_then(time) };
    let notified = fate.notified_ms.map(|at_ms| At { at: time(at_ms) });
    let mut receipt = Receipt { id, seq: seq.0, state: "buffered", buffered, acked: None, notified: None, dead: None };
    match &fate.stage {
        Stage::Buffered => {}
        Stage::Acked { place, at_ms } => {
            receipt.state = if notified.is_some() { "notified" } else { "acked" };
            receipt.acked = Some(Acked {
                at: at_ms.and_then(time),
                topic: place.as_ref().map(|place| &*place.topic),
                partition: place.as_ref().map(|place| place.partition),
                offset: place.as_ref().map(|place| place.offset).filter(|offset| *offset >= 0),
            });
            receipt.notified = notified;
        }
        Stage::Dead { reason, at_ms } => {
            receipt.state = "dead";
            receipt.dead = Some(Dead { at: time(*at_ms), reason });
        }
        Stage::Purged => receipt.state = "purged",
        Stage::Lost => receipt.state = "lost",
        Stage::Ended => receipt.state = "ended",
    }
    receipt
}

fn time(unix_ms: u64) -> Option<String> {
    let time = Timestamp::from_millisecond(i64::try_from(unix_ms).ok()?).ok()?;
    Some(format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Place;

    fn text(stage: Stage, accepted_ms: Option<u64>, notified_ms: Option<u64>) -> String {
        serde_json::to_string(&receipt("a\"b", Seq(7), &Fate { accepted_ms, stage, notified_ms })).unwrap()
    }

    // Goal: a receipt says how far an event has come, when, and where it is; what nobody knows any more it leaves open.
    #[test]
    fn stages() {
        let place = Some(Place { topic: "events".into(), partition: 3, offset: 12 });
        let acked = Stage::Acked { place: place.clone(), at_ms: Some(1_700_000_000_250) };
        let head = r#"{"id":"a\"b","seq":7,"state":"#;
        for (stage, notified, rest) in [
            (Stage::Buffered, None, r#""buffered","buffered":{"at":"2023-11-14T22:13:20.000Z"}}"#),
            (
                acked.clone(),
                None,
                r#""acked","buffered":{"at":"2023-11-14T22:13:20.000Z"},"acked":{"at":"2023-11-14T22:13:20.250Z","topic":"events","partition":3,"offset":12}}"#,
            ),
            (
                acked,
                Some(1_700_000_000_300),
                r#""notified","buffered":{"at":"2023-11-14T22:13:20.000Z"},"acked":{"at":"2023-11-14T22:13:20.250Z","topic":"events","partition":3,"offset":12},"notified":{"at":"2023-11-14T22:13:20.300Z"}}"#,
            ),
            (
                Stage::Dead { reason: "too large".into(), at_ms: 1_700_000_000_001 },
                None,
                r#""dead","buffered":{"at":"2023-11-14T22:13:20.000Z"},"dead":{"at":"2023-11-14T22:13:20.001Z","reason":"too large"}}"#,
            ),
            (Stage::Purged, None, r#""purged","buffered":{"at":"2023-11-14T22:13:20.000Z"}}"#),
        ] {
            assert_eq!(text(stage, Some(1_700_000_000_000), notified), format!("{head}{rest}"));
        }
        let unknown = Stage::Acked { place: None, at_ms: None };
        let rest = r#""acked","buffered":{"at":null},"acked":{"at":null,"topic":null,"partition":null,"offset":null}}"#;
        assert_eq!(text(unknown, None, None), format!("{head}{rest}"));
        assert!(
            text(Stage::Acked { place: place.map(|place| Place { offset: -1, ..place }), at_ms: None }, None, None)
                .contains(r#""offset":null"#)
        );
    }
}
