//! Bodies and headers of the answers. Pure, and bounded by what the snapshot holds.

use super::super::health::Health;
use super::authority::Denied;
use super::route::RouteError;
use crate::buffer::dead_letters::DeadLetterView;
use crate::buffer::inspect::WaitingEvent;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use serde_json::json;

pub(super) type Reply = Response<Full<Bytes>>;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";

/// An answer of any type.
pub(super) fn reply(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    let _ = headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    // A probe that a proxy answers from memory is worse than none.
    let _ = headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let _ = headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

pub(super) fn text(body: impl Into<Bytes>) -> Reply {
    reply(StatusCode::OK, TEXT, body)
}

/// Anything as JSON, with a line end for people who use curl.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Reply {
    match serde_json::to_vec(value) {
        Ok(mut body) => {
            body.push(b'\n');
            reply(status, JSON, body)
        }
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", &format!("cannot write the answer as JSON: {error}")),
    }
}

/// RFC 9457.
pub(super) fn problem(status: StatusCode, name: &str, detail: &str) -> Reply {
    let title = status.canonical_reason().unwrap_or_default();
    let value = json!({
        "type": format!("urn:dualstream:problem/{name}"), "title": title, "status": status.as_u16(), "detail": detail,
    });
    reply(status, PROBLEM, format!("{value}\n"))
}

pub(super) fn starting() -> Reply {
    problem(StatusCode::SERVICE_UNAVAILABLE, "starting", "the buffer is not recovered yet")
}

pub(super) fn shutting_down() -> Reply {
    problem(StatusCode::SERVICE_UNAVAILABLE, "shutting-down", "the relay is stopping")
}

pub(super) fn denied(denied: &Denied) -> Reply {
    let detail = denied.to_string();
    if *denied != Denied::WrongToken {
        return problem(StatusCode::FORBIDDEN, "no-token", &detail);
    }
    let mut reply = problem(StatusCode::UNAUTHORIZED, "wrong-token", &detail);
    let _ = reply.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    reply
}

pub(super) fn refusal(error: &RouteError) -> Reply {
    let (status, name) = match error {
        RouteError::NotFound => (StatusCode::NOT_FOUND, "not-found"),
        RouteError::MethodNotAllowed(_) => (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed"),
        RouteError::BadQuery(_) => (StatusCode::BAD_REQUEST, "bad-query"),
        RouteError::ForeignHost(_) => (StatusCode::MISDIRECTED_REQUEST, "foreign-host"),
    };
    let mut reply = problem(status, name, &error.to_string());
    if let RouteError::MethodNotAllowed(allowed) = error {
        let _ = reply.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    }
    reply
}

#[derive(Serialize)]
struct Page<'a> {
    events: &'a [WaitingEvent],
    /// Where the next page begins; null at the end.
    next_from: Option<u64>,
}

/// Events and where to go on, in the order of the buffer.
pub(super) fn events(events: &[WaitingEvent], limit: usize) -> Reply {
    let next_from = events.last().filter(|_| events.len() == limit).map(|event| event.seq.saturating_add(1));
    json(StatusCode::OK, &Page { events, next_from })
}

#[derive(Serialize)]
struct DeadLetterPage<'a> {
    dead_letters: &'a [DeadLetterView],
    /// Where the next page begins; null at the end.
    next_from: Option<u64>,
}

/// Dead letters and where to go on.
pub(super) fn dead_letters(letters: &[DeadLetterView], limit: usize) -> Reply {
    let next_from = letters.last().filter(|_| letters.len() == limit).map(|letter| letter.event.seq.saturating_add(1));
    json(StatusCode::OK, &DeadLetterPage { dead_letters: letters, next_from })
}

/// The answer to a probe: one word, then a line per reason.
#[derive(Debug)]
pub(super) struct Verdict {
    ok: bool,
    word: &'static str,
    /// Cause and detail.
    reasons: Vec<(String, String)>,
    /// What is wrong without changing the verdict.
    notes: Vec<(String, String)>,
}

impl Verdict {
    pub(super) fn startup(started: bool) -> Self {
        let word = if started { "started" } else { "starting" };
        Self { ok: started, word, reasons: Vec::new(), notes: Vec::new() }
    }

    pub(super) fn live(late: &[super::super::health::LateLoop]) -> Self {
        let reasons = late.iter().map(|late| (late.name.to_owned(), format!("no tick for {} s", late.seconds))).collect();
        Self { ok: late.is_empty(), word: if late.is_empty() { "live" } else { "not live" }, reasons, notes: Vec::new() }
    }

    pub(super) fn ready(health: &Health) -> Self {
        let reasons = health.reasons.iter().map(|r| (r.reason.label().to_owned(), r.detail.clone())).collect();
        let notes = health.degraded_reasons.iter().map(|r| (r.reason.label().to_owned(), r.detail.clone())).collect();
        Self { ok: health.ready, word: if health.ready { "ready" } else { "not ready" }, reasons, notes }
    }

    /// 200 or 503; text, or JSON for whom asks for it.
    pub(super) fn reply(&self, as_json: bool) -> Reply {
        let status = if self.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        if as_json {
            let list = |reasons: &[(String, String)]| -> Vec<_> {
                reasons.iter().map(|(reason, detail)| json!({ "reason": reason, "detail": detail })).collect()
            };
            let value = json!({
                "ok": self.ok, "status": self.word, "reasons": list(&self.reasons), "degraded_reasons": list(&self.notes),
            });
            return json(status, &value);
        }
        let reasons = self.reasons.iter().map(|(reason, detail)| format!("{reason}: {detail}\n"));
        let notes = self.notes.iter().map(|(reason, detail)| format!("degraded: {reason}: {detail}\n"));
        let body: String = [format!("{}\n", self.word)].into_iter().chain(reasons).chain(notes).collect();
        reply(status, TEXT, body)
    }
}
