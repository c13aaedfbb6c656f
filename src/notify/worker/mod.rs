//! The loop that gives notifications to Redis: connect, publish, and on any failure wait and connect anew.
//!
//! ```text
//! DOWN ──connected──▶ UP ──▶ take ≤512 ──▶ publish ──ok──▶ UP
//!   ▲                  │                      │ all refused ──▶ pause 0.1..5 s, then try 16 (REFUSED)
//!   │                  │ idle 5 s: PING       │ timeout ──▶ SUSPECT: PING until it answers, three timeouts in all
//!   └──backoff 0.1..5 s┴──────────────────────┴ connection lost, or the third timeout
//! ```
//! While it is not UP nothing is taken from the queue, so the newest wait there. After a timeout nothing is sent but a PING: a
//! frozen Redis costs one batch, not all of them.

use super::message::Notification;
use super::notifier::{Link, LinkError, Notifier, Tally};
use super::queue::{BATCH_MAX, Waiting};
use super::stats::{DropReason, NotifyStats};
use super::stop::Stop;
use super::trouble::Trouble;
use crate::backoff::Backoff;
use crate::lifecycle::AckWaiters;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Shortest and longest step between attempts. Five seconds: a Redis that is repaired is in use again before anybody wonders.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Idle time after which Redis is asked whether it is there, so that `up` is true and a dead link is found before it costs an event.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Unanswered requests in a row after which the link counts as half-open.
const TIMEOUTS_MAX: u32 = 3;

/// Batch size while Redis refuses everything: enough to meet a channel that is allowed, few enough to waste little.
const PROBE_MAX: usize = 16;

/// The consumer of the queue.
#[derive(Debug)]
pub(super) struct Worker<N> {
    notifier: N,
    waiting: Waiting,
    stats: Arc<NotifyStats>,
    acks: Option<Arc<AckWaiters>>,
    batch: Vec<Notification>,
    reconnect: Backoff,
    refusal: Backoff,
    rng: fastrand::Rng,
    down: Trouble,
    refused: Trouble,
    overflow: Trouble,
    /// Overflow drops already looked at.
    overflow_seen: u64,
}

impl<N: Notifier> Worker<N> {
    /// A worker; `seed` decides its jitter.
    pub(super) fn new(notifier: N, waiting: Waiting, stats: Arc<NotifyStats>, seed: u64) -> Self {
        Self {
            notifier,
            waiting,
            stats,
            acks: None,
            batch: Vec::with_capacity(BATCH_MAX),
            reconnect: Backoff::new(RETRY_MIN, RETRY_MAX),
            refusal: Backoff::new(RETRY_MIN, RETRY_MAX),
            rng: fastrand::Rng::with_seed(seed),
            down: Trouble::default(),
            refused: Trouble::default(),
            overflow: Trouble::default(),
            overflow_seen: 0,
        }
    }

    /// Tells the history of the newest events what Redis took.
    pub(super) fn telling(self, acks: Option<Arc<AckWaiters>>) -> Self {
        Self { acks, ..self }
    }

    /// Works until the stop, then publishes what it can until the stop's deadline and closes the queue.
    pub(super) async fn run(mut self, mut stop: Stop<'_>) {
        while !(stop.requested() && self.waiting.is_empty()) {
            let failure = match stop.within(self.notifier.connect()).await {
                None => break,
                Some(Err(error)) => error.to_string(),
                Some(Ok(mut link)) => match self.serve(&mut link, &mut stop).await {
                    Ok(()) => break,
                    Err(error) => error.to_string(),
                },
            };
            self.fails(failure);
            if stop.requested() {
                break;
            }
            let delay = self.reconnect.next_delay(&mut self.rng);
            stop.or_wait(delay, std::future::pending()).await;
        }
        self.stats.up.set(0);
        self.waiting.close();
    }

