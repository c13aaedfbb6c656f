//! The loop: one thread, one handle at a time.
//!
//! ```text
//! CONNECT ──▶ SEND ──(buffer empty, or time is up, while finishing)──▶ CONFIRM ──▶ report
//!    ▲         │ a refusal, a failed report, a dead handle, no progress
//!    │         ▼
//! BACK OFF ◀─ QUIESCE   collect every report that may still come, give the handle away, rewind the buffer
//!    ▲         │ events were refused for what they are
//!    ├──── ISOLATE       CONNECT and SEND in rounds, until the culprits are dead letters (`give_up.rs`)
//!    │         │ a topic was refused, and others may be taken
//!    └──── SET ASIDE     its events are parked from now on, or it rests (`set_aside.rs`, `parked_line.rs`)
//! ```
//! Invariants: an event is booked only with a report; after a failure nothing later is sent before the failed event is sent again;
//! an event that Kafka is known to have is not sent again (`reconcile.rs` looks where nobody knows); whatever goes wrong, the answer is to wait and
//! send again, for ever.

use super::acks::{Acks, Settled};
use super::board::Board;
use super::classify::{Class, STALLED};
use super::clock::Clock;
use super::feed::Feed;
use super::fill::Filled;
use super::inflight::InFlight;
use super::isolate::Isolation;
use super::parking::{Blocked, ParkBatch, note};
use super::reconcile::Doubt;
use super::set_aside::Turn;
use super::sink::{Purge, Refusal, Sink, SinkFactory};
use super::source::Source;
use super::standstill::{Stop, StopKind, retry_label, stopped_state, worse};
use super::stats::{DrainState, RETRY_REASONS};
use super::stop::DrainReport;
use super::watchdog::Watchdog;
use super::window::Window;
use super::{Drain, DrainHandles, Policy};
use crate::backoff::Backoff;
use crate::error::Disposition;
use crate::event::{EventRef, Place, Seq};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long to sleep when there is nothing to send and nothing on its way: also the longest that a stop goes unnoticed.
const IDLE: Duration = Duration::from_millis(100);
/// How long to sleep while events that are to be parked are collected.
const COLLECT: Duration = Duration::from_millis(20);
/// How long to wait for what is on its way before the handle is given up: a request to a dead broker ends after
/// `socket.timeout.ms` (20 s).
const QUIESCE: Duration = Duration::from_secs(25);
/// How long the reports of given-up events may take.
const PURGED: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum LineEnd {
    Finished,
    /// Everything that was sent is in Kafka; go on with a new handle.
    Renew,
    Stopped(Stop),
}

/// What the loop keeps besides the seams.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) feed: Feed,
    pub(super) inflight: InFlight,
    pub(super) window: Window,
    pub(super) acks: Acks,
    pub(super) board: Board,
    watchdog: Watchdog,
    passing: Backoff,
    blocked: Backoff,
    pub(super) isolating: Backoff,
    pub(super) rng: fastrand::Rng,
    reports: Vec<super::sink::Report>,
    /// When Kafka last acknowledged something, or had nothing to acknowledge.
    pub(super) last_progress: Instant,
    /// Where the acknowledged frontier was when the line was stopped: until it moves, the trouble is not over, however much other
    /// partitions take.
    pub(super) stuck_at: Option<Seq>,
    /// The source was read further than what Kafka has: rewind it before sending again.
    pub(super) rewind: bool,
    /// Events that this handle brought back refused for what they are.
    pub(super) refused: Vec<(Seq, Class)>,
    /// The search for the culprits, while there is one.
    pub(super) isolation: Option<Isolation>,
    /// Acknowledged events when the drain was told to finish.
    pub(super) acked_before: Option<u64>,
    /// Places of events of which the next look at Kafka's cursor tells whether they are there.
    pub(super) unsettled: Vec<(Seq, Place)>,
    /// A handle was readied: something may have been sent that nobody has booked.
    pub(super) begun: bool,
    /// What Kafka may have although no report says so.
    pub(super) doubt: Doubt,
    /// Topics that this handle was refused, when others may be taken.
    pub(super) blocked_topics: Vec<String>,
    /// Events on their way out of the log.
    pub(super) parking: ParkBatch,
    /// The turn of a parked topic, where topics take turns.
    pub(super) turn: Option<Turn>,
    /// The topic of the event at hand; used again for each.
    pub(super) topic: String,
}

