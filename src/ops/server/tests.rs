//! The server over loopback and a Unix socket, with hand-made handles, as curl and the kubelet see it.

use super::super::source::Handles;
use super::super::testing::FakeBuffer;
use super::*;
use crate::buffer::inspect::WaitingEvent;
use serde_json::Value;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;

struct Running {
    source: Arc<StatusSource>,
    buffer: Arc<FakeBuffer>,
    addresses: OpsAddresses,
    tasks: JoinSet<io::Result<()>>,
    stop: oneshot::Sender<()>,
}

impl Running {
    fn start(config: &OpsConfig) -> Self {
        let source = Arc::new(StatusSource::new(Handles::default()));
        let ops = Ops::bind(config, Arc::clone(&source)).unwrap();
        let addresses = ops.addresses().clone();
        let (stop, stopped) = oneshot::channel();
        let mut tasks = JoinSet::new();
        let _ = tasks.spawn(ops.run(async move {
            drop(stopped.await);
        }));
        Self { source, buffer: FakeBuffer::shared(|_| {}), addresses, tasks, stop }
    }

    fn serving(config: &OpsConfig) -> Self {
        let running = Self::start(config);
        running.source.buffer_opened(running.buffer.clone(), running.buffer.clone());
        running.source.serving();
        running
    }

    async fn get(&self, target: &str) -> Answer {
        ask(TcpStream::connect(self.addresses.listen.unwrap()).await.unwrap(), "GET", target, "").await
    }

    async fn stop(mut self) {
        self.stop.send(()).unwrap();
        self.tasks.join_next().await.unwrap().unwrap().unwrap();
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, method: &str, target: &str, headers: &str) -> Answer {
    let request = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

fn loopback() -> OpsConfig {
    OpsConfig { listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))), ..OpsConfig::default() }
}

// Goal: the probes follow the relay through its life, in words for people and in JSON for machines.
#[tokio::test]
async fn probes_follow_the_life_of_the_relay() {
    let running = Running::start(&loopback());
    for (path, status, body) in [("/startupz", 503, "starting\n"), ("/livez", 200, "live\n"), ("/readyz", 503, "not ready\nstarting: ")] {
        let answer = running.get(path).await;
        assert!(answer.status == status && answer.body.starts_with(body), "{path} {answer:?}");
    }
    assert_eq!(running.get("/v1/buffer/events").await.status, 503);

    running.source.buffer_opened(running.buffer.clone(), running.buffer.clone());
    running.source.serving();
    for path in ["/startupz", "/livez", "/readyz"] {
        assert_eq!(running.get(path).await.status, 200, "{path}");
    }

    running.buffer.change(|buffer| buffer.full = true);
    let stream = TcpStream::connect(running.addresses.listen.unwrap()).await.unwrap();
    let full = ask(stream, "GET", "/readyz", "Accept: application/json\r\n").await;
    assert_eq!((full.status, &full.json()["reasons"][0]["reason"]), (503, &Value::from("buffer_full")));
    assert_eq!(running.get("/livez").await.status, 200);
    running.stop().await;
}

// Goal: `dualstream status` and curl get the whole relay in one JSON object with a section per stage.
#[tokio::test]
async fn status_is_one_object_with_a_section_per_stage() {
    let running = Running::serving(&loopback());
    let answer = running.get("/v1/status").await;
    assert!(answer.status == 200 && answer.head.contains("content-type: application/json"), "{answer:?}");
    let status = answer.json();
    for section in ["relay", "ingest", "buffer", "drain", "notify", "health"] {
        assert!(status.get(section).is_some(), "{section}");
    }
    assert_eq!(status["relay"]["relay_id"], "relay-1");
    assert_eq!(status["drain"]["state"], "connecting");
    assert_eq!(status["buffer"]["max_bytes"], 1 << 20);
    assert_eq!(status["health"]["ready"], true);
    assert_eq!(status["health"]["conservation_error"], 0);
    assert_eq!(status["ingest"]["requests"]["202"], 0);
    running.stop().await;
}