    /// Publishes over one connection; ends with `Ok` when the stop is done, with the error when the connection must go.
    async fn serve(&mut self, link: &mut N::Link, stop: &mut Stop<'_>) -> Result<(), LinkError> {
        self.stats.up.set(1);
        let mut batch_max = BATCH_MAX;
        loop {
            stop.or_wait(HEARTBEAT, self.waiting.ready()).await;
            self.waiting.take(&mut self.batch, batch_max);
            self.note_overflow();
            if self.batch.is_empty() {
                if stop.requested() {
                    return Ok(());
                }
                self.hear(link, stop, TIMEOUTS_MAX).await?;
                self.works();
                continue;
            }
            let sent = self.batch.len() as u64;
            match stop.within(link.publish(&self.batch)).await {
                None => {
                    self.stats.dropped(DropReason::Shutdown).add(sent);
                    return Ok(());
                }
                Some(Ok(tally)) => {
                    self.tell(&tally);
                    batch_max = self.settle(tally, stop).await;
                }
                Some(Err(error)) => {
                    self.stats.dropped(DropReason::Failed).add(sent);
                    let LinkError::Timeout { .. } = error else { return Err(error) };
                    self.fails(error.to_string());
                    self.hear(link, stop, TIMEOUTS_MAX - 1).await?;
                    self.stats.up.set(1);
                }
            }
        }
    }

    /// Only what Redis took as a whole: which ones of a batch it refused is not known here.
    fn tell(&self, tally: &Tally) {
        let Some(acks) = self.acks.as_ref().filter(|_| tally.refused == 0) else { return };
        let now_ms = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0);
        acks.history().notified(self.batch.iter().map(|notification| notification.seq), now_ms);
    }

    /// Books an answered batch and returns the size of the next. Pauses when Redis refused all of it.
    async fn settle(&mut self, tally: Tally, stop: &mut Stop<'_>) -> usize {
        let Tally { taken, refused, refusal } = tally;
        self.stats.published.add(taken);
        self.stats.dropped(DropReason::Refused).add(refused);
        if let Some(reason) = refusal {
            if let Some(count) = self.refused.failed(Instant::now(), refused) {
                tracing::warn!(reason, count, "redis refuses notifications");
            }
            self.stats.set_last_error(format!("redis refuses notifications: {reason}"));
        } else if let Some(over) = self.refused.over(Instant::now()) {
            tracing::info!(lasted = ?over.lasted, count = over.untold, "redis takes notifications again");
        }
        if taken > 0 {
            self.works();
            return BATCH_MAX;
        }
        self.stats.up.set(0);
        let delay = self.refusal.next_delay(&mut self.rng);
        stop.or_wait(delay, std::future::pending()).await;
        PROBE_MAX
    }

    /// Asks until Redis answers, `tries` times at most. When the stop's deadline passes meanwhile, the next publish finds out.
    async fn hear(&mut self, link: &mut N::Link, stop: &mut Stop<'_>, mut tries: u32) -> Result<(), LinkError> {
        loop {
            match stop.within(link.ping()).await {
                None | Some(Ok(())) => return Ok(()),
                Some(Err(LinkError::Timeout { .. })) if tries > 1 => tries -= 1,
                Some(Err(error)) => return Err(error),
            }
            self.stats.up.set(0);
        }
    }

    /// Redis does what it should.
    fn works(&mut self) {
        self.stats.up.set(1);
        self.reconnect.reset();
        self.refusal.reset();
        if let Some(over) = self.down.over(Instant::now()) {
            tracing::info!(lasted = ?over.lasted, failures = over.untold, "redis answers again");
        }
    }

    fn fails(&mut self, reason: String) {
        self.stats.up.set(0);
        if let Some(failures) = self.down.failed(Instant::now(), 1) {
            let (waiting, dropped) = (self.stats.queued.get(), self.stats.dropped_total());
            tracing::warn!(reason, failures, waiting, dropped, "redis does not answer; events go to Kafka all the same");
        }
        self.note_overflow();
        self.stats.set_last_error(reason);
    }

    /// Says when notifications were lost to a full queue. The drain only counts: it has no time for log lines.
    fn note_overflow(&mut self) {
        let dropped = self.stats.dropped(DropReason::QueueFull).get();
        let fresh = dropped - std::mem::replace(&mut self.overflow_seen, dropped);
        if fresh > 0 {
            if let Some(count) = self.overflow.failed(Instant::now(), fresh) {
                tracing::warn!(count, "the notification queue is full: the oldest were dropped");
            }
        } else if self.waiting.is_empty()
            && let Some(over) = self.overflow.over(Instant::now())
        {
            tracing::info!(lasted = ?over.lasted, count = over.untold, "the notification queue is empty again");
        }
    }
}

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
