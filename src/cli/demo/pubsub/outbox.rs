//! What a connection still has to be sent: replies and messages, bounded. One that does not read is cut off.

use bytes::BytesMut;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;

/// Most bytes that may wait for one client: Redis' own hard limit for subscribers.
pub(super) const MAX_WAITING: usize = 32 << 20;

/// The output of one connection, filled by any task and written by the connection's own.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    overrun: bool,
}

/// The client read too slowly and must go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Overrun;

impl Outbox {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends output. Beyond the bound everything is thrown away, and the writer ends.
    pub(super) fn append(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        if state.overrun {
            return;
        }
        write(&mut state.waiting);
        if state.waiting.len() > MAX_WAITING {
            *state = State { waiting: Vec::new(), overrun: true };
        }
        drop(state);
        self.wake.notify_one();
    }

    fn take(&self) -> Result<Vec<u8>, Overrun> {
        let mut state = self.state();
        if state.overrun { Err(Overrun) } else { Ok(std::mem::take(&mut state.waiting)) }
    }

    /// Waits for output.
    async fn next(&self) -> Result<Vec<u8>, Overrun> {
        loop {
            let bytes = self.take()?;
            if !bytes.is_empty() {
                return Ok(bytes);
            }
            self.wake.notified().await;
        }
    }

    /// Resolves when the client must be cut off, also while a write to it hangs.
    async fn overrun(&self) {
        while !self.state().overrun {
            self.wake.notified().await;
        }
    }

    /// Writes until the client is gone or must go. May be dropped at any time: what is not written yet stays in `pending`.
    pub(super) async fn write_to(&self, socket: &mut (impl AsyncWrite + Unpin), pending: &mut BytesMut) {
        loop {
            if pending.is_empty() {
                let Ok(bytes) = self.next().await else { return };
                *pending = BytesMut::from(bytes::Bytes::from(bytes));
            }
            tokio::select! {
                written = socket.write_buf(pending) => if written.is_err() { return },
                () = self.overrun() => return,
            }
        }
    }

    /// Writes what is left, for a connection that ends in peace.
    pub(super) async fn flush_to(&self, socket: &mut (impl AsyncWrite + Unpin), mut pending: BytesMut) -> io::Result<()> {
        socket.write_all_buf(&mut pending).await?;
        socket.write_all(&self.take().unwrap_or_default()).await?;
        socket.shutdown().await
    }
}
