//! Stage 1: applications hand events in.
//!
//! `POST /v1/events` on loopback TCP and a Unix socket, HTTP/1.1 and HTTP/2 with prior knowledge. A request is one atomic unit: all
//! of its events are stored or none. One that was stored before is not stored again, and counted as a duplicate. `GET /v1/events/{id}`
//! tells what became of one.
//!
//! | reply | when |
//! |---|---|
//! | 202 | durable in the buffer (`"ack":"buffered"`) |
//! | 200 | `ack=kafka` was asked for and reached in time; otherwise 202, it is durable and will be delivered |
//! | 400 · 413 · 415 · 422 | malformed · too large · wrong type · a field is wrong |
//! | 409 | an id that is known, with another body |
//! | 404 · 405 · 408 | another path · another method · the body took too long |
//! | 503 + `Retry-After` | buffer full past the timeout, too many requests in progress, shutting down, storage failed |
//!
//! Invariants: nothing is answered 2xx before the buffer says that it is synced; a refusal says that nothing was stored, and nothing
//! was. Memory is bounded: connections by `max_connections` (beyond it, new ones wait in the kernel's backlog), bodies by
//! a budget that they take before they are read, time by `request_timeout` and `timeout`.
//!
//! Deliberately absent: a limit on idle connections' lifetime (peers are on this machine, and the kernel closes a dead one's
//! connections), authentication beyond file mode and peer credentials, compression.

mod activity;
mod admission;
mod append;
mod bind_error;
mod body;
mod client_io;
mod connection;
pub mod decode;
mod http;
mod json_text;
mod listener;
mod media;
mod parking;
mod problem;
mod query;
mod quiet;
mod receipt;
mod refusal;
mod reply;
mod socket;
mod stats;
mod trace;

#[cfg(test)]
mod tests;

use crate::config::{IngestConfig, Template};
use connection::Server;
use http::Api;
use listener::{Accepted, Listeners};
use quiet::Quiet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use append::Append;
pub use bind_error::BindError;
pub use stats::{CODES, IngestStats, RESULTS};

/// The stage, bound and not yet serving.
#[derive(Debug)]
pub struct Ingest<A> {
    listeners: Listeners,
    server: Arc<Server<A>>,
    stats: Arc<IngestStats>,
    stopping: watch::Sender<bool>,
    max_connections: usize,
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Connections that finished what they were at, or were idle.
    pub finished: usize,
    /// Connections cut off at the deadline.
    pub cut_off: usize,
}

impl<A: Append> Ingest<A> {
    /// Binds the listeners: afterwards connections queue up, and are served once [`Ingest::run`] runs.
    ///
    /// `topic` is the template of `kafka.topic`.
    ///
    /// # Errors
    /// [`BindError`] names the address or file and what to do.
    pub async fn bind(config: &IngestConfig, topic: &Template, appender: A, stats: Arc<IngestStats>) -> Result<Self, BindError> {
        let listeners = Listeners::bind(config, Arc::clone(&stats)).await?;
        let (stopping, is_stopping) = watch::channel(false);
        let api = Api::new(config, topic, appender, Arc::clone(&stats), is_stopping);
        let max_connections = config.max_connections as usize;
        Ok(Self { listeners, server: Arc::new(Server::new(Arc::new(api))), stats, stopping, max_connections })
    }

    /// The TCP address, when there is one; its port is known even if 0 was asked for.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.listeners.local_addr()
    }

    /// The Unix socket, when there is one.
    pub fn socket(&self) -> Option<&Path> {
        self.listeners.socket()
    }

    /// Serves until `stop` resolves; then no connection is accepted any more, requests in progress are finished, and what is not
    /// finished at the instant that `stop` gave is cut off. Requests that wait for Kafka are answered 202 as soon as stopping begins.
    pub async fn run(self, stop: impl Future<Output = Instant>) -> Stopped {
        let Self { listeners, server, stats, stopping, max_connections } = self;
        let mut connections = Connections { tasks: JoinSet::new(), stats, crowded: Quiet::default(), max: max_connections };
        let deadline = {
            let mut stop = std::pin::pin!(stop);
            loop {
                tokio::select! {
                    biased;
                    deadline = &mut stop => break deadline,
                    Some(()) = connections.reap() => {}
                    accepted = listeners.accept(), if connections.has_room() => {
                        let (server, stopping) = (Arc::clone(&server), stopping.subscribe());
                        match accepted {
                            Accepted::Tcp(stream) => connections.add(server.serve(stream, stopping)),
                            Accepted::Unix(stream) => connections.add(server.serve(stream, stopping)),
                        }
                    }
                }
            }
        };
        // Whoever connects from here on is refused at once, rather than left waiting in a backlog.
        drop(listeners);
        stopping.send_replace(true);
        connections.finish(deadline).await
    }
}

/// The tasks of all connections.
struct Connections {
    tasks: JoinSet<()>,
    stats: Arc<IngestStats>,
    crowded: Quiet,
    max: usize,
}

impl Connections {
    fn has_room(&self) -> bool {
        self.tasks.len() < self.max
    }

    fn add(&mut self, connection: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(connection);
        self.count();
        if !self.has_room()
            && let Some(left_out) = self.crowded.due(Instant::now())
        {
            tracing::warn!(connections = self.max, left_out, "ingest.max_connections reached: new connections wait until one closes");
        }
    }

    /// Takes note of a connection that ended; `None` when there is none.
    async fn reap(&mut self) -> Option<()> {
        let ended = self.tasks.join_next().await?;
        self.count();
        if let Err(error) = ended
            && error.is_panic()
        {
            tracing::error!(%error, "an ingest connection panicked");
        }
        Some(())
    }

    /// Lets all connections finish until the deadline.
    async fn finish(mut self, deadline: Instant) -> Stopped {
        let total = self.tasks.len();
        let reap_all = async { while self.reap().await.is_some() {} };
        let in_time = tokio::time::timeout_at(deadline.into(), reap_all).await.is_ok();
        let cut_off = if in_time { 0 } else { self.tasks.len() };
        self.tasks.shutdown().await;
        self.count();
        Stopped { finished: total - cut_off, cut_off }
    }

    fn count(&self) {
        self.stats.connections.set(self.tasks.len() as u64);
    }
}