// Goal: Prometheus gets its own content type and a complete scrape.
#[tokio::test]
async fn metrics_are_served_as_openmetrics() {
    let running = Running::serving(&loopback());
    let answer = running.get("/metrics").await;
    assert!(answer.head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{}", answer.head);
    assert!(answer.body.contains("\ndualstream_buffer_max_bytes 1048576\n") && answer.body.ends_with("# EOF\n"));
    running.stop().await;
}

// Goal: the same answers on the Unix socket, probes only on the probe listener, and no socket file left behind.
#[tokio::test]
async fn every_listener_serves_its_part() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ops.sock");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let running = Running::serving(&OpsConfig { socket: Some(path.clone()), probe_listen: Some(any), ..loopback() });

    assert_eq!(ask(UnixStream::connect(&path).await.unwrap(), "GET", "/v1/status", "").await.status, 200);
    let probe = running.addresses.probe.unwrap();
    for (target, status) in [("/readyz", 200), ("/metrics", 200), ("/v1/status", 404), ("/", 404)] {
        let answer = ask(TcpStream::connect(probe).await.unwrap(), "GET", target, "").await;
        assert_eq!(answer.status, status, "{target}");
    }
    running.stop().await;
    assert!(!path.exists());
    assert_eq!(TcpStream::connect(probe).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

// Goal: what cannot be answered is refused in one shape, with what to do instead.
#[tokio::test]
async fn refusals_are_problem_json() {
    let running = Running::serving(&loopback());
    let address = running.addresses.listen.unwrap();
    for (method, target, status, problem) in [
        ("GET", "/v2", 404, "urn:dualstream:problem/not-found"),
        ("POST", "/v1/status", 405, "urn:dualstream:problem/method-not-allowed"),
        ("GET", "/v1/buffer/events?limit=9999", 400, "urn:dualstream:problem/bad-query"),
        ("GET", "/v1/buffer/events?source=broken", 500, "urn:dualstream:problem/cannot-read-buffer"),
    ] {
        let answer = ask(TcpStream::connect(address).await.unwrap(), method, target, "Content-Length: 0\r\n").await;
        assert_eq!((answer.status, &answer.json()["type"]), (status, &Value::from(problem)), "{target}");
        assert!(answer.head.contains("content-type: application/problem+json"), "{target}");
        assert_eq!(answer.head.contains("allow: get, head"), status == 405);
    }
    running.stop().await;
}

// Goal: an operator pages through waiting events, by source if wanted.
#[tokio::test]
async fn waiting_events_are_paged() {
    let running = Running::serving(&loopback());
    *running.buffer.events.lock().unwrap() = (1..=5)
        .map(|seq| WaitingEvent {
            seq,
            accepted_ms: 1,
            id: format!("e{seq}"),
            kind: "order.created".into(),
            source_type: "user".into(),
            source_id: (if seq % 2 == 1 { "odd" } else { "even" }).into(),
            traceparent: None,
            bytes: 7,
            parked: None,
            value: None,
        })
        .collect();
    let page = running.get("/v1/buffer/events?from=2&limit=2").await.json();
    assert_eq!(page["events"].as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap()).collect::<Vec<_>>(), [2, 3]);
    assert_eq!((&page["next_from"], &page["events"][0]["type"]), (&Value::from(4), &Value::from("order.created")));
    let last = running.get("/v1/buffer/events?source=odd").await.json();
    assert_eq!((last["events"].as_array().unwrap().len(), &last["next_from"]), (3, &Value::Null));
    running.stop().await;
}

// Goal: clients that connect and say nothing cannot keep the kubelet out: they are cut off, and the probe is answered.
#[tokio::test(start_paused = true)]
async fn silent_clients_do_not_block_probes() {
    let running = Running::serving(&loopback());
    let address = running.addresses.listen.unwrap();
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let began = tokio::time::Instant::now();
    assert_eq!(running.get("/livez").await.status, 200);
    assert!(began.elapsed() <= connection::HEAD_TIMEOUT + Duration::from_secs(1), "{:?}", began.elapsed());
    running.stop().await;
}

// Goal: a request in flight when the relay stops is answered, an idle connection does not hold the stop up.
#[tokio::test]
async fn stopping_waits_for_requests_but_not_for_idle_connections() {
    let running = Running::serving(&loopback());
    let mut idle = TcpStream::connect(running.addresses.listen.unwrap()).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    let _ = idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    running.stop().await;
}

// Goal: probes answer from a thread and runtime of their own.
#[test]
fn the_server_runs_on_its_own_thread() {
    let source = Arc::new(StatusSource::new(Handles::default()));
    let ops = Ops::bind(&loopback(), Arc::clone(&source)).unwrap();
    let address = ops.addresses().listen.unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = std::thread::spawn(move || {
        ops.run_blocking(async move {
            drop(stopped.await);
        })
    });
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    io::Write::write_all(&mut stream, b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    let _ = io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(stop);
    thread.join().unwrap().unwrap();
}
