//! A network between the relay and Kafka that can be cut, slowed down, and made to swallow answers.
//!
//! It reads Kafka's frames (a length, then in a request the API's key, its version and a correlation id, in a response that id) so that it can
//! tell the answers to produce requests, and to commits, from all others. It makes no frame of its own: what it lies with are Kafka's own answers.
#![allow(clippy::big_endian_bytes, reason = "as Kafka writes its numbers")]

use std::{
    collections::HashSet,
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// Kafka's number of the produce API.
const PRODUCE: u16 = 0;
/// Kafka's number of the API that ends a transaction (`EndTxn`).
const END_TRANSACTION: u16 = 26;
/// How often a pump that is held looks whether it may go on.
const LOOK: Duration = Duration::from_millis(20);

/// What the relay is told of a batch. Both break the sequence by which Kafka knows its producer; afterwards nothing gets through until
/// [`Proxy::black_hole`] is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Kafka has it. It never gets it: the batch before is given to it once more instead. So it refuses the next one.
    Taken,
    /// Kafka refuses it. It gets it, and the oldest batch of the connection behind it, whose refusal is passed on as the answer.
    Refused,
}

/// Batches of a connection so that its oldest is older than what Kafka remembers.
const OLD: usize = 10;

/// What is known of the produce requests of a connection.
#[derive(Default)]
struct Produced {
    /// Those that have no answer, by their correlation ids.
    unanswered: HashSet<[u8; 4]>,
    /// Commits that have none.
    commits: HashSet<[u8; 4]>,
    count: usize,
    oldest: Vec<u8>,
    newest: Vec<u8>,
    /// The first answer to this one is not passed on.
    swallows: Option<[u8; 4]>,
    /// What is passed on as the answer to this one is the lie.
    completes: Option<[u8; 4]>,
    /// Nothing gets through any more after the next answer.
    holds_next: bool,
}

/// The proxy. Dropped, it takes no more connections.
pub struct Proxy {
    address: String,
    faults: Arc<Faults>,
}

#[derive(Default)]
struct Faults {
    /// Nothing gets through, in either direction, and no connection is closed: as if packets were dropped.
    black_hole: AtomicBool,
    /// Produce answers to swallow, each with its connection.
    cut: AtomicU64,
    /// The same of answers to commits.
    cut_commits: AtomicU64,
    /// How many were.
    was_cut: AtomicU64,
    /// Each produce answer comes this much later.
    late_ms: AtomicU64,
    /// What to do to one of the next batches.
    lie: Mutex<Option<Lie>>,
    /// The batch, once it was done.
    lied_about: Mutex<Option<Vec<u8>>>,
    ended: AtomicBool,
}

impl Proxy {
    /// Forwards to `upstream`, which need not be there yet.
    pub fn start(upstream: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let faults = Arc::new(Faults::default());
        let shared = Arc::clone(&faults);
        drop(thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.ended.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(server) = TcpStream::connect(&upstream) else { continue };
                serve(client, server, &shared);
            }
        }));
        Self { address, faults }
    }

    /// Where clients connect to.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Drops everything from now on, or no longer.
    pub fn black_hole(&self, on: bool) {
        self.faults.black_hole.store(on, Ordering::Relaxed);
    }

    /// Swallows the next `count` answers to produce requests: Kafka has the events, and the relay is not told.
    pub fn cut_produce_answers(&self, count: u64) {
        self.faults.cut.store(count, Ordering::Relaxed);
    }

    /// Swallows the next `count` answers to commits: Kafka has ended the transaction, and the relay is not told.
    pub fn cut_commit_answers(&self, count: u64) {
        self.faults.cut_commits.store(count, Ordering::Relaxed);
    }

    /// How many answers were swallowed.
    pub fn was_cut(&self) -> u64 {
        self.faults.was_cut.load(Ordering::Relaxed)
    }

    /// Lies about one of the next batches. The topic must have one partition, so that all batches are of one sequence.
    pub fn lie(&self, lie: Lie) {
        *self.faults.lied_about.lock().unwrap() = None;
        *self.faults.lie.lock().unwrap() = Some(lie);
    }

    /// The request that was lied about, once the lie is complete.
    pub fn lied_about(&self) -> Option<Vec<u8>> {
        self.faults.black_hole.load(Ordering::Relaxed).then(|| self.faults.lied_about.lock().unwrap().clone()).flatten()
    }

    /// Makes every answer to a produce request late.
    pub fn delay_produce_answers(&self, by: Duration) {
        self.faults.late_ms.store(u64::try_from(by.as_millis()).expect("milliseconds"), Ordering::Relaxed);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.faults.ended.store(true, Ordering::Relaxed);
        // Wakes the listener, so that its thread ends.
        drop(TcpStream::connect(&self.address));
    }
}

