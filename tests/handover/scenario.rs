//! What the threads do in one run.

use crate::buffer::purge::Selection;
use crate::buffer::{AppendError, AppendOptions, Appender, Buffer, Closer, Gauges, ParkedEvent, ParkedLine, Purger, Reader};
use crate::config::BufferConfig;
use crate::event::{Batch, BatchBuilder, EventParts, Field, Place, Records, Seq};
use crate::lifecycle::{AckWaiters, Heartbeats, Receipt};
use crate::memory::Memory;
use shuttle::sync::atomic::{AtomicBool, Ordering};
use shuttle::thread::{self, JoinHandle};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Every scenario by name, and how many times the usual number of runs it takes to find what it is there to find.
pub(crate) const ALL: [(&str, usize, fn()); 8] = [
    ("committer sleeps", 1, the_committer_is_woken),
    ("reader sleeps", 1, the_reader_is_woken),
    ("line for events", 1, acks_let_the_next_in),
    ("line for segments", 1, prepared_segments_let_the_next_in),
    ("closed meanwhile", 1, closing_answers_everyone),
    ("waiting for Kafka", 1, an_ack_finds_whoever_waits_for_it),
    ("two lines", 5, what_is_parked_comes_out_in_its_turn),
    ("purged meanwhile", 10, a_purge_finds_each_event_once),
];

/// Never reached: time stands still for the scenarios.
const NEVER: Duration = Duration::from_secs(3600);

struct Running {
    appender: Appender,
    acks: Arc<AckWaiters>,
    closer: Closer,
    committer: JoinHandle<()>,
    keeper: JoinHandle<()>,
}

fn open(max_events: u64) -> (Running, Reader) {
    let (running, lines) = open_with(BufferConfig { max_bytes: 1 << 20, max_events, ..BufferConfig::default() });
    (running, lines.reader)
}

fn open_with(config: BufferConfig) -> (Running, Lines) {
    let config = BufferConfig { segment_bytes: Some(1 << 16), min_free_bytes: 0, ..config };
    let acks = Arc::new(AckWaiters::default());
    let buffer = Buffer::open(&config, Memory::new(1), Arc::clone(&acks), 0).unwrap();
    let Buffer { appender, reader, parked, purger, gauges, committer, keeper, closer, .. } = buffer;
    let beats = Heartbeats::default();
    let (commits, keeps) = (beats.register("commit"), beats.register("keep"));
    let committer = thread::spawn(move || committer.run(&commits));
    let keeper = thread::spawn(move || keeper.run(&keeps));
    (Running { appender, acks, closer, committer, keeper }, Lines { reader, parked, purger, gauges })
}

impl Running {
    /// The order of a stop.
    fn close(self) {
        self.closer.close_appends();
        self.committer.join().unwrap();
        self.closer.close_keeper();
        self.keeper.join().unwrap();
    }

    /// A client that sends requests of `bytes`, one after the other; how many were stored.
    fn writer(&self, requests: u64, bytes: usize) -> JoinHandle<u64> {
        let appender = self.appender.clone();
        thread::spawn(move || {
            let stored = (0..requests).map(|_| append(&appender, bytes));
            stored
                .filter(|stored| match stored {
                    Ok(()) => true,
                    Err(AppendError::ShuttingDown) => false,
                    Err(other) => panic!("{other}"),
                })
                .count() as u64
        })
    }
}

fn append(appender: &Appender, bytes: usize) -> Result<(), AppendError> {
    let options = AppendOptions { deadline: Instant::now() + NEVER, receipts: None };
    shuttle::future::block_on(appender.append(batch(bytes), options)).map(drop)
}

fn batch(bytes: usize) -> Batch {
    let (value, text) = (vec![b'1'; bytes], Field::Text("t"));
    let mut builder = BatchBuilder::default();
    builder.push(&EventParts { value: &value, id: text, kind: text, source_type: text, source_id: text, traceparent: Field::Absent });
    builder.finish()
}

