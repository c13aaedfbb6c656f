//! The ways in: TCP and the Unix socket, each with HTTP/1.1 and with HTTP/2 and prior knowledge.

use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes, client::conn::http2::handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    task::JoinSet,
};

use crate::support::{
    http::{Client, Headers, Response},
    relay::Relay,
    socket::Address,
};

/// A way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Tcp,
    Socket,
    Http2Tcp,
    Http2Socket,
}

impl Door {
    pub const ALL: [Self; 4] = [Self::Tcp, Self::Socket, Self::Http2Tcp, Self::Http2Socket];

    /// Posts to `/v1/events` on a connection of its own.
    #[track_caller]
    pub fn post(self, relay: &Relay, headers: Headers<'_>, body: &str) -> Response {
        const PATH: &str = "/v1/events";
        let address = match self {
            Self::Tcp | Self::Http2Tcp => relay.ingest(),
            Self::Socket | Self::Http2Socket => relay.ingest_socket(),
        };
        match self {
            Self::Tcp | Self::Socket => Client::new(address).request("POST", PATH, headers, body),
            Self::Http2Tcp | Self::Http2Socket => post_http2(&address, PATH, headers, body),
        }
    }
}

#[track_caller]
fn post_http2(address: &Address, path: &str, headers: Headers<'_>, body: &str) -> Response {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let mut request = Request::post(format!("http://localhost{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::from(body.to_owned())).expect("a request");
    runtime.block_on(async {
        match address {
            Address::Tcp(address) => exchange(TcpStream::connect(address).await.expect("TCP takes a connection"), request).await,
            Address::Unix(path) => exchange(UnixStream::connect(path).await.expect("the socket takes a connection"), request).await,
        }
    })
}

async fn exchange(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, request: Request<Full<Bytes>>) -> Response {
    let (mut sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(io)).await.expect("it speaks HTTP/2");
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let (head, body) = sender.send_request(request).await.expect("an answer").into_parts();
    assert_eq!(head.version, hyper::Version::HTTP_2);
    let headers = head.headers.iter().map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    let headers = headers.collect();
    let body = body.collect().await.expect("a whole answer").to_bytes().to_vec();
    Response { status: head.status.as_u16(), headers, body }
}
