//! How clients connect and misbehave.

use super::*;
use ::http::{Request, Version};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;

const JSON: &str = "content-type: application/json\r\n";

/// A head that announces a body with `how`.
fn head(how: &str) -> String {
    format!("POST /v1/events HTTP/1.1\r\nhost: x\r\n{JSON}{how}\r\n\r\n")
}

// Goal: one connection serves request after request, also when they are sent without waiting.
#[tokio::test]
async fn keep_alive_and_pipelining() {
    let relay = Running::start(Behaviour::Store).await;
    let mut client = relay.connect().await;
    client.write(&post("", JSON, EVENT)).await;
    assert_eq!(client.reply().await.0, 202);
    client.write(&post("", JSON, EVENT).repeat(2)).await;
    for seq in 2..=3 {
        assert!(client.reply().await.2.contains(&format!("\"first_seq\":{seq},")));
    }
    assert_eq!(relay.stats.connections.get(), 1);
}

// Goal: a client that asks before it sends a body is told to go on, or spared the upload.
#[tokio::test]
async fn expect_continue() {
    let relay = Running::start(Behaviour::Store).await;
    let mut client = relay.connect().await;
    client.write(&head(&format!("expect: 100-continue\r\ncontent-length: {}", EVENT.len()))).await;
    assert_eq!(client.reply().await.0, 100);
    client.write(EVENT).await;
    assert_eq!(client.reply().await.0, 202);
    client.write(&head("expect: 100-continue\r\ncontent-length: 100001")).await;
    assert_eq!(client.reply().await.0, 413);
}

// Goal: a body that is too large is refused as soon as that is known.
#[tokio::test]
async fn too_large_bodies() {
    let relay = Running::start(Behaviour::Store).await;
    let mut announced = relay.connect().await;
    announced.write(&head("content-length: 100001")).await;
    assert_eq!(announced.reply().await.0, 413);
    assert!(announced.is_closed().await);

    let mut chunked = relay.connect().await;
    chunked.write(&head("transfer-encoding: chunked")).await;
    for _ in 0..11 {
        chunked.write(&format!("2710\r\n{}\r\n", " ".repeat(10_000))).await;
    }
    assert_eq!(chunked.reply().await.0, 413);
}

// Goal: bodies in pieces, with and without a known length, arrive whole.
#[tokio::test]
async fn bodies_in_pieces() {
    let relay = Running::start_with(Behaviour::Store, |config| config.max_event_bytes = 100_000).await;
    let large = EVENT.replace("\"x\":1", &format!("\"x\":\"{}\"", "y".repeat(90_000)));
    let (first, second) = large.split_at(50_000);

    let mut client = relay.connect().await;
    client.write(&head(&format!("content-length: {}", large.len()))).await;
    client.write(first).await;
    client.write(second).await;
    assert_eq!(client.reply().await.0, 202);

    client.write(&head("transfer-encoding: chunked")).await;
    for piece in [first, second] {
        client.write(&format!("{:x}\r\n{piece}\r\n", piece.len())).await;
    }
    client.write("0\r\n\r\n").await;
    assert_eq!(client.reply().await.0, 202);
    assert_eq!(relay.fake.stored(), [&*large, &*large]);
}

// Goal: a client that does not send what it announced is cut off with 408 and holds nothing up.
#[tokio::test]
async fn slow_body() {
    let relay = Running::start_with(Behaviour::Store, |config| config.request_timeout = Duration::from_millis(20)).await;
    let mut client = relay.connect().await;
    client.write(&head("content-length: 10")).await;
    let (status, _, body) = client.reply().await;
    assert_eq!(status, 408);
    assert!(body.contains("urn:dualstream:problem/too-slow") && body.contains("ingest.request_timeout"));
    assert!(client.is_closed().await);
    assert_eq!(relay.requests(408), 1);
}

// Goal: a client that dawdles within a head is cut off; one that is idle between requests stays.
#[tokio::test]
async fn slow_head() {
    let relay = Running::start_with(Behaviour::Store, |config| config.request_timeout = Duration::from_millis(20)).await;
    let (mut idle, mut slow) = (relay.connect().await, relay.connect().await);
    idle.write(&post("", JSON, EVENT)).await;
    assert_eq!(idle.reply().await.0, 202);
    slow.write("POST /v1/events HT").await;
    assert!(slow.is_closed().await);
    idle.write(&post("", JSON, EVENT)).await;
    assert_eq!(idle.reply().await.0, 202);
}

