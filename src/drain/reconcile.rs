//! `kafka.recovery = "reconcile"`: events that Kafka has although nobody told us are booked before anything is sent. They are in doubt after
//! an unclean stop, and after a handle that ended with events on its way.
//!
//! The factory reads the ends of the partitions for records of our own relay-id ([`Wanted`] to [`Tail`]). What it found is compared with
//! the buffer: an event is booked only when the record with its seq has its key, and its time of acceptance where the topic keeps it, so
//! that a buffer restored from a backup, whose seqs come again, skips nothing. Whatever goes wrong, the drain goes on without:
//! then some events come twice. What is still in doubt when the drain ends is left to the next life, also by a stop in good order.
//!
//! Deliberately absent: notifications of what is booked after an unclean stop, since Redis may have been told of it before; and a look in the
//! middle of a search for poison, unless something was on its way: what only waited in the handle is taken as not sent.

use super::Drain;
use super::acks::Settled;
use super::clock::Clock;
use super::feed::{Feed, FeedError};
use super::resume::keep_going;
use super::run::Line;
use super::sink::{Refusal, SinkFactory};
use super::source::Source;
use crate::error::{Disposition, chain};
use crate::event::{Place, Seq};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};

/// Farthest above the frontier that a record is looked for: more than the window lets be on its way.
const SPAN: u64 = 1 << 17;

/// Events that Kafka may have although no report says so.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    /// All of them are up to this one.
    up_to: Option<Seq>,
    /// Nobody has looked since.
    due: bool,
    /// What came back from the handle that there is: events of which nobody can tell, and events that were not on their way.
    undecided: bool,
    waited: bool,
}

impl Doubt {
    /// Whether there is any that nobody has cleared up.
    pub(super) fn is_open(&self) -> bool {
        self.up_to.is_some()
    }

    /// Takes note of what came back.
    pub(super) fn heard(&mut self, settled: &Settled) {
        self.undecided |= settled.in_doubt;
        self.waited |= settled.waited;
    }

    fn arises(&mut self, up_to: Seq) {
        self.up_to = self.up_to.max(Some(up_to));
        self.due = true;
    }
}

/// Which records are looked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Only seqs above this one,
    pub above: Seq,
    /// up to this one.
    pub up_to: Seq,
    /// The oldest of them was accepted then, in Unix milliseconds.
    pub since_ms: u64,
    /// Behind which places to begin, where they are known.
    pub places: Vec<Place>,
}

/// A record of ours.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its event.
    pub seq: Seq,
    /// Where it is.
    pub place: Place,
    /// See [`key_print`].
    pub key_print: u64,
    /// The time that we gave it; `None` where the topic replaces it.
    pub accepted_ms: Option<u64>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Tail {
    /// The records, in the order of each partition.
    pub found: Vec<Found>,
    /// Why not everything was read; what was found counts all the same.
    pub cut_short: Option<&'static str>,
}

/// Stands for a key, so that not every key is held.
pub fn key_print(key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(key);
    hasher.finish()
}

impl<S: Source, F: SinkFactory, C: Clock> Drain<S, F, C> {
    /// A handle has come to its end, for this reason if there was one: what of it is in doubt?
    pub(super) fn note_doubt(&mut self, refusal: Option<&Refusal>) {
        let Line { doubt, inflight, .. } = &mut self.line;
        let (undecided, waited) = (std::mem::take(&mut doubt.undecided), std::mem::take(&mut doubt.waited));
        let is_poison = refusal.is_some_and(|refusal| refusal.class.disposition == Disposition::DeadLetter);
        let in_doubt = undecided || inflight.awaiting() > 0 || (waited && !is_poison);
        if let Some(newest) = inflight.newest().filter(|_| in_doubt) {
            doubt.arises(newest);
        }
    }

    /// Says at the end what nobody has cleared up.
    pub(super) fn leave_doubt(&mut self) {
        let untouched = self.source.in_doubt();
        let up_to = self.line.doubt.up_to.max(untouched);
        if self.factory.reconciles() && up_to.is_some_and(|up_to| self.source.acked() < up_to) {
            self.source.leave_in_doubt();
        }
    }

