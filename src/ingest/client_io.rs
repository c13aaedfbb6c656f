//! A client's connection as HTTP/1 reads it: half a request head must not take forever, and bytes can be given back.
//!
//! hyper's own header timeout also closes connections that are merely idle between requests, which a pool of an application has
//! many of. Here the clock starts with the first byte of a head and is stopped by the service, which hyper calls when the head is
//! complete. No timer exists unless a head arrives in pieces.

use super::activity::Activity;
use bytes::{Buf, Bytes};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A connection that keeps its [`Activity`] up to date.
#[derive(Debug)]
pub(super) struct ClientIo<IO> {
    io: IO,
    activity: Activity,
    /// How long a request head may take from its first byte; `None`: no limit.
    head_timeout: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Bytes to be read before those of `io`.
    given_back: Bytes,
}

impl<IO> ClientIo<IO> {
    /// A connection whose request heads must not take longer than `head_timeout`.
    pub(super) fn new(io: IO, activity: Activity, head_timeout: Duration) -> Self {
        Self { io, activity, head_timeout: Some(head_timeout), timer: None, given_back: Bytes::new() }
    }

    /// The same without a limit on heads: for HTTP/2, where requests share the connection with each other and with pings.
    pub(super) fn without_head_timeout(self) -> Self {
        Self { head_timeout: None, timer: None, ..self }
    }

    /// Gives bytes back, to be read once more before any others.
    pub(super) fn give_back(&mut self, bytes: Bytes) {
        self.given_back = bytes;
    }

    /// Ready once a head has taken too long.
    fn poll_head_timeout(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.head_timeout {
            Some(timeout) if self.activity.is_within_head() => self.timer.get_or_insert_with(|| Box::pin(sleep(timeout))).as_mut().poll(cx),
            _ => {
                self.timer = None;
                Poll::Pending
            }
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for ClientIo<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.given_back.has_remaining() {
            let count = self.given_back.len().min(out.remaining());
            out.put_slice(&self.given_back.split_to(count));
            return Poll::Ready(Ok(()));
        }
        let before = out.filled().len();
        match Pin::new(&mut self.io).poll_read(cx, out) {
            Poll::Ready(Ok(())) => {
                if out.filled().len() > before {
                    self.activity.received();
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.poll_head_timeout(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl<IO: AsyncWrite + Unpin> ClientIo<IO> {
    fn noting<T>(&self, written: Poll<T>) -> Poll<T> {
        self.activity.wrote(written.is_ready());
        written
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for ClientIo<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.noting(written)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.noting(written)
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::Instant;

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn pair() -> (DuplexStream, ClientIo<DuplexStream>, Activity) {
        let ((client, server), activity) = (duplex(64), Activity::default());
        (client, ClientIo::new(server, activity.clone(), TIMEOUT), activity)
    }

    /// Sends `bytes` and tells how long a further read lasts before it fails; `None` when it goes on waiting.
    async fn waits_after(bytes: &[u8], turns_taken: u32) -> Option<Duration> {
        let (mut client, mut io, activity) = pair();
        client.write_all(bytes).await.unwrap();
        let mut buffer = [0; 64];
        if !bytes.is_empty() {
            let _ = io.read(&mut buffer).await.unwrap();
        }
        (0..turns_taken).for_each(|_| activity.take_turn());
        let start = Instant::now();
        let read = tokio::time::timeout(TIMEOUT * 100, io.read(&mut buffer)).await.ok()?;
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
        Some(start.elapsed())
    }

    // Goal: a client that dawdles within a head is cut off; one that is idle or has a request running is not.
    #[tokio::test(start_paused = true)]
    async fn only_half_a_head_is_cut_off() {
        assert!(waits_after(b"POST /v1/ev", 0).await.is_some_and(|waited| waited >= TIMEOUT && waited < TIMEOUT * 2));
        let (answering, answered) = (1, 2);
        assert_eq!(waits_after(b"POST /v1/events HTTP/1.1\r\n\r\n", answering).await, None);
        assert_eq!(waits_after(b"POST /v1/events HTTP/1.1\r\n\r\n", answered).await, None);
        assert_eq!(waits_after(b"", 0).await, None);
    }

    // Goal: trickling a byte now and then does not extend the time.
    #[tokio::test(start_paused = true)]
    async fn trickling_does_not_help() {
        let (mut client, mut io, _) = pair();
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
                if let Err(error) = io.read(&mut buffer).await {
                    return error;
                }
            }
        };
        let error = tokio::select! { error = read => error, () = trickle => unreachable!() };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() < TIMEOUT * 2);
    }

    // Goal: what was given back is read first, and nothing is lost.
    #[tokio::test]
    async fn gives_back() {
        let (mut client, mut io, _) = pair();
        client.write_all(b"cd").await.unwrap();
        io.give_back(Bytes::from_static(b"ab"));
        let mut buffer = [0; 4];
        io.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"abcd");
    }
}
