//! Refusals as RFC 9457 problem details.

use super::decode::FieldError;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;
use std::time::Duration;

/// A kind of refusal: the end of its `type` URN, its status, its title. Clients may rely on all three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    name: &'static str,
    status: StatusCode,
    title: &'static str,
}

macro_rules! kinds {
    ($($constant:ident = $name:literal, $status:ident, $title:literal;)*) => {
        impl Kind {
            $(
                #[doc = concat!("`", $name, "`")]
                pub(super) const $constant: Self = Self { name: $name, status: StatusCode::$status, title: $title };
            )*
        }
    };
}

kinds! {
    BAD_QUERY = "bad-query", BAD_REQUEST, "The query is wrong";
    BAD_BODY = "bad-body", BAD_REQUEST, "The body did not arrive whole";
    MALFORMED = "malformed", BAD_REQUEST, "The body is malformed";
    NOT_FOUND = "not-found", NOT_FOUND, "There is no such resource";
    METHOD = "method-not-allowed", METHOD_NOT_ALLOWED, "The method is not allowed here";
    TOO_SLOW = "too-slow", REQUEST_TIMEOUT, "The request took too long to arrive";
    TOO_LARGE = "too-large", PAYLOAD_TOO_LARGE, "The request is too large";
    MEDIA = "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE, "The content type is not supported";
    ID_CONFLICT = "id-conflict", CONFLICT, "An id is another event's";
    INVALID = "invalid", UNPROCESSABLE_ENTITY, "Fields are wrong";
    EMPTY = "empty", UNPROCESSABLE_ENTITY, "There is no event";
    FULL = "buffer-full", SERVICE_UNAVAILABLE, "The buffer is full";
    OVERLOADED = "overloaded", SERVICE_UNAVAILABLE, "Too many requests are in progress";
    SHUTTING_DOWN = "shutting-down", SERVICE_UNAVAILABLE, "The relay is shutting down";
    STORAGE_FAILED = "storage-failed", SERVICE_UNAVAILABLE, "The buffer's storage failed";
}

/// How full the buffer is, in a refusal for want of room.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Fullness {
    /// Backlog in events.
    pub depth: u64,
    /// Allocated bytes.
    pub bytes: u64,
    /// The bound on them.
    pub max_bytes: u64,
    /// Events acknowledged per second, lately.
    pub drain_rate: f64,
    /// Estimated seconds until there is room; null while nothing drains.
    pub seconds_to_room: Option<f64>,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Problem {
    kind: Kind,
    detail: String,
    errors: Vec<FieldError>,
    /// How many fields are wrong, when not all are listed.
    errors_total: Option<u64>,
    fullness: Option<Fullness>,
    retry_after: Option<Duration>,
    /// The `Allow` of a 405.
    allow: Option<&'static str>,
}

/// The body, in the order in which a person reads it.
#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    #[serde(skip_serializing_if = "Option::is_none")]
    errors_total: Option<u64>,
    #[serde(flatten)]
    fullness: Option<Fullness>,
}

impl Problem {
    /// A problem of a kind, explained by a sentence.
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), errors: Vec::new(), errors_total: None, fullness: None, retry_after: None, allow: None }
    }

    /// With the wrong fields, of which there are `total`.
    pub(super) fn with_errors(mut self, errors: Vec<FieldError>, total: u64) -> Self {
        self.errors_total = (total > errors.len() as u64).then_some(total);
        self.errors = errors;
        self
    }

    /// With the state of the buffer.
    pub(super) fn with_fullness(mut self, fullness: Fullness) -> Self {
        self.fullness = Some(fullness);
        self
    }

    /// With the time after which a retry makes sense; rounded up to seconds, at least 1.
    pub(super) fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// With the methods that are allowed.
    pub(super) fn allowing(mut self, methods: &'static str) -> Self {
        self.allow = Some(methods);
        self
    }

    /// The reply.
    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let body = Body {
            r#type: format!("urn:dualstream:problem/{}", self.kind.name),
            title: self.kind.title,
            status: self.kind.status.as_u16(),
            detail: &self.detail,
            errors: &self.errors,
            errors_total: self.errors_total,
            fullness: self.fullness,
        };
        // Plain strings and numbers always serialise; should they not, the status still says what matters.
        let text = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = self.kind.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(after) = self.retry_after {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if let Some(methods) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(methods));
        }
        response
    }
}