// Goal: a client that closes its sending side after the request still gets the answer.
#[tokio::test]
async fn half_closed() {
    let relay = Running::start(Behaviour::Held).await;
    let mut client = relay.connect().await;
    client.write(&post("", JSON, EVENT)).await;
    client.io.shutdown().await.unwrap();
    relay.fake.shared.begun.acquire().await.unwrap().forget();
    relay.fake.shared.released.add_permits(1);
    assert_eq!(client.reply().await.0, 202);
}

// Goal: HTTP/2 clients with prior knowledge are served, many requests at once.
#[tokio::test]
async fn http2() {
    let relay = Running::start(Behaviour::Store).await;
    let io = TokioIo::new(TcpStream::connect(relay.address).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let mut task = JoinSet::new();
    task.spawn(connection);
    let request = |body: Bytes| {
        let builder = Request::post("http://x/v1/events").header("content-type", "application/json");
        builder.body(Full::new(body)).unwrap()
    };
    let too_large = sender.send_request(request(vec![b' '; 10_000_000].into())).await.unwrap();
    assert_eq!(too_large.status(), 413);
    assert!(too_large.into_body().collect().await.unwrap().to_bytes().starts_with(b"{\"type\":"));
    let both = (sender.send_request(request(EVENT.into())), sender.send_request(request(EVENT.into())));
    let (first, second) = tokio::join!(both.0, both.1);
    for response in [first.unwrap(), second.unwrap()] {
        assert_eq!((response.status().as_u16(), response.version()), (202, Version::HTTP_2));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body.starts_with(b"{\"accepted\":1,"));
    }
    drop(sender);
    task.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(relay.fake.stored().len(), 2);
}

// Goal: the socket serves the same, and only those users that are allowed.
#[tokio::test]
async fn unix_socket() {
    let me = rustix::process::getuid().as_raw();
    for allow_uids in [vec![], vec![me + 1, me]] {
        let relay = Running::start_with(Behaviour::Store, |config| config.allow_uids = allow_uids).await;
        let mut client = Client::new(UnixStream::connect(relay.socket()).await.unwrap());
        client.write(&post("", JSON, EVENT)).await;
        assert_eq!(client.reply().await.0, 202);
    }
    let relay = Running::start_with(Behaviour::Store, |config| config.allow_uids = vec![me + 1]).await;
    assert!(Client::new(UnixStream::connect(relay.socket()).await.unwrap()).is_closed().await);
    assert_eq!(relay.stats.refused_connections.get(), 1);
    assert_eq!(relay.post("", EVENT).await.0, 202);
}

// Goal: beyond the limit new connections wait their turn, rather than being refused or taking more memory.
#[tokio::test]
async fn connection_limit() {
    let relay = Running::start_with(Behaviour::Store, |config| config.max_connections = 1).await;
    let mut first = relay.connect().await;
    first.write(&post("", JSON, EVENT)).await;
    assert_eq!(first.reply().await.0, 202);
    let mut second = relay.connect().await;
    second.write(&post("", JSON, EVENT)).await;
    let early = tokio::time::timeout(Duration::from_millis(50), second.reply()).await;
    assert!(early.is_err(), "the second connection was served beside the first");
    drop(first);
    assert_eq!(second.reply().await.0, 202);
}

// Goal: what cannot be listened on is said before anything runs.
#[tokio::test]
async fn bind_errors() {
    let bind = async |adjust: fn(&mut IngestConfig)| {
        let mut config = IngestConfig { listen: None, ..IngestConfig::default() };
        adjust(&mut config);
        let topic = Template::parse("events", &[]).unwrap();
        Ingest::bind(&config, (&topic, Arc::default()), Fake::new(Behaviour::Store), Arc::default()).await.map(|_| ()).unwrap_err()
    };
    assert!(matches!(bind(|_| {}).await, BindError::Nothing));
    let open = bind(|config| config.listen = Some(SocketAddr::from(([0, 0, 0, 0], 0)))).await;
    assert!(open.to_string().contains("open to the network"), "{open}");
    let relay = Running::start(Behaviour::Store).await;
    let config = IngestConfig { listen: Some(relay.address), ..IngestConfig::default() };
    let topic = Template::parse("events", &[]).unwrap();
    let taken = Ingest::bind(&config, (&topic, Arc::default()), Fake::new(Behaviour::Store), Arc::default()).await.map(|_| ());
    assert!(matches!(taken, Err(BindError::Tcp { address, .. }) if address == relay.address));
}
