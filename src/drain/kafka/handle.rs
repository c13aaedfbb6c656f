//! Either kind of handle: events count one by one, or with their transaction.

use super::super::clock::SystemClock;
use super::super::resume::{Committed, KeepGoing, Known};
use super::super::sink::{Purge, Refusal, Report, SendOutcome, Sink};
use super::super::transactional::Transactional;
use super::KafkaSink;
use crate::event::{EventRef, Place, Seq};
use std::time::Duration;

/// A producer handle for the `kafka.delivery` that is asked for.
#[derive(Debug)]
pub enum KafkaHandle {
    /// At least once.
    Plain(Box<KafkaSink>),
    /// Exactly once.
    Transactional(Box<Transactional<KafkaSink, SystemClock>>),
}

/// The same call of whichever it is.
macro_rules! either {
    ($handle:expr, $sink:ident => $call:expr) => {
        match $handle {
            KafkaHandle::Plain($sink) => $call,
            KafkaHandle::Transactional($sink) => $call,
        }
    };
}

impl Sink for KafkaHandle {
    fn begin(&mut self, known: &Known, keep_going: KeepGoing<'_>) -> Result<Option<Committed>, Refusal> {
        either!(self, sink => sink.begin(known, keep_going))
    }

    fn send(&mut self, event: &EventRef<'_>, seq: Seq, accepted_ms: u64) -> SendOutcome {
        either!(self, sink => sink.send(event, seq, accepted_ms))
    }

    fn poll(&mut self, timeout: Duration, reports: &mut Vec<Report>) {
        either!(self, sink => sink.poll(timeout, reports));
    }

    fn flush(&mut self) {
        either!(self, sink => sink.flush());
    }

    fn connected(&self) -> bool {
        either!(self, sink => sink.connected())
    }

    fn fatal(&self) -> Option<Refusal> {
        either!(self, sink => sink.fatal())
    }

    fn take_trouble(&mut self) -> Option<Refusal> {
        either!(self, sink => sink.take_trouble())
    }

    fn take_cursor(&mut self) -> Option<(Seq, Place)> {
        either!(self, sink => sink.take_cursor())
    }

    fn take_unsettled(&mut self) -> Vec<(Seq, Place)> {
        either!(self, sink => sink.take_unsettled())
    }

    fn purge(&mut self, scope: Purge) {
        either!(self, sink => sink.purge(scope));
    }

    fn discard(self) {
        either!(self, sink => sink.discard());
    }
}
