//! How the relay ends: in order, honestly, and without leaving anything behind but what it says.

use std::{thread, time::Duration};

use serde_json::{Value, json};

use crate::support::{
    consume::{read_count, read_topic},
    http::render,
    kafka::Kafka,
    load::{Load, Plan},
    mixed::Mixed,
    ports,
    raw::Raw,
    relay::Relay,
    relay_builder::Builder,
};

const SOON: Duration = Duration::from_secs(60);

// Goal: a stop under load loses no accepted event, tells each request the truth, leaves no socket file, exits with 0 when Kafka has
// everything; and the next start repeats nothing.
#[test]
fn clean_stops_under_load_lose_and_repeat_nothing() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("stops", 4);
    let mut relay = Relay::builder().kafka(&kafka.bootstrap(), &topic).start();
    let load = Mixed::start(&relay);
    for _ in 0..4 {
        load.wait_accepted(SOON);
        assert_eq!(relay.stop(SOON), 0);
        assert!(!socket_file(&relay).exists(), "the socket file is left");
        let info = relay.buffer_info();
        assert_eq!((&info["clean"], &info["backlog"]), (&json!(true), &json!(0)), "{info}");
        relay.restart();
    }
    load.wait_accepted(SOON);
    relay.sigterm();
    assert_eq!(relay.wait_exit(SOON), 0);
    let report = load.stop();

    let records = read_topic(&kafka.bootstrap(), &topic);
    assert_eq!(report.assert_delivered(&records), 0, "a clean stop makes no duplicates");
    let unexpected: Vec<_> = report.statuses().into_keys().filter(|status| ![0, 200, 202, 503].contains(status)).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
}

// Goal: stopped while Kafka is down, the relay exits with 5 within its grace, says how many events are left, and the next start
// delivers them all.
#[test]
fn with_kafka_down_it_says_what_is_left() {
    let kafka = Kafka::start(1);
    let topic = kafka.topic("left", 4);
    let mut relay = Relay::builder().kafka(&kafka.bootstrap(), &topic).set("shutdown.grace", "3s").start();
    let load = Load::start(relay.ingest_socket(), &Plan { spread: true, ..Plan::default() });
    load.wait_accepted(2_000, SOON);
    relay.wait_metric("drain_acked_total", SOON, |acked| acked > 0.0);
    kafka.stop_broker(0);
    load.wait_accepted(2_000, SOON);
    assert_eq!(relay.stop(Duration::from_secs(10)), 5);
    let report = load.stop();

    let left = relay.buffer_info()["backlog"].as_u64().unwrap();
    assert!(left >= 2_000, "{left} left");
    let said = logged(&relay, "stopped at the deadline; the events that are left stay on disk");
    assert_eq!(said["left"], left, "{said}");
    kafka.start_broker(0);
    relay.restart();
    relay.wait_metric("buffer_events", SOON, |backlog| backlog == 0.0);
    assert_eq!(relay.metric("drain_acked_total").to_string(), left.to_string(), "exactly those that were left");
    assert_eq!(relay.stop(SOON), 0);
    report.assert_delivered(&read_topic(&kafka.bootstrap(), &topic));
}

// Goal: a second SIGTERM ends it at once, whatever grace is left; what is not sent stays on disk.
#[test]
fn a_second_sigterm_forces() {
    let relay = without_kafka().set("shutdown.grace", "10m").start();
    relay.client().post_json("/v1/events", &events(0..10)).expect(202);
    relay.sigterm();
    wait_for_log(&relay, "stopping: requests finished, nothing more is accepted");
    assert_eq!(relay.process().exited(), None, "it waits for Kafka");
    relay.sigterm();
    assert_eq!(relay.wait_exit(Duration::from_secs(5)), 5);
    assert_eq!(logged(&relay, "forced: what is not sent stays on disk")["signal"], "SIGTERM");
    assert_eq!(relay.buffer_info()["backlog"], 10);
}

// Goal: with `shutdown.linger` the relay says that it is not ready and still takes events, and these reach Kafka, too.
#[test]
fn linger_keeps_accepting() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("linger", 1);
    let relay = Relay::builder().kafka(&kafka.bootstrap(), &topic).set("shutdown.linger", "2s").start();
    relay.sigterm();
    wait_for_log(&relay, "stopping: no longer ready");
    let ready = relay.probe_client().get("/readyz").expect(503).text();
    assert!(ready.contains("shutting_down"), "{ready}");
    relay.client().post_json("/v1/events", &events(0..3)).expect(202);
    relay.uds_client().post_json("/v1/events", &events(3..6)).expect(202);
    assert_eq!(relay.wait_exit(SOON), 0);
    assert_eq!(read_count(&kafka.bootstrap(), &topic, 6, SOON).len(), 6);
}

