//! The verdicts, as tables: one row per thing that can happen to a relay.

use super::*;
use crate::buffer::ParkedTopic;

fn buffer(change: impl FnOnce(&mut BufferSnapshot)) -> BufferSnapshot {
    let mut buffer = BufferSnapshot { durable: true, filesystem: "ext4".into(), max_bytes: 1 << 20, ..BufferSnapshot::default() };
    change(&mut buffer);
    buffer
}

fn facts<'a>(buffer: Option<&'a BufferSnapshot>, drain: &'a DrainState) -> Facts<'a> {
    Facts {
        phase: Phase::Serving,
        started: true,
        buffer,
        drain,
        blocked_topics: &[],
        stalled_for: Duration::ZERO,
        stall_after: Duration::from_secs(30),
        uncopied: None,
        redis_down_for: None,
        late_loops: Vec::new(),
        conservation_error: 0,
    }
}

fn unready_of(health: &Health) -> Vec<Unready> {
    health.reasons.iter().map(|reason| reason.reason).collect()
}

fn degraded_of(health: &Health) -> Vec<Degraded> {
    health.degraded_reasons.iter().map(|reason| reason.reason).collect()
}

// Goal: `/readyz` says no exactly when a write sent now would be refused, and says why.
#[test]
fn ready_means_that_a_write_would_be_taken_now() {
    type Change = fn(&mut BufferSnapshot);
    let calm: Change = |_| {};
    let cases: [(Phase, Option<Change>, &[Unready]); 7] = [
        (Phase::Starting, None, &[Unready::Starting]),
        (Phase::Starting, Some(calm), &[Unready::Starting]),
        (Phase::Serving, Some(calm), &[]),
        (Phase::Serving, Some(|buffer| buffer.full = true), &[Unready::BufferFull]),
        (Phase::Serving, Some(|buffer| buffer.failed = Some("no space left".into())), &[Unready::StorageFailed]),
        (Phase::ShuttingDown, Some(calm), &[Unready::ShuttingDown]),
        (Phase::ShuttingDown, Some(|buffer| buffer.full = true), &[Unready::ShuttingDown, Unready::BufferFull]),
    ];
    for (phase, change, expected) in cases {
        let buffer = change.map(buffer);
        let health = assess(Facts { phase, ..facts(buffer.as_ref(), &DrainState::Running) });
        assert_eq!(unready_of(&health), expected, "{phase:?} {buffer:?}");
        assert_eq!(health.ready, expected.is_empty());
    }
}

// Goal: Kafka or Redis going away never takes the application's pod out of service and never restarts the relay.
#[test]
fn kafka_or_redis_down_is_neither_unready_nor_dead() {
    let buffer = buffer(|buffer| buffer.ledger.backlog = 9);
    let blocked = DrainState::Blocked { reason: "topic", detail: "Broker: Unknown topic or partition".into() };
    let health = assess(Facts {
        stalled_for: Duration::from_secs(9000),
        redis_down_for: Some(Duration::from_secs(9000)),
        ..facts(Some(&buffer), &blocked)
    });
    assert!(health.ready && health.live && health.started);
    assert_eq!(degraded_of(&health), [Degraded::DrainStalled, Degraded::DrainBlocked, Degraded::RedisDown]);
}

// Goal: an outage is called a stall only when events wait, and only after `ops.stall_after`.
#[test]
fn a_stall_needs_a_backlog_and_the_whole_patience() {
    for (backlog, seconds, stalled) in [(0, 9000, false), (1, 29, false), (1, 30, true), (1, 9000, true)] {
        let buffer = buffer(|buffer| buffer.ledger.backlog = backlog);
        let health = assess(Facts { stalled_for: Duration::from_secs(seconds), ..facts(Some(&buffer), &DrainState::Connecting) });
        assert_eq!(degraded_of(&health).contains(&Degraded::DrainStalled), stalled, "{backlog} events, {seconds} s");
    }
}