/// Reads and acknowledges, as the drain does, until it has had `events`.
fn drain(running: &Running, mut reader: Reader, events: u64) -> JoinHandle<()> {
    let acks = Arc::clone(&running.acks);
    thread::spawn(move || {
        let mut next = 1;
        while next <= events {
            match reader.next_frame().unwrap() {
                Some(frame) => {
                    assert_eq!(frame.first_seq, Seq(next), "in order");
                    assert!(Records::new(&frame.payload).all(|record| record.is_ok()));
                    assert_eq!(reader.ack(&[frame.first_seq]), 1);
                    let place = Place { topic: Arc::from("events"), partition: 0, offset: 0 };
                    acks.acked(Receipt { seq: frame.first_seq, place });
                    next += 1;
                }
                None => reader.wait(NEVER),
            }
        }
    })
}

/// Requests come while the committer goes to sleep, sleeps, or syncs.
fn the_committer_is_woken() {
    let (running, _reader) = open(0);
    let writers = [running.writer(2, 10), running.writer(2, 10)];
    assert_eq!(writers.map(|writer| writer.join().unwrap()), [2, 2]);
    running.close();
}

/// Events become durable while the drain goes to sleep, sleeps, or reads.
fn the_reader_is_woken() {
    let (running, reader) = open(0);
    let drain = drain(&running, reader, 4);
    let writers = [running.writer(2, 10), running.writer(2, 10)];
    assert_eq!(writers.map(|writer| writer.join().unwrap()), [2, 2]);
    drain.join().unwrap();
    running.close();
}

/// The buffer is full in events: each ack lets somebody in.
fn acks_let_the_next_in() {
    let (running, reader) = open(1);
    let writers = [running.writer(2, 10), running.writer(2, 10)];
    let drain = drain(&running, reader, 4);
    assert_eq!(writers.map(|writer| writer.join().unwrap()), [2, 2]);
    drain.join().unwrap();
    running.close();
}

/// Each request needs a segment of its own: the keeper prepares them, and frees those that Kafka has.
fn prepared_segments_let_the_next_in() {
    let (running, reader) = open(0);
    let requests = 9;
    let writers = [running.writer(requests, 40_000), running.writer(requests, 40_000)];
    let drain = drain(&running, reader, 2 * requests);
    assert_eq!(writers.map(|writer| writer.join().unwrap()), [requests, requests]);
    drain.join().unwrap();
    running.close();
}

