//! Copies dead letters to a Kafka topic, beside the drain: whoever watches that topic sees them without asking each relay.
//!
//! ```text
//! REST ──(a letter that is not copied)──▶ SEND ──▶ WAIT ──(Kafka has it)──▶ MARK ──▶ REST
//!   ▲                                      ▲        │ refused for what it is: once more, without the value
//!   └──(none for a while: handle let go)   └─ BACK OFF ◀─(anything else)
//! ```
//! Invariants: a letter is on disk, and its event at its end, before it is copied; one letter is on its way at a time, in seq order, so that memory does
//! not depend on how many there are; a letter that is not copied stays on disk, whatever goes wrong, and is tried for ever; nothing here waits for
//! the drain, and the drain waits for nothing here. A crash between Kafka's answer and the mark on disk makes a repeat with the same `dualstream`
//! header.
//!
//! Deliberately absent: transactions. An event has ended when it is a dead letter; its copy tells of that, and is recognisable when it comes twice.

mod courier;
mod letters;
mod stats;
#[cfg(test)]
mod tests;
mod verdict;
mod voice;

use super::clock::{Clock, SystemClock};
use super::kafka::{BuildError, KafkaCourier};
use super::sink::Refusal;
use super::stop::DrainStop;
use crate::backoff::Backoff;
use crate::buffer::dead_letters::{Copied, Copies};
use crate::buffer::{DeadLetter, DeadLetterError};
use crate::config::KafkaConfig;
use crate::error::chain;
use crate::lifecycle::Heartbeat;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use courier::{Courier, Heard};
pub use letters::Letters;
pub use stats::{COPY_RESULTS, CopyStats, CopyTrouble};
use verdict::{NO_ANSWER, Next, UNMARKED, UNREAD, next};
use voice::Voice;

/// How often to look for a letter, and for an answer that is long in coming.
const SLICE: Duration = Duration::from_millis(100);
/// How long to look for an answer all the time.
const QUICK: Duration = Duration::from_secs(1);
/// How long a handle may be silent before another tries.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a handle is kept when there is nothing to copy.
const KEEP_HANDLE: Duration = Duration::from_secs(30);
/// The delays after a failure.
const DELAYS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];
/// The longest time between two ticks of the heartbeat while waiting.
const TICK: Duration = Duration::from_secs(1);

/// What the copier is given by the assembly.
pub struct CopyHandles {
    /// The letters.
    pub letters: Copies,
    /// Where it tells about itself.
    pub stats: Arc<CopyStats>,
    /// Ends or pauses it.
    pub stop: DrainStop,
    /// Ticked at every turn.
    pub heartbeat: Option<Heartbeat>,
}

/// The thread's body: built once, then run.
#[derive(Debug)]
pub struct Copier<L: Letters = Copies, C: Courier = KafkaCourier, K: Clock = SystemClock> {
    letters: L,
    courier: C,
    clock: K,
    stop: DrainStop,
    heartbeat: Option<Heartbeat>,
    voice: Voice,
    backoff: Backoff,
    rng: fastrand::Rng,
    /// What Kafka has, and the file does not say yet.
    unmarked: Option<(u64, Copied)>,
    /// Since when there has been nothing to copy.
    idle_since: Option<Instant>,
}

/// What became of an attempt.
#[derive(Debug)]
enum Ended {
    Taken,
    Refused(Refusal),
    /// Given up: the letter is gone, or time is up.
    Left,
}

impl Copier {
    /// Checks the settings. Makes no handle: there may never be anything to copy.
    ///
    /// # Errors
    /// [`BuildError`] for settings that can never work.
    pub fn build(config: &KafkaConfig, relay_id: &str, handles: CopyHandles) -> Result<Self, BuildError> {
        let courier = KafkaCourier::build(config, handles.stats.topic(), relay_id)?;
        let CopyHandles { letters, stats, stop, heartbeat } = handles;
        let copier = Self::assemble(letters, courier, SystemClock, stats, stop, fastrand::Rng::new());
        Ok(Self { heartbeat, ..copier })
    }
}

impl<L: Letters, C: Courier, K: Clock> Copier<L, C, K> {
    fn assemble(letters: L, courier: C, clock: K, stats: Arc<CopyStats>, stop: DrainStop, rng: fastrand::Rng) -> Self {
        let [min, max] = DELAYS;
        Self {
            letters,
            courier,
            clock,
            stop,
            heartbeat: None,
            voice: Voice::new(stats),
            backoff: Backoff::new(min, max),
            rng,
            unmarked: None,
            idle_since: None,
        }
    }

    /// Copies until it is told to finish; then what is left, as long as there is time. Blocks: run it on a thread of its own.
    pub fn run(mut self) {
        while self.turn().is_continue() {}
        self.courier.close();
    }

