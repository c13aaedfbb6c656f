//! librdkafka's log lines, forwarded without their repeats.
//!
//! In an outage librdkafka logs every attempt to connect to every broker. A facility (its short code for where a line comes from) is
//! let through once in [`QUIET`]; the next line says how many were left out.

use rdkafka::config::RDKafkaLogLevel;
use std::collections::HashMap;
use std::time::{Duration, Instant};

const QUIET: Duration = Duration::from_secs(30);
/// librdkafka has a few dozen facilities; beyond this many, further ones share one entry.
const MAX_FACILITIES: usize = 64;

/// Remembers what was logged lately.
#[derive(Debug, Default)]
pub(super) struct LogLimiter {
    facilities: HashMap<Box<str>, Recent>,
}

#[derive(Debug)]
struct Recent {
    at: Instant,
    left_out: u64,
}

impl LogLimiter {
    /// Forwards a line, or counts it. Debug lines, which only `debug` in `kafka.properties` turns on, are all forwarded.
    pub(super) fn log(&mut self, level: RDKafkaLogLevel, facility: &str, message: &str, now: Instant) {
        use RDKafkaLogLevel as Level;
        if matches!(level, Level::Debug) {
            tracing::debug!(target: "librdkafka", facility, "{message}");
            return;
        }
        // Said at every start about the gapless guarantee, which is chosen on purpose and proven by the tests of this stage.
        if facility == "CONFWARN" && message.contains("enable.gapless.guarantee") {
            tracing::debug!(target: "librdkafka", facility, "{message}");
            return;
        }
        let Some(left_out) = self.pass(facility, now) else { return };
        match level {
            Level::Emerg | Level::Alert | Level::Critical | Level::Error | Level::Warning => {
                tracing::warn!(target: "librdkafka", facility, left_out, "{message}");
            }
            Level::Notice | Level::Info | Level::Debug => tracing::info!(target: "librdkafka", facility, left_out, "{message}"),
        }
    }

    /// How many lines were left out before this one, if this one is to be seen.
    fn pass(&mut self, facility: &str, now: Instant) -> Option<u64> {
        let known = self.facilities.contains_key(facility);
        let facility = if known || self.facilities.len() < MAX_FACILITIES { facility } else { "" };
        let Some(recent) = self.facilities.get_mut(facility) else {
            let _ = self.facilities.insert(facility.into(), Recent { at: now, left_out: 0 });
            return Some(0);
        };
        if now.saturating_duration_since(recent.at) < QUIET {
            recent.left_out += 1;
            return None;
        }
        let left_out = recent.left_out;
        *recent = Recent { at: now, left_out: 0 };
        Some(left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: an outage of an hour leaves a readable log: the first line of each kind, then counts.
    #[test]
    fn repeats_are_counted_instead_of_logged() {
        let mut limiter = LogLimiter::default();
        let start = Instant::now();
        assert_eq!(limiter.pass("FAIL", start), Some(0));
        assert_eq!(limiter.pass("FAIL", start), None);
        assert_eq!(limiter.pass("FATAL", start), Some(0), "another kind is not held back");
        assert_eq!(limiter.pass("FAIL", start + QUIET / 2), None);
        assert_eq!(limiter.pass("FAIL", start + QUIET), Some(2));
    }

    // Goal: what is remembered is bounded, whatever librdkafka invents.
    #[test]
    fn memory_is_bounded() {
        let mut limiter = LogLimiter::default();
        for n in 0..1_000 {
            let _ = limiter.pass(&format!("F{n}"), Instant::now());
        }
        assert!(limiter.facilities.len() <= MAX_FACILITIES + 1);
    }
}
