//! SEND: hands events over, within the window, until there is a reason to look at the reports.
//!
//! Invariant: an event is sent, collected for parking, or still at the cursor of the feed; nothing behind it goes before it.

use super::Drain;
use super::acks::describe;
use super::clock::Clock;
use super::inflight::Sent;
use super::isolate::Admission;
use super::parking::{Blocked, is_about_one_topic, note};
use super::run::Line;
use super::sink::{Refusal, SendOutcome, Sink, SinkFactory};
use super::source::Source;
use super::standstill::{Stop, StopKind, unread};
use crate::error::Disposition;

/// Events handed over between two looks at the reports.
const BURST: usize = 512;

/// Why no more was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// More can be sent at once.
    Burst,
    /// The window or the handle's queue is full.
    Closed,
    /// Everything durable was sent.
    Empty,
    /// Nothing is to be sent for now.
    Paused,
}

impl<S: Source, F: SinkFactory, C: Clock> Drain<S, F, C> {
    /// Hands over as much as fits, at most a burst.
    pub(super) fn fill(&mut self, sink: &mut F::Sink) -> Result<Filled, Stop> {
        if self.stop.paused() || self.waits_for_parked() {
            return Ok(Filled::Paused);
        }
        let parks = self.source.parks();
        let Line { feed, inflight, window, last_progress, isolation, refused, blocked_topics, parking, topic, .. } = &mut self.line;
        let now = self.clock.now();
        if inflight.span() == 0 {
            *last_progress = now;
        }
        for _ in 0..BURST {
            if !window.admits(inflight.awaiting(), inflight.bytes(), inflight.span()) {
                return Ok(Filled::Closed);
            }
            if !feed.seek(&mut self.source).map_err(|error| unread(&error))? {
                return Ok(Filled::Empty);
            }
            let Some(next) = feed.current().map_err(|error| unread(&error))? else { return Ok(Filled::Empty) };
            if parks || !parking.is_empty() {
                self.factory.topic_of(&next.event, topic);
                if parking.holds(topic) || self.source.is_parked(topic) {
                    let len = next.len;
                    parking.push(topic, next.to_park(), now);
                    feed.advance(len);
                    if parking.is_full() {
                        return Ok(Filled::Burst);
                    }
                    continue;
                }
            }
            if let Some(isolation) = isolation
                && isolation.admit(next.seq, inflight.awaiting()) == Admission::NextRound
            {
                return Ok(Filled::Closed);
            }
            let outcome = sink.send(&next.event, next.seq, next.accepted_ms);
            if let (Some(isolation), false) = (isolation.as_mut(), outcome == SendOutcome::Full) {
                isolation.tried(next.seq);
            }
            match outcome {
                SendOutcome::Sent => {
                    inflight.push(next.seq, Sent::new(next.payload.clone(), next.offset, next.len, now));
                    let len = next.len;
                    feed.advance(len);
                }
                SendOutcome::Full => return Ok(Filled::Closed),
                SendOutcome::Refused(refusal) => {
                    if refusal.class.disposition == Disposition::DeadLetter {
                        refused.push((next.seq, refusal.class));
                    }
                    if self.policy.on_blocked != Blocked::Wait && is_about_one_topic(refusal.class) {
                        self.factory.topic_of(&next.event, topic);
                        note(blocked_topics, topic);
                    }
                    let detail = describe(next.seq, Some(&next.event), &refusal.detail);
                    return Err(Stop { kind: StopKind::NotSent, refusal: Refusal { detail, ..refusal } });
                }
            }
        }
        Ok(Filled::Burst)
    }
}
