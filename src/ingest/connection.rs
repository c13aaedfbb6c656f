//! One connection: HTTP/1.1 or HTTP/2 with prior knowledge, whichever its first bytes are.
//!
//! An idle HTTP/1 connection is *parked*: hyper's state and its 8 KiB read buffer are given up, and only the socket is kept, until the
//! next byte comes. Measured with 10,000 connections that each had sent a request: 194 MB of memory without parking, 18 MB with.

use super::activity::Activity;
use super::append::Append;
use super::client_io::ClientIo;
use super::http::Api;
use super::parking::Parking;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::watch;

/// Bytes read ahead per connection, and so the bound on a request head.
const READ_BUFFER_BYTES_MAX: usize = 64 << 10;

/// HTTP/2: bytes a client may send before they are read, per stream and per connection.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;

/// HTTP/2: requests in progress per connection.
const STREAMS_MAX: u32 = 256;

/// How HTTP/2 with prior knowledge begins, and no method of HTTP/1 does.
const HTTP2_PREFACE: &[u8; 3] = b"PRI";

/// How connections are served.
#[derive(Debug)]
pub(super) struct Server<A> {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    api: Arc<Api<A>>,
}

impl<A: Append> Server<A> {
    /// A server of `api`.
    pub(super) fn new(api: Arc<Api<A>>) -> Self {
        let mut http1 = http1::Builder::new();
        // A client that closed its sending side still wants its answer. Slow heads are the business of `ClientIo`.
        http1.half_close(true).header_read_timeout(None).max_buf_size(READ_BUFFER_BYTES_MAX);
        // Answers are small: copying one behind its head costs less than the system call that gathers the two.
        http1.writev(false);
        // The executor runs streams; a connection ends after its streams, so waiting for connections waits for them, too.
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .max_concurrent_streams(STREAMS_MAX)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        Self { http1, http2, api }
    }

    /// Serves a connection until it is closed; once `stopping` is true, its current requests are the last.
    pub(super) async fn serve<IO>(self: Arc<Self>, io: IO, mut stopping: watch::Receiver<bool>)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Activity::default();
        let mut io = ClientIo::new(io, activity.clone(), self.api.request_timeout());
        let mut first = [0; HTTP2_PREFACE.len()];
        // Whoever connects and goes away, or dawdles over the first bytes, is of no interest.
        let began = tokio::select! {
            began = io.read_exact(&mut first) => began,
            () = stopped(&mut stopping) => return,
        };
        if began.is_err() {
            return;
        }
        io.give_back(Bytes::copy_from_slice(&first));
        // Each in a box, so that a parked connection does not hold the room for either.
        if first == *HTTP2_PREFACE {
            return Box::pin(self.serve_http2(io.without_head_timeout(), activity, stopping)).await;
        }
        while let Some(idle) = Box::pin(self.serve_http1(io, &activity, &mut stopping)).await {
            io = idle;
            let mut next = [0; 1];
            let read = tokio::select! {
                read = io.read(&mut next) => read,
                () = stopped(&mut stopping) => return,
            };
            match read {
                Ok(1) => io.give_back(Bytes::copy_from_slice(&next)),
                _ => return,
            }
        }
    }

    /// Serves HTTP/1 until the connection is closed, or idle and so given back.
    async fn serve_http1<IO>(&self, io: ClientIo<IO>, activity: &Activity, stopping: &mut watch::Receiver<bool>) -> Option<ClientIo<IO>>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut connection = self.http1.serve_connection(TokioIo::new(io), self.handler(activity));
        let mut parking = Parking::default();
        let ended = tokio::select! {
            biased;
            ended = poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
                Poll::Ready(ended) => Poll::Ready(Some(ended)),
                Poll::Pending => parking.poll(activity, cx).map(|()| None),
            }) => ended,
            () = stopped(stopping) => {
                Pin::new(&mut connection).graceful_shutdown();
                Some((&mut connection).await)
            }
        };
        let Some(ended) = ended else {
            let parts = connection.into_parts();
            let mut io = parts.io.into_inner();
            // Copied, since even an empty rest holds on to the whole buffer.
            io.give_back(Bytes::copy_from_slice(&parts.read_buf));
            return Some(io);
        };
        log_end(ended);
        None
    }

    async fn serve_http2<IO>(&self, io: ClientIo<IO>, activity: Activity, mut stopping: watch::Receiver<bool>)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut connection = self.http2.serve_connection(TokioIo::new(io), self.handler(&activity));
        let ended = tokio::select! {
            biased;
            ended = &mut connection => ended,
            () = stopped(&mut stopping) => {
                Pin::new(&mut connection).graceful_shutdown();
                connection.await
            }
        };
        log_end(ended);
    }

    /// What answers the requests of a connection. A function and no type of its own, since the future then has none either, and need not
    /// be put into a box for each request: hyper keeps it in one for all of them.
    fn handler(
        &self,
        activity: &Activity,
    ) -> impl Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send + 'static> + Send + 'static
    {
        let (api, activity) = (Arc::clone(&self.api), activity.clone());
        service_fn(move |request| {
            activity.take_turn();
            let (api, activity) = (Arc::clone(&api), activity.clone());
            async move {
                let response = api.answer(request).await;
                activity.take_turn();
                Ok(response)
            }
        })
    }
}

/// Resolves once the stage is stopping.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the stage is gone, which is as good.
    drop(stopping.wait_for(|stopping| *stopping).await);
}

fn log_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        // Clients that vanish are everyday life; whoever looks for one turns this on.
        tracing::debug!(error = crate::error::chain(&error), "an ingest connection ended early");
    }
}
