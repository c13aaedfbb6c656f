//! A buffer step by step, on one thread, for the tests of what is parked: its source id is an event's topic.

use super::super::failing::{Calls, Failing};
use super::super::log::storage::Storage;
use super::super::memory::Memory;
use super::super::shared::lock;
use super::super::tests::events_of;
use super::super::{AppendOptions, Buffer, OpenError};
use super::{PARKED_DIR, ParkError, ParkedEvent};
use crate::config::BufferConfig;
use crate::event::{BatchBuilder, EventParts, Field, Records, Seq};
use crate::lifecycle::AckWaiters;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

pub(super) struct Bench {
    pub(super) buffer: Buffer,
    pub(super) memory: Arc<Memory>,
    /// Those on the files of what is parked.
    pub(super) calls: Arc<Calls>,
}

pub(super) fn config() -> BufferConfig {
    BufferConfig { max_bytes: 4 << 20, min_free_bytes: 0, parked_bytes: Some(1 << 20), ..BufferConfig::default() }
}

pub(super) fn try_open(memory: &Arc<Memory>, config: &BufferConfig) -> Result<Bench, OpenError> {
    try_open_with(memory, config, Arc::default())
}

pub(super) fn try_open_with(memory: &Arc<Memory>, config: &BufferConfig, calls: Arc<Calls>) -> Result<Bench, OpenError> {
    let storage: Arc<dyn Storage> = Arc::new(Failing { memory: Arc::clone(memory), calls: Arc::clone(&calls), folder: PARKED_DIR });
    let buffer = Buffer::open(config, storage, Arc::new(AckWaiters::default()), 0)?;
    buffer.reader.parking("{source_id}");
    Ok(Bench { buffer, memory: Arc::clone(memory), calls })
}

pub(super) fn open(memory: &Arc<Memory>) -> Bench {
    try_open(memory, &config()).unwrap()
}

impl Bench {
    /// Stores a request of events of these topics; returns the first seq.
    pub(super) fn append(&mut self, topics: &[&str], len: usize) -> u64 {
        self.tick();
        let mut batch = BatchBuilder::default();
        let value = "x".repeat(len);
        for topic in topics {
            let text = Field::Text("t");
            let (value, source_id) = (value.as_bytes(), Field::Text(topic));
            batch.push(&EventParts { value, id: text, kind: text, source_type: text, source_id, traceparent: Field::Absent });
        }
        let options = AppendOptions { deadline: Instant::now() + Duration::from_secs(10), receipts: None };
        let mut answer = pin!(self.buffer.appender.append(batch.finish(), options));
        let mut poll = || answer.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(poll().is_pending());
        for _ in 0..4 {
            assert!(self.buffer.committer.turn(true).is_continue());
            if let Poll::Ready(answer) = poll() {
                return answer.unwrap().first_seq.0;
            }
        }
        panic!("nobody answers");
    }

    /// What the drain gets from the log from here on.
    pub(super) fn log(&mut self) -> Vec<(String, ParkedEvent)> {
        let mut events = Vec::new();
        while let Some(frame) = self.buffer.reader.next_frame().unwrap() {
            let waiting = events_of(&frame).into_iter().filter(|event| !self.buffer.reader.is_acked(Seq(event.seq)));
            events.extend(waiting.map(|event| (Records::new(&event.record).next().unwrap().unwrap().source_id.to_owned(), event)));
        }
        events
    }

    /// All events of the log that wait, from the first.
    pub(super) fn rewound(&mut self) -> Vec<(String, ParkedEvent)> {
        self.buffer.reader.rewind();
        self.log()
    }

    pub(super) fn park(&mut self, topic: &str, events: &[ParkedEvent]) -> Result<(), ParkError> {
        let _ = self.buffer.reader.park_topic(topic);
        self.buffer.reader.park(topic, events)
    }

    /// Stores events of one topic, and parks them.
    pub(super) fn append_parked(&mut self, topic: &str, count: usize, len: usize) -> Vec<u64> {
        let _ = self.append(&vec![topic; count], len);
        let events: Vec<ParkedEvent> = self.log().into_iter().filter(|(of, _)| of == topic).map(|(_, event)| event).collect();
        self.park(topic, &events).unwrap();
        events.iter().map(|event| event.seq).collect()
    }

    /// What the parked line gives of a topic from its first event that waits.
    pub(super) fn parked(&mut self, topic: &str) -> Vec<ParkedEvent> {
        self.buffer.parked.turn_to(topic);
        self.line()
    }

    /// What it gives from here on; where a call failed, up to there.
    pub(super) fn line(&mut self) -> Vec<ParkedEvent> {
        let mut events = Vec::new();
        loop {
            let frame = match self.buffer.parked.next_frame() {
                Ok(Some(frame)) => frame,
                Err(_) if self.calls.have_failed() => return events,
                next => {
                    assert!(next.unwrap().is_none());
                    return events;
                }
            };
            events.extend(events_of(&frame));
        }
    }

    pub(super) fn seqs(&mut self, topic: &str) -> Vec<u64> {
        self.parked(topic).iter().map(|event| event.seq).collect()
    }

    pub(super) fn ack(&mut self, seqs: &[u64]) -> usize {
        self.buffer.parked.ack(&seqs.iter().copied().map(Seq).collect::<Vec<_>>())
    }

    /// The keeper's turn: the cursor in one of its slots.
    pub(super) fn tick(&mut self) {
        assert!(self.buffer.keeper.turn(Instant::now()).is_continue());
    }

    /// Until everything is written down.
    pub(super) fn settle(&mut self) {
        for _ in 0..3 {
            self.tick();
            self.tick();
            assert!(self.buffer.parked.keep_books() || self.calls.have_failed());
        }
    }

    /// Whether a file is there that could not be taken back yet.
    pub(super) fn has_stray(&self) -> bool {
        lock(&self.buffer.reader.shared().parked.index).stray.is_some()
    }

    pub(super) fn files(&self) -> usize {
        self.memory.list(PARKED_DIR).unwrap().len()
    }

    #[track_caller]
    pub(super) fn assert_books(&self) {
        let snapshot = self.buffer.gauges.snapshot();
        assert_eq!(snapshot.ledger.conservation_error(), 0, "{:?}", snapshot.ledger);
        assert_eq!(lock(&self.buffer.reader.shared().marks).parked, snapshot.parked.events, "{:?}", snapshot.parked);
        assert!(snapshot.parked.bytes <= snapshot.parked.max_bytes && snapshot.bytes <= snapshot.max_bytes, "{snapshot:?}");
    }

    /// Where a kill -9 would leave the next start.
    pub(super) fn killed(self) -> Bench {
        open(&Memory::with(&self.memory.image(), 9_000))
    }

    /// The same after a stop in good order.
    pub(super) fn stopped(self) -> Bench {
        let Buffer { closer, mut keeper, .. } = self.buffer;
        closer.close_appends();
        closer.close_keeper();
        assert!(keeper.turn(Instant::now()).is_break());
        open(&Memory::with(&self.memory.image(), 9_000))
    }
}
