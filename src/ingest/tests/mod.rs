//! The stage over real sockets, with a buffer that is only pretended.

mod connections;
mod parking;
mod replies;
mod stopping;

use super::*;
use crate::buffer::{AppendError, AppendOptions, Appended, FullDetail};
use crate::config::{AckLevel, Placeholder};
use crate::event::{Batch, Place, Records, Seq};
use crate::lifecycle::{History, Receipt};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};

/// An event that has everything.
const EVENT: &str = r#"{"id":"a","type":"t","source_type":"u","source_id":"1","time":"2026-01-01T00:00:00Z","payload":{"x":1}}"#;

/// What the pretended buffer and Kafka do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behaviour {
    /// Stores; Kafka never answers.
    Store,
    /// Stores on a volume that forgets.
    StoreVolatile,
    /// Stores; Kafka has it at once.
    StoreAndDeliver,
    /// Stores; the events end as something else than acknowledged.
    StoreAndGiveUp,
    /// No room until the deadline.
    Full,
    /// Stopping.
    ShuttingDown,
    /// Broken.
    StorageFailed,
    /// Stores once the test lets it.
    Held,
}

/// A pretended buffer.
#[derive(Clone, Debug)]
struct Fake {
    behaviour: Behaviour,
    shared: Arc<FakeShared>,
}

#[derive(Debug)]
struct FakeShared {
    /// The events: value and trace.
    stored: Mutex<Vec<(String, Option<String>)>>,
    /// Senders of receipts that will never come.
    unanswered: Mutex<Vec<oneshot::Sender<Vec<Receipt>>>>,
    /// Appends that have begun.
    begun: Semaphore,
    /// Appends that may end, while [`Behaviour::Held`].
    released: Semaphore,
    /// Told by the tests.
    history: History,
}

impl Fake {
    fn new(behaviour: Behaviour) -> Self {
        let (begun, released) = (Semaphore::new(0), Semaphore::new(0));
        let (stored, unanswered) = (Mutex::default(), Mutex::default());
        Self { behaviour, shared: Arc::new(FakeShared { stored, unanswered, begun, released, history: History::of(100) }) }
    }

    fn stored(&self) -> Vec<String> {
        self.shared.stored.lock().unwrap().iter().map(|(value, _)| value.clone()).collect()
    }

    fn store(&self, batch: &Batch, receipts: Option<oneshot::Sender<Vec<Receipt>>>) -> Appended {
        let mut stored = self.shared.stored.lock().unwrap();
        let first_seq = Seq(stored.len() as u64 + 1);
        for event in Records::new(batch.payload()).map(Result::unwrap) {
            stored.push((String::from_utf8(event.value.to_vec()).unwrap(), event.traceparent.map(str::to_owned)));
        }
        let place = |offset| Place { topic: "events".into(), partition: 0, offset };
        let acked = (0..batch.count()).map(|n| Receipt { seq: first_seq.plus(u64::from(n)), place: place(i64::from(n)) });
        match (self.behaviour, receipts) {
            (Behaviour::StoreAndDeliver, Some(sender)) => sender.send(acked.collect()).unwrap(),
            (Behaviour::StoreAndGiveUp, sender) => drop(sender),
            (_, sender) => self.shared.unanswered.lock().unwrap().extend(sender),
        }
        Appended { first_seq, count: batch.count(), durable: self.behaviour != Behaviour::StoreVolatile, repeats: Vec::new() }
    }
}

impl Append for Fake {
    async fn append(&self, batch: Batch, options: AppendOptions) -> Result<Appended, AppendError> {
        self.shared.begun.add_permits(1);
        match self.behaviour {
            Behaviour::Full => {
                tokio::time::sleep_until(options.deadline.into()).await;
                let time_to_room = Some(Duration::from_millis(2500));
                let full = FullDetail { depth_events: 7, bytes: 80, max_bytes: 90, drain_rate: 1.5, time_to_room };
                Err(AppendError::Full(Box::new(full)))
            }
            Behaviour::ShuttingDown => Err(AppendError::ShuttingDown),
            Behaviour::StorageFailed => Err(AppendError::StorageFailed { reason: "EIO".into() }),
            Behaviour::Held => {
                self.shared.released.acquire().await.unwrap().forget();
                Ok(self.store(&batch, options.receipts))
            }
            _ => Ok(self.store(&batch, options.receipts)),
        }
    }