impl<S: Source, F: SinkFactory, C: Clock> Drain<S, F, C> {
    /// Puts a drain together from its seams. `rng` decides only the jitter of delays.
    pub fn assemble(source: S, factory: F, clock: C, handles: DrainHandles, policy: Policy, rng: fastrand::Rng) -> Self {
        let DrainHandles { stats, acks, on_acked, stop, heartbeat } = handles;
        let line = Line {
            feed: Feed::default(),
            inflight: InFlight::default(),
            window: Window::default(),
            acks: Acks::new(Arc::clone(&stats), acks, on_acked),
            board: Board::new(Arc::clone(&stats)),
            watchdog: Watchdog::default(),
            passing: Backoff::new(Duration::from_millis(100), Duration::from_secs(10)),
            blocked: Backoff::new(Duration::from_secs(1), Duration::from_secs(30)),
            // Each round finds out something: the pause only spares the brokers.
            isolating: Backoff::new(Duration::from_millis(10), Duration::from_millis(100)),
            rng,
            reports: Vec::new(),
            last_progress: clock.now(),
            stuck_at: None,
            rewind: false,
            refused: Vec::new(),
            isolation: None,
            acked_before: None,
            unsettled: Vec::new(),
            begun: false,
            doubt: Doubt::default(),
            blocked_topics: Vec::new(),
            parking: ParkBatch::default(),
            turn: None,
            topic: String::new(),
        };
        Self { source, factory, clock, stats, stop, heartbeat, policy, line }
    }

    /// Drains until it is told to finish. Blocks: run it on a thread of its own.
    pub fn run(mut self) -> DrainReport {
        let in_doubt = self.send_with_handles();
        let report = self.end(in_doubt);
        tracing::info!(acked = report.acked, left = report.left, in_doubt = report.in_doubt, "the drain has finished");
        report
    }

    /// Handle after handle, until everything was sent or the time for it is over; returns how many events stay in doubt.
    pub(super) fn send_with_handles(&mut self) -> usize {
        while let Some(mut sink) = self.connect() {
            if let Err(refusal) = self.begin(&mut sink) {
                sink.discard();
                self.not_begun(&refusal);
                continue;
            }
            match self.send_all(&mut sink) {
                LineEnd::Finished => {
                    let in_doubt = self.confirm(&mut sink);
                    self.note_doubt(None);
                    sink.discard();
                    return in_doubt;
                }
                LineEnd::Renew => sink.discard(),
                LineEnd::Stopped(stop) => {
                    let refusal = self.quiesce(&mut sink, stop);
                    sink.discard();
                    self.after_stop(&refusal);
                }
            }
        }
        0
    }

    /// What there is to say at the end.
    pub(super) fn end(&mut self, in_doubt: usize) -> DrainReport {
        self.leave_doubt();
        self.line.board.show(DrainState::Stopped);
        let acked = self.stats.acked.get() - self.line.acked_before.unwrap_or_default();
        let left = self.source.durable().0.saturating_sub(self.source.acked().0);
        DrainReport { acked, left, in_doubt: in_doubt as u64 }
    }

    /// A fresh handle and a rewound source; `None` when there is no time left to use them.
    fn connect(&mut self) -> Option<F::Sink> {
        while !self.time_is_up() {
            self.line.refused.clear();
            self.line.blocked_topics.clear();
            if std::mem::take(&mut self.line.rewind) {
                self.source.rewind();
            }
            self.reconcile();
            let refusal = match self.factory.connect() {
                Ok(sink) => return Some(sink),
                Err(refusal) => refusal,
            };
            self.announce(&refusal);
            self.back_off(&refusal);
        }
        None
    }

    /// Notes that the drain was told to finish, and says whether the time for sending is over.
    pub(super) fn time_is_up(&mut self) -> bool {
        if let Some(heartbeat) = &self.heartbeat {
            heartbeat.tick();
        }
        let turn_is_over = self.line.turn.as_ref().is_some_and(|turn| self.clock.now() >= turn.until);
        let Some(finish) = self.stop.finishing() else { return turn_is_over };
        if self.line.acked_before.is_none() {
            self.line.acked_before = Some(self.stats.acked.get());
            self.line.passing.reset();
            self.line.blocked.reset();
        }
        turn_is_over || self.clock.now() >= finish.stop_sending
    }

