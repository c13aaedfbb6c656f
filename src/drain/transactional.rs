//! Exactly once, for consumers that read what is committed (`kafka.delivery = "exactly-once"`): events go to Kafka in transactions, and each
//! transaction also moves this relay's cursor, a record in a topic of its own. What is committed is in Kafka and known to be there, both or
//! neither.
//!
//! ```text
//! IDLE ──first event──▶ OPEN ──flush, or the interval is over──▶ CLOSING ──all reports are in──▶ COMMITTING ──▶ IDLE
//!                          └──────────── a report failed, Kafka refused ────────────▶ BROKEN  (until the handle is given away)
//! ```
//! Invariants: a good report leaves here only after its transaction was committed; a transaction holds the events of one run of seqs, all of
//! those that were not at their end before; when it is not known whether a commit came through, all its events come back as failed, and the next
//! handle asks Kafka for the cursor before it sends anything ([`super::resume`]).
//!
//! Deliberately absent: two transactions at once. A producer has one, so nothing is sent while it is committed.

use super::clock::Clock;
use super::resume::{Committed, KeepGoing, Known};
use super::sink::{Purge, Refusal, Report, SendOutcome, Sink};
use crate::event::{EventRef, Place, Seq};
use rdkafka::error::RDKafkaErrorCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The seq under which the report of the cursor's own record comes: no event has it.
pub(super) const CURSOR: Seq = Seq(0);

/// Most events of a transaction: the window closes first.
const MAX_EVENTS: usize = 1 << 16;

/// How far a step that takes several goes has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is done.
    Done,
    /// Not yet: ask again.
    Pending,
    /// It failed, and so has the handle.
    Failed(Refusal),
}

/// What a handle must be able to do besides. Each call blocks for a tenth of a second at most, unless it says otherwise.
pub trait Transactions: Sink {
    /// Ends what earlier handles of this relay left open, and shuts them out.
    fn initialise(&mut self) -> Progress;

    /// The newest cursor that was committed. Waits for Kafka as long as `keep_going` agrees.
    ///
    /// # Errors
    /// What is in the way.
    fn committed(&mut self, known: &Known, keep_going: KeepGoing<'_>) -> Result<Option<Committed>, Refusal>;

    /// Begins a transaction.
    ///
    /// # Errors
    /// Why it cannot.
    fn open(&mut self) -> Result<(), Refusal>;

    /// Sends the cursor as part of the transaction; its report comes under [`CURSOR`].
    fn send_cursor(&mut self, cursor: &Committed) -> SendOutcome;

    /// Commits. Only when all reports are in.
    fn commit(&mut self) -> Progress;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Open { since: Instant },
    Closing { cursor_sent: bool },
    Committing,
    Broken,
}

/// How many events a transaction may have. Half as many after one that failed: over a slow link, or under a quota, all of it must get through within
/// the transaction's time, or it would be tried again as it was, for ever. Twice as many after one that was full and came through.
#[derive(Clone, Debug)]
pub struct Size(Arc<AtomicUsize>);

impl Default for Size {
    fn default() -> Self {
        Self(Arc::new(AtomicUsize::new(MAX_EVENTS)))
    }
}

impl Size {
    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn came_through(&self, events: usize) {
        if events >= self.get() {
            self.0.store(events.saturating_mul(2).min(MAX_EVENTS), Ordering::Relaxed);
        }
    }

