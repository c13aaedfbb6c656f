//! The seam between the drain's loop and the buffer: [`Reader`] in the product, memory in the tests.

use crate::buffer::{DeadLetter, DeadLetterError, Leased, ParkError, ParkedEvent, ReadError, Reader};
use crate::event::{Place, Seq};
use std::sync::Arc;
use std::time::Duration;

/// Events in seq order, and the books of what Kafka has; see the methods of [`Reader`].
pub trait Source {
    /// The next durable frame, or `None` when all of them were handed out.
    fn next(&mut self) -> Result<Option<Leased>, ReadError>;
    /// Whether Kafka already has the event.
    fn is_acked(&self, seq: Seq) -> bool;
    /// Blocks until there is something to hand out, or the timeout passes.
    fn wait(&self, timeout: Duration);
    /// Books events as delivered; returns how many were not booked before.
    fn ack(&mut self, seqs: &[Seq]) -> usize;
    /// Keeps an event as a dead letter, durably, and books its end.
    fn dead_letter(&mut self, letter: &DeadLetter) -> Result<(), DeadLetterError>;
    /// Starts again at the first event that Kafka does not have.
    fn rewind(&mut self);
    /// Everything up to here is at its end.
    fn acked(&self) -> Seq;
    /// Everything up to here is durable.
    fn durable(&self) -> Seq;
    /// Remembers the newest delivered place of a partition.
    fn mark_partition(&mut self, topic: &Arc<str>, partition: i32, seq: Seq, offset: i64);
    /// The newest event of a life that did not end in good order, once; `None` after a clean stop.
    fn in_doubt(&mut self) -> Option<Seq> {
        None
    }
    /// Says that Kafka may have events of which no report said so, for the next life.
    fn leave_in_doubt(&mut self) {}
    /// The newest delivered place of each partition that is known.
    fn places(&self) -> Vec<Place> {
        Vec::new()
    }
    /// Whether the books are complete: the life before this one ended in good order, or there was none.
    fn stopped_clean(&self) -> bool {
        true
    }
    /// Whether any topic is parked: as long as not, nobody has to know the topics of events.
    fn parks(&self) -> bool {
        false
    }
    /// Whether events of this topic are parked instead of being sent.
    fn is_parked(&self, _topic: &str) -> bool {
        false
    }
    /// From now on events of this topic are parked, until [`ParkedSource::release`]; `false` when no further topic can be.
    fn park_topic(&mut self, _topic: &str) -> bool {
        false
    }
    /// Parks events of one topic, in seq order, durably: all of them, or none. They have left the log then.
    fn park(&mut self, _topic: &str, events: &[ParkedEvent]) -> Result<(), ParkError> {
        debug_assert!(events.is_empty(), "this source parks nothing");
        Ok(())
    }
    /// Whether everything that is parked has to be sent before anything else: it was parked under another `kafka.topic`, so that nobody
    /// can tell which of its topics are those of today.
    fn parked_come_first(&self) -> bool {
        false
    }
}

/// What is parked, a topic at a time: in seq order within each.
pub trait ParkedSource: Source {
    /// The parked topics, those for which nothing is kept (any more) included.
    fn topics(&self) -> Vec<Arc<str>>;
    /// Goes on with this topic, from the first event that is not at its end.
    fn turn_to(&mut self, topic: &Arc<str>);
    /// Ends the parking of the topic that it is turned to, if everything parked is at its end: its events are sent again as they come. Atomic
    /// against [`Source::park`] and [`Source::is_parked`].
    fn release(&mut self) -> bool;
    /// Blocks until something was parked or released since [`ParkedSource::topics`] was asked, the timeout passes, or somebody wakes it; what there is to
    /// send of the topic that had the last turn does not count.
    fn wait_for_topics(&self, timeout: Duration);
}

impl Source for Reader {
    fn next(&mut self) -> Result<Option<Leased>, ReadError> {
        Reader::next_frame(self)
    }

    fn is_acked(&self, seq: Seq) -> bool {
        Reader::is_acked(self, seq)
    }

    fn wait(&self, timeout: Duration) {
        Reader::wait(self, timeout);
    }

    fn ack(&mut self, seqs: &[Seq]) -> usize {
        Reader::ack(self, seqs)
    }

    fn dead_letter(&mut self, letter: &DeadLetter) -> Result<(), DeadLetterError> {
        Reader::dead_letter(self, letter)
    }

    fn rewind(&mut self) {
        Reader::rewind(self);
    }

    fn acked(&self) -> Seq {
        Reader::acked(self)
    }

    fn durable(&self) -> Seq {
        Reader::durable(self)
    }

    fn mark_partition(&mut self, topic: &Arc<str>, partition: i32, seq: Seq, offset: i64) {
        Reader::mark_partition(self, topic, partition, seq, offset);
    }

    fn in_doubt(&mut self) -> Option<Seq> {
        Reader::in_doubt(self)
    }

    fn leave_in_doubt(&mut self) {
        Reader::leave_in_doubt(self);
    }

    fn places(&self) -> Vec<Place> {
        Reader::places(self)
    }

    fn stopped_clean(&self) -> bool {
        Reader::stopped_clean(self)
    }

    fn parks(&self) -> bool {
        Reader::parks(self)
    }

    fn is_parked(&self, topic: &str) -> bool {
        Reader::is_parked(self, topic)
    }

    fn park_topic(&mut self, topic: &str) -> bool {
        Reader::park_topic(self, topic)
    }

    fn park(&mut self, topic: &str, events: &[ParkedEvent]) -> Result<(), ParkError> {
        Reader::park(self, topic, events)
    }

    fn parked_come_first(&self) -> bool {
        Reader::parked_come_first(self)
    }
}
