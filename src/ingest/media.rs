//! Which format a request's headers announce. Pure.
//!
//! Parameters such as `charset` are ignored: JSON is UTF-8, and what is not is refused with its place.

use super::decode::{Format, is_binary};
use http::{HeaderMap, header};

/// Why a request's format is not one that the relay reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MediaError {
    /// No `Content-Type`.
    #[error("the request has no content-type; send {SUPPORTED}")]
    Missing,
    /// Another format.
    #[error("content-type {0:?} is not supported; send {SUPPORTED}")]
    Unsupported(String),
    /// Compressed.
    #[error("content-encoding {0:?} is not supported; send the body as it is")]
    Encoded(String),
}

const SUPPORTED: &str = "application/json, application/x-ndjson, application/cloudevents+json, \
     application/cloudevents-batch+json, or any type with ce-* headers";

/// The format of the body.
pub(super) fn format(headers: &HeaderMap) -> Result<Format, MediaError> {
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING)
        && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
    {
        return Err(MediaError::Encoded(String::from_utf8_lossy(encoding.as_bytes()).into_owned()));
    }
    let content_type = headers.get(header::CONTENT_TYPE).map(http::HeaderValue::as_bytes);
    let kind = content_type.unwrap_or_default().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    // A CloudEvents type says where the attributes are, whatever headers come along; so it is looked at before the headers.
    if kind.eq_ignore_ascii_case(b"application/cloudevents+json") {
        return Ok(Format::CloudEvent);
    }
    if kind.eq_ignore_ascii_case(b"application/cloudevents-batch+json") {
        return Ok(Format::CloudEventBatch);
    }
    if is_binary(headers) {
        return Ok(Format::CloudEventBinary);
    }
    if kind.eq_ignore_ascii_case(b"application/json") {
        return Ok(Format::Json);
    }
    if kind.eq_ignore_ascii_case(b"application/x-ndjson") {
        return Ok(Format::JsonLines);
    }
    Err(content_type.map_or(MediaError::Missing, |kind| MediaError::Unsupported(String::from_utf8_lossy(kind).into_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn of(headers: &[(&'static str, &'static str)]) -> Result<Format, MediaError> {
        format(&headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect())
    }

    // Goal: the content type decides, in any case and with any parameters, and the refusal names what would do.
    #[test]
    fn formats() {
        for (content_type, format) in [
            ("application/json", Format::Json),
            ("Application/JSON; charset=utf-8", Format::Json),
            ("application/x-ndjson;charset=UTF-8", Format::JsonLines),
            ("application/cloudevents+json ; charset=utf-8", Format::CloudEvent),
            ("application/cloudevents-batch+json", Format::CloudEventBatch),
        ] {
            assert_eq!(of(&[("content-type", content_type)]), Ok(format), "{content_type}");
        }
        assert_eq!(of(&[]), Err(MediaError::Missing));
        assert_eq!(of(&[("content-type", "text/plain")]), Err(MediaError::Unsupported("text/plain".into())));
        assert!(MediaError::Missing.to_string().contains("application/x-ndjson"));
    }

    // Goal: ce-* headers make a binary event of any body, but not of a structured one.
    #[test]
    fn binary() {
        assert_eq!(of(&[("ce-id", "a")]), Ok(Format::CloudEventBinary));
        assert_eq!(of(&[("ce-id", "a"), ("content-type", "application/json")]), Ok(Format::CloudEventBinary));
        assert_eq!(of(&[("ce-id", "a"), ("content-type", "application/cloudevents+json")]), Ok(Format::CloudEvent));
    }

    // Goal: a compressed body is refused as such, not as bad JSON.
    #[test]
    fn encodings() {
        assert_eq!(of(&[("content-encoding", "identity"), ("content-type", "application/json")]), Ok(Format::Json));
        assert_eq!(of(&[("content-encoding", "gzip"), ("content-type", "application/json")]), Err(MediaError::Encoded("gzip".into())));
    }
}