    /// Books what Kafka has of the events in doubt, if any are. Call it before anything is sent with a new handle.
    pub(super) fn reconcile(&mut self) {
        if !self.factory.reconciles() {
            return;
        }
        let unclean = self.source.in_doubt();
        if let Some(up_to) = unclean {
            self.line.doubt.arises(up_to);
        }
        let Some(up_to) = self.line.doubt.up_to.filter(|_| std::mem::take(&mut self.line.doubt.due)) else { return };
        let Some(wanted) = self.wanted(up_to) else {
            self.line.doubt.up_to = None;
            return;
        };
        let why = if unclean.is_some() { "an unclean stop" } else { "a handle ended with events on their way" };
        tracing::info!(why, above = wanted.above.0, up_to = wanted.up_to.0, "looking for our own records in Kafka");
        let booked = match self.look(&wanted) {
            Ok(Tail { found, cut_short }) => {
                let booked = self.book(found, unclean.is_none());
                booked.map(|events| (events, cut_short)).map_err(|error| chain(&error))
            }
            Err(why) => Err(why),
        };
        match booked {
            Ok((events, None)) => {
                self.line.doubt.up_to = None;
                tracing::info!(events, "looked for our own records in Kafka: these events need not be sent again");
            }
            Ok((events, Some(why))) => {
                tracing::warn!(events, why, "looked for our own records in Kafka, but not to the end: some events may come twice");
            }
            Err(why) => {
                tracing::warn!(why, "cannot look for our own records in Kafka: going on without, some events may come twice");
            }
        }
    }

    fn look(&mut self, wanted: &Wanted) -> Result<Tail, String> {
        let mut keep_going = keep_going(self.heartbeat.as_ref(), &self.stop, &self.clock, &mut self.line);
        self.factory.own_records(wanted, &mut keep_going)
    }

    /// The events that Kafka may have, if any.
    fn wanted(&mut self, up_to: Seq) -> Option<Wanted> {
        let above = self.source.acked();
        // The oldest event tells from when on to read. What cannot be read is told when it is to be sent.
        let oldest = self.source.next().ok().flatten();
        self.source.rewind();
        let since_ms = oldest.filter(|_| above < up_to)?.accepted_ms;
        Some(Wanted { above, up_to: up_to.min(above.plus(SPAN)), since_ms, places: self.source.places() })
    }

