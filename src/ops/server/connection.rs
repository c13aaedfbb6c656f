//! Accepting and serving connections, within bounds.
//!
//! Invariants: at most [`MAX_CONNECTIONS`] per listener, so that whoever floods the probe address cannot lock people out of loopback;
//! a connection that is slow, idle or old is closed.

use super::answer::Answers;
use super::authority::Caller;
use super::route::Surface;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch as signal;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Open connections per listener; more wait in the system's backlog.
const MAX_CONNECTIONS: usize = 64;
/// A request's head must be there in this time; it is also how long a connection may idle.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection is asked to end after this, so that one which reads nothing cannot stay for ever.
const MAX_AGE: Duration = Duration::from_secs(300);
/// How long a connection may take to finish once it is asked to.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Read buffer of a connection in bytes: the bound on a request's head.
const HEAD_BYTES: usize = 16 << 10;
/// Pause after a failed accept, which usually means that file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A listener on the runtime.
pub(super) enum Listener {
    Tcp(TcpListener, Surface),
    Unix(UnixListener),
}

enum Stream {
    Tcp(TcpStream, Caller),
    Unix(UnixStream, Caller),
}

impl Listener {
    async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener, surface) => {
                let (stream, peer) = listener.accept().await?;
                // An answer is one write; waiting to fill a packet would only delay it. Fails on a client that is gone already.
                drop(stream.set_nodelay(true));
                Ok(Stream::Tcp(stream, Caller { surface: *surface, name: peer.to_string() }))
            }
            Self::Unix(listener) => {
                let stream = listener.accept().await?.0;
                let name = stream.peer_cred().map_or_else(
                    |_| "unknown, on the socket".to_owned(),
                    |peer| format!("uid {} gid {} pid {}", peer.uid(), peer.gid(), peer.pid().unwrap_or_default()),
                );
                Ok(Stream::Unix(stream, Caller { surface: Surface::Socket, name }))
            }
        }
    }
}

/// Accepts until `stopped` changes or closes, then waits for the connections it made.
pub(super) async fn accept_loop(listener: Listener, answers: Arc<Answers>, mut stopped: signal::Receiver<()>) {
    let mut connections = JoinSet::new();
    let mut failing = false;
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= MAX_CONNECTIONS {
            tokio::select! {
                _ = stopped.changed() => break,
                _ = connections.join_next() => continue,
            }
        }
        let accepted = tokio::select! {
            _ = stopped.changed() => break,
            accepted = listener.accept() => accepted,
        };
        if let (Err(error), false) = (&accepted, failing) {
            tracing::warn!(%error, "ops cannot accept connections; it keeps trying");
        }
        failing = accepted.is_err();
        let (answers, stopped) = (Arc::clone(&answers), stopped.clone());
        match accepted {
            Ok(Stream::Tcp(stream, caller)) => drop(connections.spawn(serve(stream, caller, answers, stopped))),
            Ok(Stream::Unix(stream, caller)) => drop(connections.spawn(serve(stream, caller, answers, stopped))),
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
    drop(listener);
    let _ = connections.join_all().await;
}

/// One connection, from its first byte to its end.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, caller: Caller, answers: Arc<Answers>, mut stopped: signal::Receiver<()>) {
    let service = service_fn(|request: Request<Incoming>| {
        let (answers, caller) = (Arc::clone(&answers), caller.clone());
        async move { Ok::<_, Infallible>(answers.answer(&caller, &request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        _ = stopped.changed() => None,
        () = sleep(MAX_AGE) => None,
    };
    let ended = if let Some(ended) = ended {
        ended
    } else {
        connection.as_mut().graceful_shutdown();
        timeout(CLOSE_TIMEOUT, connection).await.unwrap_or(Ok(()))
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "an ops connection ended early");
    }
}
