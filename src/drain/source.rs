//! The seam between the drain's loop and the buffer: [`Reader`] in the product, memory in the tests.

use crate::buffer::{DeadLetter, DeadLetterError, Leased, ReadError, Reader};
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
}
