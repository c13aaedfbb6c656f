//! Commands against a scripted relay: what they ask, print and end with.

use super::fake_relay::{FakeRelay, Scripted};
use super::output::tests::captured;
use super::*;
use serde_json::json;
use std::time::{Duration, Instant};

/// Runs a command line: exit, standard output, standard error.
fn run(words: &[&str]) -> (Exit, String, String) {
    let (mut out, stdout, stderr) = captured();
    let cli = Cli::try_parse_from([&["dualstream"], words].concat()).unwrap();
    let exit = finish(dispatch(&cli.command, &mut out), &mut out);
    (exit, stdout.text(), stderr.text())
}

// Goal: `--json` passes the relay's snapshot through, and works over a Unix socket, too.
#[test]
fn status_as_json() {
    let snapshot = r#"{"new": [1.10], "buffer": {"fill": 0.50}}"#;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ops.sock");
    for relay in [
        FakeRelay::tcp(vec![Scripted::new("200 OK", format!("{snapshot}\n"))]),
        FakeRelay::socket(&path, vec![Scripted::new("200 OK", format!("{snapshot}\n"))]),
    ] {
        let (exit, stdout, _) = run(&["status", "--json", "--url", &relay.url]);
        assert_eq!((exit, stdout), (Exit::Done, format!("{snapshot}\n")));
        assert_eq!(relay.asked(), ["GET /v1/status"]);
    }
}

// Goal: an unreachable relay is exit 3, and the message names the address that was tried.
#[test]
fn nobody_there() {
    let dir = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", dir.path().join("absent").display());
    // Port 1 of loopback: reserved, and nobody's.
    for url in ["http://127.0.0.1:1", &socket] {
        for command in ["status", "healthcheck", "buffer info", "buffer peek", "send --type t --source-type u --source-id 1"] {
            let words: Vec<_> = command.split(' ').chain(["--url", url]).collect();
            let (exit, stdout, stderr) = run(&words);
            assert_eq!((exit, stdout.as_str()), (Exit::Unreachable, ""), "{command}");
            assert!(stderr.starts_with(&format!("dualstream: cannot reach the relay at {url}: ")), "{stderr}");
        }
    }
}

// Goal: a relay that hangs does not hang the command.
#[test]
fn a_relay_that_never_answers() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let start = Instant::now();
    let (exit, _, stderr) = run(&["status", "--url", &url, "--timeout", "50ms"]);
    assert_eq!((exit, stderr), (Exit::Unreachable, format!("dualstream: the relay at {url} did not answer within 50ms\n")));
    assert!(start.elapsed() < Duration::from_secs(5));
}

// Goal: something else on the port is not taken for a relay.
#[test]
fn another_program_on_the_port() {
    let relay = FakeRelay::tcp(vec![Scripted::new("200 OK", "<html>"), Scripted::new("404 Not Found", "")]);
    let (exit, _, stderr) = run(&["status", "--url", &relay.url]);
    assert_eq!(exit, Exit::Unreachable);
    assert!(stderr.contains("is not a dualstream relay"), "{stderr}");
    let (exit, _, stderr) = run(&["healthcheck", "--url", &relay.url]);
    assert_eq!(exit, Exit::Unreachable);
    assert!(stderr.contains("is not a dualstream relay: it says 404 Not Found"), "{stderr}");
}

