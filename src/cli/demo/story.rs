//! The story in its acts: all is well, Kafka goes away, Kafka comes back, everything has arrived.
//!
//! Each act waits for what it is to show, not for a time, except the outage itself. When nothing moves for [`QUIET`], the story ends
//! and says what was missing.

use super::plan::Plan;
use super::table::{Sight, header, row};
use super::tally::Outage;
use super::witness::Counts;
use super::world::World;
use crate::cli::exit::Failure;
use crate::cli::human::{count, time};
use crate::cli::output::Output;
use std::time::{Duration, Instant};

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Longest that nothing may move.
const QUIET: Duration = Duration::from_secs(20);

/// Why the story ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum Halt {
    /// Somebody asked for it.
    #[error("stopped by a signal before all events had arrived")]
    Interrupted,
    /// Nothing moves.
    #[error("nothing has moved for {}: the relay has confirmed {} of {} events, {} were consumed from Kafka, {} notified, {} wait on disk", time(QUIET.as_secs_f64()), count(counts.sent), count((*events).into()), count(counts.consumed), count(counts.notified), count(*depth))]
    Stuck { events: u32, counts: Counts, depth: u64 },
    /// A part of the demo failed.
    #[error("{0}")]
    Broken(String),
    /// The output, or the broker, does not do what it is told.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// Tells the story.
pub(super) struct Teller<'a> {
    world: &'a World,
    plan: &'a Plan,
    /// `None`: in silence.
    out: Option<&'a mut Output>,
    began: Instant,
    next_row: Instant,
    /// Since when Kafka is away, when it is.
    away_since: Option<Instant>,
    /// What was seen of the outage so far.
    outage: Outage,
}

impl<'a> Teller<'a> {
    /// To an audience, or in silence.
    pub(super) fn new(world: &'a World, plan: &'a Plan, out: Option<&'a mut Output>) -> Self {
        let now = Instant::now();
        Self { world, plan, out, began: now, next_row: now + plan.row_every(), away_since: None, outage: Outage::default() }
    }

    /// Tells it, to its end or until something halts it; then also the outage as far as it went is told.
    pub(super) fn tell(mut self) -> (Outage, Result<(), Halt>) {
        let told = self.acts();
        (self.outage, told)
    }

    fn acts(&mut self) -> Result<(), Halt> {
        let (world, plan) = (self.world, self.plan);
        self.say(&header())?;
        world.allow(plan.before_outage());
        let first = u64::from(plan.before_outage());
        self.until(|sight| sight.counts.sent >= first && sight.counts.consumed > 0 && sight.counts.notified > 0)?;

        world.take_kafka_away()?;
        let from = Instant::now();
        self.away_since = Some(from);
        self.say("-- Kafka goes away. The application is still answered: its events wait on disk.")?;
        world.allow(plan.before_return());
        let outage = plan.outage;
        self.until(|sight| sight.depth > 0 && from.elapsed() >= outage)?;

        self.outage.lasted = from.elapsed();
        self.away_since = None;
        world.bring_kafka_back()?;
        self.say("-- Kafka is back. Within seconds the relay reconnects and drains, in order.")?;
        world.allow(plan.events);
        let all = u64::from(plan.events);
        let everything = Counts { sent: all, consumed: all, notified: all };
        self.until(|sight| sight.counts == everything && sight.depth == 0)?;
        let last = self.look();
        self.show(&last)
    }

    /// Looks until `done`, and shows a row from time to time.
    fn until(&mut self, done: impl Fn(&Sight) -> bool) -> Result<(), Halt> {
        let mut known = Counts::default();
        let mut moved = Instant::now();
        loop {
            let sight = self.look();
            let now = Instant::now();
            if done(&sight) {
                return Ok(());
            }
            if now >= self.next_row {
                self.next_row = now + self.plan.row_every();
                self.show(&sight)?;
            }
            // An outage that lasts is no standstill.
            let outage_lasts = self.away_since.is_some_and(|from| now - from < self.plan.outage);
            if sight.counts != known || outage_lasts {
                (known, moved) = (sight.counts, now);
            }
            if now - moved > QUIET {
                return Err(Halt::Stuck { events: self.plan.events, counts: sight.counts, depth: sight.depth });
            }
            self.check()?;
            std::thread::sleep(LOOK);
        }
    }

    fn check(&self) -> Result<(), Halt> {
        if self.world.interrupted() {
            return Err(Halt::Interrupted);
        }
        if let Some(trouble) = self.world.shared().trouble() {
            return Err(Halt::Broken(trouble));
        }
        if self.world.relay().ended() {
            return Err(Halt::Broken("the relay ended by itself".to_owned()));
        }
        Ok(())
    }

    fn look(&mut self) -> Sight {
        let buffer = self.world.relay().buffer();
        let depth = buffer.ledger.backlog;
        self.outage.max_depth = self.outage.max_depth.max(depth);
        self.outage.max_age_seconds = self.outage.max_age_seconds.max(buffer.oldest_age_seconds);
        if let Some(from) = self.away_since {
            self.outage.lasted = from.elapsed();
        }
        Sight {
            at: self.began.elapsed(),
            away: self.away_since.is_some(),
            counts: self.world.shared().witness().counts(),
            depth,
            oldest_seconds: buffer.oldest_age_seconds,
        }
    }

    fn show(&mut self, sight: &Sight) -> Result<(), Halt> {
        let expected = self.plan.expected_depth();
        let Some(out) = &mut self.out else { return Ok(()) };
        let row = row(sight, expected, out);
        Ok(out.line(row)?)
    }

    fn say(&mut self, text: &str) -> Result<(), Halt> {
        let Some(out) = &mut self.out else { return Ok(()) };
        Ok(out.line(text)?)
    }
}
