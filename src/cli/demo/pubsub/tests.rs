//! The server over real sockets: by hand-written RESP, and with the relay's own notify stage as the publisher.

use super::PubSubServer;
use super::outbox::MAX_WAITING;
use crate::config::RedisConfig;
use crate::event::{EventRef, Seq};
use crate::notify::{DropReason, LAST_WORDS, Notify, NotifyReport, ProbeError, RedisFacts, probe};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Runs a test against a server, and the server to its end.
async fn with_server(test: impl AsyncFnOnce(SocketAddr)) {
    let server = PubSubServer::bind().await.unwrap();
    let addr = server.addr();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    tokio::join!(server.run(async { drop(stopped.await) }), async {
        test(addr).await;
        drop(stop);
    });
}

struct Client(TcpStream);

impl Client {
    async fn new(addr: SocketAddr) -> Self {
        Self(TcpStream::connect(addr).await.unwrap())
    }

    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads exactly what is expected.
    async fn hear(&mut self, expected: &str) {
        let mut bytes = vec![0; expected.len()];
        let read = self.0.read_exact(&mut bytes).await;
        assert_eq!(String::from_utf8_lossy(&bytes), expected, "{read:?}");
    }

    async fn ask(&mut self, text: &str, expected: &str) {
        self.send(text).await;
        self.hear(expected).await;
    }

    /// Reads to the end, which must come.
    async fn hear_end(&mut self) -> String {
        let mut text = String::new();
        let _cut_off_or_closed = self.0.read_to_string(&mut text).await;
        text
    }
}

// Goal: the commands that client libraries send on connecting are answered so that they go on.
#[tokio::test]
async fn connecting_clients_are_satisfied() {
    with_server(async |addr| {
        let mut client = Client::new(addr).await;
        client.ask("HELLO 3\r\n", "-ERR unknown command `HELLO`: this is dualstream's demo of Pub/Sub, not Redis\r\n").await;
        client.ask("AUTH secret\r\nAUTH user secret\r\nSELECT 0\r\n", "+OK\r\n+OK\r\n+OK\r\n").await;
        client.ask("CLIENT SETINFO LIB-NAME x\r\nCLIENT SETNAME y\r\nCLIENT ID\r\n", "+OK\r\n+OK\r\n:1\r\n").await;
        client.ask("ping\r\nPING hi\r\nECHO ho\r\n", "+PONG\r\n$2\r\nhi\r\n$2\r\nho\r\n").await;
        client.ask("ECHO\r\n", "-ERR wrong number of arguments for 'echo' command\r\n").await;
        client.ask("COMMAND DOCS\r\n", "*0\r\n").await;
        client.send("PING\r\nQUIT\r\nPING\r\n").await;
        assert_eq!(client.hear_end().await, "+PONG\r\n+OK\r\n", "all replies, then the end");
    })
    .await;
}

// Goal: subscribers by channel and by pattern hear what is published, and only while they are subscribed.
#[tokio::test]
async fn subscribers_hear() {
    with_server(async |addr| {
        let (mut one, mut all, mut publisher) = (Client::new(addr).await, Client::new(addr).await, Client::new(addr).await);
        one.ask("SUBSCRIBE c:1 c:2\r\n", "*3\r\n$9\r\nsubscribe\r\n$3\r\nc:1\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$3\r\nc:2\r\n:2\r\n").await;
        all.ask("PSUBSCRIBE c:*\r\n", "*3\r\n$10\r\npsubscribe\r\n$3\r\nc:*\r\n:1\r\n").await;
        publisher.ask("PUBLISH c:1 hi\r\nPUBLISH c:3 ho\r\nPUBLISH d hu\r\n", ":2\r\n:1\r\n:0\r\n").await;
        one.hear("*3\r\n$7\r\nmessage\r\n$3\r\nc:1\r\n$2\r\nhi\r\n").await;
        all.hear("*4\r\n$8\r\npmessage\r\n$3\r\nc:*\r\n$3\r\nc:1\r\n$2\r\nhi\r\n").await;
        all.hear("*4\r\n$8\r\npmessage\r\n$3\r\nc:*\r\n$3\r\nc:3\r\n$2\r\nho\r\n").await;
        one.ask("PING\r\n", "*2\r\n$4\r\npong\r\n$0\r\n\r\n").await;
        one.ask("PUBLISH a b\r\n", "-ERR Can't execute 'publish': only (P)SUBSCRIBE").await;
        one.hear(" / (P)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context\r\n").await;
        one.ask("UNSUBSCRIBE\r\n", "*3\r\n$11\r\nunsubscribe\r\n$3\r\nc:1\r\n:1\r\n*3\r\n$11\r\nunsubscribe\r\n$3\r\nc:2\r\n:0\r\n").await;
        one.ask("UNSUBSCRIBE\r\nPING\r\n", "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n+PONG\r\n").await;
        drop(all);
        publisher.ask("PUBLISH c:1 hi\r\n", ":").await;
    })
    .await;
}

// Goal: bytes that are no command end their connection with a reason, and no other.
#[tokio::test]
async fn nonsense_ends_one_connection() {
    with_server(async |addr| {
        let (mut bad, mut good) = (Client::new(addr).await, Client::new(addr).await);
        bad.send("*1\r\n$99999999\r\n").await;
        assert_eq!(bad.hear_end().await, "-ERR Protocol error: invalid bulk length\r\n");
        good.ask("PING\r\n", "+PONG\r\n").await;
    })
    .await;
}

