//! The line that sends what is parked: a topic at a time, each for a turn, with a handle for each turn. The loop of `run.rs` does the sending.
//!
//! A topic whose events are refused again rests, longer each time (`resting.rs`), and begins its next turn with a single event. One of which everything is
//! at its end is released: the log's line sends its events again. Nothing is done, and no handle is there, while nothing is parked.
//!
//! Deliberately absent: several topics at once. Their events would need one order between them, and what holds up one would hold up all.

use super::Drain;
use super::clock::Clock;
use super::resting::{Resting, Unfinished};
use super::run::Line;
use super::set_aside::Turn;
use super::sink::SinkFactory;
use super::source::ParkedSource;
use super::stop::DrainReport;
use super::window::Window;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// How long a topic is sent from before the next one has its turn.
const TURN: Duration = Duration::from_secs(10);
/// How long to sleep while nothing can be done: also the longest that a stop goes unnoticed.
const IDLE: Duration = Duration::from_millis(100);

impl<S: ParkedSource, F: SinkFactory, C: Clock> Drain<S, F, C> {
    /// Sends what is parked, until it is told to finish: then until nothing is left but what is refused once more. Tell it when the log's line has
    /// ended: that one may park until then. Blocks: run it on a thread of its own.
    pub fn run_parked(mut self) -> DrainReport {
        let (mut resting, mut in_doubt, mut finishing) = (Resting::default(), 0, false);
        while !self.time_is_up() {
            let now = self.clock.now();
            resting.look_at(&self.source.topics(), now);
            if !std::mem::replace(&mut finishing, self.line.acked_before.is_some()) && finishing {
                resting.try_all_once_more(now);
            }
            self.show_resting(&resting);
            // A topic may be due for as long as the pause lasts.
            let (next, due_in) = if self.stop.paused() { (None, None) } else { (resting.next(now), resting.due_in(now)) };
            match next {
                Some(topic) => in_doubt = self.serve(&topic, &mut resting),
                None if finishing => break,
                None => self.source.wait_for_topics(due_in.unwrap_or(IDLE).min(IDLE)),
            }
        }
        self.leave_parked_doubt(&resting);
        let report = self.end(in_doubt);
        tracing::debug!(acked = report.acked, in_doubt = report.in_doubt, "the parked topics' line has finished");
        report
    }

    /// One turn; returns how many events stay in doubt.
    fn serve(&mut self, topic: &Arc<str>, resting: &mut Resting) -> usize {
        self.source.turn_to(topic);
        self.begin_turn(resting.was_refused(topic), resting.take_unfinished(topic));
        let acked_before = self.stats.acked.get();
        let in_doubt = self.send_with_handles();
        self.forget_sent();
        let Line { isolation, doubt, .. } = &mut self.line;
        resting.keep_unfinished(topic, Unfinished { search: isolation.take(), doubt: std::mem::take(doubt) });
        let refused = self.line.turn.take().and_then(|turn| turn.refused);
        if let Some(refusal) = refused {
            let Line { rng, .. } = &mut self.line;
            resting.rest(topic, &refusal, self.clock.now(), self.clock.unix_ms(), rng);
            return in_doubt;
        }
        if self.stats.acked.get() > acked_before {
            resting.wake(topic);
        }
        if self.source.release() {
            tracing::info!(topic = &**topic, "nothing of the topic is parked any more: its events are sent as they come");
        }
        in_doubt
    }

    fn begin_turn(&mut self, was_refused: bool, unfinished: Unfinished) {
        self.forget_sent();
        let line = &mut self.line;
        line.turn = Some(Turn { until: self.clock.now() + TURN, refused: None });
        (line.isolation, line.doubt) = (unfinished.search, unfinished.doubt);
        line.stuck_at = None;
        // The first event tells whether the topic is back: no need to have thousands refused.
        line.window = if was_refused { Window::single() } else { Window::default() };
    }

    /// Says at the end what nobody has cleared up, of topics whose turn did not come either.
    fn leave_parked_doubt(&mut self, resting: &Resting) {
        let untouched = |source: &mut S, topic: &Arc<str>| {
            source.turn_to(topic);
            source.in_doubt().is_some()
        };
        let topics = self.source.topics();
        let in_doubt = resting.is_any_in_doubt() || topics.iter().any(|topic| untouched(&mut self.source, topic));
        if in_doubt && self.factory.reconciles() {
            self.source.leave_in_doubt();
        }
    }

    fn show_resting(&self, resting: &Resting) {
        *self.stats.resting.lock().unwrap_or_else(PoisonError::into_inner) = resting.told();
    }
}
