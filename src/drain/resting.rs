//! Which parked topic to try next, and when. Pure.
//!
//! A topic that was refused rests, longer each time; those that do not rest take turns. A topic that is new here rests, too: the log's line was
//! refused it just now, and is about to park its events, or this is a start.

use super::isolate::Isolation;
use super::reconcile::Doubt;
use super::sink::Refusal;
use crate::backoff::Backoff;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a topic rests, first and at most.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// A topic that Kafka refused when it was tried last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RestingTopic {
    /// Its name.
    pub topic: String,
    /// A short label from a closed set: the metric's `reason`.
    pub reason: &'static str,
    /// What it means and what would help, with Kafka's own text.
    pub detail: String,
    /// When it was refused first, Unix milliseconds.
    pub since_ms: u64,
    /// How often it was tried.
    pub attempts: u32,
}

#[derive(Debug)]
struct Rest {
    until: Instant,
    backoff: Backoff,
    told: RestingTopic,
}

/// The topics that rest, and whose turn it was.
#[derive(Debug, Default)]
pub(super) struct Resting {
    rests: BTreeMap<Arc<str>, Rest>,
    /// The topics that are known here.
    known: BTreeMap<Arc<str>, Known>,
    turns: u64,
}

#[derive(Debug)]
struct Known {
    since: Instant,
    /// When it was served last, by a count of turns.
    served: u64,
    unfinished: Unfinished,
}

/// What a turn leaves to the topic's next one.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    /// The search for its poison.
    pub(super) search: Option<Isolation>,
    /// What Kafka may have of it although no report says so.
    pub(super) doubt: Doubt,
}

impl Resting {
    /// Takes note of which topics there are.
    pub(super) fn look_at(&mut self, topics: &[Arc<str>], now: Instant) {
        self.rests.retain(|topic, _| topics.contains(topic));
        self.known.retain(|topic, _| topics.contains(topic));
        for topic in topics.iter().filter(|topic| !self.known.contains_key(*topic)).cloned().collect::<Vec<_>>() {
            let _ = self.known.insert(topic, Known { since: now, served: 0, unfinished: Unfinished::default() });
        }
    }

    /// The topic that has waited longest for its turn, of those that do not rest.
    pub(super) fn next(&mut self, now: Instant) -> Option<Arc<str>> {
        let is_due = |topic: &Arc<str>, known: &Known| self.rests.get(topic).map_or(known.since + FIRST, |rest| rest.until) <= now;
        let due = self.known.iter_mut().filter(|(topic, known)| is_due(topic, known));
        let (topic, known) = due.min_by_key(|(_, known)| known.served)?;
        self.turns += 1;
        known.served = self.turns;
        Some(Arc::clone(topic))
    }

    /// How long until a topic that rests is due; `None` when none rests.
    pub(super) fn due_in(&self, now: Instant) -> Option<Duration> {
        self.rests.values().map(|rest| rest.until.saturating_duration_since(now)).min()
    }

    /// Whether a topic was refused when it was tried last.
    pub(super) fn was_refused(&self, topic: &Arc<str>) -> bool {
        self.rests.contains_key(topic)
    }

    /// A topic's turn begins: what the last one left.
    pub(super) fn take_unfinished(&mut self, topic: &Arc<str>) -> Unfinished {
        self.known.get_mut(topic).map(|known| std::mem::take(&mut known.unfinished)).unwrap_or_default()
    }

    /// A topic's turn is over.
    pub(super) fn keep_unfinished(&mut self, topic: &Arc<str>, unfinished: Unfinished) {
        if let Some(known) = self.known.get_mut(topic) {
            known.unfinished = unfinished;
        }
    }

    /// Whether of any topic Kafka may have more than was reported.
    pub(super) fn is_any_in_doubt(&self) -> bool {
        self.known.values().any(|known| known.unfinished.doubt.is_open())
    }

