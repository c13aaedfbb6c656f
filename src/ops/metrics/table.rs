//! Every metric, once: what it is called, what it means, where its number comes from.

use super::{Kind, Metric, Samples, Value};
use crate::buffer::BufferSnapshot;
use crate::buffer::dead_letters::Usage;
use crate::drain::{BLOCK_REASONS, DrainState};
use crate::ops::health::Degraded;
use crate::ops::status::{CopiesStatus, NotifyStatus, StatusSnapshot};
use std::collections::BTreeMap;
use std::fmt::Display;

const BYTES: Option<&str> = Some("bytes");
const SECONDS: Option<&str> = Some("seconds");

/// Every metric, in the order of the stages.
pub static TABLE: &[Metric] = &[
    Metric {
        name: "dualstream_build_info",
        kind: Kind::Info,
        unit: None,
        help: "Which program this is",
        labels: &["version", "relay_id"],
        read: |s| {
            let relay_id = s.relay.relay_id.clone().unwrap_or_default();
            Samples::Info(vec![("version", s.relay.version.to_owned()), ("relay_id", relay_id)])
        },
    },
    Metric {
        name: "dualstream_ready",
        kind: Kind::Gauge,
        unit: None,
        help: "1 while a write would be taken now, as /readyz answers",
        labels: &[],
        read: |s| flag(s.health.ready),
    },
    Metric {
        name: "dualstream_degraded",
        kind: Kind::Gauge,
        unit: None,
        help: "1 for each reason for which somebody should look; the runbook has a section for each",
        labels: &["reason"],
        read: |s| {
            let now = |cause| s.health.degraded_reasons.iter().any(|reason| reason.reason == cause);
            Samples::Each(Degraded::ALL.into_iter().map(|cause| (cause.label().into(), Value::Count(now(cause).into()))).collect())
        },
    },
    Metric {
        name: "dualstream_conservation_error",
        kind: Kind::Gauge,
        unit: None,
        help: "accepted - (acked + dead-lettered + purged + lost + backlog), confirmed by two looks in a row; anything but 0 is a bug",
        labels: &[],
        read: |s| Samples::One(Value::Signed(s.health.conservation_error)),
    },
    Metric {
        name: "dualstream_events_lost_total",
        kind: Kind::Counter,
        unit: None,
        help: "Accepted events whose bytes rotted on disk before Kafka had them, since the buffer directory was made",
        labels: &[],
        read: |s| buffer(s, |b| Value::Count(b.ledger.ends.lost)),
    },
    Metric {
        name: "dualstream_ingest_requests_total",
        kind: Kind::Counter,
        unit: None,
        help: "Replies to applications by HTTP status",
        labels: &["code"],
        read: |s| each(&s.ingest.requests),
    },
    Metric {
        name: "dualstream_ingest_events_total",
        kind: Kind::Counter,
        unit: None,
        help: "Events by result: accepted (stored), duplicate (stored before), full (refused for want of room), invalid, conflict (an id of another event), \
               failed (storage failed or shutting down)",
        labels: &["result"],
        read: |s| each(&s.ingest.events),
    },
    Metric {
        name: "dualstream_ingest_append_seconds",
        kind: Kind::Histogram,
        unit: SECONDS,
        help: "From a decoded request to its durable answer, waiting for room included",
        labels: &[],
        read: |s| Samples::Buckets(s.ingest.append_seconds.clone()),
    },
    Metric {
        name: "dualstream_ingest_connections",
        kind: Kind::Gauge,
        unit: None,
        help: "Connections of applications open now",
        labels: &[],
        read: |s| Samples::One(Value::Count(s.ingest.connections)),
    },
    Metric {
        name: "dualstream_buffer_events",
        kind: Kind::Gauge,
        unit: None,
        help: "Backlog: events durable on disk and not yet acknowledged by Kafka",
        labels: &[],
        read: |s| buffer(s, |b| Value::Count(b.ledger.backlog)),
    },
    Metric {
        name: "dualstream_buffer_bytes",
        kind: Kind::Gauge,
        unit: BYTES,
        help: "Disk allocated to the buffer directory, everything included",
        labels: &[],
        read: |s| buffer(s, |b| Value::Count(b.bytes)),
    },
    Metric {
        name: "dualstream_buffer_max_bytes",
        kind: Kind::Gauge,
        unit: BYTES,
        help: "The bound on it, buffer.max_bytes",
        labels: &[],
        read: |s| buffer(s, |b| Value::Count(b.max_bytes)),
    },
    Metric {
        name: "dualstream_buffer_fill_ratio",
        kind: Kind::Gauge,
        unit: None,
        help: "How full the buffer is, 0 to 1, by what limits first (bytes or events)",
        labels: &[],
        read: |s| buffer(s, |b| Value::Real(b.fill)),
    },
    Metric {
        name: "dualstream_buffer_oldest_age_seconds",
        kind: Kind::Gauge,
        unit: SECONDS,
        help: "Age of the oldest event that Kafka has not acknowledged; 0 when there is none",
        labels: &[],
        read: |s| buffer(s, |b| Value::Real(b.oldest_age_seconds)),
    },
    Metric {
        name: "dualstream_buffer_seconds_to_full",
        kind: Kind::Gauge,
        unit: None,
        help: "Seconds until the buffer is full at the recent rates in and out; +Inf while it does not fill",
        labels: &[],
        read: |s| buffer(s, |b| Value::Real(b.seconds_to_full.unwrap_or(f64::INFINITY))),
    },
    Metric {
        name: "dualstream_buffer_fsync_seconds",
        kind: Kind::Histogram,
        unit: SECONDS,
        help: "Duration of the syncs that make events durable",
        labels: &[],
        read: |s| s.buffer.as_ref().map_or(Samples::Absent, |b| Samples::Buckets(b.fsync_seconds.clone())),
    },
    Metric {
        name: "dualstream_buffer_parked_events",
        kind: Kind::Gauge,
        unit: None,
        help: "Events of blocked topics that were set aside on disk; part of the backlog",
        labels: &[],
        read: |s| buffer(s, |b| Value::Count(b.parked.events)),
    },
    Metric {
        name: "dualstream_buffer_parked_bytes",
        kind: Kind::Gauge,
        unit: BYTES,
        help: "Disk allocated to them; part of buffer_bytes, at most buffer.parked_bytes",
        labels: &[],
        read: |s| buffer(s, |b| Value::Count(b.parked.bytes)),
    },
    Metric {
        name: "dualstream_buffer_waiters",
        kind: Kind::Gauge,
        unit: None,
        help: "Requests waiting for room in a full buffer",
        labels: &[],
        read: |s| buffer(s, |b| Value::Count(b.waiters)),
    },
    Metric {
        name: "dualstream_buffer_durable",
        kind: Kind::Gauge,
        unit: None,
        help: "1 where the volume keeps what was synced, 0 where a sync proves nothing (memory, overlay, network and FUSE file systems)",
        labels: &[],
        read: |s| buffer(s, |b| Value::Count(b.durable.into())),
    },
    Metric {
        name: "dualstream_buffer_torn_bytes_total",
        kind: Kind::Counter,
        unit: BYTES,
        help: "Bytes of an unfinished, never acknowledged write that were cut off when the buffer was opened",
        labels: &[],
        read: |s| buffer(s, |b| Value::Count(b.torn_bytes)),
    },
    Metric {
        name: "dualstream_buffer_quarantined",
        kind: Kind::Gauge,
        unit: None,
        help: "Damaged pieces of the buffer set aside in its quarantine folder",
        labels: &[],
        read: |s| buffer(s, |b| Value::Count(b.quarantined)),
    },
    Metric {
        name: "dualstream_drain_connected",
        kind: Kind::Gauge,
        unit: None,
        help: "1 while any connection to a Kafka broker is up",
        labels: &[],
        read: |s| flag(s.drain.connected),
    },
    Metric {
        name: "dualstream_drain_acked_total",
        kind: Kind::Counter,
        unit: None,
        help: "Events acknowledged by Kafka",
        labels: &[],
        read: |s| Samples::One(Value::Count(s.drain.acked)),
    },
    Metric {
        name: "dualstream_drain_retries_total",
        kind: Kind::Counter,
        unit: None,
        help: "Times the line to Kafka was stopped and events sent again",
        labels: &["reason"],
        read: |s| each(&s.drain.retries),
    },
    Metric {
        name: "dualstream_drain_inflight_events",
        kind: Kind::Gauge,
        unit: None,
        help: "Events handed to the Kafka client and not yet acknowledged",
        labels: &[],
        read: |s| Samples::One(Value::Count(s.drain.inflight)),
    },
    Metric {
        name: "dualstream_drain_ack_seconds",
        kind: Kind::Histogram,
        unit: SECONDS,
        help: "From hand-over to the Kafka client until the acknowledgement",
        labels: &[],
        read: |s| Samples::Buckets(s.drain.ack_seconds.clone()),
    },
    Metric {
        name: "dualstream_drain_last_ack_age_seconds",
        kind: Kind::Gauge,
        unit: SECONDS,
        help: "Age of the newest acknowledgement; absent before the first, and old by itself when nothing is sent",
        labels: &[],
        read: |s| s.drain.last_ack_age_seconds.map_or(Samples::Absent, |age| Samples::One(Value::Real(age))),
    },
    Metric {
        name: "dualstream_drain_blocked",
        kind: Kind::Gauge,
        unit: None,
        help: "1 while Kafka refuses, all or a topic whose events are parked, in a way that waiting alone may not cure, by reason; 0 otherwise",
        labels: &["reason"],
        read: |s| {
            let now = if let DrainState::Blocked { reason, .. } = s.drain.state { reason } else { "" };
            let is_so = |reason: &str| reason == now || s.drain.blocked_topics.iter().any(|topic| topic.reason == reason);
            Samples::Each(BLOCK_REASONS.iter().map(|reason| ((*reason).into(), Value::Count(is_so(reason).into()))).collect())
        },
    },
    Metric {
        name: "dualstream_drain_blocked_topics",
        kind: Kind::Gauge,
        unit: None,
        help: "Topics that Kafka refuses and whose events are parked, so that others go on",
        labels: &[],
        read: |s| Samples::One(Value::Count(s.drain.blocked_topics.len() as u64)),
    },
    Metric {
        name: "dualstream_drain_paused",
        kind: Kind::Gauge,
        unit: None,
        help: "1 while an operator has paused the drain",
        labels: &[],
        read: |s| Samples::One(Value::Count((s.drain.state == DrainState::Paused).into())),
    },
    Metric {
        name: "dualstream_dead_letters",
        kind: Kind::Gauge,
        unit: None,
        help: "Events that Kafka will never take, kept until they are retried or purged",
        labels: &[],
        read: |s| dead_letters(s, |usage| usage.count),
    },
    Metric {
        name: "dualstream_dead_letters_bytes",
        kind: Kind::Gauge,
        unit: BYTES,
        help: "Disk allocated for dead letters",
        labels: &[],
        read: |s| dead_letters(s, |usage| usage.bytes),
    },
    Metric {
        name: "dualstream_dead_letters_max_bytes",
        kind: Kind::Gauge,
        unit: BYTES,
        help: "The bound on it",
        labels: &[],
        read: |s| dead_letters(s, |usage| usage.max_bytes),
    },
    Metric {
        name: "dualstream_dead_letters_total",
        kind: Kind::Tally,
        unit: None,
        help: "Events given up as dead letters, by what Kafka refused them for",
        labels: &["reason"],
        read: |s| each(&s.drain.dead_lettered),
    },
    Metric {
        name: "dualstream_dead_letters_dropped_total",
        kind: Kind::Counter,
        unit: None,
        help: "Dead letters removed for want of room (buffer.dead_letters_full = \"drop-oldest\")",
        labels: &[],
        read: |s| dead_letters(s, |usage| usage.dropped),
    },
    Metric {
        name: "dualstream_dead_letters_gave_way_total",
        kind: Kind::Counter,
        unit: None,
        help: "Dead letters removed for want of room when the dead-letter topic had them, which is no loss",
        labels: &[],
        read: |s| dead_letters(s, |usage| usage.gave_way),
    },
    Metric {
        name: "dualstream_dead_letters_uncopied",
        kind: Kind::Gauge,
        unit: None,
        help: "Dead letters that wait for their copy in the dead-letter topic; absent when letters are not copied",
        labels: &[],
        read: |s| copies(s, |copies| Samples::One(Value::Count(copies.waiting))),
    },
    Metric {
        name: "dualstream_dead_letter_copies_total",
        kind: Kind::Counter,
        unit: None,
        help: "Copies of dead letters that their topic has acknowledged: copied, or copied_without_value where it does not take the whole event",
        labels: &["result"],
        read: |s| copies(s, |copies| each(&copies.copied)),
    },
    Metric {
        name: "dualstream_notify_up",
        kind: Kind::Gauge,
        unit: None,
        help: "1 while Redis answers; absent when notifications are off",
        labels: &[],
        read: |s| notify(s, |n| Samples::One(Value::Count(n.up.into()))),
    },
    Metric {
        name: "dualstream_notify_published_total",
        kind: Kind::Counter,
        unit: None,
        help: "Notifications that Redis took",
        labels: &[],
        read: |s| notify(s, |n| Samples::One(Value::Count(n.published))),
    },
    Metric {
        name: "dualstream_notify_dropped_total",
        kind: Kind::Counter,
        unit: None,
        help: "Notifications that Redis never got; their events reached Kafka all the same",
        labels: &["reason"],
        read: |s| notify(s, |n| each(&n.dropped)),
    },
    Metric {
        name: "dualstream_notify_queued",
        kind: Kind::Gauge,
        unit: None,
        help: "Notifications waiting for Redis",
        labels: &[],
        read: |s| notify(s, |n| Samples::One(Value::Count(n.queued))),
    },
    Metric {
        name: "process_start_time_seconds",
        kind: Kind::Gauge,
        unit: SECONDS,
        help: "Start of the process in seconds since the Unix epoch",
        labels: &[],
        read: |s| Samples::One(Value::Real(s.relay.started_at_seconds)),
    },
    Metric {
        name: "process_resident_memory_bytes",
        kind: Kind::Gauge,
        unit: BYTES,
        help: "Resident memory; absent where the system does not tell",
        labels: &[],
        read: |s| s.relay.resident_memory_bytes.map_or(Samples::Absent, |bytes| Samples::One(Value::Count(bytes))),
    },
];

fn flag(value: bool) -> Samples {
    Samples::One(Value::Count(value.into()))
}

fn each<K: Display>(counts: &BTreeMap<K, u64>) -> Samples {
    Samples::Each(counts.iter().map(|(name, n)| (name.to_string().into(), Value::Count(*n))).collect())
}

fn buffer(snapshot: &StatusSnapshot, read: fn(&BufferSnapshot) -> Value) -> Samples {
    snapshot.buffer.as_ref().map_or(Samples::Absent, |buffer| Samples::One(read(buffer)))
}

fn dead_letters(s: &StatusSnapshot, read: fn(&Usage) -> u64) -> Samples {
    s.dead_letters.as_ref().map_or(Samples::Absent, |letters| Samples::One(Value::Count(read(&letters.usage))))
}

fn copies(s: &StatusSnapshot, read: fn(&CopiesStatus) -> Samples) -> Samples {
    s.dead_letters.as_ref().and_then(|letters| letters.copies.as_ref()).map_or(Samples::Absent, read)
}

fn notify(snapshot: &StatusSnapshot, read: fn(&NotifyStatus) -> Samples) -> Samples {
    snapshot.notify.as_ref().map_or(Samples::Absent, read)
}
