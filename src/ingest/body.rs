//! Reads a request body within its limits: size, memory, and time.

use super::admission::{Budget, SMALL_BODY_BYTES, Share};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

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
    let bytes = match timeout_at(Instant::now() + limits.read_timeout, reader.read(length)).await {
        Ok(bytes) => bytes?,
        Err(_) => return Err(BodyError::TooSlow { timeout: limits.read_timeout }),
    };
    reader.share.shrink_to(bytes.len());
    Ok(ReadBody { bytes, share: reader.share, waited: reader.waited })
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
