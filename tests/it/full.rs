//! Guarantees G7 and G8: the disk bound holds at every moment, a full buffer refuses honestly and whole, and it goes on by itself when
//! there is room again.

use std::{
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    consume::read_topic,
    disk_watch::DiskWatch,
    http::{Client, Response, render},
    kafka::Kafka,
    load::{Load, Plan},
    ports,
    raw::Raw,
    relay::Relay,
    wait,
};

const SOON: Duration = Duration::from_secs(90);
const MIB: u64 = 1 << 20;

// Goal: Kafka away and the buffer full: writes wait up to the timeout, then fail with an error that says what I need to know; my disk
// is never filled beyond the bound; Kafka back: writes succeed again without a restart, and exactly what was accepted arrives, in order.
#[test]
fn a_full_buffer_refuses_honestly_and_recovers_by_itself() {
    let kafka = unreliable_kafka();
    let topic = kafka.topic("full", 3);
    let builder = Relay::builder().kafka(&kafka.bootstrap(), &topic);
    let relay = builder.set("buffer.max_bytes", "8MiB").set("ingest.full_timeout", "700ms").start();
    let disk = DiskWatch::start(relay.buffer_dir());
    let load = Load::start(relay.ingest(), &Plan { batch: 20, padding: 900, ..Plan::default() });
    load.wait_accepted(200, SOON);
    kafka.stop_broker(0);
    relay.wait_metric(r#"ingest_events_total{result="full"}"#, SOON, |refused| refused >= 100.0);

    let asked = Instant::now();
    // As large as the writers' batches: what a smaller one needs may still be left at the end of a segment.
    let batch: Vec<Value> = (0..20).map(|_| stranger(900)).collect();
    let refusal = relay.client().post_json("/v1/events", &json!(batch)).expect(503);
    assert!(asked.elapsed() >= Duration::from_millis(700), "refused after {:?}, without waiting for room", asked.elapsed());
    assert_says_what_i_need_to_know(&refusal, 8 * MIB);
    wait::until_ok("an unready relay", SOON, || {
        let probe = relay.probe_client().get("/readyz");
        if probe.status == 503 && probe.text().contains("buffer_full: ") { Ok(()) } else { Err(probe.text()) }
    });
    assert_eq!(relay.probe_client().get("/livez").status, 200, "a full buffer is no reason to kill the relay");

    kafka.start_broker(0);
    load.wait_accepted(2_000, SOON);
    let report = load.stop();
    drained(&relay);
    assert_eq!(relay.probe_client().get("/readyz").expect(200).status, 200);
    assert_eq!(report.statuses().keys().collect::<Vec<_>>(), [&202, &503]);
    assert!(report.refused() > 0 && report.unknown() == 0);
    let records = read_topic(&kafka.bootstrap(), &topic);
    assert!(records.iter().all(|record| record.key_str() != "stranger"), "an event that was refused was delivered");
    report.assert_delivered(&records);
    let most = disk.stop().most_bytes;
    assert!(most <= 8 * MIB, "{most} bytes were allocated");
    assert!(most >= 6 * MIB, "only {most} bytes of 8 MiB were ever used");
    assert_balanced(&relay);
}

// Goal: for weeks at full speed through a small buffer: the disk stays within the bound at every moment, because segments are reused.
#[test]
fn many_times_its_size_passes_through_a_small_buffer() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("churn", 2);
    let builder = Relay::builder().kafka(&kafka.bootstrap(), &topic);
    let relay = builder.set("buffer.max_bytes", "1MiB").set("ingest.full_timeout", "60s").start();
    let disk = DiskWatch::start(relay.buffer_dir());

    let plan = Plan { batch: 25, padding: 300, requests: 160, ..Plan::default() };
    let report = Load::start(relay.ingest(), &plan).finish();
    drained(&relay);

    assert_eq!(report.accepted(), 16_000, "{:?}", report.statuses());
    report.assert_delivered(&read_topic(&kafka.bootstrap(), &topic));
    let seen = disk.stop();
    assert!(seen.most_bytes <= MIB, "{} bytes were allocated", seen.most_bytes);
    assert!(seen.newest_segment >= 48, "{} segments of 1/16 MiB are not several times the bound", seen.newest_segment);
    assert!(seen.reused > 0, "no file came back as a later segment");
    assert_balanced(&relay);
}

