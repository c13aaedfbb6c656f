//! Cuts off clients that begin a request head and do not finish it, but lets idle connections be.
//!
//! hyper's own header timeout also closes connections that are merely idle between requests, which a pool of an application has
//! many of. Here the clock starts with the first byte of a head and is stopped by the service, which hyper calls when the head is
//! complete. No timer exists unless a head arrives in pieces.
//!
//! HTTP/2 is told by its first bytes and left alone: its streams share a connection, and its pings are no request heads.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How many turns a connection took: one when a head is complete, one when its answer is. Odd while a request is being answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(Arc<AtomicU64>);

impl Turns {
    /// A request's head is complete, or its answer is.
    pub(super) fn take(&self) {
        // The connection's task is the only one that reads and writes it.
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a connection speaks, as far as its first bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    Unknown,
    Http1,
    Http2,
}

/// A connection whose request heads must not take longer than a time.
#[derive(Debug)]
pub(super) struct HeadGuard<IO> {
    io: IO,
    turns: Turns,
    timeout: Duration,
    speaks: Speaks,
    /// The turn in which bytes of a head came; the head is incomplete while no further turn was taken.
    head_in: Option<u64>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<IO> HeadGuard<IO> {
    /// Guards `io`; turns are taken by the service.
    pub(super) fn new(io: IO, turns: Turns, timeout: Duration) -> Self {
        Self { io, turns, timeout, speaks: Speaks::Unknown, head_in: None, timer: None }
    }

    fn received(&mut self, bytes: &[u8]) {
        if self.speaks == Speaks::Unknown {
            // "PRI" is no method of HTTP/1, and nobody sends the preface in single bytes.
            self.speaks = if bytes.starts_with(b"PRI") { Speaks::Http2 } else { Speaks::Http1 };
        }
        let turn = self.turns.count();
        let is_head = self.speaks == Speaks::Http1 && !bytes.is_empty() && turn.is_multiple_of(2);
        self.head_in = is_head.then_some(turn);
    }

    /// Ready once a head has taken too long.
    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.head_in != Some(self.turns.count()) {
            self.timer = None;
            return Poll::Pending;
        }
        let timeout = self.timeout;
        self.timer.get_or_insert_with(|| Box::pin(sleep(timeout))).as_mut().poll(cx)
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for HeadGuard<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        match Pin::new(&mut self.io).poll_read(cx, out) {
            Poll::Ready(Ok(())) => {
                self.received(&out.filled()[before..]);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.poll_timeout(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for HeadGuard<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    const TIMEOUT: Duration = Duration::from_secs(30);

    /// Feeds the guard `bytes` and tells how long a further read lasts before it fails; `None` when it goes on waiting.
    async fn waits_after(bytes: &[u8], turns_taken: u32) -> Option<Duration> {
        let (mut client, server) = duplex(64);
        let turns = Turns::default();
        let mut guard = HeadGuard::new(server, turns.clone(), TIMEOUT);
        client.write_all(bytes).await.unwrap();
        let mut buffer = [0; 64];
        if !bytes.is_empty() {
            let _ = guard.read(&mut buffer).await.unwrap();
        }
        (0..turns_taken).for_each(|_| turns.take());
        let start = Instant::now();
        let read = tokio::time::timeout(TIMEOUT * 100, guard.read(&mut buffer)).await.ok()?;
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
        Some(start.elapsed())
    }

    // Goal: a client that dawdles within a head is cut off; one that is idle, has a request running, or speaks HTTP/2 is not.
    #[tokio::test(start_paused = true)]
    async fn only_half_a_head_is_cut_off() {
        assert!(waits_after(b"POST /v1/ev", 0).await.is_some_and(|waited| waited >= TIMEOUT && waited < TIMEOUT * 2));
        let (answering, answered) = (1, 2);
        assert_eq!(waits_after(b"POST /v1/events HTTP/1.1\r\n\r\n", answering).await, None);
        assert_eq!(waits_after(b"POST /v1/events HTTP/1.1\r\n\r\n", answered).await, None);
        assert_eq!(waits_after(b"", 0).await, None);
        assert_eq!(waits_after(b"PRI * HTTP/2.0\r\n", 0).await, None);
    }

    // Goal: trickling a byte now and then does not extend the time.
    #[tokio::test(start_paused = true)]
    async fn trickling_does_not_help() {
        let (mut client, server) = duplex(64);
        let mut guard = HeadGuard::new(server, Turns::default(), TIMEOUT);
        let start = Instant::now();
        let trickle = async {
            loop {
                client.write_all(b"P").await.unwrap();
                sleep(TIMEOUT / 10).await;
            }
        };
        let read = async {
            let mut buffer = [0; 64];
            loop {
                if let Err(error) = guard.read(&mut buffer).await {
                    return error;
                }
            }
        };
        let error = tokio::select! { error = read => error, () = trickle => unreachable!() };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() < TIMEOUT * 2);
    }
}