    fn send_all(&mut self, sink: &mut F::Sink) -> LineEnd {
        while !self.time_is_up() {
            if self.end_isolation() {
                return LineEnd::Renew;
            }
            // What a handle can no longer take is not given to it first: while nothing was to do, the topic's limit may have changed.
            if let Some(refusal) = sink.fatal() {
                return LineEnd::Stopped(Stop { kind: StopKind::CameBack, refusal });
            }
            // Asked before looking for events: told only afterwards, there may be some, or no pause any more.
            let finishing = self.line.acked_before.is_some() || self.line.turn.is_some();
            let filled = match self.fill(sink).and_then(|filled| self.park_what_is_due(finishing).map(|()| filled)) {
                Ok(filled) => filled,
                Err(stop) => return LineEnd::Stopped(stop),
            };
            let slice = slice(self.clock.now().saturating_duration_since(self.line.last_progress));
            if matches!(filled, Filled::Closed | Filled::Paused) {
                sink.flush();
            }
            let patience = if matches!(filled, Filled::Closed | Filled::Paused) { slice } else { Duration::ZERO };
            if let Some(stop) = self.collect(sink, patience) {
                return LineEnd::Stopped(stop);
            }
            let idle = self.line.inflight.span() == 0 && self.line.parking.is_empty();
            self.show_health(sink, filled == Filled::Empty && idle);
            match filled {
                Filled::Empty if self.line.inflight.span() > 0 => self.source.wait(slice),
                Filled::Empty if !idle => self.source.wait(COLLECT),
                Filled::Empty if finishing => return LineEnd::Finished,
                Filled::Empty => self.source.wait(IDLE),
                Filled::Paused if idle && finishing => return LineEnd::Finished,
                Filled::Paused if idle => self.clock.pause(&self.stop, IDLE),
                Filled::Burst | Filled::Closed | Filled::Paused => {}
            }
        }
        LineEnd::Finished
    }

    /// Books the reports that have come in; says whether they, or the handle, stop the line.
    fn collect(&mut self, sink: &mut F::Sink, patience: Duration) -> Option<Stop> {
        let settled = self.settle(sink, patience);
        if let Some(refusal) = worse(settled.failure, sink.fatal()) {
            return Some(Stop { kind: StopKind::CameBack, refusal });
        }
        if settled.acked > 0 && self.line.stuck_at.is_none_or(|stuck| self.source.acked() > stuck) {
            self.recovered();
        }
        let now = self.clock.now();
        if self.line.watchdog.stalled(now, sink.connected(), self.line.inflight.oldest()) {
            let detail = format!("{} events are on their way without an answer", self.line.inflight.awaiting());
            return Some(Stop { kind: StopKind::Stalled, refusal: Refusal { class: STALLED, detail } });
        }
        None
    }

