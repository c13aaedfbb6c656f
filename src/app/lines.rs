//! The drain's two lines: one for the log, one for what is parked, where anything can be. They are one stage: paused together, stopped one after the other,
//! since the log's line may park until it ends.

use super::AppError;
use super::workers::{Worker, finish};
use crate::buffer::{ParkedLine, Reader};
use crate::config::{Delivery, KafkaConfig, OnBlocked};
use crate::drain::{Drain, DrainHandles, DrainReport, DrainStats, DrainStop, OnAcked};
use crate::event::EventRef;
use crate::lifecycle::AckWaiters;
use crate::notify::NotifyQueue;
use crate::ops::StatusSource;
use crate::shutdown::Trigger;
use std::sync::Arc;
use std::time::Instant;

/// What the lines are given.
pub(super) struct Given<'a> {
    pub(super) config: &'a KafkaConfig,
    pub(super) relay_id: &'a str,
    pub(super) source: &'a StatusSource,
    pub(super) acks: &'a Arc<AckWaiters>,
    /// Whom to tell of what Kafka has; `None`: nobody is notified.
    pub(super) queue: Option<NotifyQueue>,
    /// Counters of each line.
    pub(super) stats: [Arc<DrainStats>; 2],
}

/// The lines, not yet running.
#[derive(Debug)]
pub(super) struct Lines {
    log: Drain,
    parked: Option<Drain<ParkedLine>>,
    stops: [DrainStop; 2],
}

/// The lines, running.
#[derive(Debug)]
pub(super) struct Running {
    log: Worker<DrainReport>,
    parked: Option<Worker<DrainReport>>,
    stops: [DrainStop; 2],
}

impl Given<'_> {
    fn handles(&self, line: usize, name: &'static str, stop: &DrainStop) -> DrainHandles {
        let on_acked = self.queue.clone().map(|queue| Box::new(move |seq, event: &EventRef<'_>| queue.acked(seq, event)) as OnAcked);
        let (stats, acks) = (Arc::clone(&self.stats[line]), Arc::clone(self.acks));
        DrainHandles { stats, acks, on_acked, stop: stop.clone(), heartbeat: Some(self.source.heartbeat(name)) }
    }
}

impl Lines {
    /// Checks the settings and connects.
    pub(super) fn build(given: &Given<'_>, reader: Reader, parked: ParkedLine) -> Result<Self, AppError> {
        let log_stop = DrainStop::default();
        let stops = [log_stop.clone(), log_stop.beside()];
        let (log_waker, parked_waker) = (reader.waker(), parked.waker());
        stops[0].on_finish(move || log_waker.wake());
        stops[1].on_finish(move || parked_waker.wake());
        given.source.pauses_with(log_stop);
        let config = given.config;
        // What was parked before is never in the order of a cursor in Kafka: it goes first, whatever its topics are called.
        let exactly_once = config.delivery == Delivery::ExactlyOnce;
        reader.parking(if exactly_once { "" } else { &config.topic });
        let is_needed = config.on_blocked == OnBlocked::Park || !parked.topics().is_empty();
        let second = is_needed.then(|| Drain::build_parked(config, given.relay_id, parked, given.handles(1, "drain-parked", &stops[1])));
        let second = second.transpose().map_err(AppError::Drain)?;
        let log = Drain::build(config, given.relay_id, reader, given.handles(0, "drain", &stops[0])).map_err(AppError::Drain)?;
        Ok(Self { log, parked: second, stops })
    }

    /// What pauses both.
    pub(super) fn pause(&self) -> &DrainStop {
        &self.stops[0]
    }

    /// Starts them, each on a thread of its own.
    pub(super) fn start(self, trigger: &Trigger) -> Running {
        let Self { log, parked, stops } = self;
        let log = Worker::spawn("drain", trigger, move || log.run());
        let parked = parked.map(|parked| Worker::spawn("drain-parked", trigger, move || parked.run_parked()));
        Running { log, parked, stops }
    }
}

impl Running {
    /// Tells them to finish by `deadline`, or at once when the stop is forced, and waits for them.
    pub(super) async fn finish(&mut self, trigger: &Trigger, deadline: Instant) -> Option<DrainReport> {
        let Self { log, parked, stops } = self;
        let mut whole = finish(log, &stops[0], trigger, deadline).await;
        if let Some(parked) = parked {
            let report = finish(parked, &stops[1], trigger, deadline).await;
            whole = whole.zip(report).map(|(log, parked)| DrainReport {
                acked: log.acked + parked.acked,
                left: log.left,
                in_doubt: log.in_doubt + parked.in_doubt,
            });
        }
        whole
    }

    /// Why a line ended when it should not have.
    pub(super) fn failure(self) -> Option<String> {
        self.log.failure.or(self.parked.and_then(|parked| parked.failure))
    }
}