// Goal: the exit code of a health check is the answer, and the reasons can be read.
#[test]
fn health() {
    let unready = json!({"ok": false, "status": "not ready", "reasons": [{"reason": "buffer_full", "detail": "5 events"}]});
    let relay = FakeRelay::tcp(vec![
        Scripted::new("200 OK", r#"{"ok": true, "status": "live"}"#),
        Scripted::new("503 Service Unavailable", unready.to_string()),
        Scripted::new("200 OK", "started\n"),
    ]);
    assert_eq!(run(&["healthcheck", "--live", "--url", &relay.url]).0, Exit::Done);
    let (exit, stdout, _) = run(&["healthcheck", "--url", &relay.url]);
    assert_eq!((exit, stdout.as_str()), (Exit::Failed, "not ready\nbuffer_full: 5 events\n"));
    assert_eq!(run(&["healthcheck", "--started", "--url", &relay.url]).0, Exit::Done);
    assert_eq!(relay.asked(), ["GET /livez", "GET /readyz", "GET /startupz"]);
}

// Goal: one event from flags arrives as it was given, and the relay's reply is printed.
#[test]
fn send_one() {
    let reply = json!({"accepted": 1, "ack": "kafka"});
    let in_time = Scripted::new("200 OK", format!("{reply}\n"));
    let relay = FakeRelay::tcp(vec![in_time, Scripted::new("202 Accepted", "{}")]);
    let event = ["--type", "t", "--source-type", "user", "--source-id", "42", "--payload", "{\"n\": 1.10}", "--id", "e1"];
    let words = [&["send", "--url", &relay.url, "--ack", "kafka", "--timeout", "2s"], event.as_slice()].concat();
    assert_eq!(run(&words), (Exit::Done, format!("{reply}\n"), String::new()));
    let late = run(&words);
    assert_eq!((late.0, late.1.as_str()), (Exit::Done, "{}\n"));
    assert!(late.2.starts_with("Kafka has not confirmed in time"), "{}", late.2);
    let expect = r#"{"id":"e1","type":"t","source_type":"user","source_id":"42","payload":{"n": 1.10}}"#;
    assert_eq!(relay.asked()[0], format!("POST /v1/events?ack=kafka&timeout=2000ms {expect}"));
}

// Goal: a refusal is exit 1 with the relay's own reasons; a full relay is tried again only when asked to, and not for ever.
#[test]
fn send_refused() {
    let full = || Scripted::new("503 Service Unavailable", r#"{"detail": "the buffer is full"}"#).with("retry-after: 1\r\n");
    let relay = FakeRelay::tcp(vec![full(), full(), full(), full(), Scripted::new("202 Accepted", "{}")]);
    let send = ["send", "--type", "t", "--source-type", "u", "--source-id", "1", "--url", &relay.url];
    let (exit, stdout, stderr) = run(&send);
    assert_eq!((exit, stdout.as_str()), (Exit::Failed, ""));
    assert_eq!(stderr, "dualstream: the relay refused the request (503 Service Unavailable): the buffer is full\n");
    assert_eq!(run(&[&send[..], &["--retry", "1"]].concat()).0, Exit::Failed);
    let (exit, stdout, stderr) = run(&[&send[..], &["--retry", "1"]].concat());
    assert_eq!((exit, stdout.as_str()), (Exit::Done, "{}\n"));
    assert_eq!(stderr, "the buffer is full; trying again in 1 s (0 tries left)\n");
    assert_eq!(relay.asked().len(), 5);
}

// Goal: what waits on disk can be listed beyond one page of the relay.
#[test]
fn peek_pages() {
    let tail = r#""accepted_ms":1,"id":"i","type":"t","source_type":"u","source_id":"1","bytes":2,"value":{"b":1.10,"a":1}"#;
    let page = |seqs: std::ops::RangeInclusive<u64>| {
        let events: Vec<_> = seqs.map(|seq| format!("{{\"seq\":{seq},{tail}}}")).collect();
        Scripted::new("200 OK", format!("{{\"events\":[{}],\"next_from\":null}}", events.join(",")))
    };
    let relay = FakeRelay::tcp(vec![page(5..=1004), page(1010..=1011)]);
    let (exit, stdout, _) = run(&["buffer", "peek", "--from", "5", "-n", "1500", "--source", "u/1", "--json", "--url", &relay.url]);
    assert_eq!((exit, stdout.lines().count()), (Exit::Done, 1002));
    // As it was sent: the order of keys and the digits of numbers are the user's.
    assert_eq!(stdout.lines().last(), Some(format!("{{\"seq\":1011,{tail}}}").as_str()));
    let expect = ["GET /v1/buffer/events?from=5&limit=1000&source=u%2F1", "GET /v1/buffer/events?from=1005&limit=500&source=u%2F1"];
    assert_eq!(relay.asked(), expect);
}

// Goal: all problems of the settings come at once, in a form for people and one for machines, with exit code 2.
#[test]
fn check_reports_all_problems() {
    let words = ["check", "--set", "buffer.max_byte=1", "--set", "shutdown.grace=25"];
    let (exit, stdout, _) = run(&words);
    assert_eq!(exit, Exit::Usage);
    assert!(stdout.contains("did you mean buffer.max_bytes?") && stdout.contains("has no unit of time"), "{stdout}");
    let (exit, stdout, _) = run(&[&words[..], &["--json"]].concat());
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((exit, report["ok"].as_bool(), report["checks"].as_array().unwrap().len()), (Exit::Usage, Some(false), 2));
    assert_eq!(run(&["check"]).0, Exit::Done);
}

// Goal: completion scripts and manual pages come out, one page per command when a directory is given.
#[test]
fn completions_and_manual() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(run(&["completions", shell]).1.contains("healthcheck"), "{shell}");
    }
    assert!(run(&["man"]).1.contains(".TH dualstream 1"));
    let dir = tempfile::tempdir().unwrap();
    let exit = run(&["man", "--dir", &dir.path().display().to_string()]).0;
    assert!(exit == Exit::Done && dir.path().join("dualstream-send.1").exists());
}
