//! Reads a request body within its limits: size, memory, and time.

use super::admission::{Budget, SMALL_BODY_BYTES, Share};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// The limits on one body.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyLimits {
    /// Most bytes.
    pub max_bytes: usize,
    /// How long to wait for memory.
    pub admission_timeout: Duration,
    /// How long the client may take to send it.
    pub read_timeout: Duration,
}

/// A whole body and its share of the memory budget.
#[derive(Debug)]
pub(super) struct ReadBody<'b> {
    /// The bytes.
    pub bytes: Bytes,
    /// To be held for as long as they, or what was made of them, are in memory.
    pub share: Share<'b>,
    /// How much of `admission_timeout` was used.
    pub waited: Duration,
}

/// Why there is no body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    /// Over `ingest.max_body_bytes`.
    #[error("the body is larger than {max_bytes} bytes (ingest.max_body_bytes)")]
    TooLarge {
        /// The limit.
        max_bytes: usize,
    },
    /// Too many bytes of other requests are in memory.
    #[error("too many requests are in progress; nothing was stored")]
    Overloaded,
    /// The client took too long.
    #[error("the body did not arrive within {timeout:?} (ingest.request_timeout); nothing was stored")]
    TooSlow {
        /// The limit.
        timeout: Duration,
    },
    /// The connection broke.
    #[error("the body ended early; nothing was stored")]
    Broken,
}

/// Reads a body to its end.
pub(super) async fn read<B>(body: B, budget: &Budget, limits: BodyLimits) -> Result<ReadBody<'_>, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let too_large = BodyError::TooLarge { max_bytes: limits.max_bytes };
    // Known from Content-Length: then it is refused before a byte of it is asked for.
    let hint = body.size_hint();
    if hint.lower() > limits.max_bytes as u64 {
        return Err(too_large);
    }
    let length = hint.exact().and_then(|length| usize::try_from(length).ok());
    let start = Instant::now();
    let share = budget.admit(length, start + limits.admission_timeout).await.ok_or(BodyError::Overloaded)?;
    let mut reader = Reader { body, budget, limits, share, waited: start.elapsed() };
    let timeout = limits.read_timeout;
    let bytes = within(timeout, reader.read(length)).await.ok_or(BodyError::TooSlow { timeout })??;
    reader.share.shrink_to(bytes.len());
    Ok(ReadBody { bytes, share: reader.share, waited: reader.waited })
}

/// What `future` gives in time. A small body has nearly always come along with its head, and then no timer is made.
async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    match poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
        Poll::Ready(output) => Some(output),
        Poll::Pending => timeout(limit, future).await.ok(),
    }
}

struct Reader<'b, B> {
    body: B,
    budget: &'b Budget,
    limits: BodyLimits,
    share: Share<'b>,
    waited: Duration,
}

impl<B: Body<Data = Bytes> + Unpin> Reader<'_, B> {
    async fn read(&mut self, length: Option<usize>) -> Result<Bytes, BodyError> {
        let Some(first) = self.next().await? else { return Ok(Bytes::new()) };
        // A small body comes in one piece, and is used where it is.
        if Some(first.len()) == length || self.body.is_end_stream() {
            return self.fits(first.len()).map(|()| first);
        }
        let mut whole = Vec::with_capacity(length.unwrap_or(first.len()));
        let mut piece = first;
        loop {
            let total = whole.len() + piece.len();
            self.fits(total)?;
            if length.is_none() && whole.len() <= SMALL_BODY_BYTES && total > SMALL_BODY_BYTES {
                self.outgrow_small().await?;
            }
            whole.extend_from_slice(&piece);
            match self.next().await? {
                Some(next) => piece = next,
                None => return Ok(Bytes::from(whole)),
            }
        }
    }

    fn fits(&self, total: usize) -> Result<(), BodyError> {
        let max_bytes = self.limits.max_bytes;
        if total > max_bytes { Err(BodyError::TooLarge { max_bytes }) } else { Ok(()) }
    }

    async fn outgrow_small(&mut self) -> Result<(), BodyError> {
        let start = Instant::now();
        let deadline = start + self.limits.admission_timeout.saturating_sub(self.waited);
        self.share = self.budget.admit_largest(deadline).await.ok_or(BodyError::Overloaded)?;
        self.waited += start.elapsed();
        Ok(())
    }

    /// The next piece of data; trailers are of no interest.
    async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(_)) => return Err(BodyError::Broken),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::body::Frame;
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::Context;

    const MIB: usize = 1 << 20;
    const LIMITS: BodyLimits =
        BodyLimits { max_bytes: MIB, admission_timeout: Duration::from_secs(2), read_timeout: Duration::from_secs(30) };

    /// A body of unknown length that comes in pieces, and then goes on or hangs.
    struct Pieces {
        rest: VecDeque<Bytes>,
        hangs: bool,
    }

    impl Pieces {
        fn new(count: usize, bytes: usize, hangs: bool) -> Self {
            Self { rest: vec![Bytes::from(vec![b'x'; bytes]); count].into(), hangs }
        }
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.rest.pop_front() {
                None if self.hangs => Poll::Pending,
                piece => Poll::Ready(piece.map(|piece| Ok(Frame::data(piece)))),
            }
        }
    }

    async fn read_pieces(budget: &Budget, pieces: Pieces) -> Result<usize, BodyError> {
        read(pieces, budget, LIMITS).await.map(|body| body.bytes.len())
    }

    // Goal: a body of unknown length takes no more memory than it needs, and gives the rest back.
    #[tokio::test(start_paused = true)]
    async fn unknown_length() {
        let budget = Budget::new(2 * MIB, MIB);
        let held = read(Pieces::new(20, 10_000, false), &budget, LIMITS).await.unwrap();
        assert_eq!(held.bytes.len(), 200_000);
        assert_eq!(read_pieces(&budget, Pieces::new(20, 10_000, false)).await, Ok(200_000));
        assert_eq!(read_pieces(&budget, Pieces::new(3, 10, false)).await, Ok(30));
        assert_eq!(read_pieces(&budget, Pieces::new(0, 0, false)).await, Ok(0));
        assert_eq!(read_pieces(&budget, Pieces::new(11, 100_000, false)).await, Err(BodyError::TooLarge { max_bytes: MIB }));
    }

    // Goal: when memory is taken, a large body is refused after the time its client gave, and small ones go on.
    #[tokio::test(start_paused = true)]
    async fn overloaded() {
        let budget = Budget::new(MIB + MIB / 4, MIB);
        let _taken = budget.admit_largest(Instant::now()).await.unwrap();
        let start = Instant::now();
        assert_eq!(read_pieces(&budget, Pieces::new(20, 10_000, false)).await, Err(BodyError::Overloaded));
        assert!(start.elapsed() >= LIMITS.admission_timeout && start.elapsed() < LIMITS.read_timeout);
        assert_eq!(read_pieces(&budget, Pieces::new(1, 300, false)).await, Ok(300));
    }

    // Goal: a client that stops sending is given up after the time limit, and its memory is given back.
    #[tokio::test(start_paused = true)]
    async fn too_slow() {
        let budget = Budget::new(0, MIB);
        for _ in 0..3 {
            let timeout = LIMITS.read_timeout;
            assert_eq!(read_pieces(&budget, Pieces::new(20, 10_000, true)).await, Err(BodyError::TooSlow { timeout }));
        }
    }
}