    fn settle(&mut self, sink: &mut F::Sink, patience: Duration) -> Settled {
        sink.poll(patience, &mut self.line.reports);
        let Line { acks, inflight, reports, blocked_topics, topic, .. } = &mut self.line;
        let (now, unix_ms) = (self.clock.now(), self.clock.unix_ms());
        let (waits, factory) = (self.policy.on_blocked == Blocked::Wait, &mut self.factory);
        let mut blocked = |event: &EventRef<'_>| {
            if !waits {
                factory.topic_of(event, topic);
                note(blocked_topics, topic);
            }
        };
        let settled = acks.settle(reports, inflight, &mut self.source, &mut blocked, now, unix_ms);
        self.stats.inflight.set(self.line.inflight.awaiting() as u64);
        if settled.acked > 0 {
            self.line.last_progress = now;
            self.line.window = Window::default();
        }
        if let Some((seq, place)) = sink.take_cursor() {
            self.source.mark_partition(&place.topic, place.partition, seq, place.offset);
        }
        self.line.refused.extend(&settled.refused);
        self.line.doubt.heard(&settled);
        settled
    }

    /// Says what goes on while the line runs. A trouble stays on show until something was acknowledged, or nothing is left to send.
    fn show_health(&mut self, sink: &mut F::Sink, nothing_to_do: bool) {
        if nothing_to_do && sink.connected() && self.line.board.troubled() {
            self.recovered();
        }
        match sink.take_trouble() {
            Some(trouble) if trouble.class.disposition == Disposition::Block => self.announce(&trouble),
            // The client goes on by itself, and logs it.
            Some(trouble) => self.line.board.note(&trouble, self.clock.unix_ms()),
            None => {}
        }
        if !self.line.board.troubled() {
            self.line.board.show_plain(sink.connected(), self.stop.paused());
        }
    }

    pub(super) fn recovered(&mut self) {
        self.line.stuck_at = None;
        self.line.passing.reset();
        self.line.blocked.reset();
        // The search goes on until its end, however much passes meanwhile.
        if self.line.isolation.is_none() {
            self.line.board.recovered(self.clock.now());
        }
    }

    /// Collects every report that may still come. Returns the best explanation for the stop.
    fn quiesce(&mut self, sink: &mut F::Sink, stop: Stop) -> Refusal {
        let Stop { kind, mut refusal } = stop;
        self.line.board.show(stopped_state(&refusal));
        let mut purge = match kind {
            StopKind::NotSent => None,
            StopKind::CameBack => Some(Purge::Queued),
            StopKind::Stalled => Some(Purge::All),
        };
        let deadline = self.stop.finishing().map(|finish| finish.deadline);
        let mut limit = self.clock.now() + QUIESCE;
        let mut all_purged = false;
        sink.flush();
        loop {
            if let Some(scope) = purge.take() {
                sink.purge(scope);
                all_purged = scope == Purge::All;
            }
            let settled = self.settle(sink, IDLE);
            if settled.failure.is_some() && kind == StopKind::NotSent && !all_purged {
                purge = Some(Purge::Queued);
            }
            if let Some(explained) = worse(Some(refusal.clone()), settled.failure) {
                refusal = explained;
            }
            let now = self.clock.now();
            let too_late = now >= limit || deadline.is_some_and(|deadline| now >= deadline);
            if self.line.inflight.awaiting() == 0 || (too_late && all_purged) {
                break;
            }
            if too_late {
                purge = Some(Purge::All);
                limit = now + PURGED;
            }
        }
        self.line.unsettled = sink.take_unsettled();
        self.note_doubt(Some(&refusal));
        self.forget_sent();
        let label = if kind == StopKind::Stalled { "stalled" } else { retry_label(&refusal) };
        if let Some(index) = RETRY_REASONS.iter().position(|reason| *reason == label) {
            self.stats.retries[index].add(1);
        }
        self.announce(&refusal);
        refusal
    }

    /// After this, sending starts again at the first event that Kafka does not have.
    pub(super) fn forget_sent(&mut self) {
        self.line.inflight.clear();
        self.line.feed.clear();
        // It is still in the log.
        self.line.parking = ParkBatch::default();
        self.line.rewind = true;
        let frontier = self.source.acked();
        self.line.stuck_at = Some(frontier);
        self.stats.inflight.set(0);
    }

    /// Waits for the confirmation of what was sent; returns how many events stay in doubt.
    fn confirm(&mut self, sink: &mut F::Sink) -> usize {
        let patience = self.line.turn.as_ref().map(|_| self.clock.now() + QUIESCE);
        let Some(deadline) = self.stop.finishing().map(|finish| finish.deadline).into_iter().chain(patience).min() else { return 0 };
        sink.flush();
        while self.line.inflight.awaiting() > 0 && self.clock.now() < deadline {
            let settled = self.settle(sink, Duration::from_millis(5));
            if settled.failure.is_some() || sink.fatal().is_some() {
                break;
            }
        }
        if self.line.inflight.awaiting() > 0 {
            sink.purge(Purge::Queued);
            let _ = self.settle(sink, IDLE);
        }
        self.line.inflight.awaiting()
    }

    pub(super) fn announce(&mut self, refusal: &Refusal) {
        self.line.board.error(refusal, self.clock.now(), self.clock.unix_ms());
        self.line.board.show(stopped_state(refusal));
    }

    pub(super) fn back_off(&mut self, refusal: &Refusal) {
        let Line { passing, blocked, rng, .. } = &mut self.line;
        let somebody_must_act = matches!(refusal.class.disposition, Disposition::Block | Disposition::DeadLetter);
        let delay = if somebody_must_act { blocked.next_delay(rng) } else { passing.next_delay(rng) };
        self.clock.pause(&self.stop, delay);
    }
}

/// How long to wait for something to happen while events are on their way: short while Kafka answers, so that latency stays low;
/// longer in an outage, so that waiting costs nothing.
fn slice(quiet: Duration) -> Duration {
    match quiet.as_millis() {
        0..200 => Duration::from_millis(1),
        200..2_000 => Duration::from_millis(5),
        _ => Duration::from_millis(20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: the assembly can build the drain on one thread and run it on another.
    #[test]
    fn moves_to_its_thread() {
        fn moves<T: Send + 'static>() {}
        moves::<Drain>();
    }

    // Goal: a single event is confirmed within a millisecond of Kafka's answer, and an outage of hours costs no CPU.
    #[test]
    fn waits_short_while_kafka_answers_and_long_in_an_outage() {
        assert_eq!(slice(Duration::ZERO), Duration::from_millis(1));
        assert_eq!(slice(Duration::from_millis(199)), Duration::from_millis(1));
        assert_eq!(slice(Duration::from_secs(3 * 3_600)), Duration::from_millis(20));
    }
}
