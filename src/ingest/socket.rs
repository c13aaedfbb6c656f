//! The Unix socket as a file: made with its permissions before anybody can connect, replaced when stale, removed at the end.

use super::bind_error::BindError;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::{UnixListener, UnixSocket, UnixStream};

/// How long a socket file may take to show whether somebody listens behind it; a local connect takes microseconds.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// A listening socket and its file, which is removed when this is dropped.
#[derive(Debug)]
pub(super) struct SocketFile {
    pub(super) listener: UnixListener,
    path: PathBuf,
    /// Device and inode: the file is only removed while it is still the one that was made.
    identity: (u64, u64),
}

impl SocketFile {
    /// Binds a socket file with permission bits `mode`.
    pub(super) async fn bind(path: &Path, mode: u32, backlog: u32) -> Result<Self, BindError> {
        let failed = |action| move |source| BindError::Socket { action, path: path.to_owned(), source };
        clear_the_way(path).await?;
        let socket = UnixSocket::new_stream().map_err(failed("create"))?;
        socket.bind(path).map_err(failed("bind"))?;
        // Between bind and listen a connect is refused, so nobody gets in under the process's umask.
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed("set the mode of"))?;
        let identity = identity(path).map_err(failed("inspect"))?;
        let listener = socket.listen(backlog).map_err(failed("listen on"))?;
        Ok(Self { listener, path: path.to_owned(), identity })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the ingest socket");
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Makes sure that `path` can be bound: removes a socket that nobody listens on, and nothing else.
async fn clear_the_way(path: &Path) -> Result<(), BindError> {
    let failed = |action| move |source| BindError::Socket { action, path: path.to_owned(), source };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !dir.is_dir() {
        return Err(BindError::NoDirectory { path: path.to_owned(), dir: dir.to_owned() });
    }
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("inspect")(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(BindError::NotASocket { path: path.to_owned() }),
        Ok(_) => {}
    }
    match tokio::time::timeout(PROBE_TIMEOUT, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
            tracing::info!(path = %path.display(), "removing the ingest socket of a relay that is gone");
            fs::remove_file(path).map_err(failed("remove the stale"))
        }
        // A full backlog (would block) is a sign of life, too.
        Ok(Ok(_)) | Err(_) => Err(BindError::SocketInUse { path: path.to_owned() }),
        Ok(Err(error)) if error.kind() == ErrorKind::WouldBlock => Err(BindError::SocketInUse { path: path.to_owned() }),
        Ok(Err(error)) => Err(failed("connect to")(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn bind(path: &Path) -> Result<SocketFile, BindError> {
        SocketFile::bind(path, 0o620, 16).await
    }

    // Goal: the socket lets in whom the mode says, and is gone when the relay is.
    #[tokio::test]
    async fn has_its_mode_and_goes_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let socket = bind(&path).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o620);
        UnixStream::connect(&path).await.unwrap();
        drop(socket);
        assert!(!path.exists());
    }

    // Goal: a crashed relay's socket is no obstacle; a running relay's socket, and any other file, is left alone.
    #[tokio::test]
    async fn only_a_stale_socket_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let live = bind(&path).await.unwrap();
        assert!(matches!(bind(&path).await, Err(BindError::SocketInUse { .. })));
        UnixStream::connect(&path).await.unwrap();
        drop(live);
        fs::write(&path, "precious").unwrap();
        assert!(matches!(bind(&path).await, Err(BindError::NotASocket { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    // Goal: a socket that another relay made in the meantime is not removed.
    #[tokio::test]
    async fn only_its_own_file_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let first = bind(&path).await.unwrap();
        fs::rename(&path, dir.path().join("moved")).unwrap();
        let _second = bind(&path).await.unwrap();
        drop(first);
        assert!(path.exists());
    }

    // Goal: what stands in the way is said in words.
    #[tokio::test]
    async fn missing_directory_and_long_path() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(bind(&dir.path().join("no/s")).await, Err(BindError::NoDirectory { .. })));
        assert!(matches!(bind(&dir.path().join("x".repeat(200))).await, Err(BindError::Socket { action: "bind", .. })));
    }
}