    fn failed(&self, events: usize) {
        if events > 0 {
            self.0.store((events.min(self.get()) / 2).max(1), Ordering::Relaxed);
        }
    }
}

/// A handle whose events count when their transaction does.
#[derive(Debug)]
pub struct Transactional<H, C> {
    handle: H,
    clock: C,
    interval: Duration,
    size: Size,
    phase: Phase,
    /// Events of the transaction.
    sent: Vec<Seq>,
    /// Their good reports.
    held: Vec<Report>,
    /// Records of it that have no report yet.
    outstanding: usize,
    /// The newest event of it.
    newest: Committed,
    /// Where its cursor is.
    cursor_place: Option<Place>,
    /// The newest cursor that was committed, until somebody asks.
    committed: Option<(Seq, Place)>,
    failed: Option<Refusal>,
    /// Kafka was asked to commit.
    asked: bool,
    /// Events that were given up, and are to be reported.
    given_up: Vec<Seq>,
    /// Their places, when it is not known whether their transaction was committed.
    unsettled: Vec<(Seq, Place)>,
    scratch: Vec<Report>,
}

impl<H: Transactions, C: Clock> Transactional<H, C> {
    /// Puts events that come within `interval` into one transaction. `size` is shared by a relay's handles, one after the other.
    pub fn new(handle: H, clock: C, interval: Duration, size: Size) -> Self {
        Self {
            handle,
            clock,
            interval,
            size,
            phase: Phase::Idle,
            sent: Vec::new(),
            held: Vec::new(),
            outstanding: 0,
            newest: Committed::default(),
            cursor_place: None,
            committed: None,
            failed: None,
            asked: false,
            given_up: Vec::new(),
            unsettled: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Good reports are held back, failed ones break the transaction.
    fn sort(&mut self, reports: &mut Vec<Report>) {
        for report in self.scratch.drain(..) {
            if self.phase == Phase::Broken && report.result.is_ok() {
                continue;
            }
            self.outstanding = self.outstanding.saturating_sub(1);
            match report {
                Report { seq: CURSOR, result: Ok(place) } => self.cursor_place = Some(place),
                Report { seq: CURSOR, result: Err(code) } => {
                    self.phase = Phase::Broken;
                    let _ = self.failed.get_or_insert(Refusal::of_cursor(code));
                }
                report if report.result.is_ok() => self.held.push(report),
                report => {
                    self.phase = Phase::Broken;
                    reports.push(report);
                }
            }
        }
    }

    /// Takes the transaction as far as it goes now.
    fn advance(&mut self, reports: &mut Vec<Report>) {
        loop {
            self.phase = match self.phase {
                // An empty one stays open: there is no event that its cursor could name.
                Phase::Open { since } if !self.sent.is_empty() && self.clock.now().saturating_duration_since(since) >= self.interval => {
                    Phase::Closing { cursor_sent: false }
                }
                Phase::Closing { cursor_sent: false } => match self.handle.send_cursor(&self.newest) {
                    SendOutcome::Sent => {
                        self.outstanding += 1;
                        Phase::Closing { cursor_sent: true }
                    }
                    SendOutcome::Full => return,
                    SendOutcome::Refused(refusal) => self.fail(refusal),
                },
                Phase::Closing { cursor_sent: true } if self.outstanding == 0 => {
                    self.asked = true;
                    Phase::Committing
                }
                Phase::Committing => match self.handle.commit() {
                    Progress::Done => self.release(reports),
                    Progress::Pending => return,
                    Progress::Failed(refusal) => self.fail(refusal),
                },
                Phase::Idle | Phase::Open { .. } | Phase::Closing { .. } | Phase::Broken => return,
            };
        }
    }

    fn release(&mut self, reports: &mut Vec<Report>) -> Phase {
        reports.append(&mut self.held);
        self.size.came_through(self.sent.len());
        self.sent.clear();
        self.asked = false;
        let newest = self.newest.seq;
        self.committed = self.cursor_place.take().map(|place| (newest, place)).or(self.committed.take());
        Phase::Idle
    }

    fn fail(&mut self, refusal: Refusal) -> Phase {
        self.failed = Some(refusal);
        Phase::Broken
    }

    fn may_send(&mut self) -> Result<(), SendOutcome> {
        match self.phase {
            Phase::Open { .. } if self.sent.len() >= self.size.get() => {
                self.flush();
                Err(SendOutcome::Full)
            }
            Phase::Open { .. } => Ok(()),
            Phase::Idle => {
                self.handle.open().map_err(SendOutcome::Refused)?;
                self.phase = Phase::Open { since: self.clock.now() };
                Ok(())
            }
            Phase::Closing { .. } | Phase::Committing | Phase::Broken => Err(SendOutcome::Full),
        }
    }
}

impl<H: Transactions, C: Clock> Sink for Transactional<H, C> {
    fn begin(&mut self, known: &Known, keep_going: KeepGoing<'_>) -> Result<Option<Committed>, Refusal> {
        loop {
            match self.handle.initialise() {
                Progress::Done => return self.handle.committed(known, keep_going),
                Progress::Failed(refusal) => return Err(refusal),
                Progress::Pending => {
                    // Nothing was sent: there are no reports, only news.
                    self.handle.poll(Duration::ZERO, &mut self.scratch);
                    let trouble = self.handle.take_trouble();
                    if !keep_going(trouble) {
                        return Err(Refusal::stopped());
                    }
                }
            }
        }
    }

    fn send(&mut self, event: &EventRef<'_>, seq: Seq, accepted_ms: u64) -> SendOutcome {
        if let Err(outcome) = self.may_send() {
            return outcome;
        }
        let outcome = self.handle.send(event, seq, accepted_ms);
        if outcome == SendOutcome::Sent {
            self.outstanding += 1;
            self.sent.push(seq);
            self.newest.set(seq, event.id, accepted_ms);
        }
        outcome
    }

    fn poll(&mut self, timeout: Duration, reports: &mut Vec<Report>) {
        let given_up = self.given_up.drain(..).map(|seq| Report { seq, result: Err(RDKafkaErrorCode::PurgeInflight) });
        reports.extend(given_up);
        let timeout = if reports.is_empty() { timeout } else { Duration::ZERO };
        self.handle.poll(timeout, &mut self.scratch);
        self.sort(reports);
        self.advance(reports);
    }

    fn flush(&mut self) {
        if matches!(self.phase, Phase::Open { .. }) && !self.sent.is_empty() {
            self.phase = Phase::Closing { cursor_sent: false };
            self.handle.flush();
        }
    }

    fn connected(&self) -> bool {
        self.handle.connected()
    }

    fn fatal(&self) -> Option<Refusal> {
        self.failed.clone().or_else(|| self.handle.fatal())
    }

    fn take_trouble(&mut self) -> Option<Refusal> {
        self.handle.take_trouble()
    }

    fn take_cursor(&mut self) -> Option<(Seq, Place)> {
        self.committed.take()
    }

    fn take_unsettled(&mut self) -> Vec<(Seq, Place)> {
        std::mem::take(&mut self.unsettled)
    }

    /// Nothing of an unfinished transaction counts, so all of it is given up, whatever the scope.
    fn purge(&mut self, scope: Purge) {
        self.handle.purge(scope);
        self.phase = Phase::Broken;
        self.size.failed(self.sent.len());
        let held = self.held.drain(..).filter_map(|report| Some((report.seq, report.result.ok()?)));
        self.unsettled.extend(held.filter(|_| self.asked));
        self.given_up.append(&mut self.sent);
    }

    fn discard(self) {
        self.handle.discard();
    }
}

#[cfg(test)]
#[path = "transactional_tests.rs"]
mod tests;
