//! What the operator and Kubernetes are shown: on the right door, true at every moment, and nothing that changes anything.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{
    http::Client,
    kafka::Kafka,
    load::{Load, Plan},
    metrics, ports,
    redis::Redis,
    relay::Relay,
    relay_builder::Builder,
    wait,
};

const SOON: Duration = Duration::from_secs(60);

// Goal: the port that the whole cluster can reach shows probes and metrics, and nothing else.
#[test]
fn the_probe_listener_serves_probes_and_metrics_only() {
    let relay = nowhere().start();
    relay.client().post_json("/v1/events", &event("1", "secret-payload")).expect(202);
    let mut probe = relay.probe_client();
    for (path, word) in [("/startupz", "started"), ("/livez", "live"), ("/readyz", "ready"), ("/metrics", "dualstream_buffer_events 1")] {
        let reply = probe.get(path).expect(200);
        assert!(reply.text().contains(word), "{path}: {}", reply.text());
        assert!(!reply.text().contains("secret-payload"));
        assert_eq!(relay.ops_client().get(path).status, 200, "ops has everything that the probe listener has");
    }
    for path in ["/", "/v1/status", "/v1/buffer/events", "/v1/events", "/v1/dead-letters", "/v1/log-level", "/metrics/", "/debug"] {
        assert_eq!(probe.get(path).status, 404, "{path}");
        assert_eq!(probe.request("POST", path, &[], "").status, 404, "{path}");
    }
    assert_eq!(relay.ops_client().get("/").expect(200).header("content-type"), Some("text/plain; charset=utf-8"));
}

// Goal: Kubernetes and scripts can read the reasons as JSON, and a web page cannot reach ops through a name of its own.
#[test]
fn probes_speak_json_and_foreign_names_are_refused() {
    let relay = nowhere().start();
    let accept = [("accept", "application/json")];
    let reply = relay.probe_client().request("GET", "/readyz", &accept, "").expect(200).json();
    assert_eq!((&reply["ok"], &reply["status"], &reply["reasons"]), (&json!(true), &json!("ready"), &json!([])));
    let mut stranger = crate::support::raw::Raw::connect(&crate::support::socket::Address::Tcp(ops_address(&relay)));
    stranger.send("GET /v1/status HTTP/1.1\r\nhost: evil.example\r\n\r\n").unwrap();
    let refusal = stranger.response().unwrap();
    assert_eq!(refusal.status, 421);
    assert!(!refusal.text().contains("relay_id"));
}

// Goal: one look at the status tells how full, how old, how fast, and what Kafka and Redis are doing, in numbers that are right.
#[test]
fn the_status_tells_the_whole_story() {
    let (kafka, redis) = (Kafka::shared(), Redis::start());
    let relay = Relay::builder().kafka(&kafka.bootstrap(), &kafka.topic("status", 1)).redis(&redis.url()).start();
    let report = Load::start(relay.ingest(), &Plan { requests: 25, ..Plan::default() }).finish();
    assert_eq!(report.accepted(), 1_000);
    relay.wait_metric("notify_published_total", SOON, |published| published == 1_000.0);
    // Rates are averages that are renewed a few times a second.
    let status = wait::until("rates", SOON, || Some(relay.status()).filter(|status| status["buffer"]["rate_out"].as_f64() > Some(0.0)));

    let is = |pointer: &str, expected: Value| assert_eq!(status.pointer(pointer), Some(&expected), "{pointer} in {status:#}");
    is("/relay/version", json!(env!("CARGO_PKG_VERSION")));
    is("/relay/phase", json!("serving"));
    is("/ingest/requests/202", json!(100));
    is("/ingest/events/accepted", json!(1_000));
    is("/buffer/ledger", json!({"accepted": 1_000, "acked": 1_000, "dead_lettered": 0, "purged": 0, "lost": 0, "backlog": 0}));
    is("/buffer/durable_seq", json!(1_000));
    is("/buffer/acked_seq", json!(1_000));
    is("/buffer/fill", json!(0.0));
    is("/buffer/oldest_age_seconds", json!(0.0));
    is("/buffer/waiters", json!(0));
    is("/buffer/full", json!(false));
    is("/buffer/failed", Value::Null);
    is("/drain/state", json!("running"));
    is("/drain/connected", json!(true));
    is("/drain/acked", json!(1_000));
    is("/drain/inflight", json!(0));
    is("/notify/up", json!(true));
    is("/notify/published", json!(1_000));
    is("/notify/queued", json!(0));
    is("/health/ready", json!(true));
    is("/health/live", json!(true));
    is("/health/started", json!(true));
    is("/health/reasons", json!([]));
    is("/health/conservation_error", json!(0));
    let positive =
        |pointer: &str| assert!(status.pointer(pointer).and_then(Value::as_f64).is_some_and(|n| n > 0.0), "{pointer} in {status:#}");
    for pointer in [
        "/relay/uptime_seconds",
        "/relay/resident_memory_bytes",
        "/ingest/append_p99_seconds",
        "/buffer/bytes",
        "/buffer/max_bytes",
        "/buffer/rate_in",
        "/buffer/rate_out",
        "/drain/last_ack_age_seconds",
        "/drain/ack_p99_seconds",
    ] {
        positive(pointer);
    }
    let on_disk = relay.allocated_bytes();
    let told = status["buffer"]["bytes"].as_u64().unwrap();
    assert!(told.abs_diff(on_disk) <= 64 << 10, "{told} bytes are told, {on_disk} are allocated");
}

