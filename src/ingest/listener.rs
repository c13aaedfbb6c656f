//! Where connections come from: loopback TCP and a Unix socket.
//!
//! A failing accept (out of file descriptors, say) is logged and tried again a little later; it never ends the relay.

use super::bind_error::BindError;
use super::quiet::Quiet;
use super::socket::SocketFile;
use super::stats::IngestStats;
use crate::config::IngestConfig;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};

/// Connections that the kernel keeps for us until we accept them.
const BACKLOG: u32 = 4096;

/// Pause after a failed accept: long enough not to spin, short enough not to be noticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A connection of either kind.
#[derive(Debug)]
pub(super) enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// All that is listened on.
#[derive(Debug)]
pub(super) struct Listeners {
    tcp: Option<(TcpListener, SocketAddr)>,
    unix: Option<SocketFile>,
    allow_uids: Vec<u32>,
    stats: Arc<IngestStats>,
    failures: Quiet,
    strangers: Quiet,
}

impl Listeners {
    /// Binds what the settings name.
    pub(super) async fn bind(config: &IngestConfig, stats: Arc<IngestStats>) -> Result<Self, BindError> {
        if config.listen.is_none() && config.socket.is_none() {
            return Err(BindError::Nothing);
        }
        let tcp = config.listen.map(bind_tcp).transpose()?;
        let unix = match &config.socket {
            Some(path) => Some(SocketFile::bind(path, config.socket_mode, BACKLOG).await?),
            None => None,
        };
        let (failures, strangers) = (Quiet::default(), Quiet::default());
        Ok(Self { tcp, unix, allow_uids: config.allow_uids.clone(), stats, failures, strangers })
    }

    /// The TCP address, its port known even if 0 was asked for.
    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        self.tcp.as_ref().map(|(_, address)| *address)
    }

    /// The socket file.
    pub(super) fn socket(&self) -> Option<&Path> {
        self.unix.as_ref().map(SocketFile::path)
    }

    /// The next connection that may talk to us. May be dropped at any time without losing one.
    pub(super) async fn accept(&self) -> Accepted {
        loop {
            let accepted = tokio::select! {
                accepted = self.accept_tcp() => accepted.map(Accepted::Tcp),
                accepted = self.accept_unix() => accepted.map(Accepted::Unix),
            };
            match accepted {
                Ok(Accepted::Unix(stream)) if !self.is_allowed(&stream) => {}
                Ok(accepted) => return accepted,
                Err(error) => {
                    if let Some(left_out) = self.failures.due(Instant::now()) {
                        tracing::warn!(%error, left_out, "cannot accept a connection, trying again");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn accept_tcp(&self) -> io::Result<TcpStream> {
        let Some((listener, _)) = &self.tcp else { return std::future::pending().await };
        let (stream, _) = listener.accept().await?;
        // Replies are small and complete: there is nothing to wait for. A connection that is already gone says so when it is read.
        drop(stream.set_nodelay(true));
        Ok(stream)
    }

    async fn accept_unix(&self) -> io::Result<UnixStream> {
        let Some(socket) = &self.unix else { return std::future::pending().await };
        Ok(socket.listener.accept().await?.0)
    }

    /// Whether the process at the other end may hand events in.
    fn is_allowed(&self, stream: &UnixStream) -> bool {
        if self.allow_uids.is_empty() {
            return true;
        }
        let uid = stream.peer_cred().map(|credentials| credentials.uid());
        let allowed = uid.as_ref().is_ok_and(|uid| self.allow_uids.contains(uid));
        if !allowed {
            self.stats.refused_connections.add(1);
            if let Some(left_out) = self.strangers.due(Instant::now()) {
                tracing::warn!(?uid, left_out, "closed a connection to the ingest socket: the user is not in ingest.allow_uids");
            }
        }
        allowed
    }
}

fn bind_tcp(address: SocketAddr) -> Result<(TcpListener, SocketAddr), BindError> {
    if !address.ip().to_canonical().is_loopback() {
        return Err(BindError::NotLoopback { address });
    }
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A restart need not wait for the last connections' TIME_WAIT.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let local = listener.local_addr()?;
        Ok((listener, local))
    };
    listen().map_err(|source| BindError::Tcp { address, source })
}
