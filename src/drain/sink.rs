//! The seam between the drain's loop and a Kafka client: what the loop needs, and nothing that only librdkafka has.
//!
//! One [`Sink`] is one producer handle with its own sequence numbers at the brokers. It keeps the order of what it was sent per
//! partition, says how every accepted event ended, and never gives up on one by itself unless it says so in a [`Report`].
//! When a handle is finished, the [`SinkFactory`] makes another.

use super::classify::{Class, classify};
use super::reconcile::{Tail, Wanted};
use super::resume::{Committed, KeepGoing, Known};
use crate::event::{EventRef, Place, Seq};
use rdkafka::error::RDKafkaErrorCode;
use std::time::Duration;

/// What became of an attempt to hand over an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// Taken; a [`Report`] will say how it ended.
    Sent,
    /// The handle's queue is full: poll, then offer the same event again.
    Full,
    /// Not taken, and nothing after it may be sent before it.
    Refused(Refusal),
}

/// A refusal in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What it means and what to do.
    pub class: Class,
    /// Kafka's own text.
    pub detail: String,
}

impl Refusal {
    /// The refusal that a code stands for.
    pub fn new(code: RDKafkaErrorCode, detail: impl Into<String>) -> Self {
        Self { class: classify(code), detail: detail.into() }
    }
}

/// How an event that was sent ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The event.
    pub seq: Seq,
    /// Where all in-sync replicas have it, or why they do not (or may not) have it.
    pub result: Result<Place, RDKafkaErrorCode>,
}

/// Which events a handle gives up, each with a failed [`Report`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purge {
    /// Those not on their way to a broker: nothing of them is in Kafka.
    Queued,
    /// Also those on their way: Kafka may have them.
    All,
}

/// One producer handle. Used by one thread.
pub trait Sink {
    /// Readies the handle, before its first event. Where Kafka keeps a cursor of this relay, waits for it as long as `keep_going` agrees.
    ///
    /// # Errors
    /// What is in the way: the handle is of no use.
    fn begin(&mut self, _known: &Known, _keep_going: KeepGoing<'_>) -> Result<Option<Committed>, Refusal> {
        Ok(None)
    }

    /// Hands over an event. Never blocks.
    ///
    /// `accepted_ms` is in milliseconds since the Unix epoch and becomes the record's timestamp.
    fn send(&mut self, event: &EventRef<'_>, seq: Seq, accepted_ms: u64) -> SendOutcome;

    /// Appends the reports that have come in, in the order in which Kafka gave them; waits up to `timeout` for the first.
    fn poll(&mut self, timeout: Duration, reports: &mut Vec<Report>);

    /// Nothing more is sent before something is reported: what the handle still collects, it should let go.
    fn flush(&mut self) {}

    /// Whether any broker connection is up, as far as the client knows.
    fn connected(&self) -> bool;

    /// Why this handle can never send again; `None` while it can.
    fn fatal(&self) -> Option<Refusal>;

    /// The newest thing that went wrong without ending any event, once: connections refused, credentials not accepted.
    fn take_trouble(&mut self) -> Option<Refusal>;

    /// The newest event of the newest transaction and where Kafka keeps the cursor that says so; once, and only when it was committed.
    fn take_cursor(&mut self) -> Option<(Seq, Place)> {
        None
    }

    /// Of the events given up, those that Kafka has if it has committed them, and where.
    fn take_unsettled(&mut self) -> Vec<(Seq, Place)> {
        Vec::new()
    }

    /// Gives up events; poll for their reports. Afterwards the handle must only be polled and discarded: its next event would
    /// leave a gap in the sequence that the brokers check.
    fn purge(&mut self, scope: Purge);

    /// Takes the handle apart without making the caller wait for it.
    fn discard(self);
}

/// Makes handles.
pub trait SinkFactory {
    /// What it makes.
    type Sink: Sink;

    /// A fresh handle. Does not wait for a connection.
    fn connect(&mut self) -> Result<Self::Sink, Refusal>;

    /// Later handles make batches of at most half the bytes: the brokers find them too large. Returns the new limit in bytes.
    fn halve_batches(&mut self) -> u64;

    /// Writes the name of the topic that an event goes to, whether or not Kafka takes such a name.
    fn topic_of(&mut self, _event: &EventRef<'_>, name: &mut String) {
        name.clear();
    }

    /// Whether [`Self::own_records`] is to be asked after an unclean stop.
    fn reconciles(&self) -> bool {
        false
    }

    /// The records of this relay that Kafka has, of those that are wanted. Waits for Kafka; `keep_going` is asked every tenth of a second,
    /// and told what is in the way.
    ///
    /// # Errors
    /// A sentence: why nobody can tell.
    fn own_records(&mut self, _wanted: &Wanted, _keep_going: KeepGoing<'_>) -> Result<Tail, String> {
        Ok(Tail::default())
    }
}
