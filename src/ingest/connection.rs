//! One connection: HTTP/1.1 or HTTP/2 with prior knowledge, whichever its first bytes are.

use super::append::Append;
use super::head_guard::{HeadGuard, Turns};
use super::http::Api;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::Watcher;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// Bytes read ahead per connection, and so the bound on a request head.
const READ_BUFFER_BYTES_MAX: usize = 64 << 10;

/// HTTP/2: bytes a client may send before they are read, per stream and per connection.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;

/// HTTP/2: requests in progress per connection.
const STREAMS_MAX: u32 = 256;

/// How connections are served.
#[derive(Debug)]
pub(super) struct Server<A> {
    builder: Builder<TokioExecutor>,
    api: Arc<Api<A>>,
}

impl<A: Append> Server<A> {
    /// A server of `api`.
    pub(super) fn new(api: Arc<Api<A>>) -> Self {
        // The executor runs HTTP/2 streams; a connection ends after its streams, so waiting for connections waits for them, too.
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            // A client that closed its sending side still wants its answer.
            .half_close(true)
            // The head guard does this without cutting off idle connections.
            .header_read_timeout(None)
            .max_buf_size(READ_BUFFER_BYTES_MAX);
        builder
            .http2()
            .max_concurrent_streams(STREAMS_MAX)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        Self { builder, api }
    }

    /// Serves a connection until it is closed, or until `watcher` tells that its current requests are the last.
    pub(super) async fn serve<IO>(self: Arc<Self>, io: IO, watcher: Watcher)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let turns = Turns::default();
        let io = HeadGuard::new(io, turns.clone(), self.api.request_timeout);
        let handler = Handler { api: Arc::clone(&self.api), turns };
        let connection = self.builder.serve_connection(TokioIo::new(io), handler);
        if let Err(error) = watcher.watch(connection).await {
            // Clients that vanish are everyday life; whoever looks for one turns this on.
            tracing::debug!(error, "an ingest connection ended early");
        }
    }
}

struct Handler<A> {
    api: Arc<Api<A>>,
    turns: Turns,
}

impl<A: Append> Service<Request<Incoming>> for Handler<A> {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    // Boxed, so that an idle connection holds a pointer and not the room for a request.
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.turns.take();
        let (api, turns) = (Arc::clone(&self.api), self.turns.clone());
        Box::pin(async move {
            let response = api.answer(request).await;
            turns.take();
            Ok(response)
        })
    }
}