// Goal: no event is ever unaccounted for: at every moment of a busy hour, with Redis and the probes asking all the time, the books balance.
#[test]
fn the_books_balance_at_every_moment() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("books", 3);
    let relay = Relay::builder().kafka(&kafka.bootstrap(), &topic).set("buffer.max_bytes", "2MiB").start();
    let stop = Arc::new(AtomicBool::new(false));
    let auditors: Vec<_> = [(relay.ops_client(), "/v1/status"), (relay.probe_client(), "/metrics")]
        .map(|(client, path)| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || audit(client, path, &stop))
        })
        .into_iter()
        .collect();
    let load = Load::start(relay.ingest(), &Plan { writers: 6, ..Plan::default() });
    load.wait_accepted(20_000, SOON);
    let report = load.stop();
    relay.wait_metric("buffer_events", SOON, |events| events == 0.0);
    stop.store(true, Ordering::Relaxed);
    for auditor in auditors {
        let (looks, with_backlog) = auditor.join().unwrap();
        assert!(looks > 20 && with_backlog > 0, "{looks} looks, {with_backlog} of them at events under way");
    }
    let ledger = &relay.status()["buffer"]["ledger"];
    assert_eq!((ledger["accepted"].as_u64(), ledger["acked"].as_u64()), (Some(report.accepted()), Some(report.accepted())));
}

// Goal: on a memory file system the relay does not pretend: the reply, the status, the metric and the log all say "not durable".
#[test]
fn a_volume_that_forgets_is_named_everywhere() {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    if !mounts.lines().any(|line| line.split(' ').skip(1).take(2).eq(["/dev/shm", "tmpfs"])) {
        println!("skipped: /dev/shm is not a tmpfs here");
        return;
    }
    let memory = tempfile::Builder::new().prefix("dualstream-").tempdir_in("/dev/shm").unwrap();
    let in_memory =
        |name: &str| nowhere().set("buffer.dir", memory.path().join(name).display().to_string()).set("buffer.max_bytes", "1MiB");
    let relay = in_memory("a").start();
    let reply = relay.client().post_json("/v1/events", &event("1", "x")).expect(202).json();
    assert_eq!(reply["durable"], false, "{reply}");
    let status = relay.status();
    assert_eq!((&status["buffer"]["durable"], &status["buffer"]["filesystem"]), (&json!(false), &json!("tmpfs")));
    assert!(status["health"]["degraded_reasons"].to_string().contains("not_durable"), "{status}");
    assert!(relay.metric("buffer_durable") == 0.0);
    assert_eq!(relay.probe_client().get("/readyz").status, 200, "it works, it only does not last");
    let warned = |line: &Value| line["level"] == "WARN" && line.to_string().contains("durable=false");
    assert!(relay.json_logs().iter().any(warned), "{:?}", relay.logs());

    let strict = in_memory("b").set("buffer.require_durable", true).run_to_exit(SOON);
    assert!(strict.code != Some(0) && strict.lines.iter().any(|line| line.contains("tmpfs")), "{strict:?}");
}

