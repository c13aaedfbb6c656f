//! The parked line as a source: see the methods of [`ParkedLine`].

use super::source::{ParkedSource, Source};
use crate::buffer::{DeadLetter, DeadLetterError, Leased, ParkedLine, ReadError};
use crate::event::{Place, Seq};
use std::sync::Arc;
use std::time::Duration;

impl Source for ParkedLine {
    fn next(&mut self) -> Result<Option<Leased>, ReadError> {
        ParkedLine::next_frame(self)
    }

    fn is_acked(&self, seq: Seq) -> bool {
        ParkedLine::is_acked(self, seq)
    }

    fn wait(&self, timeout: Duration) {
        ParkedLine::wait(self, timeout);
    }

    fn ack(&mut self, seqs: &[Seq]) -> usize {
        ParkedLine::ack(self, seqs)
    }

    fn dead_letter(&mut self, letter: &DeadLetter) -> Result<(), DeadLetterError> {
        ParkedLine::dead_letter(self, letter)
    }

    fn rewind(&mut self) {
        ParkedLine::rewind(self);
    }

    fn acked(&self) -> Seq {
        ParkedLine::acked(self)
    }

    fn durable(&self) -> Seq {
        ParkedLine::durable(self)
    }

    fn mark_partition(&mut self, topic: &Arc<str>, partition: i32, seq: Seq, offset: i64) {
        ParkedLine::mark_partition(self, topic, partition, seq, offset);
    }

    fn in_doubt(&mut self) -> Option<Seq> {
        ParkedLine::in_doubt(self)
    }

    fn leave_in_doubt(&mut self) {
        ParkedLine::leave_in_doubt(self);
    }

    fn places(&self) -> Vec<Place> {
        ParkedLine::places(self)
    }

    fn stopped_clean(&self) -> bool {
        ParkedLine::stopped_clean(self)
    }
}

impl ParkedSource for ParkedLine {
    fn topics(&self) -> Vec<Arc<str>> {
        ParkedLine::topics(self)
    }

    fn turn_to(&mut self, topic: &Arc<str>) {
        ParkedLine::turn_to(self, topic);
    }

    fn release(&mut self) -> bool {
        ParkedLine::release(self)
    }

    fn wait_for_topics(&self, timeout: Duration) {
        ParkedLine::wait_for_topics(self, timeout);
    }
}