/// Requests that want to know where Kafka put their event, from a drain that is as fast as it can be.
fn an_ack_finds_whoever_waits_for_it() {
    let (running, reader) = open(0);
    let drain = drain(&running, reader, 3);
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let appender = running.appender.clone();
            thread::spawn(move || {
                let (receipts, answer) = tokio::sync::oneshot::channel();
                let options = AppendOptions { deadline: Instant::now() + NEVER, receipts: Some(receipts) };
                shuttle::future::block_on(async {
                    let first = appender.append(batch(10), options).await.unwrap().first_seq;
                    assert_eq!(answer.await.unwrap()[0].seq, first);
                });
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    drain.join().unwrap();
    running.close();
}

/// A stop while requests are on their way and in line: each gets an answer, what was answered as stored comes out.
fn closing_answers_everyone() {
    let (running, mut reader) = open(2);
    let writers = [running.writer(2, 10), running.writer(2, 10), running.writer(1, 10)];
    running.close();
    let stored: u64 = writers.map(|writer| writer.join().unwrap()).iter().sum();
    let mut read = 0;
    while let Some(frame) = reader.next_frame().unwrap() {
        read += u64::from(frame.count);
    }
    assert_eq!(read, stored);
}

/// How many events the two lines get.
const PARKED_EVENTS: u64 = 8;

/// A topic is parked while its events come, and released as often as nothing of it is parked: whichever line sends an event, they are sent in order, and
/// none is left behind.
fn what_is_parked_comes_out_in_its_turn() {
    let (running, lines) = Lines::open();
    let sent = lines.send_all(&running, || {});
    assert_eq!(sent, (1..=PARKED_EVENTS).collect::<Vec<_>>());
    running.close();
}

/// The same while an operator purges: each event is sent or purged, in the log or parked, on its way from one to the other, too.
fn a_purge_finds_each_event_once() {
    let (running, lines) = Lines::open();
    let (operator, gauges) = (lines.purger.clone(), lines.gauges.clone());
    let mut purge = None;
    let sent = lines.send_all(&running, || {
        let selection = Selection { from_seq: 2, ..Selection::default() };
        purge = Some(thread::spawn(move || (0..3).map(|_| operator.begin(&selection).unwrap().0.events).sum::<u64>()));
    });
    let purged = purge.unwrap().join().unwrap();
    assert!(sent.is_sorted_by(|a, b| a < b), "in order, and none twice: {sent:?}");
    let ledger = gauges.snapshot().ledger;
    assert_eq!((ledger.ends.purged, ledger.ends.acked + purged, ledger.backlog), (purged, PARKED_EVENTS, 0), "{ledger:?}");
    assert_eq!(ledger.conservation_error(), 0);
    running.close();
}

/// The log's line and the parked one, of a topic that is parked from the start.
struct Lines {
    reader: Reader,
    parked: ParkedLine,
    purger: Purger,
    gauges: Gauges,
}

impl Lines {
    fn open() -> (Running, Self) {
        let config = BufferConfig { max_bytes: 2 << 20, parked_bytes: Some(1 << 18), ..BufferConfig::default() };
        let (running, mut lines) = open_with(config);
        lines.reader.parking("t");
        assert!(lines.reader.park_topic("t"));
        (running, lines)
    }

    /// Stores the events and sends them, and does something in the midst of it; returns their seqs in the order in which they were sent.
    fn send_all(self, running: &Running, meanwhile: impl FnOnce()) -> Vec<u64> {
        let Self { reader, parked, .. } = self;
        let sent = Arc::new(Mutex::new(Vec::new()));
        let (all_stored, all_read) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (reader_waker, parked_waker) = (reader.waker(), parked.waker());
        let log = {
            let (sent, all_stored) = (Arc::clone(&sent), Arc::clone(&all_stored));
            thread::spawn(move || log_line(reader, &sent, &all_stored))
        };
        let line = {
            let (sent, all_read) = (Arc::clone(&sent), Arc::clone(&all_read));
            thread::spawn(move || parked_line(parked, &sent, &all_read))
        };
        let writers = [running.writer(PARKED_EVENTS / 2, 10), running.writer(PARKED_EVENTS / 2, 10)];
        let [first, second] = writers;
        assert_eq!(first.join().unwrap(), PARKED_EVENTS / 2);
        meanwhile();
        assert_eq!(second.join().unwrap(), PARKED_EVENTS / 2);
        all_stored.store(true, Ordering::SeqCst);
        reader_waker.wake();
        log.join().unwrap();
        all_read.store(true, Ordering::SeqCst);
        parked_waker.wake();
        line.join().unwrap();
        sent.lock().unwrap().clone()
    }
}

/// Sends what is not parked.
fn log_line(mut reader: Reader, sent: &Mutex<Vec<u64>>, all_stored: &AtomicBool) {
    loop {
        // Asked before looking: told only afterwards, there may be some.
        let is_last_look = all_stored.load(Ordering::SeqCst);
        let Some(frame) = reader.next_frame().unwrap() else {
            if is_last_look {
                return;
            }
            reader.wait(NEVER);
            continue;
        };
        let seq = frame.first_seq;
        if reader.is_acked(seq) {
            continue;
        }
        if reader.is_parked("t") {
            reader.park("t", &[ParkedEvent { seq: seq.0, accepted_ms: frame.accepted_ms, record: frame.payload }]).unwrap();
        } else {
            sent.lock().unwrap().push(seq.0);
            let _ = reader.ack(&[seq]);
        }
    }
}

/// Sends what is parked, and releases the topic whenever nothing is.
fn parked_line(mut parked: ParkedLine, sent: &Mutex<Vec<u64>>, all_read: &AtomicBool) {
    loop {
        let is_last_look = all_read.load(Ordering::SeqCst);
        let topics = parked.topics();
        for topic in &topics {
            parked.turn_to(topic);
            while let Some(frame) = parked.next_frame().unwrap() {
                let seqs: Vec<u64> = (0..u64::from(frame.count)).map(|n| frame.first_seq.0 + n).collect();
                sent.lock().unwrap().extend(&seqs);
                let _ = parked.ack(&seqs.into_iter().map(Seq).collect::<Vec<_>>());
            }
            let _ = parked.release();
        }
        if is_last_look && topics.is_empty() {
            return;
        }
        if !is_last_look {
            parked.wait_for_topics(NEVER);
        }
    }
}
