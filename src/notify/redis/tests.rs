//! The adapter against a server that answers each command as a test wants it to.

use super::super::message::Notification;
use super::super::message::tests::{composer, event};
use super::*;
use crate::config::RedisConfig;
use crate::event::Seq;
use crate::notify::{ProbeError, probe};
use std::net::SocketAddr;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

/// The next command: its words, `None` at the end.
async fn command(from: &mut (impl AsyncBufRead + Unpin)) -> Option<Vec<String>> {
    let mut line = String::new();
    from.read_line(&mut line).await.ok()?;
    let count: usize = line.trim().strip_prefix('*')?.parse().ok()?;
    let mut words = Vec::new();
    for _ in 0..count {
        line.clear();
        from.read_line(&mut line).await.ok()?;
        let length: usize = line.trim().strip_prefix('$')?.parse().ok()?;
        let mut word = vec![0; length + 2];
        from.read_exact(&mut word).await.ok()?;
        words.push(String::from_utf8_lossy(&word[..length]).into_owned());
    }
    Some(words)
}

/// A server whose `answer` gets a command and gives the reply; an empty one is silence, `close` ends the connection.
async fn with_server(answer: impl Fn(&[&str]) -> &'static str, test: impl AsyncFnOnce(SocketAddr)) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let serve = async {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let (from, mut to) = socket.split();
            let mut from = BufReader::new(from);
            while let Some(words) = command(&mut from).await {
                let reply = answer(&words.iter().map(String::as_str).collect::<Vec<_>>());
                if reply == "close" || to.write_all(reply.as_bytes()).await.is_err() {
                    break;
                }
            }
        }
    };
    tokio::select! {
        () = test(addr) => {}
        () = serve => {}
    }
}

fn target(addr: SocketAddr, login: &str) -> RedisTarget {
    RedisTarget::parse(&format!("redis://{login}{addr}/")).unwrap()
}

fn batch(sources: &[&str]) -> Vec<Notification> {
    sources.iter().map(|source| composer().compose(Seq(1), &event("1", source))).collect()
}

async fn refused(addr: SocketAddr, login: &str) -> String {
    let Err(error) = target(addr, login).connect().await else { panic!("connected") };
    error.to_string()
}

/// Answers like a server that is well.
fn well(words: &[&str]) -> &'static str {
    match words[0] {
        "PUBLISH" => ":0\r\n",
        "PING" => "+PONG\r\n",
        _ => "+OK\r\n",
    }
}

// Goal: that nobody has subscribed is no failure; a batch is one pipeline and each command is accounted for.
#[tokio::test]
async fn no_subscriber_is_no_failure() {
    with_server(well, async |addr| {
        let mut link = target(addr, "user:sesame@").connect().await.unwrap();
        assert_eq!(link.publish(&batch(&["1"; 512])).await, Ok(Tally { taken: 512, refused: 0, refusal: None }));
        assert_eq!(link.ping().await, Ok(()));
    })
    .await;
}

// Goal: one refused command does not hide what became of the others, and the reason is Redis' own.
#[tokio::test]
async fn refusals_are_told_apart() {
    let answer = |words: &[&str]| match words {
        ["PUBLISH", "events:user:secret", _] => "-NOPERM No permissions to access a channel\r\n",
        _ => well(words),
    };
    with_server(answer, async |addr| {
        let mut link = target(addr, "").connect().await.unwrap();
        let tally = link.publish(&batch(&["1", "secret", "2", "secret", "3"])).await.unwrap();
        assert_eq!((tally.taken, tally.refused), (3, 2));
        let refusal = tally.refusal.unwrap_or_default();
        assert!(refusal.contains("No permissions to access a channel"), "{refusal}");
    })
    .await;
}

// Goal: a wrong password, a missing one, nobody there, and silence are told apart, each in a sentence with the address.
#[tokio::test]
async fn failures_to_connect_are_told_apart() {
    let wrong = |words: &[&str]| if words[0] == "AUTH" { "-WRONGPASS invalid username-password pair\r\n" } else { well(words) };
    with_server(wrong, async |addr| {
        let said = refused(addr, "user:sesame@").await;
        assert_eq!(said, format!("redis at {addr} does not accept the user name or password of redis.url"));
    })
    .await;
    let locked = |_: &[&str]| "-NOAUTH Authentication required.\r\n";
    with_server(locked, async |addr| {
        let said = refused(addr, "").await;
        assert!(said.starts_with(&format!("redis at {addr} wants a password, and redis.url has none")), "{said}");
    })
    .await;
    with_server(
        |_| "",
        async |addr| {
            assert_eq!(refused(addr, "").await, format!("no answer from {addr} within 1000 ms"));
        },
    )
    .await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(refused(addr, "").await, format!("nothing listens at {addr} (connection refused)"));
}

