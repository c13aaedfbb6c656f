//! Ready, live, degraded: pure decisions over facts that somebody else gathered.
//!
//! | question | asked by | no when |
//! |---|---|---|
//! | started | startup probe | the buffer is not recovered or a listener is not bound yet |
//! | live | liveness probe | a loop has not ticked for [`LIVE_WITHIN`] |
//! | ready | readiness probe | a write sent now would be refused ([`Unready`]) |
//! | degraded | people, alerts | the promise holds, but somebody should look ([`Degraded`]) |
//!
//! Invariant: Kafka or Redis down is never unready and never dead; the buffer is there for it.

use super::status::BlockedTopic;
use crate::buffer::BufferSnapshot;
use crate::drain::DrainState;
use serde::Serialize;
use std::time::Duration;

/// A loop that has not ticked for this long is stuck. Loops tick at least every second; the rest is patience with a slow disk.
pub const LIVE_WITHIN: Duration = Duration::from_secs(30);

/// Redis may be away this long before it is called down: a start or a reconnect is no news.
pub const REDIS_GRACE: Duration = Duration::from_secs(2);

/// Where the relay is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Recovering the buffer, binding listeners.
    #[default]
    Starting,
    /// Taking events.
    Serving,
    /// Told to stop; may still take events while it lingers.
    ShuttingDown,
}

/// Why a write sent now would be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unready {
    /// The buffer is being recovered or listeners are being bound.
    Starting,
    /// The buffer has no room.
    BufferFull,
    /// A write or sync failed; nothing more is stored until a restart.
    StorageFailed,
    /// The relay is stopping.
    ShuttingDown,
}

/// Why somebody should look although every promise is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Degraded {
    /// Events wait and Kafka has acknowledged none for `ops.stall_after`.
    DrainStalled,
    /// Kafka refuses in a way that waiting alone may not cure.
    DrainBlocked,
    /// Kafka refuses a topic; its events are parked, others go on.
    TopicParked,
    /// Redis does not answer.
    RedisDown,
    /// The volume forgets what was synced (tmpfs, overlay).
    NotDurable,
    /// Damaged pieces of the buffer were set aside.
    Quarantined,
    /// Events rotted on disk.
    EventsLost,
    /// Dead letters wait for their copy in the dead-letter topic, which does not take it.
    DeadLettersUncopied,
    /// The books do not balance.
    Conservation,
}

impl Unready {
    /// Every cause.
    pub const ALL: [Self; 4] = [Self::Starting, Self::BufferFull, Self::StorageFailed, Self::ShuttingDown];

    /// The name in probes, logs and the runbook.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::BufferFull => "buffer_full",
            Self::StorageFailed => "storage_failed",
            Self::ShuttingDown => "shutting_down",
        }
    }
}

impl Degraded {
    /// Every cause: the closed label set of `dualstream_degraded{reason}`.
    pub const ALL: [Self; 9] = [
        Self::DrainStalled,
        Self::DrainBlocked,
        Self::TopicParked,
        Self::RedisDown,
        Self::NotDurable,
        Self::Quarantined,
        Self::EventsLost,
        Self::DeadLettersUncopied,
        Self::Conservation,
    ];

    /// The name in metrics, logs and the runbook.
    pub const fn label(self) -> &'static str {
        match self {
            Self::DrainStalled => "drain_stalled",
            Self::DrainBlocked => "drain_blocked",
            Self::TopicParked => "topic_parked",
            Self::RedisDown => "redis_down",
            Self::NotDurable => "not_durable",
            Self::Quarantined => "quarantined",
            Self::EventsLost => "events_lost",
            Self::DeadLettersUncopied => "dead_letters_uncopied",
            Self::Conservation => "conservation",
        }
    }
}

/// A cause and the numbers that go with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason<C> {
    /// Which cause; a stable name.
    pub reason: C,
    /// For people.
    pub detail: String,
}

/// A loop that did not tick in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LateLoop {
    /// Which loop.
    pub name: &'static str,
    /// Age of its last tick in whole seconds.
    pub seconds: u64,
}

/// The verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "four independent questions, each with its own probe or alert")]
pub struct Health {
    /// The buffer was recovered and the listeners are bound.
    pub started: bool,
    /// A write sent now would be taken.
    pub ready: bool,
    /// Why not, when it would not.
    pub reasons: Vec<Reason<Unready>>,
    /// Somebody should look.
    pub degraded: bool,
    /// At what.
    pub degraded_reasons: Vec<Reason<Degraded>>,
    /// Every loop ticks.
    pub live: bool,
    /// Those that do not.
    pub late_loops: Vec<LateLoop>,
    /// accepted − (acked + dead-lettered + purged + lost + backlog), confirmed by two looks in a row; 0 is right.
    pub conservation_error: i64,
}

/// Dead letters wait for their copy, and the last attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uncopied {
    /// How long a letter has waited without any being copied.
    pub waiting_for: Duration,
    /// What is in the way.
    pub trouble: String,
}