// Goal: I can look at what waits, page by page and by source, without taking anything out.
#[test]
fn waiting_events_can_be_looked_at_and_stay() {
    let relay = nowhere().start();
    let mut client = relay.client();
    let sent: Vec<Value> = (1..=5).map(|n| event(&n.to_string(), if n % 2 == 1 { "odd" } else { "even" })).collect();
    client.post_json("/v1/events", &json!(sent[..3])).expect(202);
    client.post_json("/v1/events", &json!(sent[3..])).expect(202);
    let mut ops = relay.ops_client();
    let mut look = |query: &str| ops.get(&format!("/v1/buffer/events{query}")).expect(200).json();
    let numbers =
        |page: &Value, name: &str| -> Vec<Value> { page["events"].as_array().unwrap().iter().map(|event| event[name].clone()).collect() };

    let all = look("");
    assert_eq!(numbers(&all, "seq"), [1, 2, 3, 4, 5].map(Value::from));
    assert_eq!(numbers(&all, "id"), ["1", "2", "3", "4", "5"].map(Value::from));
    for (shown, sent) in numbers(&all, "value").iter().zip(&sent) {
        assert_eq!((&shown["payload"], &shown["source_id"]), (&sent["payload"], &sent["source_id"]));
    }
    assert_eq!(all["next_from"], Value::Null);
    let page = look("?from=2&limit=2");
    assert_eq!((numbers(&page, "seq"), &page["next_from"]), (vec![json!(2), json!(3)], &json!(4)));
    assert_eq!(numbers(&look("?source=even"), "seq"), [2, 4].map(Value::from));
    assert_eq!(numbers(&look("?source=kind%2Fodd&from=2"), "seq"), [3, 5].map(Value::from));
    for wrong in ["?limit=0", "?limit=1001", "?from=x", "?form=1"] {
        assert_eq!(relay.ops_client().get(&format!("/v1/buffer/events{wrong}")).status, 400, "{wrong}");
    }
    assert!(relay.metric("buffer_events") == 5.0, "looking took something");
}

/// What can be changed, by who may.
const CHANGES: [(&str, &str); 5] = [
    ("POST", "/v1/buffer/purge?all=true"),
    ("POST", "/v1/drain/pause"),
    ("POST", "/v1/drain/resume"),
    ("DELETE", "/v1/dead-letters?all=true"),
    ("POST", "/v1/dead-letters/retry?all=true"),
];

// Goal: nothing can be changed through ops by whoever happens to reach it: there is no token set, and a port is not enough.
#[test]
fn nothing_can_be_changed() {
    let relay = nowhere().start();
    relay.client().post_json("/v1/events", &event("1", "x")).expect(202);
    let paths = [
        "/",
        "/v1/status",
        "/v1/buffer/events",
        "/metrics",
        "/readyz",
        "/v1/buffer/purge?all=true",
        "/v1/drain/pause",
        "/v1/drain/resume",
        "/v1/dead-letters?all=true",
        "/v1/dead-letters/7",
        "/v1/dead-letters/retry?all=true",
        "/v1/log-level",
        "/v1/events",
    ];
    for path in paths {
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            for mut client in [relay.ops_client(), relay.probe_client()] {
                let status = client.request(method, path, &[], "{}").status;
                let guarded = status == 403 && (CHANGES.contains(&(method, path)) || (method, path) == ("DELETE", "/v1/dead-letters/7"));
                assert!(guarded || status == 404 || status == 405, "{method} {path}: {status}");
            }
        }
    }
    let status = relay.status();
    assert_eq!((&status["buffer"]["ledger"]["backlog"], &status["relay"]["phase"]), (&json!(1), &json!("serving")));
    assert_eq!(relay.client().request("GET", "/v1/events", &[], "").header("allow"), Some("POST"));
}

/// Looks until told to stop; how often, and how often there was a backlog. Panics when the books do not balance.
fn audit(mut client: Client, path: &str, stop: &AtomicBool) -> (u32, u32) {
    let (mut looks, mut with_backlog) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let reply = client.get(path).expect(200);
        let (error, backlog) = if path == "/metrics" {
            let value = |name| metrics::value(&reply.text(), name).unwrap();
            (value("conservation_error"), value("buffer_events"))
        } else {
            let status = reply.json();
            let book = |name: &str| status["buffer"]["ledger"][name].as_f64().unwrap();
            let ended = book("acked") + book("dead_lettered") + book("purged") + book("lost");
            (book("accepted") - ended - book("backlog"), book("backlog"))
        };
        assert!(error == 0.0, "{}", reply.text());
        looks += 1;
        with_backlog += u32::from(backlog > 0.0);
        thread::sleep(Duration::from_millis(3));
    }
    (looks, with_backlog)
}

fn nowhere() -> Builder {
    Relay::builder().kafka(&ports::address(ports::free()), "nowhere")
}

fn event(id: &str, source: &str) -> Value {
    json!({"id": id, "type": "t", "source_type": "kind", "source_id": source, "payload": {"text": format!("é\n{id}")}})
}

fn ops_address(relay: &Relay) -> String {
    let ready = relay.json_logs().into_iter().find(|line| line["message"] == "ready").expect("a ready line");
    wait::until("the address", SOON, || ready["ops"].as_str().map(str::to_owned))
}