// Goal: I say how long I am willing to wait with my request, and the bound in events holds to the event.
#[test]
fn each_request_chooses_its_patience_within_the_bound_in_events() {
    let relay = nowhere().set("buffer.max_events", 10).set("ingest.full_timeout", "120s").start();
    let mut client = relay.client();
    let mut post = |count: u64, timeout: &str| {
        let asked = Instant::now();
        let events: Vec<Value> = (0..count).map(|_| stranger(10)).collect();
        (client.post_json(&format!("/v1/events?timeout={timeout}"), &json!(events)), asked.elapsed())
    };

    assert_eq!(post(8, "0s").0.status, 202);
    let (refused, at_once) = post(3, "0s");
    assert_eq!(refused.expect(503).json()["depth"], 8, "a batch is refused whole");
    assert_eq!(post(2, "0s").0.status, 202, "what fits is taken");
    let (refused, patient) = post(1, "1500ms");
    assert_eq!(refused.expect(503).json()["depth"], 10);

    assert!(patient >= Duration::from_millis(1500), "asked for 1.5 s, waited {patient:?}");
    assert!(at_once < patient, "asked for nothing, waited {at_once:?}");
    assert!(patient < Duration::from_secs(60), "the request's timeout counts, not the settings'");
    let waiting = relay.ops_client().get("/v1/buffer/events").expect(200).json();
    assert_eq!(waiting["events"].as_array().map(Vec::len), Some(10), "of the refused batches nothing is on disk");
    assert!(relay.metric("buffer_waiters") == 0.0);
}

// Goal: when room returns, those who wait get in in the order in which they came; one who hung up meanwhile leaves nothing behind, or
// its event once; and nobody is refused who was promised to wait.
#[test]
fn waiters_get_in_in_order_and_the_one_who_hung_up_is_no_trouble() {
    let kafka = unreliable_kafka();
    let topic = kafka.topic("waiters", 1);
    let relay = Relay::builder().kafka(&kafka.bootstrap(), &topic).set("buffer.max_events", 2).start();
    kafka.stop_broker(0);
    let event = |id: &str| json!({"id": id, "type": "t", "source_type": "s", "source_id": "one", "payload": null});
    relay.client().post_json("/v1/events", &json!([event("a"), event("b")])).expect(202);

    let mut waiting: Vec<JoinHandle<Response>> = Vec::new();
    let mut wait_with = |id: String| {
        let (mut client, body) = (relay.client().timeout(SOON * 2), event(&id));
        waiting.push(thread::spawn(move || client.post_json("/v1/events?timeout=2m", &body)));
    };
    for n in 0..3 {
        wait_with(format!("w{n}"));
        relay.wait_metric("buffer_waiters", SOON, |waiters| waiters == f64::from(n + 1));
    }
    let mut gone = Raw::connect(&relay.ingest());
    let headers = [("content-type", "application/json")];
    gone.send(render("POST", "/v1/events?timeout=2m", &headers, event("gone").to_string().as_bytes())).unwrap();
    relay.wait_metric("buffer_waiters", SOON, |waiters| waiters == 4.0);
    drop(gone);
    wait_with("w3".into());
    // Four or five, depending on whether the relay has noticed that one hung up.
    wait::until("the last in line", SOON, || {
        (relay.metric("ingest_connections") >= 4.0 && relay.metric("buffer_waiters") >= 4.0).then_some(())
    });

    kafka.start_broker(0);
    let seqs: Vec<u64> =
        waiting.into_iter().map(|waiter| waiter.join().unwrap().expect(202).json()["first_seq"].as_u64().unwrap()).collect();
    assert!(seqs.is_sorted() && seqs[0] == 3, "let in as {seqs:?}");
    drained(&relay);
    let records = read_topic(&kafka.bootstrap(), &topic);
    let ids: Vec<String> = records.iter().map(|record| record.json()["id"].as_str().unwrap_or_default().to_owned()).collect();
    let stayed: Vec<&str> = ids.iter().map(String::as_str).filter(|id| *id != "gone").collect();
    assert_eq!(stayed, ["a", "b", "w0", "w1", "w2", "w3"]);
    assert!(ids.len() <= 7, "the event of the one who hung up came {} times", ids.len() - 6);
    assert_balanced(&relay);
}

