//! What the threads do in one run.

use crate::buffer::{AppendError, AppendOptions, Appender, Buffer, Closer, ParkedEvent, ParkedLine, Reader};
use crate::config::BufferConfig;
use crate::event::{Batch, BatchBuilder, EventParts, Field, Place, Records, Seq};
use crate::lifecycle::{AckWaiters, Heartbeats, Receipt};
use crate::memory::Memory;
use shuttle::thread::{self, JoinHandle};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Every scenario by name.
pub(crate) const ALL: [(&str, fn()); 7] = [
    ("committer sleeps", the_committer_is_woken),
    ("reader sleeps", the_reader_is_woken),
    ("line for events", acks_let_the_next_in),
    ("line for segments", prepared_segments_let_the_next_in),
    ("closed meanwhile", closing_answers_everyone),
    ("waiting for Kafka", an_ack_finds_whoever_waits_for_it),
    ("two lines", what_is_parked_comes_out_in_its_turn),
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
    let (running, reader, _) = open_with(BufferConfig { max_bytes: 1 << 20, max_events, ..BufferConfig::default() });
    (running, reader)
}

fn open_with(config: BufferConfig) -> (Running, Reader, ParkedLine) {
    let config = BufferConfig { segment_bytes: Some(1 << 16), min_free_bytes: 0, ..config };
    let acks = Arc::new(AckWaiters::default());
    let buffer = Buffer::open(&config, Memory::new(1), Arc::clone(&acks), 0).unwrap();
    let Buffer { appender, reader, parked, committer, keeper, closer, .. } = buffer;
    let beats = Heartbeats::default();
    let (commits, keeps) = (beats.register("commit"), beats.register("keep"));
    let committer = thread::spawn(move || committer.run(&commits));
    let keeper = thread::spawn(move || keeper.run(&keeps));
    (Running { appender, acks, closer, committer, keeper }, reader, parked)
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

/// A topic is parked while its events come, and released as often as nothing of it is parked: whichever line sends an event, they are sent in order, and
/// none is left behind.
fn what_is_parked_comes_out_in_its_turn() {
    const EVENTS: u64 = 8;
    let (running, mut reader, mut parked) =
        open_with(BufferConfig { max_bytes: 2 << 20, parked_bytes: Some(1 << 18), ..BufferConfig::default() });
    reader.parking("t");
    assert!(reader.park_topic("t"));
    let sent = Arc::new(Mutex::new(Vec::new()));
    let (of_log, of_parked, waker) = (Arc::clone(&sent), Arc::clone(&sent), parked.waker());
    let log = thread::spawn(move || {
        let mut next = 1;
        while next <= EVENTS {
            let Some(frame) = reader.next_frame().unwrap() else {
                reader.wait(NEVER);
                continue;
            };
            assert_eq!(frame.first_seq, Seq(next), "in order");
            if reader.is_parked("t") {
                reader.park("t", &[ParkedEvent { seq: next, accepted_ms: frame.accepted_ms, record: frame.payload }]).unwrap();
            } else {
                of_log.lock().unwrap().push(next);
                assert_eq!(reader.ack(&[frame.first_seq]), 1);
            }
            next += 1;
        }
        waker.wake();
    });
    let line = thread::spawn(move || {
        let all_sent = || of_parked.lock().unwrap().len() as u64 == EVENTS;
        while !all_sent() {
            for topic in parked.topics() {
                parked.turn_to(&topic);
                while let Some(frame) = parked.next_frame().unwrap() {
                    let seqs: Vec<u64> = (0..u64::from(frame.count)).map(|n| frame.first_seq.0 + n).collect();
                    of_parked.lock().unwrap().extend(&seqs);
                    let _ = parked.ack(&seqs.into_iter().map(Seq).collect::<Vec<_>>());
                }
                let _ = parked.release();
            }
            if !all_sent() {
                parked.wait(NEVER);
            }
        }
    });
    let writers = [running.writer(4, 10), running.writer(4, 10)];
    assert_eq!(writers.map(|writer| writer.join().unwrap()), [4, 4]);
    log.join().unwrap();
    line.join().unwrap();
    assert_eq!(*sent.lock().unwrap(), (1..=EVENTS).collect::<Vec<_>>());
    running.close();
}