// Goal: a server that may not be pinged is there all the same: an ACL user needs `publish` only.
#[tokio::test]
async fn ping_needs_no_permission() {
    let answer = |words: &[&str]| if words[0] == "PUBLISH" { ":1\r\n" } else { "-NOPERM no permissions to run this command\r\n" };
    with_server(answer, async |addr| {
        let mut link = target(addr, "").connect().await.unwrap();
        assert_eq!(link.ping().await, Ok(()));
        assert_eq!(link.publish(&batch(&["1"])).await.map(|tally| tally.taken), Ok(1));
    })
    .await;
}

// Goal: silence is a timeout and an end is a loss: the worker treats them differently.
#[tokio::test]
async fn silence_is_not_an_end() {
    with_server(
        |words| if words[0] == "PUBLISH" { "" } else { well(words) },
        async |addr| {
            let mut link = target(addr, "").connect().await.unwrap();
            assert_eq!(link.publish(&batch(&["1"])).await, Err(LinkError::Timeout { millis: 500 }));
        },
    )
    .await;
    with_server(
        |words| if words[0] == "PUBLISH" { "close" } else { well(words) },
        async |addr| {
            let mut link = target(addr, "").connect().await.unwrap();
            assert!(matches!(link.publish(&batch(&["1"])).await, Err(LinkError::Lost { .. })));
        },
    )
    .await;
}

// Goal: when the login is taken back, a new connection is made, which logs in again.
#[tokio::test]
async fn a_lost_login_needs_a_new_connection() {
    let answer = |words: &[&str]| if words[0] == "PUBLISH" { "-NOAUTH Authentication required.\r\n" } else { well(words) };
    with_server(answer, async |addr| {
        let mut link = target(addr, "").connect().await.unwrap();
        assert!(matches!(link.publish(&batch(&["1"])).await, Err(LinkError::Lost { .. })));
    })
    .await;
}

// Goal: a server that repeats our words in its errors does not get the password into the log.
#[tokio::test]
async fn the_password_is_never_repeated() {
    let answer = |words: &[&str]| match words[0] {
        "SELECT" | "PUBLISH" => "-ERR unknown command, with args beginning with: 'sesame'\r\n",
        _ => well(words),
    };
    with_server(answer, async |addr| {
        let database = RedisTarget::parse(&format!("redis://:sesame@{addr}/3")).unwrap();
        let Err(error) = database.connect().await else { panic!("connected") };
        assert!(error.to_string().ends_with("args beginning with: '***'"), "{error}");
        let mut link = target(addr, ":sesame@").connect().await.unwrap();
        let tally = link.publish(&batch(&["1"])).await.unwrap();
        assert!(tally.refusal.is_some_and(|text| text.contains("'***'") && !text.contains("sesame")));
    })
    .await;
}

// Goal: `check --connect` asks for the permission without publishing anything, and never sends a PUBLISH that could be carried out.
#[tokio::test]
async fn the_permission_is_asked_without_publishing() {
    let config = |addr| RedisConfig { url: Some(format!("redis://{addr}")), ..RedisConfig::default() };
    let open = |words: &[&str]| match words[0] {
        "PUBLISH" => "+QUEUED\r\n",
        "INFO" => "$24\r\n# Server\nredis_version:7\r\n",
        _ => well(words),
    };
    with_server(open, async |addr| {
        let facts = probe(&config(addr)).await.unwrap().unwrap();
        assert_eq!((facts.can_publish, facts.version.as_deref()), (Some(true), Some("7")));
    })
    .await;
    let forbidden = |words: &[&str]| match words[0] {
        "PUBLISH" | "INFO" => "-NOPERM no\r\n",
        _ => well(words),
    };
    with_server(forbidden, async |addr| {
        let facts = probe(&config(addr)).await.unwrap().unwrap();
        assert_eq!((facts.can_publish, facts.version), (Some(false), None));
    })
    .await;
    let no_transactions = |words: &[&str]| match words[0] {
        "MULTI" => "-NOPERM no\r\n",
        "PUBLISH" => "close",
        _ => well(words),
    };
    with_server(no_transactions, async |addr| {
        assert_eq!(probe(&config(addr)).await.unwrap().unwrap().can_publish, None);
    })
    .await;
    with_server(
        |words| if words[0] == "INFO" { "" } else { well(words) },
        async |addr| {
            let error = probe(&config(addr)).await.unwrap_err();
            assert_eq!(error.to_string(), format!("redis at {addr} stopped answering: redis did not answer within 500 ms"));
            assert!(matches!(error, ProbeError::Link { .. }));
        },
    )
    .await;
}
