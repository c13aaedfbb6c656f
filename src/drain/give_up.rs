//! What the loop does about events that Kafka refuses for what they are: looks for the culprits, keeps them as dead letters, goes on.
//!
//! The rules of the search are in [`super::isolate`]. Invariant: an event is given up only after Kafka refused it alone, again and again, and only
//! once the buffer has it as a dead letter on disk. Whatever else goes wrong meanwhile, the search goes on where it was.

use super::Drain;
use super::acks::describe;
use super::classify::{Class, DEAD_LETTERS_FAILED, DEAD_LETTERS_FULL, DEAD_REASONS};
use super::clock::Clock;
use super::isolate::{End, Finding, Isolation, Suspects};
use super::sink::{Refusal, SinkFactory};
use super::source::Source;
use super::standstill::unreadable;
use super::stats::DrainState;
use crate::buffer::dead_letters::Cause;
use crate::buffer::{DeadLetter, DeadLetterError};
use crate::config::OnRejected;
use crate::error::{Disposition, chain};
use crate::event::Seq;

impl<S: Source, F: SinkFactory, C: Clock> Drain<S, F, C> {
    /// The line was stopped and collected: what to do before the next handle.
    pub(super) fn after_stop(&mut self, refusal: &Refusal) {
        if self.set_aside(refusal) {
            return;
        }
        let suspects = Suspects::of(&self.line.refused);
        match suspects.filter(|_| refusal.class.disposition == Disposition::DeadLetter && self.policy.on_rejected == OnRejected::DeadLetter)
        {
            Some(suspects) => self.search(&suspects, refusal),
            None => self.back_off(refusal),
        }
    }

    fn search(&mut self, suspects: &Suspects, refusal: &Refusal) {
        let now_ms = self.clock.unix_ms();
        let finding = match &mut self.line.isolation {
            Some(isolation) => isolation.failed(suspects),
            none => {
                tracing::warn!(events = suspects.count, from = %suspects.first, to = %suspects.last, reason = refusal.class.reason,
                    "Kafka refuses events for what they are: looking for which");
                *none = Some(Isolation::begin(suspects, now_ms));
                self.line.isolating.reset();
                Finding::Narrower
            }
        };
        if let Finding::Culprit(seq) = finding
            && let Err(trouble) = self.give_up(seq, refusal)
        {
            self.announce(&trouble);
            self.back_off(&trouble);
            return;
        }
        self.show_search(refusal);
        let Self { line, clock, stop, .. } = self;
        clock.pause(stop, line.isolating.next_delay(&mut line.rng));
    }

    fn show_search(&mut self, refusal: &Refusal) {
        let Some((from, to)) = self.line.isolation.as_ref().map(Isolation::range) else { return };
        let Refusal { class, detail } = refusal;
        let reason = format!("among seq {from} to {to} there are events that Kafka does not take: {}: {detail}", class.meaning);
        self.line.board.show(DrainState::Isolating { reason });
    }

    /// Makes a dead letter of the first waiting event, which is the culprit: everything before it is at its end.
    fn give_up(&mut self, culprit: Seq, refusal: &Refusal) -> Result<(), Refusal> {
        self.source.rewind();
        self.line.feed.clear();
        self.line.rewind = true;
        let letter = {
            let there = self.line.feed.seek(&mut self.source).map_err(|error| unreadable(&error))?;
            let next = self.line.feed.current().map_err(|error| unreadable(&error))?;
            let Some(next) = next.filter(|next| there && next.seq == culprit) else {
                // Purged meanwhile, for instance: nothing is given up.
                self.line.feed.clear();
                return Ok(());
            };
            DeadLetter {
                seq: next.seq.0,
                accepted_ms: next.accepted_ms,
                cause: self.cause(refusal),
                record: next.payload.slice(next.offset..next.offset + next.len),
            }
        };
        // What was read on must be read again, from the first event that is not at its end then.
        self.line.feed.clear();
        self.source.dead_letter(&letter).map_err(|error| not_kept(&error))?;
        self.note_dead(&letter, refusal.class);
        Ok(())
    }

    fn cause(&self, refusal: &Refusal) -> Cause {
        let now_ms = self.clock.unix_ms();
        let (attempts, first_refused_ms) = self.line.isolation.as_ref().map_or((1, now_ms), Isolation::refusals);
        let text = format!("{}: {}", refusal.class.meaning, refusal.detail);
        Cause { reason: refusal.class.reason.to_owned(), text, attempts, first_refused_ms, dead_ms: now_ms }
    }

    fn note_dead(&mut self, letter: &DeadLetter, class: Class) {
        if let Some(index) = DEAD_REASONS.iter().position(|reason| *reason == class.reason) {
            self.stats.dead_letters[index].add(1);
        }
        let event = describe(Seq(letter.seq), letter.event().as_ref(), &letter.cause.text);
        tracing::error!(
            reason = class.reason,
            attempts = letter.cause.attempts,
            event,
            "Kafka will never take this event: kept as a dead letter"
        );
        self.line.isolating.reset();
        if let Some(isolation) = &mut self.line.isolation {
            isolation.gave_up(self.clock.unix_ms());
        }
    }

    /// Ends the search once everything that was suspected is at its end; true when a handle with smaller batches is needed.
    pub(super) fn end_isolation(&mut self) -> bool {
        let nothing_on_its_way = self.line.inflight.awaiting() == 0;
        let Some(isolation) = self.line.isolation.as_ref().filter(|_| nothing_on_its_way) else { return false };
        let Some(end) = isolation.ended(self.source.acked()) else { return false };
        self.line.isolation = None;
        self.recovered();
        if end == End::Passed {
            return false;
        }
        let batch_bytes = self.factory.halve_batches();
        tracing::warn!(
            batch_bytes,
            "each event passes, but the batch was larger than the topic takes: making smaller batches from here on"
        );
        true
    }
}

impl Suspects {
    /// Those of a list; `None` when it is empty.
    fn of(refused: &[(Seq, Class)]) -> Option<Self> {
        let (first, last) = (refused.iter().min_by_key(|(seq, _)| *seq)?, refused.iter().max_by_key(|(seq, _)| *seq)?);
        Some(Self { first: first.0, last: last.0, count: refused.len(), class: first.1 })
    }
}

fn not_kept(error: &DeadLetterError) -> Refusal {
    let class = if matches!(error, DeadLetterError::Full { .. }) { DEAD_LETTERS_FULL } else { DEAD_LETTERS_FAILED };
    Refusal { class, detail: chain(error) }
}