    fn turn(&mut self) -> ControlFlow<()> {
        self.tick();
        if let Some((seq, how)) = self.unmarked {
            return self.mark(seq, how);
        }
        if self.is_closing() {
            return ControlFlow::Break(());
        }
        if self.stop.paused() && self.stop.finishing().is_none() {
            self.clock.pause(&self.stop, SLICE);
            return ControlFlow::Continue(());
        }
        match self.letters.first() {
            Ok(Some(letter)) => self.copy(&letter),
            Ok(None) => self.rest(),
            Err(error) => self.back_off(&troubled(UNREAD, &error)),
        }
    }

    fn rest(&mut self) -> ControlFlow<()> {
        let now = self.clock.now();
        self.voice.well(now);
        if self.stop.finishing().is_some() {
            return ControlFlow::Break(());
        }
        let since = *self.idle_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= KEEP_HANDLE {
            self.courier.close();
        }
        self.clock.pause(&self.stop, SLICE);
        ControlFlow::Continue(())
    }

    fn copy(&mut self, letter: &DeadLetter) -> ControlFlow<()> {
        self.idle_since = None;
        self.voice.waits(self.clock.now());
        let mut how = Copied::Whole;
        loop {
            let refusal = match self.attempt(letter, how) {
                Ended::Taken => {
                    self.unmarked = Some((letter.seq, how));
                    return ControlFlow::Continue(());
                }
                Ended::Left => {
                    self.courier.close();
                    return ControlFlow::Continue(());
                }
                Ended::Refused(refusal) => refusal,
            };
            // It can never send again after a refusal.
            self.courier.close();
            match next(refusal.class, how) {
                Next::Again => return ControlFlow::Continue(()),
                Next::WaitFirst => return self.back_off(&refusal),
                Next::WithoutValue => {
                    let (seq, reason) = (letter.seq, refusal.class.reason);
                    tracing::warn!(
                        seq,
                        reason,
                        detail = refusal.detail,
                        "the dead-letter topic does not take the event: copying it without its value"
                    );
                    how = Copied::WithoutValue;
                }
            }
        }
    }

    fn attempt(&mut self, letter: &DeadLetter, how: Copied) -> Ended {
        let began = self.clock.now();
        if let Err(refusal) = self.courier.send(letter, how) {
            return Ended::Refused(refusal);
        }
        loop {
            let waited = self.clock.now().saturating_duration_since(began);
            let quick = waited < QUICK || self.stop.finishing().is_some();
            match self.courier.poll(if quick { SLICE } else { Duration::ZERO }) {
                Heard::Taken => return Ended::Taken,
                Heard::Refused(refusal) => return Ended::Refused(refusal),
                Heard::Trouble(trouble) => self.voice.trouble(&trouble, self.clock.now(), self.clock.unix_ms()),
                Heard::Nothing if !quick => self.clock.pause(&self.stop, SLICE),
                Heard::Nothing => {}
            }
            self.tick();
            if self.is_over() || !self.letters.holds(letter.seq) {
                return Ended::Left;
            }
            if waited >= PATIENCE {
                return Ended::Refused(Refusal { class: NO_ANSWER, detail: format!("nothing within {} s", waited.as_secs()) });
            }
        }
    }

    fn mark(&mut self, seq: u64, how: Copied) -> ControlFlow<()> {
        if let Err(error) = self.letters.copied(seq, how) {
            return self.back_off(&troubled(UNMARKED, &error));
        }
        self.unmarked = None;
        self.backoff.reset();
        self.voice.copied(how, self.clock.now());
        tracing::debug!(seq, "the dead-letter topic has the event");
        ControlFlow::Continue(())
    }

    fn back_off(&mut self, trouble: &Refusal) -> ControlFlow<()> {
        self.voice.trouble(trouble, self.clock.now(), self.clock.unix_ms());
        let until = self.clock.now() + self.backoff.next_delay(&mut self.rng);
        loop {
            let left = until.saturating_duration_since(self.clock.now());
            if self.is_closing() {
                return ControlFlow::Break(());
            }
            if left.is_zero() {
                return ControlFlow::Continue(());
            }
            self.tick();
            self.clock.pause(&self.stop, left.min(TICK));
        }
    }

    fn tick(&self) {
        if let Some(heartbeat) = &self.heartbeat {
            heartbeat.tick();
        }
    }

    /// Nothing new is begun any more.
    fn is_closing(&self) -> bool {
        self.stop.finishing().is_some_and(|finish| self.clock.now() >= finish.stop_sending)
    }

    /// Nothing is waited for any more.
    fn is_over(&self) -> bool {
        self.stop.finishing().is_some_and(|finish| self.clock.now() >= finish.deadline)
    }
}

fn troubled(class: super::classify::Class, error: &DeadLetterError) -> Refusal {
    Refusal { class, detail: chain(error) }
}
