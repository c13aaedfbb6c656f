//! Why ingest cannot listen.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Why an address or a socket file cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Both are switched off.
    #[error("nothing to listen on: set ingest.listen or ingest.socket")]
    Nothing,
    /// Anybody on the network could write.
    #[error("ingest.listen = {address} is not a loopback address; ingest has neither a token nor TLS, so it would be open to the network")]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// The system said no.
    #[error("cannot listen on {address} (ingest.listen)")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// What the system answered.
        #[source]
        source: std::io::Error,
    },
    /// Another process listens there.
    #[error("{path} is in use: another process listens on it (ingest.socket)")]
    SocketInUse {
        /// The socket file.
        path: PathBuf,
    },
    /// Not ours to remove.
    #[error("{path} exists and is not a socket; remove it or choose another ingest.socket")]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// Nowhere to put it.
    #[error("{dir} is not a directory, so there can be no socket {path} (ingest.socket); create or mount it first")]
    NoDirectory {
        /// The socket file.
        path: PathBuf,
        /// Its directory.
        dir: PathBuf,
    },
    /// The system said no.
    #[error("cannot {action} the socket {path} (ingest.socket)")]
    Socket {
        /// What was tried.
        action: &'static str,
        /// The socket file.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: std::io::Error,
    },
}
