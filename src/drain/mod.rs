//! Stage 3: events go to Kafka. Takes leased frames from the buffer in seq order, gives acknowledgements back to the buffer, to
//! waiting requests and to notify, promises that nothing is lost, skipped or overtaken on the way.
//!
//! One thread owns everything here: the librdkafka handle, the window, the books (`run.rs`). The handle is idempotent and gapless, so a
//! batch that fails for good kills it before a later one can overtake; the drain then collects what was acknowledged, rewinds the
//! buffer to the first event that Kafka does not have, and sends again with a new handle. An outage of any length is waited out.
//!
//! Invariants: an event is acknowledged only with Kafka's report (acks=all); per source, Kafka's log is in seq order once repeats
//! (`seq <= last seen`) are dropped; memory is bounded by the window, not by the backlog; an error that means nothing to this version
//! stops the line, it never skips an event.
//!
//! An event that Kafka will never take ([`crate::error::Disposition::DeadLetter`], an allow-list of codes) is found among its neighbours
//! (`isolate.rs`), kept by the buffer as a dead letter, and the rest goes on; with `kafka.on_rejected = "block"` the line waits instead.
//!
//! With `kafka.on_blocked = "park"` the events of a topic that Kafka refuses leave the log for a place of their own (`parking.rs`), and a second line, the
//! same loop with a handle and a thread of its own, sends them when the topic takes events again (`parked_line.rs`). Per topic: first what is parked, then what
//! is in the log.
//! With `kafka.dead_letter_topic`, a thread of its own copies dead letters to a topic (`copy/`).

mod acks;
mod board;
mod classify;
mod clock;
mod copy;
mod feed;
mod fill;
mod give_up;
mod inflight;
mod isolate;
mod kafka;
mod parked_line;
mod parked_source;
mod parking;
mod reconcile;
mod resting;
mod resume;
mod run;
mod set_aside;
mod sink;
mod source;
mod standstill;
mod stats;
mod stop;
mod transactional;
mod watchdog;
mod window;

#[cfg(test)]
mod simulated;

use crate::buffer::Reader;
use crate::config::{Delivery, KafkaConfig, OnBlocked, OnRejected};
use crate::lifecycle::{AckWaiters, Heartbeat};
use std::sync::Arc;

pub use acks::OnAcked;
pub use classify::{BLOCK_REASONS, Class, DEAD_REASONS, PASSING_REASONS};
pub use clock::{Clock, SystemClock};
pub use copy::{COPY_RESULTS, Copier, CopyHandles, CopyStats, CopyTrouble, Courier, Heard, Letters};
pub use kafka::{
    BuildError, CursorFacts, DeadLetterTopic, KafkaCourier, KafkaFactory, KafkaFacts, KafkaHandle, KafkaSink, ProbeError, Unusable,
    check_properties, probe, producer_settings,
};
pub use parking::Blocked;
pub use reconcile::{Found, Tail, Wanted, key_print};
pub use resting::RestingTopic;
pub use resume::{Committed, KeepGoing, Known};
pub use sink::{Purge, Refusal, Report, SendOutcome, Sink, SinkFactory};
pub use source::{ParkedSource, Source};
pub use stats::{DrainState, DrainStats, RETRY_REASONS};
pub use stop::{DrainReport, DrainStop};
pub use transactional::{Progress, Size, Transactional, Transactions};

/// What the drain is given by the assembly.
pub struct DrainHandles {
    /// Where it tells about itself.
    pub stats: Arc<DrainStats>,
    /// Requests that wait for Kafka.
    pub acks: Arc<AckWaiters>,
    /// Told of every acknowledged event, per source in seq order; `None` when nobody is notified.
    pub on_acked: Option<OnAcked>,
    /// Ends or pauses it.
    pub stop: DrainStop,
    /// Ticked by every turn of the loop; `None` when nobody looks.
    pub heartbeat: Option<Heartbeat>,
}

/// The stage: built once, then run on a thread of its own.
#[derive(Debug)]
pub struct Drain<S: Source = Reader, F: SinkFactory = KafkaFactory, C: Clock = SystemClock> {
    source: S,
    factory: F,
    clock: C,
    stats: Arc<DrainStats>,
    stop: DrainStop,
    heartbeat: Option<Heartbeat>,
    policy: Policy,
    line: run::Line,
}

/// What to do about what Kafka refuses for longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// An event for what it is.
    pub on_rejected: OnRejected,
    /// A topic.
    pub on_blocked: Blocked,
}

impl Drain {
    /// Checks the settings and makes the first Kafka handle. Does not wait for Kafka: an outage is no reason not to start.
    ///
    /// # Errors
    /// [`BuildError`] for settings that can never work.
    pub fn build(config: &KafkaConfig, relay_id: &str, reader: Reader, handles: DrainHandles) -> Result<Self, BuildError> {
        let factory = KafkaFactory::build(config, relay_id, &handles.stats.topic_limit)?;
        let on_blocked = if config.on_blocked == OnBlocked::Park { Blocked::Park } else { Blocked::Wait };
        let policy = Policy { on_rejected: config.on_rejected, on_blocked };
        Ok(Self::assemble(reader, factory, SystemClock, handles, policy, fastrand::Rng::new()))
    }
}

impl<S: ParkedSource> Drain<S> {
    /// The line that sends what is parked; run it with [`Drain::run_parked`]. It has no handle while nothing is parked.
    ///
    /// # Errors
    /// [`BuildError`] for settings that can never work.
    pub fn build_parked(config: &KafkaConfig, relay_id: &str, source: S, handles: DrainHandles) -> Result<Self, BuildError> {
        // Events may have been parked before exactly-once was asked for: they never were in the order of its cursor.
        let config = KafkaConfig { delivery: Delivery::AtLeastOnce, ..config.clone() };
        let factory = KafkaFactory::unopened(&config, relay_id, Arc::clone(&handles.stats.topic_limit))?;
        let policy = Policy { on_rejected: config.on_rejected, on_blocked: Blocked::Rest };
        Ok(Self::assemble(source, factory, SystemClock, handles, policy, fastrand::Rng::new()))
    }
}
