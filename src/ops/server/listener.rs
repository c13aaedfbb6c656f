//! Binding: loopback TCP, the probe address, the Unix socket.
//!
//! Bound with blocking calls, so that it happens before any runtime and every failure is known before the relay starts.

use super::route::Surface;
use crate::config::OpsConfig;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Mode of the ops socket: the relay's user and group.
const SOCKET_MODE: u32 = 0o660;

/// Why ops cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Payloads and status would be readable from the network without a token.
    #[error(
        "ops.listen is {address}, which is not loopback; anybody there could read events (use ops.probe_listen for probes and metrics)"
    )]
    NotLoopback {
        /// What was asked for.
        address: SocketAddr,
    },
    /// The address cannot be had.
    #[error("cannot listen on {address} ({key})")]
    Tcp {
        /// The setting.
        key: &'static str,
        /// What was asked for.
        address: SocketAddr,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// Another relay answers on it.
    #[error("cannot listen on {path} (ops.socket): another process is listening there")]
    SocketInUse {
        /// The socket.
        path: PathBuf,
    },
    /// A file that we did not make.
    #[error("cannot listen on {path} (ops.socket): a file that is not a socket is there; move it away or choose another path")]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// The path cannot be had.
    #[error("cannot listen on {path} (ops.socket)")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
}

/// A bound listener.
#[derive(Debug)]
pub(super) enum Bound {
    Tcp(TcpListener, Surface),
    Socket(UnixListener, SocketFile),
}

/// The socket's file, removed when it is dropped.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::debug!(path = %self.0.display(), %error, "cannot remove the ops socket");
        }
    }
}

/// Where ops listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpsAddresses {
    /// Status and metrics for people.
    pub listen: Option<SocketAddr>,
    /// The same on a Unix socket.
    pub socket: Option<PathBuf>,
    /// Probes and metrics for Kubernetes.
    pub probe: Option<SocketAddr>,
}

/// Binds what the settings name.
pub(super) fn bind(config: &OpsConfig) -> Result<(Vec<Bound>, OpsAddresses), BindError> {
    let (mut bound, mut addresses) = (Vec::new(), OpsAddresses::default());
    if let Some(address) = config.listen {
        if !address.ip().is_loopback() {
            return Err(BindError::NotLoopback { address });
        }
        let (listener, local) = tcp("ops.listen", address)?;
        addresses.listen = Some(local);
        bound.push(Bound::Tcp(listener, Surface::Loopback));
    }
    if let Some(address) = config.probe_listen {
        let (listener, local) = tcp("ops.probe_listen", address)?;
        addresses.probe = Some(local);
        bound.push(Bound::Tcp(listener, Surface::Probe));
    }
    if let Some(path) = &config.socket {
        let (listener, file) = socket(path)?;
        addresses.socket = Some(path.clone());
        bound.push(Bound::Socket(listener, file));
    }
    Ok((bound, addresses))
}

fn tcp(key: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), BindError> {
    let listen = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let local = listener.local_addr()?;
        Ok((listener, local))
    };
    listen().map_err(|source| BindError::Tcp { key, address, source })
}

fn socket(path: &Path) -> Result<(UnixListener, SocketFile), BindError> {
    clear_stale(path)?;
    let failed = |source| BindError::Socket { path: path.to_owned(), source };
    let listener = UnixListener::bind(path).map_err(failed)?;
    let file = SocketFile(path.to_owned());
    fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok((listener, file))
}

/// Removes the socket of a relay that was killed: one that nobody answers on.
fn clear_stale(path: &Path) -> Result<(), BindError> {
    let failed = |source| BindError::Socket { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(BindError::NotASocket { path: path.to_owned() }),
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(BindError::SocketInUse { path: path.to_owned() }),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(failed),
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: after a kill -9 the relay starts again on the same socket path; a live one is never taken over; a file is never deleted.
    #[test]
    fn only_a_dead_socket_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ops.sock");

        drop(UnixListener::bind(&path).unwrap());
        let (live, file) = socket(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, SOCKET_MODE);
        assert!(matches!(socket(&path), Err(BindError::SocketInUse { .. })));
        drop((live, file));
        assert!(!path.exists());

        fs::write(&path, "precious").unwrap();
        assert!(matches!(socket(&path), Err(BindError::NotASocket { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        assert!(matches!(socket(&dir.path().join("missing/ops.sock")), Err(BindError::Socket { .. })));
    }

    // Goal: a slip in the config cannot put payloads on the network; probes may be there.
    #[test]
    fn only_probes_listen_beyond_loopback() {
        let any = SocketAddr::from(([0, 0, 0, 0], 0));
        let open = OpsConfig { listen: Some(any), ..OpsConfig::default() };
        assert!(matches!(bind(&open), Err(BindError::NotLoopback { .. })));
        let (_, addresses) = bind(&OpsConfig { listen: None, probe_listen: Some(any), ..OpsConfig::default() }).unwrap();
        assert!(addresses.probe.unwrap().port() > 0 && addresses.listen.is_none());
    }
}