// Goal: a refused request can be tried again until it is accepted, and then the event is in Kafka once: nothing of a refusal was kept.
#[test]
fn trying_again_after_a_refusal_makes_no_duplicates() {
    let kafka = unreliable_kafka();
    let topic = kafka.topic("retry", 1);
    let builder = Relay::builder().kafka(&kafka.bootstrap(), &topic).set("buffer.max_events", 3);
    let relay = builder.set("ingest.full_timeout", "0s").start();
    kafka.stop_broker(0);
    let batch = |n: u64| json!([numbered(2 * n), numbered(2 * n + 1)]);
    let mut client = relay.client();
    client.post_json("/v1/events", &batch(0)).expect(202);
    for _ in 0..20 {
        client.post_json("/v1/events", &batch(1)).expect(503);
    }
    kafka.start_broker(0);
    for n in 1..20 {
        accepted_at_last(&mut client, &batch(n));
    }
    drained(&relay);
    let records = read_topic(&kafka.bootstrap(), &topic);
    let numbers: Vec<u64> = records.iter().filter_map(|record| record.json()["payload"].as_u64()).collect();
    assert_eq!(numbers, (0..40).collect::<Vec<_>>());
}

fn accepted_at_last(client: &mut Client, body: &Value) {
    wait::until_ok("an accepted batch", SOON, || {
        let reply = client.post_json("/v1/events", body);
        if reply.status == 202 { Ok(()) } else { Err(reply.text()) }
    });
}

#[track_caller]
fn assert_says_what_i_need_to_know(refusal: &Response, max_bytes: u64) {
    assert_eq!(refusal.header("content-type"), Some("application/problem+json"));
    let retry_after: u64 = refusal.header("retry-after").and_then(|seconds| seconds.parse().ok()).expect("Retry-After in whole seconds");
    assert!((1..=60).contains(&retry_after), "Retry-After: {retry_after}");
    let problem = refusal.json();
    let text = refusal.text();
    assert!(problem["type"].as_str().is_some_and(|kind| kind.ends_with("/buffer-full")), "{text}");
    assert_eq!(problem["status"], 503);
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("nothing was stored")), "{text}");
    assert!(problem["depth"].as_u64().is_some_and(|depth| depth > 0), "{text}");
    assert_eq!(problem["max_bytes"], max_bytes, "{text}");
    assert!(problem["bytes"].as_u64().is_some_and(|bytes| bytes > max_bytes / 2 && bytes <= max_bytes), "{text}");
    assert!(problem["drain_rate"].as_f64().is_some_and(|rate| rate >= 0.0), "{text}");
    let to_room = problem.get("seconds_to_room").expect("seconds_to_room, null while nothing drains");
    assert!(to_room.is_null() || to_room.as_f64().is_some_and(|seconds| seconds >= 0.0), "{text}");
}

/// Everything accepted is at its end.
#[track_caller]
fn drained(relay: &Relay) {
    relay.wait_metric("buffer_events", SOON, |events| events == 0.0);
}

#[track_caller]
fn assert_balanced(relay: &Relay) {
    assert!(relay.metric("conservation_error") == 0.0, "{}", relay.status());
    assert!(relay.metric("events_lost_total") == 0.0, "{}", relay.status());
}

/// A relay whose Kafka nobody has ever seen.
fn nowhere() -> crate::support::relay_builder::Builder {
    Relay::builder().kafka(&ports::address(ports::free()), "nowhere")
}

fn stranger(padding: usize) -> Value {
    json!({"type": "t", "source_type": "s", "source_id": "stranger", "payload": "x".repeat(padding)})
}

fn numbered(n: u64) -> Value {
    json!({"type": "t", "source_type": "s", "source_id": "one", "payload": n})
}

/// A broker that the tests of this file may stop, one test at a time.
fn unreliable_kafka() -> MutexGuard<'static, Kafka> {
    static KAFKA: OnceLock<Mutex<Kafka>> = OnceLock::new();
    let kafka = KAFKA.get_or_init(|| Mutex::new(Kafka::start(1))).lock().unwrap_or_else(PoisonError::into_inner);
    kafka.start_all();
    kafka
}