// Goal: who is in the middle of a request when the relay is stopped still gets an answer, and it is true.
#[test]
fn requests_in_progress_get_their_answers() {
    let mut relay = without_kafka().set("shutdown.grace", "4s").start();
    let mut waits_for_kafka = relay.client();
    let waiting = thread::spawn(move || waits_for_kafka.post_json("/v1/events?ack=kafka&timeout=60s", &events(0..1)));
    relay.wait_metric("buffer_events", SOON, |backlog| backlog == 1.0);
    let body = events(1..3).to_string();
    let request = render("POST", "/v1/events", &[("content-type", "application/json")], body.as_bytes());
    let (early, late) = request.split_at(request.len() - 20);
    let mut slow = Raw::connect(&relay.ingest());
    slow.send(early).unwrap();
    let mut idle = Raw::connect(&relay.ingest());
    relay.wait_metric("ingest_connections", SOON, |open| open >= 3.0);
    // A whole round trip later the server has read what was sent.
    relay.client().post_json("/v1/events", &events(3..4)).expect(202);

    relay.sigterm();
    let answer = waiting.join().unwrap().expect(202).json();
    assert_eq!(answer["ack"], "buffered", "{answer}");
    assert_eq!(idle.read_to_end().unwrap(), b"", "an idle connection is closed without a word");
    slow.send(late).unwrap();
    let answer = slow.response().unwrap().expect(202).json();
    assert_eq!(answer["accepted"], 2, "{answer}");
    assert_eq!(relay.wait_exit(SOON), 5);

    assert_eq!(relay.buffer_info()["backlog"], 4, "what was answered is there");
    relay.restart();
    assert!((relay.metric("buffer_events") - 4.0).abs() < f64::EPSILON);
}

// Goal: the socket file of a relay that was killed is no obstacle to the next, and a stop in order leaves none.
#[test]
fn the_socket_file_comes_and_goes() {
    let mut relay = without_kafka().set("shutdown.grace", "1s").start();
    relay.kill9();
    assert!(socket_file(&relay).exists(), "kill -9 leaves a stale one");
    relay.restart();
    relay.uds_client().post_json("/v1/events", &events(0..1)).expect(202);
    assert_eq!(relay.stop(SOON), 5);
    assert!(!socket_file(&relay).exists());
}

// Goal: a second relay on the same directory is refused in words, and the first does not notice.
#[test]
fn a_second_relay_on_the_same_directory_is_refused() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("twice", 1);
    let relay = Relay::builder().kafka(&kafka.bootstrap(), &topic).start();
    relay.client().post_json("/v1/events", &events(0..1)).expect(202);
    let dir = relay.buffer_dir().display().to_string();

    let second = Relay::builder().kafka(&kafka.bootstrap(), &topic).set("buffer.dir", dir.as_str()).run_to_exit(SOON);

    assert_eq!(second.code, Some(1), "{second:?}");
    let sentence = format!("cannot open the buffer: {dir} is in use by another relay (its LOCK file is held)");
    assert!(second.lines.iter().any(|line| line.contains(&sentence)), "{second:?}");
    relay.client().post_json("/v1/events", &events(1..2)).expect(202);
    assert_eq!(relay.stop(SOON), 0);
    assert_eq!(read_topic(&kafka.bootstrap(), &topic).len(), 2);
}

/// A relay whose Kafka nobody ever starts.
fn without_kafka() -> Builder {
    Relay::builder().kafka(&ports::address(ports::free()), "events")
}

fn events(numbers: std::ops::Range<u64>) -> Value {
    let event = |n| json!({"type": "stop", "source_type": "test", "source_id": "one", "payload": {"n": n}});
    numbers.map(event).collect()
}

fn socket_file(relay: &Relay) -> std::path::PathBuf {
    match relay.ingest_socket() {
        crate::support::socket::Address::Unix(path) => path,
        other => panic!("not a socket: {other:?}"),
    }
}

#[track_caller]
fn wait_for_log(relay: &Relay, message: &str) {
    relay.process().wait_line(message, SOON, |line| line.contains(message).then_some(()));
}

/// The newest log line with this message.
#[track_caller]
fn logged(relay: &Relay, message: &str) -> Value {
    let lines = relay.json_logs();
    let found = lines.iter().rev().find(|line| line["message"] == message);
    found.unwrap_or_else(|| panic!("no {message:?} in {lines:?}")).clone()
}