/// All that the verdict depends on.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// Where the relay is in its life.
    pub phase: Phase,
    /// Whether it ever got to serve.
    pub started: bool,
    /// The buffer, once it is open.
    pub buffer: Option<&'a BufferSnapshot>,
    /// What the drain is doing.
    pub drain: &'a DrainState,
    /// Topics whose events are parked because Kafka refuses them.
    pub blocked_topics: &'a [BlockedTopic],
    /// How long events have waited without any reaching an end.
    pub stalled_for: Duration,
    /// `ops.stall_after`.
    pub stall_after: Duration,
    /// Why dead letters are not copied; `None` while they are, or none waits for it.
    pub uncopied: Option<Uncopied>,
    /// How long Redis has been away; `None` when it is there or notifications are off.
    pub redis_down_for: Option<Duration>,
    /// Loops that did not tick.
    pub late_loops: Vec<LateLoop>,
    /// Confirmed by two looks.
    pub conservation_error: i64,
}

/// Judges.
pub fn assess(facts: Facts<'_>) -> Health {
    let reasons = unready(&facts);
    let degraded_reasons = degraded(&facts);
    Health {
        started: facts.started,
        ready: reasons.is_empty(),
        reasons,
        degraded: !degraded_reasons.is_empty(),
        degraded_reasons,
        live: facts.late_loops.is_empty(),
        late_loops: facts.late_loops,
        conservation_error: facts.conservation_error,
    }
}

fn unready(facts: &Facts<'_>) -> Vec<Reason<Unready>> {
    let mut reasons = Vec::new();
    let mut add = |reason, detail: String| reasons.push(Reason { reason, detail });
    match facts.phase {
        Phase::Starting => add(Unready::Starting, "the buffer is being recovered and listeners are being bound".into()),
        Phase::Serving => {}
        Phase::ShuttingDown => add(Unready::ShuttingDown, "the relay is stopping; what is not sent stays on disk".into()),
    }
    let Some(buffer) = facts.buffer else { return reasons };
    if let Some(failure) = &buffer.failed {
        add(Unready::StorageFailed, format!("{failure}; nothing more is stored until the relay is restarted"));
    }
    if buffer.full {
        let detail = format!(
            "{} events on {} of {} bytes, draining {:.0} events/s",
            buffer.ledger.backlog, buffer.bytes, buffer.max_bytes, buffer.rate_out
        );
        add(Unready::BufferFull, detail);
    }
    reasons
}

fn degraded(facts: &Facts<'_>) -> Vec<Reason<Degraded>> {
    let mut reasons = Vec::new();
    let mut add = |reason, detail: String| reasons.push(Reason { reason, detail });
    let backlog = facts.buffer.map_or(0, |buffer| buffer.ledger.backlog);
    if backlog > 0 && facts.stalled_for >= facts.stall_after {
        let seconds = facts.stalled_for.as_secs();
        let why = match facts.drain {
            DrainState::Recovering { reason } | DrainState::Isolating { reason } | DrainState::Blocked { detail: reason, .. } => {
                format!(": {reason}")
            }
            DrainState::Paused => ": paused by an operator; `dualstream resume` ends it".into(),
            DrainState::Connecting => ": not connected yet".into(),
            DrainState::Running | DrainState::Stopped => String::new(),
        };
        add(Degraded::DrainStalled, format!("Kafka has acknowledged nothing for {seconds} s while {backlog} events wait{why}"));
    }
    if let DrainState::Blocked { reason, detail } = facts.drain {
        add(Degraded::DrainBlocked, format!("{reason}: {detail}"));
    }
    if let Some(detail) = parked(facts) {
        add(Degraded::TopicParked, detail);
    }
    if let Some(down) = facts.redis_down_for.filter(|down| *down >= REDIS_GRACE) {
        add(Degraded::RedisDown, format!("Redis has not answered for {} s; notifications are dropped, events are not", down.as_secs()));
    }
    if let Some(buffer) = facts.buffer {
        if !buffer.durable {
            add(Degraded::NotDurable, format!("the buffer is on {}, where a sync does not outlive the node or pod", buffer.filesystem));
        }
        if buffer.quarantined > 0 {
            add(Degraded::Quarantined, format!("{} damaged pieces are in the buffer's quarantine/ folder", buffer.quarantined));
        }
        if buffer.ledger.ends.lost > 0 {
            add(Degraded::EventsLost, format!("{} events rotted on disk since this buffer was made", buffer.ledger.ends.lost));
        }
    }
    if let Some(Uncopied { waiting_for, trouble }) = facts.uncopied.as_ref().filter(|uncopied| uncopied.waiting_for >= facts.stall_after) {
        let seconds = waiting_for.as_secs();
        add(Degraded::DeadLettersUncopied, format!("dead letters have waited for their copy for {seconds} s: {trouble}"));
    }
    if facts.conservation_error != 0 {
        let error = facts.conservation_error;
        add(
            Degraded::Conservation,
            format!("accepted events exceed acknowledged, lost and waiting ones by {error}; please report this bug"),
        );
    }
    reasons
}

/// The first of the topics that are refused, with how many events wait for them.
fn parked(facts: &Facts<'_>) -> Option<String> {
    let topic = facts.blocked_topics.first()?;
    let parked = facts.buffer.map(|buffer| &buffer.parked);
    let events = parked.and_then(|parked| parked.topics.iter().find(|parked| parked.topic == topic.topic)).map_or(0, |topic| topic.events);
    let others = match facts.blocked_topics.len() - 1 {
        0 => String::new(),
        others => format!(" (and {others} other topics)"),
    };
    Some(format!("topic {:?}: {}: {}; {events} events are parked{others}", topic.topic, topic.reason, topic.detail))
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
