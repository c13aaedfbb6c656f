//! Where Kafka says that this relay stands, when Kafka keeps a cursor of it (`kafka.delivery = "exactly-once"`): asked for with each new handle,
//! before anything is sent, and trusted over our own books.
//!
//! The cursor is the newest event of the newest committed transaction: everything before it is at its end. It names that event, so that a
//! cursor which another history wrote under our relay-id (a copy of the buffer directory that is also running, a directory that was restored
//! from an old backup) is not taken for ours: then nothing is sent and nothing is booked until somebody has looked.
//!
//! Deliberately absent: notifications of what was committed in an earlier life. Redis may have been told of it before the stop.

use super::Drain;
use super::classify::{ANOTHER_RELAY, Class, classify};
use super::clock::Clock;
use super::feed::{Feed, FeedError};
use super::run::Line;
use super::sink::{Refusal, Sink, SinkFactory};
use super::source::Source;
use super::standstill::{stopped_state, unreadable};
use super::stop::DrainStop;
use crate::error::Disposition;
use crate::event::{Place, Seq};
use crate::lifecycle::Heartbeat;
use rdkafka::error::RDKafkaErrorCode;
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often a drain that must not go on looks whether it is told to stop.
const STAND: Duration = Duration::from_secs(1);

/// Whether to go on; told what is in the way. Ask it every tenth of a second.
pub type KeepGoing<'a> = &'a mut dyn FnMut(Option<Refusal>) -> bool;

/// The newest event of the newest transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Its seq.
    pub seq: Seq,
    /// Its id.
    pub id: String,
    /// When it was accepted, in Unix milliseconds.
    pub accepted_ms: u64,
}

impl Committed {
    /// Names another event, in the same memory.
    pub(super) fn set(&mut self, seq: Seq, id: &str, accepted_ms: u64) {
        self.seq = seq;
        self.accepted_ms = accepted_ms;
        self.id.clear();
        self.id.push_str(id);
    }
}

/// What our own books say about earlier transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The newest place of each partition.
    pub places: Vec<Place>,
    /// The books are complete: nothing was sent since they were written.
    pub complete: bool,
}

impl Refusal {
    /// The relay is told to stop; nobody hears of it.
    pub(super) fn stopped() -> Self {
        Self::new(RDKafkaErrorCode::PurgeQueue, "told to stop")
    }

    /// The cursor's record was refused. Whatever the code says of records, it is no event that is refused.
    pub(super) fn of_cursor(code: RDKafkaErrorCode) -> Self {
        let class = match classify(code) {
            class if class.disposition == Disposition::DeadLetter => Class {
                disposition: Disposition::Block,
                reason: "incompatible",
                meaning: "the topic of kafka.cursor_topic does not take the relay's cursor; look at its settings",
            },
            class => class,
        };
        Self { class, detail: format!("the cursor: {code}") }
    }
}

impl Line {
    /// Tells of what is in the way before anything was sent.
    fn meets(&mut self, trouble: &Refusal, now: Instant, unix_ms: u64) {
        if trouble.class.disposition == Disposition::Block {
            self.board.error(trouble, now, unix_ms);
            self.board.show(stopped_state(trouble));
        } else {
            self.board.note(trouble, unix_ms);
        }
    }
}

/// What a long question to Kafka asks now and then: until the time for sending is over.
pub(super) fn keep_going<C: Clock>(
    heartbeat: Option<&Heartbeat>,
    stop: &DrainStop,
    clock: &C,
    line: &mut Line,
) -> impl FnMut(Option<Refusal>) -> bool {
    move |trouble| {
        if let Some(heartbeat) = heartbeat {
            heartbeat.tick();
        }
        if let Some(trouble) = trouble {
            line.meets(&trouble, clock.now(), clock.unix_ms());
        }
        stop.finishing().is_none_or(|finish| clock.now() < finish.stop_sending)
    }
}

impl<S: Source, F: SinkFactory, C: Clock> Drain<S, F, C> {
    /// Readies a handle, and books what Kafka's cursor says. Call it before anything is sent with it.
    pub(super) fn begin(&mut self, sink: &mut F::Sink) -> Result<(), Refusal> {
        self.stats.connected.store(sink.connected(), Ordering::Relaxed);
        let known = Known { places: self.source.places(), complete: !self.line.begun && self.source.stopped_clean() };
        let committed = sink.begin(&known, &mut keep_going(self.heartbeat.as_ref(), &self.stop, &self.clock, &mut self.line))?;
        if let Some(committed) = committed {
            self.believe(&committed)?;
        }
        self.line.begun = true;
        Ok(())
    }

    /// A handle could not be readied: what to do before the next one.
    pub(super) fn not_begun(&mut self, refusal: &Refusal) {
        self.line.rewind = true;
        if self.time_is_up() {
            return;
        }
        self.announce(refusal);
        if refusal.class.reason == ANOTHER_RELAY.reason {
            self.stand_aside();
        } else {
            self.back_off(refusal);
        }
    }

    /// Another relay goes by our name: nothing that this one could do is right, until somebody ends it.
    fn stand_aside(&mut self) {
        while !self.time_is_up() {
            self.clock.pause(&self.stop, STAND);
        }
    }

    fn believe(&mut self, cursor: &Committed) -> Result<(), Refusal> {
        if cursor.seq <= self.source.acked() {
            return Ok(());
        }
        let ours = cursor.seq <= self.source.durable() && self.is_ours(cursor).map_err(|error| unreadable(&error))?;
        self.source.rewind();
        if !ours {
            let Committed { seq, id, .. } = cursor;
            let detail =
                format!("the newest transaction under our relay-id ends with event {seq} (id {id:?}), which this buffer does not have");
            return Err(Refusal { class: ANOTHER_RELAY, detail });
        }
        let booked = self.book_up_to(cursor.seq).map_err(|error| unreadable(&error));
        self.source.rewind();
        tracing::info!(
            events = booked.clone()?,
            up_to = cursor.seq.0,
            "Kafka's cursor is ahead of ours: these events need not be sent again"
        );
        Ok(())
    }

    /// Whether the event that the cursor names is the one that we have under its seq. One that is at its end already cannot be looked at.
    fn is_ours(&mut self, cursor: &Committed) -> Result<bool, FeedError> {
        let mut feed = Feed::default();
        while feed.seek(&mut self.source)? {
            let Some(next) = feed.current()? else { break };
            if next.seq >= cursor.seq {
                return Ok(next.seq > cursor.seq || (next.event.id == cursor.id && next.accepted_ms == cursor.accepted_ms));
            }
            let len = next.len;
            feed.advance(len);
        }
        Ok(true)
    }

    /// Books events; tells of those that were sent in this life, as of an acknowledgement.
    fn book_up_to(&mut self, last: Seq) -> Result<u64, FeedError> {
        let places: HashMap<Seq, Place> = std::mem::take(&mut self.line.unsettled).into_iter().collect();
        let (mut feed, mut booked) = (Feed::default(), 0);
        let walked = loop {
            let next = match feed.next_up_to(&mut self.source, last) {
                Ok(Some(next)) => next,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            booked += self.source.ack(&[next.seq]) as u64;
            if let Some(place) = places.get(&next.seq) {
                self.source.mark_partition(&place.topic, place.partition, next.seq, place.offset);
                self.line.acks.found(next.seq, place, &next.event, self.clock.unix_ms());
            }
            let len = next.len;
            feed.advance(len);
        };
        self.stats.acked.add(booked);
        walked.map(|()| booked)
    }
}
