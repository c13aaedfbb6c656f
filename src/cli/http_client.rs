//! A small HTTP/1.1 client for talking to a relay, over TCP or a Unix socket.
//!
//! A connection per request: a kept one could be closed by the relay at the moment of the next request, whose fate would then not
//! be known. Every wait and every body is bounded. Deliberately absent: TLS, redirects, and repeating a request.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A connection that is not there after this long will not come.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Largest reply that is read, in bytes.
const MAX_REPLY_BYTES: usize = 64 << 20;

/// Where a relay listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// `host:port`
    Tcp(String),
    /// Path of a Unix socket.
    Socket(PathBuf),
}

/// What the relay answered.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    /// Nobody listens there.
    #[error("cannot reach the relay at {endpoint}")]
    Unreachable { endpoint: Endpoint, source: io::Error },
    /// It took too long. Whether the request was carried out is not known.
    #[error("the relay at {endpoint} did not answer within {}", super::human::time(after.as_secs_f64()))]
    Timeout { endpoint: Endpoint, after: Duration },
    /// The connection broke. Whether the request was carried out is not known.
    #[error("the connection to the relay at {endpoint} broke before its answer was complete")]
    Broken { endpoint: Endpoint, source: Box<dyn std::error::Error + Send + Sync> },
    /// The request cannot be put into words of HTTP.
    #[error("{text:?} cannot stand in a request")]
    Request { text: String, source: http::Error },
}

/// A body to send.
pub(super) struct Content {
    pub(super) content_type: &'static str,
    pub(super) bytes: Bytes,
}

/// Talks to one relay.
pub(super) struct Client {
    endpoint: Endpoint,
    timeout: Duration,
    /// Never shown.
    token: Option<String>,
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// Drives the connection; dropping it closes the connection.
    _driver: JoinSet<()>,
}

impl Client {
    /// A client that waits at most `timeout` for each answer.
    pub(super) fn new(endpoint: Endpoint, timeout: Duration) -> Self {
        Self { endpoint, timeout, token: None }
    }

    /// The same, with a token in each request.
    pub(super) fn with_token(self, token: Option<String>) -> Self {
        Self { token, ..self }
    }

    /// The relay it talks to.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// `GET`
    pub(super) async fn get(&self, target: &str) -> Result<Reply, HttpError> {
        self.request(Method::GET, target, None).await
    }

    /// `POST`
    pub(super) async fn post(&self, target: &str, content: Content) -> Result<Reply, HttpError> {
        self.request(Method::POST, target, Some(content)).await
    }

    /// `DELETE`
    pub(super) async fn delete(&self, target: &str) -> Result<Reply, HttpError> {
        self.request(Method::DELETE, target, None).await
    }

    async fn request(&self, method: Method, target: &str, content: Option<Content>) -> Result<Reply, HttpError> {
        let request = self.build(method, target, content)?;
        let mut connection = self.connect().await?;
        match timeout(self.timeout, exchange(&mut connection.sender, request)).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(source)) => Err(HttpError::Broken { endpoint: self.endpoint.clone(), source }),
            Err(_) => Err(HttpError::Timeout { endpoint: self.endpoint.clone(), after: self.timeout }),
        }
    }

    fn build(&self, method: Method, target: &str, content: Option<Content>) -> Result<Request<Full<Bytes>>, HttpError> {
        let host = match &self.endpoint {
            Endpoint::Tcp(address) => address,
            Endpoint::Socket(_) => "localhost",
        };
        let request = Request::builder().method(method).uri(target).header(HOST, host);
        let request = request.header(ACCEPT, "application/json").header(CONNECTION, "close");
        let request = match &self.token {
            Some(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        };
        let built = match content {
            Some(content) => request.header(CONTENT_TYPE, content.content_type).body(Full::new(content.bytes)),
            None => request.body(Full::default()),
        };
        built.map_err(|source| HttpError::Request { text: target.to_owned(), source })
    }

    async fn connect(&self) -> Result<Connection, HttpError> {
        let limit = CONNECT_TIMEOUT.min(self.timeout);
        let unreachable = |source| HttpError::Unreachable { endpoint: self.endpoint.clone(), source };
        let connected = timeout(limit, async {
            match &self.endpoint {
                Endpoint::Tcp(address) => start(TcpStream::connect(address).await?).await,
                Endpoint::Socket(path) => start(UnixStream::connect(path).await?).await,
            }
        });
        connected.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(unreachable)
    }
}

async fn start(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> io::Result<Connection> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let mut driver = JoinSet::new();
    let _ = driver.spawn(async move {
        // A broken connection also fails the request that waits on it, which reports it.
        drop(connection.await);
    });
    Ok(Connection { sender, _driver: driver })
}

async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Reply, Box<dyn std::error::Error + Send + Sync>> {
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, MAX_REPLY_BYTES).collect().await?.to_bytes();
    Ok(Reply { status: head.status, headers: head.headers, body })
}

impl From<SocketAddr> for Endpoint {
    /// Where to connect to for what listens on `address`.
    fn from(mut address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(v4) if v4.ip().is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            SocketAddr::V6(v6) if v6.ip().is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            SocketAddr::V4(_) | SocketAddr::V6(_) => {}
        }
        Self::Tcp(address.to_string())
    }
}

impl FromStr for Endpoint {
    type Err = String;

    /// `http://host:port`, `host:port`, or `unix:/path`.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Socket(PathBuf::from(path)));
        }
        let wrong = || "write it as http://host:port, host:port or unix:/path".to_owned();
        let rest = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        let (host, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
        let plain = !host.is_empty() && !host.contains(['/', '@', ' ']) && port.parse::<u16>().is_ok();
        if plain { Ok(Self::Tcp(rest.to_owned())) } else { Err(wrong()) }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}"),
            Self::Socket(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