fn serve(client: TcpStream, server: TcpStream, faults: &Arc<Faults>) {
    let produced = Arc::new(Mutex::new(Produced::default()));
    for (mut from, mut to, requests) in
        [(client.try_clone().expect("a handle"), server.try_clone().expect("a handle"), true), (server, client, false)]
    {
        let (faults, produced) = (Arc::clone(faults), Arc::clone(&produced));
        drop(thread::spawn(move || {
            let mut pump = || -> io::Result<()> {
                loop {
                    let frame = read_frame(&mut from)?;
                    hold(&faults);
                    if requests {
                        for frame in produced.lock().unwrap().request(frame, &faults) {
                            to.write_all(&frame)?;
                        }
                        continue;
                    }
                    let answer = produced.lock().unwrap().answer(&frame);
                    if answer == Answer::Swallowed {
                        continue;
                    }
                    if answer != Answer::Other {
                        let (late, cut) = match answer {
                            Answer::ToCommit => (0, &faults.cut_commits),
                            _ => (faults.late_ms.load(Ordering::Relaxed), &faults.cut),
                        };
                        thread::sleep(Duration::from_millis(late));
                        let take_one = |left: u64| left.checked_sub(1);
                        if cut.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take_one).is_ok() {
                            faults.was_cut.fetch_add(1, Ordering::Relaxed);
                            return Ok(());
                        }
                    }
                    // Before it is passed on, so that nobody is quicker.
                    faults.black_hole.fetch_or(answer == Answer::Last, Ordering::Relaxed);
                    to.write_all(&frame)?;
                }
            };
            drop(pump());
            for stream in [&from, &to] {
                drop(stream.shutdown(Shutdown::Both));
            }
        }));
    }
}

fn hold(faults: &Faults) {
    while faults.black_hole.load(Ordering::Relaxed) && !faults.ended.load(Ordering::Relaxed) {
        thread::sleep(LOOK);
    }
}

fn read_frame(from: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut frame = length.to_vec();
    frame.resize(4 + u32::from_be_bytes(length) as usize, 0);
    from.read_exact(&mut frame[4..])?;
    Ok(frame)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// Of another request.
    Other,
    ToBatch,
    ToCommit,
    /// Not to be passed on.
    Swallowed,
    /// To be passed on, and nothing after it.
    Last,
}

impl Produced {
    /// What to give to Kafka for a request.
    fn request(&mut self, frame: Vec<u8>, faults: &Faults) -> Vec<Vec<u8>> {
        if let Some(Ok(id)) = frame.get(8..12).filter(|_| frame[4..6] == END_TRANSACTION.to_be_bytes()).map(TryInto::try_into) {
            let _ = self.commits.insert(id);
        }
        let Some(id) = frame.get(8..12).filter(|_| frame[4..6] == PRODUCE.to_be_bytes()).and_then(|id| id.try_into().ok()) else {
            return vec![frame];
        };
        let _ = self.unanswered.insert(id);
        self.count += 1;
        let lie = faults.lie.lock().unwrap().take_if(|_| self.count > OLD);
        let Some(lie) = lie else {
            self.newest.clone_from(&frame);
            if self.count == 1 {
                self.oldest.clone_from(&frame);
            }
            return vec![frame];
        };
        *faults.lied_about.lock().unwrap() = Some(frame.clone());
        self.completes = Some(id);
        let as_answer_to = |mut other: Vec<u8>| {
            other[8..12].copy_from_slice(&id);
            other
        };
        match lie {
            Lie::Taken => vec![as_answer_to(self.newest.clone())],
            Lie::Refused => {
                self.swallows = Some(id);
                vec![frame, as_answer_to(self.oldest.clone())]
            }
        }
    }

    fn answer(&mut self, response: &[u8]) -> Answer {
        let Some(id) = response.get(4..8).and_then(|id| <[u8; 4]>::try_from(id).ok()) else {
            return Answer::Other;
        };
        if self.commits.remove(&id) {
            return Answer::ToCommit;
        }
        if !self.unanswered.contains(&id) {
            return Answer::Other;
        }
        if self.swallows.take_if(|swallowed| *swallowed == id).is_some() {
            self.holds_next = true;
            return Answer::Swallowed;
        }
        let _ = self.unanswered.remove(&id);
        let is_complete = self.completes.take_if(|completes| *completes == id).is_some();
        // Of a batch that seems to be taken, the next one is the first that Kafka refuses.
        if std::mem::replace(&mut self.holds_next, is_complete) { Answer::Last } else { Answer::ToBatch }
    }
}
