//! What the loop does about a topic that Kafka refuses while it may take others: parks its events from now on, or lets it rest until its next turn.
//!
//! Invariants: an event leaves the log only when the buffer has it parked, durably; per topic, nothing is sent from the log while anything of that topic is
//! parked, or is about to be. With [`Blocked::Wait`] nothing happens here: the line waits.

use super::Drain;
use super::classify::{PARKED_FAILED, PARKED_FIRST, PARKED_FULL};
use super::clock::Clock;
use super::parking::{Blocked, is_about_one_topic};
use super::sink::{Refusal, SinkFactory};
use super::source::Source;
use super::standstill::{Stop, StopKind, stopped_state};
use crate::buffer::ParkError;
use crate::error::chain;
use std::time::Instant;

/// The turn of a parked topic.
#[derive(Debug)]
pub(super) struct Turn {
    /// Others are to have theirs from then on, or from when it is refused.
    pub(super) until: Instant,
    /// Why it was refused, if it was.
    pub(super) refused: Option<Refusal>,
}

impl<S: Source, F: SinkFactory, C: Clock> Drain<S, F, C> {
    /// The line was stopped and collected: whether that was about topics without which it can go on.
    pub(super) fn set_aside(&mut self, refusal: &Refusal) -> bool {
        let topics = std::mem::take(&mut self.line.blocked_topics);
        if topics.is_empty() || !is_about_one_topic(refusal.class) {
            return false;
        }
        match (self.policy.on_blocked, &mut self.line.turn) {
            (Blocked::Park, _) => topics.iter().all(|topic| self.park_topic(topic, refusal)),
            (Blocked::Rest, Some(turn)) => {
                turn.until = self.clock.now();
                turn.refused = Some(refusal.clone());
                true
            }
            (Blocked::Rest | Blocked::Wait, _) => false,
        }
    }

    fn park_topic(&mut self, topic: &str, refusal: &Refusal) -> bool {
        let parked = self.source.park_topic(topic);
        if parked {
            let Refusal { class, detail } = refusal;
            tracing::warn!(
                topic,
                reason = class.reason,
                meaning = class.meaning,
                detail,
                "a topic is blocked: its events are parked, others go on"
            );
            self.line.stuck_at = None;
            self.line.board.set_aside();
        } else {
            tracing::warn!(topic, "no further topic can be parked: the line waits");
        }
        parked
    }

    /// Parks what was collected, when it is time or the end is near.
    pub(super) fn park_what_is_due(&mut self, finishing: bool) -> Result<(), Stop> {
        let batch = &mut self.line.parking;
        if batch.is_empty() || !(finishing || batch.is_due(self.clock.now())) {
            return Ok(());
        }
        for (topic, events) in batch.take() {
            self.source.park(&topic, &events).map_err(|error| Stop { kind: StopKind::NotSent, refusal: not_parked(&topic, &error) })?;
        }
        Ok(())
    }

    /// Whether nothing may be sent until what is parked is gone.
    pub(super) fn waits_for_parked(&mut self) -> bool {
        let waits = self.line.turn.is_none() && self.source.parked_come_first();
        if waits {
            self.line.board.show(stopped_state(&Refusal { class: PARKED_FIRST, detail: String::from("see the parked topics") }));
        }
        waits
    }
}

fn not_parked(topic: &str, error: &ParkError) -> Refusal {
    let class = if matches!(error, ParkError::Full { .. }) { PARKED_FULL } else { PARKED_FAILED };
    Refusal { class, detail: format!("topic {topic:?}: {}", chain(error)) }
}
