//! Clients that are slow, broken, gone, or no clients at all.

use std::time::{Duration, Instant};

use super::{EVENTS, JSON, MAX_BODY_BYTES, SOON, Target};
use crate::support::{
    http::{Headers, render},
    raw::Raw,
    socket::Address,
    wait,
};

/// For the machine, which runs a compiler beside the tests.
const SLACK: Duration = Duration::from_secs(10);

const PAUSE: Duration = Duration::from_millis(50);

fn event(id: &str) -> String {
    format!(r#"{{"id":"{id}","type":"t","source_type":"user","source_id":"42"}}"#)
}

fn post(headers: Headers<'_>, body: &str) -> Vec<u8> {
    render("POST", EVENTS, headers, body.as_bytes())
}

fn doors(target: &Target) -> [Address; 2] {
    [target.relay.ingest(), target.relay.ingest_socket()]
}

// Goal: a client that dawdles over its body gets 408 after request_timeout, not before and not much later; one that is merely
// unhurried is served.
#[test]
fn a_slow_body_is_answered_408() {
    const TIMEOUT: Duration = Duration::from_secs(1);
    let mut target = Target::start_with("slow-body", |builder| builder.set("ingest.request_timeout", "1s"));
    for (n, address) in doors(&target).into_iter().enumerate() {
        let request = post(JSON, &event("slow"));
        let (most, rest) = request.split_at(request.len() - 30);
        let mut raw = Raw::connect(&address);
        raw.send(most).unwrap();
        let started = Instant::now();
        // It trickles on until the relay has had enough, and is told.
        let cut_off = raw.trickle(&rest[..29], 1, TIMEOUT / 10);
        let response = raw.response().unwrap_or_else(|e| panic!("no answer: {e}; sending ended with {cut_off:?}"));
        assert!((TIMEOUT..TIMEOUT * 4 + SLACK).contains(&started.elapsed()), "{:?}", started.elapsed());
        let problem = target.count_refusal(&response, 408, "too-slow");
        assert!(problem["detail"].as_str().unwrap().contains("ingest.request_timeout"), "{problem}");

        let id = format!("unhurried-{n}");
        let mut raw = Raw::connect(&address);
        let request = post(JSON, &event(&id));
        raw.trickle(&request, request.len() / 5 + 1, PAUSE).unwrap();
        let response = raw.response().unwrap();
        target.count_accepted(&response, 202, &id);
    }
    target.check_unharmed(&[]);
}

// Goal: a client that begins a request head and never finishes it is cut off after request_timeout, however it keeps trickling; an
// idle connection is not cut off.
#[test]
fn a_slow_head_is_cut_off_and_an_idle_connection_is_not() {
    let mut target = Target::start_with("slow-head", |builder| builder.set("ingest.request_timeout", "500ms"));
    let mut idle = Raw::connect(&target.relay.ingest());
    idle.send(post(JSON, &event("before-idling"))).unwrap();
    let response = idle.response().unwrap();
    target.count_accepted(&response, 202, "before-idling");
    for address in doors(&target) {
        let started = Instant::now();
        let mut raw = Raw::connect(&address);
        let head = format!("POST {EVENTS} HTTP/1.1\r\nhost: h\r\nx: {}", "x".repeat(4096));
        // Sent for as long as the relay takes it: far beyond the deadline, were it not cut off.
        let sent = raw.trickle(head.as_bytes(), 8, PAUSE);
        let rest = raw.read_to_end().unwrap();
        assert!(started.elapsed() < SLACK, "cut off only after {:?}", started.elapsed());
        assert!(sent.is_err() || rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    }
    idle.send(post(JSON, &event("after-idling"))).unwrap();
    let response = idle.response().expect("an idle connection is kept");
    target.count_accepted(&response, 202, "after-idling");
    target.check_unharmed(&[]);
}

// Goal: a client that closes its sending side after the request, as scripts with netcat do, is answered all the same.
#[test]
fn a_half_closed_client_is_still_answered() {
    let mut target = Target::start("half-closed");
    for (n, address) in doors(&target).into_iter().enumerate() {
        let id = format!("half-closed-{n}");
        let mut raw = Raw::connect(&address);
        raw.send(post(JSON, &event(&id))).unwrap();
        raw.half_close().unwrap();
        let response = raw.response().expect("an answer");
        target.count_accepted(&response, 202, &id);
        assert_eq!(raw.read_to_end().unwrap(), b"", "and then it ends");
    }
    target.check_unharmed(&[]);
}

// Goal: a client that asks first (`Expect: 100-continue`, as curl does), one that sends requests without waiting for answers, and one
// that does not say how long its body is, are all served.
#[test]
fn unusual_but_right_clients_are_served() {
    let mut target = Target::start("unusual");
    for (n, address) in doors(&target).into_iter().enumerate() {
        let mut raw = Raw::connect(&address);
        let asking = [JSON, &[("expect", "100-continue")]].concat();
        let [asked, first, second, chunked] = ["asked", "first", "second", "chunked"].map(|name| format!("{name}-{n}"));
        raw.send(post(&asking, &event(&asked))).unwrap();
        let response = raw.response().unwrap();
        target.count_accepted(&response, 202, &asked);

        raw.send([post(JSON, &event(&first)), post(JSON, &event(&second))].concat()).unwrap();
        for id in [&first, &second] {
            let response = raw.response().unwrap();
            target.count_accepted(&response, 202, id);
        }

        raw.send(format!("POST {EVENTS} HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"))
            .unwrap();
        for piece in event(&chunked).as_bytes().chunks(7) {
            raw.send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()).unwrap();
        }
        raw.send("0\r\n\r\n").unwrap();
        let response = raw.response().unwrap();
        target.count_accepted(&response, 202, &chunked);
    }
    target.check_unharmed(&[]);
}

// Goal: a client that hangs up in the middle of its body leaves nothing behind: not half a batch, not an open connection.
#[test]
fn a_client_that_hangs_up_leaves_nothing_behind() {
    let target = Target::start("hang-up");
    let batch = format!("[{}]", ["a", "b", "c", "d"].map(event).join(","));
    let whole = post(JSON, &batch);
    let chunked = format!(
        "POST {EVENTS} HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{batch}\r\n",
        batch.len()
    );
    let lines = post(&[("content-type", "application/x-ndjson")], &["e", "f", "g"].map(|id| event(id) + "\n").concat());
    // A whole line more is in the body, but not all that was announced.
    let line_end = lines.len() - event("g").len() - 1;
    for address in doors(&target) {
        for part in [&whole[..whole.len() / 2], &whole[..whole.len() - 1], &lines[..line_end], chunked.as_bytes()] {
            let mut raw = Raw::connect(&address);
            raw.send(part).unwrap();
            drop(raw);
            let mut raw = Raw::connect(&address);
            raw.send(part).unwrap();
            raw.half_close().unwrap();
            // Answered 400 or just closed: nobody can want more.
            let rest = raw.read_to_end().unwrap();
            assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 400 "), "{:?}", String::from_utf8_lossy(&rest));
        }
    }
    wait::until_eq("open connections", SOON, &0.0, || target.relay.metric("ingest_connections"));
    target.check_unharmed(&[400]);
}

// Goal: whatever bytes come in, the relay stays well and stores nothing of them.
#[test]
fn garbage_is_harmless() {
    let target = Target::start_with("garbage", |builder| builder.set("ingest.request_timeout", "200ms"));
    let seed = fastrand::u64(..);
    let mut rng = fastrand::Rng::with_seed(seed);
    let good = post(JSON, &event("never"));
    let endless = format!("POST {EVENTS} HTTP/1.1\r\nhost: h\r\n{}", "x: y\r\n".repeat(20_000));
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let fixed: [&[u8]; 9] = [
        b"\r\n\r\n\r\n",
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST /v1/events HTTP/9.9\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\ncontent-length: 7\r\n\r\n[]   ",
        b"POST /v1/events HTTP/1.1\r\nhost: h\r\ncontent-length: -1\r\n\r\n[]",
        b"POST /v1/events HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n[]\r\n",
        endless.as_bytes(),
        &[&preface[..], &[0xff; 4096]].concat(),
    ];
    let random: Vec<Vec<u8>> = (0..60)
        .map(|round| {
            let mut noise: Vec<u8> = (0..rng.usize(1..MAX_BODY_BYTES)).map(|_| rng.u8(..)).collect();
            match round % 3 {
                0 => noise,
                1 => [&preface[..], &noise].concat(),
                _ => {
                    // A good request in which a byte of the head's first line or of the JSON's braces is no longer right.
                    noise.clone_from(&good);
                    let at = if rng.bool() { rng.usize(..b"POST /v1/events HTTP/".len()) } else { noise.len() - 1 };
                    noise[at] = rng.u8(0x80..);
                    noise
                }
            }
        })
        .collect();
    for bytes in fixed.into_iter().chain(random.iter().map(Vec::as_slice)) {
        let address = if rng.bool() { target.relay.ingest() } else { target.relay.ingest_socket() };
        let mut raw = Raw::connect(&address);
        // The relay may stop listening in the middle.
        drop(raw.send(bytes));
        drop(raw.half_close());
        let answer = raw.read_to_end().unwrap_or_else(|e| panic!("seed {seed}: not closed: {e}"));
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "seed {seed}: accepted {:?}", String::from_utf8_lossy(bytes));
    }
    wait::until_eq("open connections", SOON, &0.0, || target.relay.metric("ingest_connections"));
    let panics: Vec<_> = target.relay.logs().into_iter().filter(|line| line.contains("panic")).collect();
    assert!(panics.is_empty(), "seed {seed}: {panics:?}");
    target.check_unharmed(&[400, 404, 405, 408, 415]);
}
