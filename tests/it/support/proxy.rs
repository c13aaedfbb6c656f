//! A network between the relay and Kafka that can be cut, slowed down, and made to swallow answers.
//!
//! It reads Kafka's frames (a length, then in a request the API's key, its version and a correlation id, in a response that id) so that it can
//! tell the answers to produce requests, and to commits, from all others.
#![allow(clippy::big_endian_bytes, reason = "as Kafka writes its numbers")]

use std::{
    collections::HashMap,
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
    let asked = Asked::default();
    for (mut from, mut to, requests) in
        [(client.try_clone().expect("a handle"), server.try_clone().expect("a handle"), true), (server, client, false)]
    {
        let (faults, asked) = (Arc::clone(faults), Arc::clone(&asked));
        drop(thread::spawn(move || {
            let mut pump = || -> io::Result<()> {
                loop {
                    let frame = read_frame(&mut from)?;
                    hold(&faults);
                    if requests {
                        note(&frame, &asked);
                    } else if let Some(api) = answered(&frame, &asked) {
                        let to_produce = api == PRODUCE;
                        let late = if to_produce { faults.late_ms.load(Ordering::Relaxed) } else { 0 };
                        thread::sleep(Duration::from_millis(late));
                        let take_one = |left: u64| left.checked_sub(1);
                        let cut = if to_produce { &faults.cut } else { &faults.cut_commits };
                        if cut.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take_one).is_ok() {
                            faults.was_cut.fetch_add(1, Ordering::Relaxed);
                            return Ok(());
                        }
                    }
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

/// Requests whose answers matter: their correlation ids, each with the API's number.
type Asked = Arc<Mutex<HashMap<[u8; 4], u16>>>;

fn note(request: &[u8], asked: &Asked) {
    if let (Some([a, b]), Some(id)) = (request.get(4..6), request.get(8..12))
        && let api @ (PRODUCE | END_TRANSACTION) = u16::from_be_bytes([*a, *b])
    {
        asked.lock().unwrap().insert(id.try_into().expect("four bytes"), api);
    }
}

fn answered(response: &[u8], asked: &Asked) -> Option<u16> {
    response.get(4..8).and_then(|id| asked.lock().unwrap().remove(id))
}
