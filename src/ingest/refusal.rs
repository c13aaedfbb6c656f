//! Which problem each failure is to the client: the one mapping from errors to statuses. Pure.

use super::body::BodyError;
use super::decode::{DecodeError, FieldError};
use super::media::MediaError;
use super::problem::{Fullness, Kind, Problem};
use super::query::QueryError;
use crate::buffer::{AppendError, Conflict, FullDetail};
use std::time::Duration;

/// `Retry-After` when nobody can tell how long: while nothing drains, or the relay is restarting.
const RETRY_UNKNOWN: Duration = Duration::from_secs(5);

/// Longest `Retry-After`: an estimate further out is not worth believing, the drain may speed up.
const RETRY_MAX: Duration = Duration::from_secs(60);

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        Self::new(Kind::BAD_QUERY, error.to_string())
    }
}

impl From<MediaError> for Problem {
    fn from(error: MediaError) -> Self {
        Self::new(Kind::MEDIA, error.to_string())
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let detail = error.to_string();
        match error {
            BodyError::TooLarge { .. } => Self::new(Kind::TOO_LARGE, detail),
            BodyError::Overloaded => Self::new(Kind::OVERLOADED, detail).retry_after(Duration::from_secs(1)),
            BodyError::TooSlow { .. } => Self::new(Kind::TOO_SLOW, detail),
            BodyError::Broken => Self::new(Kind::BAD_BODY, detail),
        }
    }
}

impl From<DecodeError> for Problem {
    fn from(error: DecodeError) -> Self {
        let detail = error.to_string();
        let whole = |index: u32| vec![FieldError { index, field: "event", problem: detail.clone().into() }];
        match error {
            DecodeError::NotUtf8 { .. } => Self::new(Kind::MALFORMED, detail),
            DecodeError::Malformed(malformed) => {
                let errors = malformed.index.map(whole).unwrap_or_default();
                Self::new(Kind::MALFORMED, detail).with_errors(errors, 0)
            }
            DecodeError::Empty => Self::new(Kind::EMPTY, detail),
            DecodeError::EventTooLarge { index, .. } => {
                let errors = whole(index);
                Self::new(Kind::TOO_LARGE, detail).with_errors(errors, 1)
            }
            DecodeError::TooManyEvents { .. } => Self::new(Kind::TOO_LARGE, detail),
            DecodeError::Invalid(errors) => Self::new(Kind::INVALID, detail).with_errors(errors.listed, errors.total),
        }
    }
}

impl From<AppendError> for Problem {
    fn from(error: AppendError) -> Self {
        let detail = format!("{error}; nothing was stored");
        match error {
            AppendError::Full(full) => {
                let after = full.time_to_room.unwrap_or(RETRY_UNKNOWN).min(RETRY_MAX);
                Self::new(Kind::FULL, detail).with_fullness(Fullness::from(*full)).retry_after(after)
            }
            AppendError::TooLarge { .. } => Self::new(Kind::TOO_LARGE, detail),
            AppendError::Conflict(conflicts) => {
                let errors: Vec<_> = conflicts.iter().map(field_error).collect();
                let total = errors.len() as u64;
                Self::new(Kind::ID_CONFLICT, detail).with_errors(errors, total)
            }
            AppendError::ShuttingDown => Self::new(Kind::SHUTTING_DOWN, detail).retry_after(RETRY_UNKNOWN),
            AppendError::StorageFailed { .. } => Self::new(Kind::STORAGE_FAILED, detail).retry_after(RETRY_MAX),
        }
    }
}

fn field_error(conflict: &Conflict) -> FieldError {
    let index = u32::try_from(conflict.position).unwrap_or(u32::MAX);
    FieldError { index, field: "id", problem: conflict.to_string().into() }
}

impl From<FullDetail> for Fullness {
    fn from(full: FullDetail) -> Self {
        Self {
            depth: full.depth_events,
            bytes: full.bytes,
            max_bytes: full.max_bytes,
            drain_rate: full.drain_rate,
            seconds_to_room: full.time_to_room.map(|time| time.as_secs_f64()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    fn full(time_to_room: Option<Duration>) -> AppendError {
        AppendError::Full(Box::new(FullDetail { depth_events: 7, bytes: 8, max_bytes: 9, drain_rate: 1.5, time_to_room }))
    }

    // Goal: Retry-After is whole seconds, never 0, never beyond belief.
    #[test]
    fn retry_after() {
        for (time_to_room, expect) in [
            (None, "5"),
            (Some(Duration::ZERO), "1"),
            (Some(Duration::from_millis(10)), "1"),
            (Some(Duration::from_millis(2500)), "3"),
            (Some(Duration::from_secs(86_400)), "60"),
        ] {
            let response = Problem::from(full(time_to_room)).into_response();
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(response.headers()["retry-after"], expect);
        }
    }

    // Goal: every way not to be stored has its own type, so that a client can tell them apart.
    #[test]
    fn append_errors() {
        for (error, status) in [
            (full(None), 503),
            (AppendError::TooLarge { bytes: 2, max: 1 }, 413),
            (AppendError::Conflict(vec![Conflict { position: 3, accepted_as: None }]), 409),
            (AppendError::ShuttingDown, 503),
            (AppendError::StorageFailed { reason: "EIO".into() }, 503),
        ] {
            let response = Problem::from(error).into_response();
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.headers()["content-type"], "application/problem+json");
            assert_eq!(response.headers().contains_key("retry-after"), status == 503);
        }
    }
}