    /// Books what was found, and tells of it if that cannot have been done before; how many events there were.
    fn book(&mut self, found: Vec<Found>, tell: bool) -> Result<u64, FeedError> {
        let last = found.iter().map(|found| found.seq).max().unwrap_or_default();
        let mut by_seq: HashMap<Seq, Found> = found.into_iter().map(|found| (found.seq, found)).collect();
        let (mut feed, mut booked) = (Feed::default(), 0);
        let walked = loop {
            let next = match feed.next_up_to(&mut self.source, last) {
                Ok(Some(next)) => next,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            let same = |found: &Found| {
                found.key_print == key_print(next.event.source_id.as_bytes()) && found.accepted_ms.is_none_or(|ms| ms == next.accepted_ms)
            };
            if let Some(Found { seq, place, .. }) = by_seq.remove(&next.seq).filter(same) {
                booked += self.source.ack(&[seq]) as u64;
                self.source.mark_partition(&place.topic, place.partition, seq, place.offset);
                if tell {
                    self.line.acks.found(seq, &place, &next.event, self.clock.unix_ms());
                }
            }
            let len = next.len;
            feed.advance(len);
        };
        self.stats.acked.add(booked);
        self.source.rewind();
        walked.map(|()| booked)
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::SystemClock;
    use super::super::{DrainHandles, KafkaSink, Policy};
    use super::*;
    use crate::buffer::{DeadLetter, DeadLetterError, Leased, ReadError};
    use crate::config::OnRejected;
    use crate::event::{BatchBuilder, EventParts, Field};
    use crate::lifecycle::AckWaiters;
    use rdkafka::error::RDKafkaErrorCode;
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::time::Duration;

    const ACCEPTED_MS: u64 = 1_000;
    const SOURCES: [&str; 5] = ["a", "b", "a", "b", "a"];

    /// Five events in a frame, and the books.
    struct Five {
        given: bool,
        clean: bool,
        booked: BTreeSet<u64>,
        marked: Vec<(u64, i64)>,
    }

    impl Source for Five {
        fn next(&mut self) -> Result<Option<Leased>, ReadError> {
            let mut batch = BatchBuilder::default();
            for source in SOURCES {
                let field = Field::Text("x");
                let source_id = Field::Text(source);
                batch.push(&EventParts { value: b"{}", id: field, kind: field, source_type: field, source_id, traceparent: Field::Absent });
            }
            let payload = batch.finish().into_payload().into();
            let frame = Leased { first_seq: Seq(1), count: 5, accepted_ms: ACCEPTED_MS, payload };
            Ok((!std::mem::replace(&mut self.given, true)).then_some(frame))
        }

        fn is_acked(&self, seq: Seq) -> bool {
            self.booked.contains(&seq.0)
        }

        fn wait(&self, _: Duration) {}

        fn ack(&mut self, seqs: &[Seq]) -> usize {
            seqs.iter().filter(|seq| self.booked.insert(seq.0)).count()
        }

        fn dead_letter(&mut self, letter: &DeadLetter) -> Result<(), DeadLetterError> {
            panic!("event {} was given up", letter.seq)
        }

        fn rewind(&mut self) {
            self.given = false;
        }

        fn acked(&self) -> Seq {
            Seq(0)
        }

        fn durable(&self) -> Seq {
            Seq(5)
        }

        fn mark_partition(&mut self, _: &Arc<str>, _: i32, seq: Seq, offset: i64) {
            self.marked.push((seq.0, offset));
        }

        fn in_doubt(&mut self) -> Option<Seq> {
            (!self.clean).then_some(Seq(5))
        }
    }

    /// Kafka's log, as far as it is ours.
    struct Log {
        answer: Option<Result<Vec<Found>, String>>,
    }

    impl SinkFactory for Log {
        type Sink = KafkaSink;

        fn halve_batches(&mut self) -> u64 {
            0
        }

        fn connect(&mut self) -> Result<KafkaSink, Refusal> {
            Err(Refusal::new(RDKafkaErrorCode::AllBrokersDown, "nobody sends here"))
        }

        fn reconciles(&self) -> bool {
            true
        }

        fn own_records(&mut self, wanted: &Wanted, _: &mut dyn FnMut(Option<Refusal>) -> bool) -> Result<Tail, String> {
            assert_eq!((wanted.above, wanted.up_to, wanted.since_ms), (Seq(0), Seq(5), ACCEPTED_MS));
            self.answer.take().expect("asked once").map(|found| Tail { found, cut_short: None })
        }
    }

    fn reconciled(clean: bool, answer: Option<Result<Vec<Found>, String>>) -> (Five, u64) {
        let source = Five { given: false, clean, booked: BTreeSet::new(), marked: Vec::new() };
        let stats = Arc::default();
        let handles = DrainHandles {
            stats: Arc::clone(&stats),
            acks: Arc::new(AckWaiters::default()),
            on_acked: None,
            stop: super::super::DrainStop::default(),
            heartbeat: None,
        };
        let mut drain = Drain::assemble(
            source,
            Log { answer },
            SystemClock,
            handles,
            Policy { on_rejected: OnRejected::Block, ..Policy::default() },
            fastrand::Rng::with_seed(1),
        );
        drain.reconcile();
        (drain.source, stats.acked.get())
    }

    fn found(seq: u64, key: &str, accepted_ms: Option<u64>) -> Found {
        let place = Place { topic: Arc::from("t"), partition: 0, offset: 10 + i64::try_from(seq).unwrap() };
        Found { seq: Seq(seq), place, key_print: key_print(key.as_bytes()), accepted_ms }
    }

    // Goal: what Kafka has is not sent again, and nothing else is skipped: not an event whose seq belongs to another one there, as after
    // a backup of the buffer was restored.
    #[test]
    fn only_what_is_there_is_booked() {
        let log = vec![found(2, "b", Some(ACCEPTED_MS)), found(3, "b", Some(ACCEPTED_MS)), found(4, "b", Some(999)), found(5, "a", None)];
        let (source, acked) = reconciled(false, Some(Ok(log)));
        assert_eq!(source.booked, BTreeSet::from([2, 5]));
        assert_eq!(source.marked, [(2, 12), (5, 15)]);
        assert!(!source.given, "sending starts at the first event that is not booked");
        assert_eq!(acked, 2);
    }

    // Goal: when nobody can tell what Kafka has, everything is sent, as from the checkpoint; after a clean stop nobody is asked.
    #[test]
    fn in_doubt_everything_is_sent() {
        for (clean, answer) in [(false, Some(Err("no right".to_owned()))), (false, Some(Ok(Vec::new()))), (true, None)] {
            let (source, acked) = reconciled(clean, answer);
            assert_eq!((source.booked.len(), source.given, acked), (0, false, 0));
        }
    }
}