    /// A topic was refused.
    pub(super) fn rest(&mut self, topic: &Arc<str>, refusal: &Refusal, now: Instant, unix_ms: u64, rng: &mut fastrand::Rng) {
        let text = format!("{}: {}", refusal.class.meaning, refusal.detail);
        let rest = self.rests.entry(Arc::clone(topic)).or_insert_with(|| Rest {
            until: now,
            backoff: Backoff::new(FIRST, LONGEST),
            told: RestingTopic { topic: topic.to_string(), reason: "", detail: String::new(), since_ms: unix_ms, attempts: 0 },
        });
        rest.until = now + rest.backoff.next_delay(rng);
        rest.told.attempts += 1;
        (rest.told.reason, rest.told.detail) = (refusal.class.reason, text);
    }

    /// A topic takes events.
    pub(super) fn wake(&mut self, topic: &Arc<str>) {
        let _ = self.rests.remove(topic);
    }

    /// All are due: there will be no later.
    pub(super) fn try_all_once_more(&mut self, now: Instant) {
        self.rests.values_mut().for_each(|rest| rest.until = now);
        self.known.values_mut().for_each(|known| known.since = now.checked_sub(FIRST).unwrap_or(now));
    }

    /// For people.
    pub(super) fn told(&self) -> Vec<RestingTopic> {
        self.rests.values().map(|rest| rest.told.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::error::RDKafkaErrorCode as Code;

    fn topics(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    // Goal: a topic that stays blocked is tried ever less often, and never keeps the others from their turns.
    #[test]
    fn a_blocked_topic_does_not_hold_the_others() {
        let topics = topics(&["a", "b", "c"]);
        let (mut resting, mut rng, start) = (Resting::default(), fastrand::Rng::with_seed(1), Instant::now());
        let refusal = Refusal::new(Code::UnknownTopic, "gone");
        let mut served: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        resting.look_at(&topics, start);
        assert_eq!(resting.next(start), None, "their events are just being parked");
        for second in 1..600 {
            let now = start + Duration::from_secs(second);
            resting.look_at(&topics, now);
            for _ in 0..2 {
                let topic = resting.next(now).unwrap();
                *served.entry(Arc::clone(&topic)).or_default() += 1;
                if &*topic == "b" {
                    resting.rest(&topic, &refusal, now, second, &mut rng);
                }
            }
        }
        assert!(served[&topics[1]] < 60 && served[&topics[1]] > 15, "{served:?}");
        assert!(served[&topics[0]].abs_diff(served[&topics[2]]) <= 1, "{served:?}");
        let told = resting.told();
        assert_eq!((told[0].topic.as_str(), told[0].reason, told[0].attempts as usize), ("b", "unknown_topic", served[&topics[1]]));
        assert!(told[0].detail.contains("create it") && told[0].detail.contains("gone") && told[0].since_ms < 3, "{told:?}");
        resting.wake(&topics[1]);
        assert_eq!((resting.told(), resting.due_in(start)), (Vec::new(), None));
    }

    // Goal: when everything rests, it is known for how long, and a stop tries all once more; what is not parked any more is forgotten.
    #[test]
    fn when_all_rest_it_is_known_how_long() {
        let (topics, mut resting, mut rng) = (topics(&["a"]), Resting::default(), fastrand::Rng::with_seed(1));
        let begin = Instant::now();
        let now = begin + FIRST;
        resting.look_at(&topics, begin);
        assert_eq!(resting.next(now).as_ref(), Some(&topics[0]));
        resting.rest(&topics[0], &Refusal::new(Code::InvalidTopic, "no"), now, 1, &mut rng);
        assert_eq!(resting.next(now), None);
        let left = resting.due_in(now).unwrap();
        assert!(left >= FIRST / 2 && left <= FIRST, "{left:?}");
        assert_eq!(resting.next(now + left).as_ref(), Some(&topics[0]));
        resting.rest(&topics[0], &Refusal::new(Code::InvalidTopic, "no"), now, 1, &mut rng);
        resting.try_all_once_more(now);
        assert_eq!(resting.next(now).as_ref(), Some(&topics[0]));
        assert!(resting.was_refused(&topics[0]));
        resting.look_at(&[], now);
        assert!(!resting.was_refused(&topics[0]));
    }
}
