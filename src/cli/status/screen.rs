//! The snapshot as one screen for people. Pure.

use super::super::human::{bar, count, plain, rate, size, time};
use super::super::look::Look;
use super::super::output::{Output, Paint};
use crate::config::Delivery;

/// Cells of the fill bar.
const BAR_WIDTH: usize = 40;

/// The lines of the screen.
pub(super) fn lines(snapshot: Look<'_>, out: &Output) -> Vec<String> {
    let mut lines = relay(snapshot, out);
    lines.extend(buffer(snapshot.at("buffer"), out));
    lines.extend(kafka(snapshot.at("drain"), out));
    lines.extend(dead_letters(snapshot.at("dead_letters"), out));
    lines.extend(redis(snapshot.at("notify"), out));
    lines.extend(ingest(snapshot.at("ingest")));
    lines
}

fn labelled(label: &str, parts: impl IntoIterator<Item = Option<String>>) -> String {
    format!("{label:<8} {}", parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

fn relay(snapshot: Look<'_>, out: &Output) -> Vec<String> {
    let relay = snapshot.at("relay");
    let health = snapshot.at("health");
    let verdict = match (health.is("ready"), health.is("degraded")) {
        (true, false) => out.paint(Paint::Good, "ready"),
        (true, true) => out.paint(Paint::Doubtful, "ready, degraded"),
        (false, _) => out.paint(Paint::Bad, "not ready"),
    };
    let mut lines = vec![labelled(
        "relay",
        [
            Some(verdict),
            relay.text("version").map(|version| format!("version {}", plain(version))),
            relay.number("uptime_seconds").map(|seconds| format!("up {}", time(seconds))),
            relay.count("resident_memory_bytes").map(|bytes| format!("{} memory", size(bytes))),
            relay.text("relay_id").map(plain),
        ],
    )];
    let reasons = [("reasons", Paint::Bad), ("degraded_reasons", Paint::Doubtful)];
    for (list, paint) in reasons {
        lines.extend(health.items(list).map(|reason| {
            let name = out.paint(paint, reason.text("reason").unwrap_or("unknown"));
            format!("{:<8} {name}: {}", "", plain(reason.text("detail").unwrap_or_default()))
        }));
    }
    lines.extend(health.items("late_loops").map(|late| {
        let name = plain(late.text("name").unwrap_or("unknown"));
        format!("{:<8} {}: {name} has not ticked for {} s", "", out.paint(Paint::Bad, "stuck"), late.count("seconds").unwrap_or_default())
    }));
    lines
}

fn buffer(buffer: Look<'_>, out: &Output) -> Vec<String> {
    if !buffer.is_there() {
        return vec![labelled("buffer", [Some("not recovered yet".to_owned())])];
    }
    let fill = buffer.number("fill").unwrap_or_default();
    let paint = match fill {
        fill if fill < 0.5 => Paint::Good,
        fill if fill < 0.8 => Paint::Doubtful,
        _ => Paint::Bad,
    };
    let used = size(buffer.count("bytes").unwrap_or_default());
    let max = size(buffer.count("max_bytes").unwrap_or_default());
    let mut lines = vec![format!(
        "{:<8} {} {:.0}%, {used} allocated of {max}",
        "buffer",
        out.paint(paint, &bar(fill, BAR_WIDTH)),
        (fill * 100.0).floor()
    )];
    let backlog = buffer.count("ledger.backlog").unwrap_or_default();
    lines.push(labelled(
        "",
        [
            Some(format!("{} events waiting", count(backlog))),
            buffer.number("oldest_age_seconds").filter(|_| backlog > 0).map(|seconds| format!("oldest {}", time(seconds))),
            buffer.count("parked.events").filter(|parked| *parked > 0).map(|parked| format!("{} of them parked", count(parked))),
            buffer.count("waiters").filter(|waiters| *waiters > 0).map(|waiters| format!("{} requests wait for room", count(waiters))),
        ],
    ));
    lines.push(labelled(
        "rates",
        [
            buffer.number("rate_in").map(|events| format!("in {}", rate(events))),
            buffer.number("rate_out").map(|events| format!("out {}", rate(events))),
            buffer.number("seconds_to_full").map(|seconds| format!("full in {}", time(seconds))),
            buffer.number("seconds_to_empty").filter(|_| backlog > 0).map(|seconds| format!("empty in {}", time(seconds))),
        ],
    ));
    lines.extend(buffer.text("failed").map(|failure| labelled("", [Some(out.paint(Paint::Bad, &plain(failure)))])));
    lines
}

fn kafka(drain: Look<'_>, out: &Output) -> Vec<String> {
    let state = drain.text("state").unwrap_or("unknown");
    let paint = match state {
        "running" | "stopped" => Paint::Good,
        "blocked" => Paint::Bad,
        _ => Paint::Doubtful,
    };
    let mut lines = vec![labelled(
        "kafka",
        [
            Some(out.paint(paint, &plain(state))),
            Some(if drain.is("connected") { "connected".to_owned() } else { out.paint(Paint::Bad, "no broker connected") }),
            // The other mode is what everybody expects.
            drain.text("delivery").filter(|delivery| *delivery == Delivery::ExactlyOnce.name()).map(plain),
            drain.count("acked").map(|acked| format!("{} acknowledged", count(acked))),
            drain.count("inflight").map(|inflight| format!("{} in flight", count(inflight))),
            drain.number("last_ack_age_seconds").map(|seconds| format!("last ack {} ago", time(seconds))),
            drain.number("ack_p99_seconds").filter(|seconds| *seconds > 0.0).map(|seconds| format!("99% within {}", time(seconds))),
        ],
    )];
    lines.extend(why(drain));
    lines.extend(drain.items("blocked_topics").map(|topic| {
        let text = |name| plain(topic.text(name).unwrap_or_default());
        let parked = out.paint(Paint::Doubtful, &format!("topic {} is parked", text("topic")));
        format!(
            "{:<8} {parked}: {}: {} (tried {} times since {})",
            "",
            text("reason"),
            text("detail"),
            topic.count("attempts").unwrap_or_default(),
            text("since")
        )
    }));
    lines.extend(last_error(drain, out));
    lines
}

/// Nothing while there are none.
fn dead_letters(letters: Look<'_>, out: &Output) -> Vec<String> {
    let (kept, dropped) = (letters.count("count").unwrap_or_default(), letters.count("dropped").unwrap_or_default());
    let copies = letters.at("copies");
    let made = copies.sum("copied");
    if kept + dropped + made == 0 {
        return Vec::new();
    }
    let letters = format!("{} letters", count(kept));
    let mut lines = vec![labelled(
        "dead",
        [
            Some(if kept > 0 { out.paint(Paint::Doubtful, &letters) } else { letters }),
            (dropped > 0).then(|| out.paint(Paint::Bad, &format!("{} dropped for want of room", count(dropped)))),
            copies.text("topic").map(|topic| format!("{} copied to {}", count(made), plain(topic))),
            copies.count("waiting").filter(|waiting| *waiting > 0).map(|waiting| format!("{} wait for their copy", count(waiting))),
        ],
    )];
    lines.extend(why(copies.at("blocked")));
    lines
}

fn redis(notify: Look<'_>, out: &Output) -> Vec<String> {
    if !notify.is_there() {
        return vec![labelled("redis", [Some(out.paint(Paint::Faint, "off (redis.url is empty)"))])];
    }
    let mut lines = vec![labelled(
        "redis",
        [
            Some(if notify.is("up") { out.paint(Paint::Good, "up") } else { out.paint(Paint::Doubtful, "down") }),
            notify.count("published").map(|published| format!("{} notified", count(published))),
            Some(format!("{} dropped", count(notify.sum("dropped")))),
            notify.count("queued").map(|queued| format!("{} queued", count(queued))),
        ],
    )];
    lines.extend(last_error(notify, out));
    lines
}

fn ingest(ingest: Look<'_>) -> Option<String> {
    let events = ingest.at("events");
    let known = |result| events.count(result).unwrap_or_default();
    let (accepted, duplicates) = (known("accepted"), known("duplicate"));
    let refused = ingest.sum("events").saturating_sub(accepted + duplicates);
    ingest.is_there().then(|| {
        labelled(
            "ingest",
            [
                Some(format!("{} accepted", count(accepted))),
                (duplicates > 0).then(|| format!("{} known before", count(duplicates))),
                Some(format!("{} refused", count(refused))),
                ingest.count("connections").map(|connections| format!("{} connections", count(connections))),
                ingest.number("append_p99_seconds").filter(|seconds| *seconds > 0.0).map(|seconds| format!("99% within {}", time(seconds))),
            ],
        )
    })
}

/// What is in the way, in a line of its own.
fn why(section: Look<'_>) -> Option<String> {
    let why: Vec<String> = [section.text("reason"), section.text("detail")].into_iter().flatten().map(plain).collect();
    (!why.is_empty()).then(|| labelled("", [Some(why.join(": "))]))
}

fn last_error(section: Look<'_>, out: &Output) -> Option<String> {
    let error = section.at("last_error");
    let message = plain(error.text("message")?);
    let age = error.number("age_seconds").map(|seconds| format!(" {} ago", time(seconds))).unwrap_or_default();
    Some(format!("{:<8} {}", "", out.paint(Paint::Faint, &format!("last error{age}: {message}"))))
}

#[cfg(test)]
mod tests {
    use super::super::super::output::tests::captured;
    use super::*;
    use serde_json::{Value, json};

    fn screen(snapshot: &Value) -> String {
        lines(Look(snapshot), &captured().0).join("\n") + "\n"
    }

    // Goal: at 3 a.m., one screen tells how full, how old, how fast, why stuck.
    #[test]
    fn a_stuck_relay() {
        let snapshot = json!({
            "relay": {"version": "0.1.0", "relay_id": "0198-aa", "uptime_seconds": 11_520.0, "resident_memory_bytes": 40_000_000},
            "ingest": {"events": {"accepted": 1_234_567, "full": 3, "invalid": 1, "failed": 0, "duplicate": 12, "conflict": 0}, "connections": 8, "append_p99_seconds": 0.002},
            "buffer": {
                "fill": 0.92, "bytes": 987_842_478, "max_bytes": 1_073_741_824, "ledger": {"backlog": 3_000_000},
                "oldest_age_seconds": 3_725.0, "waiters": 2, "rate_in": 800.0, "rate_out": 0.0, "seconds_to_full": 300.0,
                "seconds_to_empty": null, "failed": null,
            },
            "drain": {
                "state": "blocked", "reason": "unknown_topic", "detail": "topic events: Unknown topic", "connected": true, "acked": 5,
                "delivery": "exactly-once",
                "inflight": 0, "last_ack_age_seconds": 3_700.5,
                "last_error": {"at": "x", "age_seconds": 2.0, "message": "Unknown\u{1b}[2J topic"},
            },
            "dead_letters": {
                "count": 1_200, "bytes": 4_915_200, "dropped": 0,
                "copies": {
                    "topic": "events.dead", "waiting": 1_100, "copied": {"copied": 99, "copied_without_value": 1},
                    "blocked": {"reason": "unknown_topic", "detail": "topic events.dead: Unknown topic", "seconds": 60.0},
                },
            },
            "notify": {"up": false, "published": 5, "dropped": {"queue_full": 7, "failed": 1}, "queued": 0},
            "health": {
                "ready": true, "degraded": true, "reasons": [], "late_loops": [],
                "degraded_reasons": [{"reason": "drain_blocked", "detail": "unknown_topic: Unknown topic"}],
            },
        });
        let expect = "\
relay    ready, degraded, version 0.1.0, up 3h 12m, 38.1 MiB memory, 0198-aa
         drain_blocked: unknown_topic: Unknown topic
buffer   [#####################################---] 92%, 942.1 MiB allocated of 1.0 GiB
         3,000,000 events waiting, oldest 1h 2m, 2 requests wait for room
rates    in 800/s, out 0/s, full in 5m
kafka    blocked, connected, exactly-once, 5 acknowledged, 0 in flight, last ack 1h 1m ago
         unknown_topic: topic events: Unknown topic
         last error 2.0s ago: Unknown\\u{1b}[2J topic
dead     1,200 letters, 100 copied to events.dead, 1,100 wait for their copy
         unknown_topic: topic events.dead: Unknown topic
redis    down, 5 notified, 8 dropped, 0 queued
ingest   1,234,567 accepted, 12 known before, 4 refused, 8 connections, 99% within 2ms
";
        assert_eq!(screen(&snapshot), expect);
    }

    // Goal: a relay that is still starting, or of another version, can be looked at, too.
    #[test]
    fn what_is_missing_is_not_shown() {
        let snapshot = json!({
            "buffer": null, "notify": null, "drain": {"state": "connecting", "connected": false},
            "health": {"ready": false, "reasons": [{"reason": "starting", "detail": "the buffer is being recovered"}]},
        });
        let expect = "\
relay    not ready
         starting: the buffer is being recovered
buffer   not recovered yet
kafka    connecting, no broker connected
redis    off (redis.url is empty)
";
        assert_eq!(screen(&snapshot), expect);
        assert!(screen(&json!({})).starts_with("relay    not ready\n"));
    }
}
