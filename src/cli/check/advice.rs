//! Settings that are valid but may not be what was meant. Pure.

use super::super::exit::Exit;
use super::Check;
use crate::app;
use crate::buffer;
use crate::config::units::{show_size, show_time};
use crate::config::{Config, redact_url};
use std::time::Duration;

/// What Kubernetes gives a pod to stop when its specification says nothing.
const KUBERNETES_DEFAULT_GRACE: Duration = Duration::from_secs(30);

/// What to say about valid settings.
pub(super) fn about(config: &Config) -> Vec<Check> {
    let doubts = [request_size(config), grace(config), socket_mode(config), probes(config)];
    [notifications(config)].into_iter().chain(doubts.into_iter().flatten()).collect()
}

fn notifications(config: &Config) -> Check {
    let text = match &config.redis.url {
        Some(url) => format!("notifications go to {}, channel {}", redact_url(url), config.redis.channel),
        None => "notifications are off (redis.url is empty)".to_owned(),
    };
    Check::ok("notifications", text)
}

/// Asks the buffer itself: how it divides its bytes is its own affair.
fn request_size(config: &Config) -> Option<Check> {
    let wanted = config.ingest.max_body_bytes;
    match buffer::largest_batch(&config.buffer, app::largest_batch(config), config.ingest.dedup_window_events as usize) {
        Err(problem) => Some(Check::fail("buffer", Exit::Usage, problem, "raise buffer.max_bytes, or lower buffer.segment_bytes")),
        Ok(largest) => (largest < wanted).then(|| {
            Check::warn(
                "request size",
                format!(
                    "a request of ingest.max_body_bytes ({}) may not fit into a segment, which holds {largest} bytes",
                    show_size(wanted)
                ),
                "lower ingest.max_body_bytes, or raise buffer.max_bytes or buffer.segment_bytes",
            )
        }),
    }
}

fn grace(config: &Config) -> Option<Check> {
    let grace = config.shutdown.grace;
    (grace >= KUBERNETES_DEFAULT_GRACE).then(|| {
        Check::warn(
            "grace",
            format!("shutdown.grace is {}, but Kubernetes kills a pod after 30s unless told otherwise", show_time(grace)),
            "set terminationGracePeriodSeconds of the pod higher than shutdown.grace",
        )
    })
}

fn socket_mode(config: &Config) -> Option<Check> {
    let ingest = &config.ingest;
    let open = ingest.socket.is_some() && ingest.socket_mode & 0o002 != 0 && ingest.allow_uids.is_empty();
    open.then(|| {
        Check::warn(
            "socket mode",
            format!("ingest.socket_mode is {:04o}: every user of the machine can hand in events", ingest.socket_mode),
            "take the last digit away (\"0660\"), or name the users in ingest.allow_uids",
        )
    })
}

fn probes(config: &Config) -> Option<Check> {
    let ops = &config.ops;
    (ops.listen.is_none() && ops.socket.is_none() && ops.probe_listen.is_none()).then(|| {
        Check::warn("ops", "ops.listen, ops.socket and ops.probe_listen are empty: nobody can look in", "set at least one of them")
    })
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn warnings(change: impl FnOnce(&mut Config)) -> Vec<&'static str> {
        let mut config = Config::default();
        change(&mut config);
        about(&config).iter().filter(|check| check.verdict == Verdict::Warn).map(|check| check.name).collect()
    }

    // Goal: the defaults need no warning, and each doubtful setting gets exactly its own.
    #[test]
    fn advice() {
        assert_eq!(warnings(|_| {}), [""; 0]);
        assert_eq!(warnings(|config| config.buffer.max_bytes = 63 << 20), ["request size"]);
        assert_eq!(warnings(|config| config.buffer.max_bytes = 80 << 20), [""; 0]);
        assert_eq!(warnings(|config| config.shutdown.grace = Duration::from_secs(30)), ["grace"]);
        assert_eq!(warnings(|config| (config.ops.listen, config.ops.socket) = (None, None)), ["ops"]);
        let open_socket = |config: &mut Config| (config.ingest.socket, config.ingest.socket_mode) = (Some("/s".into()), 0o666);
        assert_eq!(warnings(open_socket), ["socket mode"]);
    }

    // Goal: limits that the buffer cannot divide are found by the check, not at the start.
    #[test]
    fn a_buffer_that_cannot_be_divided() {
        let mut config = Config::default();
        (config.buffer.max_bytes, config.buffer.segment_bytes) = (1 << 20, Some(256 << 10));
        let found = request_size(&config).unwrap();
        assert_eq!((found.verdict, found.exit_on_fail), (Verdict::Fail, Exit::Usage));
        assert!(found.text.contains("at least 4 segments must fit"), "{}", found.text);
    }

    // Goal: the password of Redis is not in the output that people paste into tickets.
    #[test]
    fn no_password() {
        let config = Config {
            redis: crate::config::RedisConfig { url: Some("redis://u:hunter2@h".into()), ..Default::default() },
            ..Config::default()
        };
        assert!(!about(&config)[0].text.contains("hunter2"));
    }
}
