//! What a request asks for in its query: `ack` and `timeout`. Pure.
//!
//! Anything else is refused rather than ignored: a misspelt `ack` would quietly get a weaker promise.

use crate::config::AckLevel;
use std::time::Duration;

/// Longest `timeout` a request may ask for: a client that waits longer is better served by retrying.
pub(super) const TIMEOUT_MAX: Duration = Duration::from_secs(300);

/// The wishes of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    /// Which confirmation to wait for.
    pub ack: Option<AckLevel>,
    /// How long to wait for room, and for Kafka.
    pub timeout: Option<Duration>,
}

/// Why a query is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum QueryError {
    /// Not a parameter.
    #[error("unknown query parameter {0:?}; there are ack and timeout")]
    Unknown(String),
    /// Which of both counts?
    #[error("query parameter {0} is given more than once")]
    Twice(&'static str),
    /// Not a level.
    #[error("ack must be buffered or kafka, not {0:?}")]
    Ack(String),
    /// Not a duration.
    #[error("timeout must be a duration such as 500ms or 2s, of at most 5m, not {0:?}")]
    Timeout(String),
}

impl Query {
    /// Reads the part of the URI after `?`.
    pub(super) fn parse(query: Option<&str>) -> Result<Self, QueryError> {
        let mut parsed = Self::default();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "ack" => fill(&mut parsed.ack, "ack", ack(value)?)?,
                "timeout" => fill(&mut parsed.timeout, "timeout", timeout(value)?)?,
                _ => return Err(QueryError::Unknown(name.to_owned())),
            }
        }
        Ok(parsed)
    }
}

fn fill<T>(slot: &mut Option<T>, name: &'static str, value: T) -> Result<(), QueryError> {
    if slot.replace(value).is_some() { Err(QueryError::Twice(name)) } else { Ok(()) }
}

fn ack(value: &str) -> Result<AckLevel, QueryError> {
    match value {
        "buffered" => Ok(AckLevel::Buffered),
        "kafka" => Ok(AckLevel::Kafka),
        _ => Err(QueryError::Ack(value.to_owned())),
    }
}

fn timeout(value: &str) -> Result<Duration, QueryError> {
    let parsed = humantime::parse_duration(value).ok().filter(|timeout| *timeout <= TIMEOUT_MAX);
    parsed.ok_or_else(|| QueryError::Timeout(value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(query: &str) -> Result<Query, QueryError> {
        Query::parse(Some(query))
    }

    // Goal: each request chooses its confirmation and its patience.
    #[test]
    fn good() {
        let none = Query::default();
        assert_eq!(Query::parse(None), Ok(none));
        assert_eq!(of(""), Ok(none));
        assert_eq!(of("ack=kafka"), Ok(Query { ack: Some(AckLevel::Kafka), ..none }));
        assert_eq!(of("ack=buffered&"), Ok(Query { ack: Some(AckLevel::Buffered), ..none }));
        for (text, millis) in [("500ms", 500), ("2s", 2000), ("1m30s", 90_000), ("5m", 300_000), ("0s", 0)] {
            let timeout = Some(Duration::from_millis(millis));
            assert_eq!(of(&format!("timeout={text}&ack=kafka")), Ok(Query { ack: Some(AckLevel::Kafka), timeout }));
        }
    }

    // Goal: a wish that cannot be granted is told, not dropped.
    #[test]
    fn bad() {
        assert_eq!(of("akc=kafka"), Err(QueryError::Unknown("akc".into())));
        assert_eq!(of("ack=kafka&ack=buffered"), Err(QueryError::Twice("ack")));
        for value in ["", "all", "Kafka"] {
            assert_eq!(of(&format!("ack={value}")), Err(QueryError::Ack(value.into())));
        }
        for value in ["", "2", "-1s", "301s", "forever", "99999999999999999999s"] {
            assert_eq!(of(&format!("timeout={value}")), Err(QueryError::Timeout(value.into())));
        }
    }
}