    fn find(&self, id: &str) -> Option<Seq> {
        let at = self.shared.stored.lock().unwrap().iter().position(|(value, _)| value.contains(&format!("{id:?}")))?;
        Some(Seq(at as u64 + 1))
    }

    fn history(&self) -> &History {
        &self.shared.history
    }
}

/// A stage that serves.
struct Running {
    address: SocketAddr,
    fake: Fake,
    stats: Arc<IngestStats>,
    stop: oneshot::Sender<Instant>,
    task: JoinSet<Stopped>,
    dir: tempfile::TempDir,
}

impl Running {
    async fn start(behaviour: Behaviour) -> Self {
        Self::start_with(behaviour, |_| {}).await
    }

    async fn start_with(behaviour: Behaviour, adjust: impl FnOnce(&mut IngestConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = IngestConfig {
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            socket: Some(dir.path().join("s")),
            full_timeout: Duration::from_millis(50),
            max_event_bytes: 1000,
            max_body_bytes: 100_000,
            max_batch_events: 10,
            ..IngestConfig::default()
        };
        adjust(&mut config);
        let (fake, stats) = (Fake::new(behaviour), Arc::new(IngestStats::default()));
        let topic = Template::parse("{source_type}", &[Placeholder::SourceType]).unwrap();
        let ingest = Ingest::bind(&config, &topic, fake.clone(), Arc::clone(&stats)).await.unwrap();
        let address = ingest.local_addr().unwrap();
        assert_eq!(ingest.socket(), config.socket.as_deref());
        let (stop, stopped) = oneshot::channel();
        let mut task = JoinSet::new();
        task.spawn(ingest.run(async { stopped.await.unwrap() }));
        Self { address, fake, stats, stop, task, dir }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    async fn connect(&self) -> Client<TcpStream> {
        Client::new(TcpStream::connect(self.address).await.unwrap())
    }

    /// Sends a request on a connection of its own and gives status, head and body of the reply.
    async fn send(&self, request: &str) -> (u16, String, String) {
        let mut client = self.connect().await;
        client.write(request).await;
        client.reply().await
    }

    /// Posts a JSON body with a query.
    async fn post(&self, query: &str, body: &str) -> (u16, String, String) {
        self.send(&post(query, "content-type: application/json\r\n", body)).await
    }

    async fn stop_by(mut self, deadline: Instant) -> Stopped {
        self.stop.send(deadline).unwrap();
        self.task.join_next().await.unwrap().unwrap()
    }

    fn requests(&self, status: u16) -> u64 {
        self.stats.requests[CODES.iter().position(|code| *code == status).unwrap()].get()
    }

    fn events(&self) -> [u64; RESULTS.len()] {
        self.stats.events.each_ref().map(crate::lifecycle::Counter::get)
    }
}

/// A whole request.
fn post(query: &str, headers: &str, body: &str) -> String {
    format!("POST /v1/events{query} HTTP/1.1\r\nhost: x\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

/// A client's end of a connection.
struct Client<C> {
    io: C,
    /// Bytes received and not yet looked at.
    received: Vec<u8>,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Client<C> {
    fn new(io: C) -> Self {
        Self { io, received: Vec::new() }
    }

    async fn write(&mut self, text: &str) {
        self.io.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads one reply: status, head in lower case, and as much body as it announces.
    async fn reply(&mut self) -> (u16, String, String) {
        let head_end = loop {
            match memchr::memmem::find(&self.received, b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => self.receive().await,
            }
        };
        let head = String::from_utf8(self.received.drain(..head_end).collect()).unwrap().to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |length| length.parse().unwrap());
        while self.received.len() < length {
            self.receive().await;
        }
        let body = String::from_utf8(self.received.drain(..length).collect()).unwrap();
        (head[9..12].parse().unwrap(), head, body)
    }

    async fn receive(&mut self) {
        let count = self.io.read_buf(&mut self.received).await.unwrap();
        assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&self.received));
    }

    /// Whether the relay closes the connection without another byte.
    async fn is_closed(&mut self) -> bool {
        matches!(self.io.read(&mut [0; 1]).await, Ok(0) | Err(_))
    }
}