// Goal: a dead-letter topic that takes nothing is told of after `ops.stall_after`, not at the first error, and stops nothing else.
#[test]
fn copies_that_do_not_come_about_are_told_of_in_time() {
    for (seconds, told) in [(0, false), (29, false), (30, true), (9000, true)] {
        let uncopied = Some(Uncopied { waiting_for: Duration::from_secs(seconds), trouble: "topic dead: it does not exist".into() });
        let buffer = buffer(|_| {});
        let health = assess(Facts { uncopied, ..facts(Some(&buffer), &DrainState::Running) });
        assert_eq!(degraded_of(&health), if told { vec![Degraded::DeadLettersUncopied] } else { vec![] }, "{seconds} s");
        assert!(health.ready && health.live);
        assert!(health.degraded_reasons.iter().all(|reason| reason.detail.ends_with("it does not exist")));
    }
}

// Goal: the operator is told about each kind of trouble by name, and a healthy relay is not called degraded.
#[test]
fn every_kind_of_trouble_has_its_name() {
    type Change = fn(&mut BufferSnapshot);
    let cases: [(Change, i64, Option<u64>, &[Degraded]); 8] = [
        (|_| {}, 0, None, &[]),
        (|_| {}, 0, Some(1), &[]),
        (|_| {}, 0, Some(2), &[Degraded::RedisDown]),
        (|buffer| buffer.durable = false, 0, None, &[Degraded::NotDurable]),
        (|buffer| buffer.quarantined = 1, 0, None, &[Degraded::Quarantined]),
        (|buffer| buffer.ledger.ends.lost = 1, 0, None, &[Degraded::EventsLost]),
        (|buffer| buffer.torn_bytes = 100, 0, None, &[]),
        (|_| {}, -3, None, &[Degraded::Conservation]),
    ];
    for (change, conservation_error, redis, expected) in cases {
        let buffer = buffer(change);
        let redis_down_for = redis.map(Duration::from_secs);
        let health = assess(Facts { redis_down_for, conservation_error, ..facts(Some(&buffer), &DrainState::Running) });
        assert_eq!(degraded_of(&health), expected, "{buffer:?}");
        assert!(health.ready);
    }
}

// Goal: while some topics are refused and others go on, the operator is told which, why, and how many events wait for it.
#[test]
fn a_parked_topic_is_named() {
    let topic = |topic: &str| BlockedTopic {
        topic: topic.into(),
        reason: "unknown_topic",
        detail: "it does not exist".into(),
        since: String::new(),
        attempts: 2,
    };
    let parked = ParkedTopic { topic: "events.order".into(), events: 17, ..ParkedTopic::default() };
    let buffer = buffer(|buffer| buffer.parked.topics.push(parked));
    let blocked_topics = [topic("events.order"), topic("events.other")];
    let health = assess(Facts { blocked_topics: &blocked_topics, ..facts(Some(&buffer), &DrainState::Running) });
    assert!(health.ready && health.live);
    assert_eq!(degraded_of(&health), [Degraded::TopicParked]);
    let detail = &health.degraded_reasons[0].detail;
    for part in ["events.order", "unknown_topic", "it does not exist", "17 events", "1 other"] {
        assert!(detail.contains(part), "{detail}");
    }
}

// Goal: a hung loop is dead, and nothing else is.
#[test]
fn only_a_late_loop_is_dead() {
    let late_loops = vec![LateLoop { name: "drain", seconds: 31 }];
    assert!(!assess(Facts { late_loops, ..facts(None, &DrainState::Running) }).live);
    let broken = buffer(|buffer| buffer.failed = Some("no space left".into()));
    assert!(assess(facts(Some(&broken), &DrainState::Stopped)).live);
}

// Goal: names in JSON and in metrics are the same word.
#[test]
fn json_and_label_agree() {
    for cause in Degraded::ALL {
        assert_eq!(serde_json::to_value(cause).unwrap(), cause.label());
    }
    for cause in Unready::ALL {
        assert_eq!(serde_json::to_value(cause).unwrap(), cause.label());
    }
}

// Goal: at 3 a.m. every reason that a probe, a log line or an alert names has its section in the runbook.
#[test]
fn the_runbook_has_a_section_for_every_reason() {
    let runbook = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/runbook.md")).unwrap();
    let labels = Unready::ALL.map(Unready::label).into_iter().chain(Degraded::ALL.map(Degraded::label));
    for label in labels {
        assert!(runbook.lines().any(|line| line == format!("### `{label}`")), "docs/runbook.md lacks the section ### `{label}`");
    }
}
