//! The server under test, in a process of its own: the relay, hyper that only answers, or a buffer that is opened.
//!
//! All are started in the same way, tell their addresses in a line of JSON on standard output, and end when standard input does, so
//! that they never outlive the measurement.

use super::super::exit::{Exit, Failure};
use super::super::logging;
use super::super::output::Output;
use super::error::BenchError;
use super::start;
use crate::app::App;
use crate::config::{Config, Sources, load};
use crate::error::chain;
use crate::shutdown::{Trigger, Urgency};
use bytes::Bytes;
use clap::ValueEnum;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// hyper, which reads the body and answers 202.
    Bare,
    /// The relay.
    Relay,
    /// Opens the relay's buffer, and says what that took.
    Open,
}

/// Where it listens.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Listening {
    pub(super) tcp: SocketAddr,
    pub(super) unix: PathBuf,
    /// Only the relay has one.
    pub(super) ops: Option<SocketAddr>,
}

/// As long as the relay's for one event.
const REPLY: &str = r#"{"accepted":1,"duplicates":0,"first_seq":1234567,"last_seq":1234567,"ack":"buffered","durable":true}"#;

/// Serves until standard input ends.
pub(super) fn run(kind: Kind, settings: Option<&Path>, out: &mut Output) -> Result<Exit, Failure> {
    // Both kinds read the same settings; nothing of the environment gets in.
    let config = load(&Sources { file: settings.map(Path::to_owned), ..Sources::default() })?;
    match kind {
        Kind::Bare => bare(&config, out),
        Kind::Relay => relay(config, out),
        Kind::Open => start::open(&config, out),
    }
}

fn relay(config: Config, out: &mut Output) -> Result<Exit, Failure> {
    logging::init(&config.log)?;
    let trigger = Trigger::default();
    let app = App::build(config, trigger.clone()).map_err(|error| Failure::new(Exit::Failed, chain(&error)))?;
    let addresses = app.addresses();
    let (Some(tcp), Some(unix)) = (addresses.ingest, addresses.socket.clone()) else {
        return Err(BenchError::Child("has no address".to_owned()).into());
    };
    announce(&Listening { tcp, unix, ops: addresses.ops }, out)?;
    when_input_ends(move || trigger.ask(Urgency::Stop))?;
    drop(app.run());
    Ok(Exit::Done)
}

fn bare(config: &Config, out: &mut Output) -> Result<Exit, Failure> {
    // The runtime that the relay has.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(BenchError::io("start a runtime"))?;
    let (tell, ended) = oneshot::channel::<()>();
    when_input_ends(move || drop(tell))?;
    let unix = config.ingest.socket.clone().unwrap_or_default();
    let bind = async {
        let tcp = TcpListener::bind("127.0.0.1:0").await?;
        Ok((tcp.local_addr()?, tcp, UnixListener::bind(&unix)?))
    };
    let (address, tcp_listener, unix_listener) = runtime.block_on(bind).map_err(BenchError::io("listen"))?;
    announce(&Listening { tcp: address, unix, ops: None }, out)?;
    runtime.block_on(async {
        tokio::select! {
            // A dropped sender is the end.
            _ = ended => Ok(()),
            error = accept(&tcp_listener, &unix_listener) => Err(BenchError::io("accept a connection")(error)),
        }
    })?;
    Ok(Exit::Done)
}

/// Serves everybody; returns with the error that ended it.
async fn accept(tcp: &TcpListener, unix: &UnixListener) -> io::Error {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = tcp.accept() => match accepted.and_then(|(stream, _)| stream.set_nodelay(true).map(|()| stream)) {
                Ok(stream) => drop(connections.spawn(serve(stream))),
                Err(error) => return error,
            },
            accepted = unix.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(serve(stream))),
                Err(error) => return error,
            },
        }
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin) {
    // The load generator closes when it is done: not an error here.
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await);
}

async fn answer(request: http::Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    drop(request.into_body().collect().await?);
    let mut response = Response::new(Full::from(REPLY));
    *response.status_mut() = StatusCode::ACCEPTED;
    drop(response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json")));
    Ok(response)
}

/// Says that this process is ready, and what the one that started it wants to know.
pub(super) fn announce(what: &impl Serialize, out: &mut Output) -> Result<(), Failure> {
    let line = serde_json::to_string(what).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    out.line(line)?;
    out.flush()
}

/// Calls `end` once the process that started this one closes our standard input, also by dying.
pub(super) fn when_input_ends(end: impl FnOnce() + Send + 'static) -> Result<(), BenchError> {
    let wait = move || {
        // Whatever comes of reading, there is no more to wait for.
        drop(io::stdin().read_to_end(&mut Vec::new()));
        end();
    };
    std::thread::Builder::new().name("bench-stdin".into()).spawn(wait).map(drop).map_err(BenchError::io("start a thread"))
}