// Goal: a subscriber that does not read is cut off, holds a bounded amount of memory, and delays nobody.
#[tokio::test]
async fn a_slow_subscriber_is_cut_off() {
    with_server(async |addr| {
        let (mut slow, mut publisher) = (Client::new(addr).await, Client::new(addr).await);
        slow.ask("SUBSCRIBE c\r\n", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n").await;
        let large = format!("*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$1000000\r\n{}\r\n", "x".repeat(1_000_000));
        let mut sent = 0;
        loop {
            publisher.send(&large).await;
            let mut reply = [0; 4];
            publisher.0.read_exact(&mut reply).await.unwrap();
            if reply == *b":0\r\n" {
                break;
            }
            sent += 1;
            assert!(sent < 200, "never cut off");
        }
        assert!(sent * 1_000_000 > MAX_WAITING, "cut off only beyond the bound: {sent} MB");
        assert!(slow.hear_end().await.len() < sent * 1_000_000);
    })
    .await;
}

fn redis(addr: SocketAddr) -> RedisConfig {
    RedisConfig { url: Some(format!("redis://{addr}/")), ..RedisConfig::default() }
}

fn event<'a>(id: &'a str, source_id: &'a str) -> EventRef<'a> {
    EventRef { id, kind: "created", source_type: "user", source_id, traceparent: None, value: b"{}" }
}

// Goal: what Kafka acknowledged arrives at a subscriber of its source's channel, in order and as the contract says.
#[tokio::test]
async fn notify_reaches_subscribers() {
    const COUNT: u64 = 5000;
    with_server(async |addr| {
        let mut subscriber = Client::new(addr).await;
        subscriber.ask("SUBSCRIBE events:user:4\r\n", "*3\r\n$9\r\nsubscribe\r\n$13\r\nevents:user:4\r\n:1\r\n").await;
        let (notify, queue) = Notify::build(&redis(addr)).unwrap();
        let heard = async {
            for n in 0..COUNT {
                let id = n.to_string();
                queue.acked(Seq(1), &event(&id, "5"));
                queue.acked(Seq(1), &event(&id, "4"));
            }
            for n in 0..COUNT {
                let message = format!(r#"{{"id":"{n}","type":"created","source_id":"4"}}"#);
                let expected = format!("*3\r\n$7\r\nmessage\r\n$13\r\nevents:user:4\r\n${}\r\n{message}\r\n", message.len());
                subscriber.hear(&expected).await;
            }
            Instant::now() + LAST_WORDS
        };
        let report = notify.run(heard).await;
        assert_eq!(report, NotifyReport { published: 2 * COUNT, dropped: 0, dropped_at_shutdown: 0 });
    })
    .await;
}

// Goal: what is queued when the stop comes still reaches Redis.
#[tokio::test]
async fn the_last_notifications_are_published() {
    with_server(async |addr| {
        let (notify, queue) = Notify::build(&redis(addr)).unwrap();
        for _ in 0..2000 {
            queue.acked(Seq(1), &event("1", "4"));
        }
        let report = notify.run(async { Instant::now() + 20 * LAST_WORDS }).await;
        assert_eq!((report.published, report.dropped), (2000, 0));
    })
    .await;
}

/// Lets the others run until something is so.
async fn until(so: impl Fn() -> bool) {
    while !so() {
        tokio::task::yield_now().await;
    }
}

// Goal: when the server goes and another comes at the same place, notifications flow again by themselves.
#[tokio::test]
async fn notify_comes_back_after_a_restart() {
    let first = PubSubServer::bind().await.unwrap();
    let addr = first.addr();
    let (notify, queue) = Notify::build(&redis(addr)).unwrap();
    let stats = notify.stats().unwrap();
    let story = async {
        queue.acked(Seq(1), &event("1", "4"));
        first.run(until(|| stats.published.get() == 1)).await;
        queue.acked(Seq(1), &event("2", "4"));
        until(|| stats.up.get() == 0).await;
        queue.acked(Seq(1), &event("3", "4"));
        let second = PubSubServer::bind_at(addr).await.unwrap();
        second.run(until(|| stats.published.get() == 2)).await;
        Instant::now() + LAST_WORDS
    };
    let report = notify.run(story).await;
    assert_eq!((report.published, report.dropped), (2, 1), "the second was under way when the connection broke");
    assert_eq!(stats.dropped(DropReason::Failed).get(), 1);
}

// Goal: `check --connect` tells what is there; this server has no transactions, so it cannot tell about permissions.
#[tokio::test]
async fn probe_tells_what_is_there() {
    let mut gone = None;
    with_server(async |addr| {
        let facts = probe(&redis(addr)).await.unwrap();
        let expected = RedisFacts {
            address: addr.to_string(),
            version: Some("5.0.14".into()),
            channel: "events:example:example".into(),
            can_publish: None,
        };
        assert_eq!(facts, Some(expected));
        gone = Some(addr);
    })
    .await;
    let addr = gone.unwrap();
    let error = probe(&redis(addr)).await.unwrap_err();
    assert_eq!(error.to_string(), format!("nothing listens at {addr} (connection refused)"));
    assert!(matches!(error, ProbeError::Connect(_)));
    assert_eq!(probe(&RedisConfig::default()).await, Ok(None));
}
