//! The load generator: one thread, ready-made requests, as little work per request as can be, so that the server has the cores.
//!
//! Closed loop: each connection sends its next request when the last is answered. What applications do that wait for their answer.

use super::error::BenchError;
use super::histogram::Latencies;
use super::plan::Plan;
use super::response::{Arrived, look};
use super::rounds::{Sample, rate};
use super::workload::{Request, SOURCES, Workload};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;

/// Answers that come this much after the end do not come.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest reply that is taken.
const MAX_REPLY_BYTES: usize = 1 << 20;

/// Where the load goes.
#[derive(Clone, Debug)]
pub(super) enum Door {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// What load.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) door: Door,
    pub(super) connections: usize,
    /// Events per request.
    pub(super) batch: usize,
    /// Ends after this long...
    pub(super) time: Duration,
    /// ...or once so many events were sent.
    pub(super) events: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// Events accepted.
    pub(super) events: u64,
    /// From the first request to the last answer.
    pub(super) time: Duration,
    pub(super) latencies: Latencies,
}

/// What the connections share.
struct Shared {
    workload: Arc<Workload>,
    started: Instant,
    deadline: Instant,
    /// Events that may still be sent.
    left: AtomicU64,
    batch: u64,
}

impl Load {
    /// Sends it, from this thread.
    pub(super) fn run(&self, plan: &Plan) -> Result<Outcome, BenchError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(BenchError::io("start a runtime"))?;
        runtime.block_on(async {
            match &self.door {
                Door::Tcp(address) => {
                    let connect = || async {
                        let stream = TcpStream::connect(address).await?;
                        stream.set_nodelay(true)?;
                        Ok(stream)
                    };
                    self.send(plan, connect).await
                }
                Door::Unix(path) => self.send(plan, || UnixStream::connect(path)).await,
            }
        })
    }

    async fn send<S, C>(&self, plan: &Plan, connect: impl Fn() -> C) -> Result<Outcome, BenchError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        C: Future<Output = std::io::Result<S>>,
    {
        let mut connections = Vec::with_capacity(self.connections);
        for index in 0..self.connections {
            let stream = connect().await.map_err(BenchError::io("connect to the server under test"))?;
            connections.push(Connection { stream, requests: self.requests(index, &plan.workload), received: Vec::new() });
        }
        let started = Instant::now();
        let (workload, left) = (Arc::clone(&plan.workload), AtomicU64::new(self.events));
        let shared = Arc::new(Shared { workload, started, deadline: started + self.time, left, batch: self.batch as u64 });
        let mut tasks = JoinSet::new();
        for connection in connections {
            let _ = tasks.spawn(connection.run(Arc::clone(&shared)));
        }
        let after = self.time.saturating_add(PATIENCE);
        tokio::time::timeout(after, join(tasks)).await.unwrap_or(Err(BenchError::Late { what: "an answer", after }))
    }

    /// The requests of a connection, which it sends in turn: all connections together go over all sources.
    fn requests(&self, connection: usize, workload: &Workload) -> Vec<Request> {
        let turns = SOURCES.div_ceil(self.connections * self.batch).max(1);
        (0..turns).map(|turn| workload.request((connection * turns + turn) * self.batch, self.batch)).collect()
    }
}

async fn join(mut tasks: JoinSet<Result<Outcome, BenchError>>) -> Result<Outcome, BenchError> {
    let mut all = Outcome::default();
    while let Some(one) = tasks.join_next().await {
        let one = one.map_err(|_| BenchError::Panicked("load"))??;
        all.events += one.events;
        all.time = all.time.max(one.time);
        all.latencies.merge(&one.latencies);
    }
    Ok(all)
}

struct Connection<S> {
    stream: S,
    requests: Vec<Request>,
    received: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    async fn run(mut self, shared: Arc<Shared>) -> Result<Outcome, BenchError> {
        let mut outcome = Outcome::default();
        let mut sent_at = Instant::now();
        for turn in (0..self.requests.len()).cycle() {
            let may_send = |left: u64| left.checked_sub(shared.batch);
            if sent_at >= shared.deadline || shared.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, may_send).is_err() {
                break;
            }
            let bytes = shared.workload.renew(&mut self.requests[turn]);
            self.stream.write_all(bytes).await.map_err(BenchError::io("send a request"))?;
            self.answer().await?;
            let now = Instant::now();
            outcome.latencies.record(now - sent_at);
            outcome.events += shared.batch;
            outcome.time = now - shared.started;
            sent_at = now;
        }
        Ok(outcome)
    }

    async fn answer(&mut self) -> Result<(), BenchError> {
        self.received.clear();
        loop {
            let read = self.stream.read_buf(&mut self.received).await.map_err(BenchError::io("receive an answer"))?;
            match look(&self.received) {
                Arrived::Whole { status: 200..300, .. } => return Ok(()),
                Arrived::Whole { status, .. } => {
                    let body = String::from_utf8_lossy(&self.received).lines().last().unwrap_or_default().to_owned();
                    return Err(BenchError::Refused { status, body });
                }
                Arrived::Part if read > 0 && self.received.len() < MAX_REPLY_BYTES => {}
                Arrived::Part | Arrived::Nonsense => return Err(BenchError::Child("broke off an answer".to_owned())),
            }
        }
    }
}

impl Outcome {
    /// As one round of a comparison that lasted `time`, during which the server took so much processor time.
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    pub(super) fn sample(self, time: Duration, cpu_seconds: f64) -> Sample {
        let cpu_us = (self.events > 0).then(|| cpu_seconds * 1e6 / self.events as f64);
        Sample { rate: rate(self.events, time.as_secs_f64()), latencies: Some(self.latencies), cpu_us }
    }
}
