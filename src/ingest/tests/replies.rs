//! One request, one reply.

use super::*;

const JSON: &str = "content-type: application/json\r\n";

fn problem(body: &str) -> serde_json::Value {
    serde_json::from_str(body).unwrap()
}

// Goal: my event is answered once it is stored, and the reply says where and how safely.
#[tokio::test]
async fn accepted() {
    let relay = Running::start(Behaviour::Store).await;
    let (status, head, body) = relay.post("", EVENT).await;
    assert_eq!((status, &*body), (202, r#"{"accepted":1,"duplicates":0,"first_seq":1,"last_seq":1,"ack":"buffered","durable":true}"#));
    assert!(head.contains("content-type: application/json"));
    let (_, _, body) = relay.post("", &format!("[{EVENT},{EVENT}]")).await;
    assert_eq!(body, r#"{"accepted":2,"duplicates":0,"first_seq":2,"last_seq":3,"ack":"buffered","durable":true}"#);
    assert_eq!(relay.fake.stored(), [EVENT, EVENT, EVENT]);
    assert_eq!((relay.requests(202), relay.events()), (2, [3, 0, 0, 0, 0, 0]));
    assert_eq!(relay.stats.append_seconds.snapshot().count(), 2);
}

// Goal: a volume that forgets is no secret.
#[tokio::test]
async fn not_durable() {
    let relay = Running::start(Behaviour::StoreVolatile).await;
    assert!(relay.post("", EVENT).await.2.contains(r#""durable":false"#));
}

// Goal: the ids that the relay made are told, at the position of their events.
#[tokio::test]
async fn made_ids() {
    let relay = Running::start(Behaviour::Store).await;
    let body = format!("[{},{EVENT}]", EVENT.replace(r#""id":"a","#, ""));
    let reply = problem(&relay.post("", &body).await.2);
    let made = reply["ids"][0].as_str().unwrap();
    assert_eq!(uuid::Uuid::parse_str(made).unwrap().get_version_num(), 7);
    assert_eq!(reply["ids"][1], "a");
    assert!(relay.fake.stored()[0].starts_with(&format!(r#"{{"id":"{made}","type""#)));
}

// Goal: with ack=kafka I am told the offset, or that it will come later; whether by query or by config.
#[tokio::test]
async fn kafka() {
    let relay = Running::start(Behaviour::StoreAndDeliver).await;
    let (status, _, body) = relay.post("?ack=kafka", &format!("[{EVENT},{EVENT}]")).await;
    let receipts = r#""receipts":[{"id":"a","seq":1,"topic":"events","partition":0,"offset":0},{"id":"a","seq":2,"topic":"events","partition":0,"offset":1}]"#;
    assert_eq!(status, 200);
    assert_eq!(body, format!(r#"{{"accepted":2,"duplicates":0,"first_seq":1,"last_seq":2,"ack":"kafka","durable":true,{receipts}}}"#));
    assert_eq!(relay.post("", EVENT).await.0, 202);

    let relay = Running::start_with(Behaviour::StoreAndDeliver, |config| config.ack = AckLevel::Kafka).await;
    assert_eq!(relay.post("", EVENT).await.0, 200);
    assert_eq!(relay.post("?ack=buffered", EVENT).await.0, 202);

    for behaviour in [Behaviour::Store, Behaviour::StoreAndGiveUp] {
        let relay = Running::start(behaviour).await;
        let (status, _, body) = relay.post("?ack=kafka&timeout=10ms", EVENT).await;
        assert_eq!(status, 202);
        assert!(body.contains(r#""ack":"buffered""#) && !body.contains("receipts"), "{body}");
        assert_eq!(relay.fake.stored().len(), 1);
    }
}

// Goal: a full buffer tells how full, how fast and how long, and that nothing was stored.
#[tokio::test]
async fn full() {
    let relay = Running::start(Behaviour::Full).await;
    let (status, head, body) = relay.post("", EVENT).await;
    assert_eq!(status, 503);
    assert!(head.contains("retry-after: 3") && head.contains("content-type: application/problem+json"), "{head}");
    let expect = r#"{"type":"urn:dualstream:problem/buffer-full","title":"The buffer is full","status":503,"detail":"the buffer is full; nothing was stored","depth":7,"bytes":80,"max_bytes":90,"drain_rate":1.5,"seconds_to_room":2.5}"#;
    assert_eq!(body, expect);
    assert_eq!((relay.requests(503), relay.events()), (1, [0, 1, 0, 0, 0, 0]));
}

// Goal: the wait for room is mine to choose.
#[tokio::test]
async fn timeout_for_room() {
    let relay = Running::start_with(Behaviour::Full, |config| config.full_timeout = Duration::from_secs(3600)).await;
    assert_eq!(relay.post("?timeout=0s", EVENT).await.0, 503);
}

// Goal: a relay that stops or is broken says which.
#[tokio::test]
async fn cannot_store() {
    for (behaviour, name) in [(Behaviour::ShuttingDown, "shutting-down"), (Behaviour::StorageFailed, "storage-failed")] {
        let relay = Running::start(behaviour).await;
        let (status, head, body) = relay.post("", EVENT).await;
        assert_eq!(status, 503);
        assert!(head.contains("retry-after: "));
        assert_eq!(problem(&body)["type"], format!("urn:dualstream:problem/{name}"));
        assert_eq!(relay.events(), [0, 0, 0, 1, 0, 0]);
    }
}

// Goal: every refusal has the status of the contract and says what to do; nothing of a refused request is stored.
#[tokio::test]
async fn refusals() {
    let relay = Running::start(Behaviour::Store).await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    let (large, huge) = (EVENT.replace("\"x\":1", &format!("\"x\":\"{}\"", "y".repeat(1000))), " ".repeat(100_001));
    let many = format!("[{}]", [EVENT; 11].join(","));
    let wrong_topic = EVENT.replace("\"u\"", "\"a b\"");
    let cases = [
        (get("/"), 404, "not-found", "POST /v1/events"),
        (get("/v1/events/"), 404, "not-found", "/v1/events/"),
        (get("/v1/events"), 405, "method-not-allowed", "POST"),
        (post("?ack=all", JSON, EVENT), 400, "bad-query", "buffered or kafka"),
        (post("?topic=x", JSON, EVENT), 400, "bad-query", "\\\"topic\\\""),
        (post("?timeout=1h", JSON, EVENT), 400, "bad-query", "at most 5m"),
        (post("", JSON, "{\"id\":}"), 400, "malformed", "bad JSON at byte 6"),
        (post("", JSON, ""), 400, "malformed", "bad JSON at byte 0"),
        (post("", JSON, &format!("[{EVENT},}}]")), 400, "malformed", "\"index\":1"),
        (post("", JSON, &large), 413, "too-large", "ingest.max_event_bytes"),
        (post("", JSON, &many), 413, "too-large", "more than 10 events"),
        (post("", JSON, &huge), 413, "too-large", "100000 bytes"),
        (post("", "", EVENT), 415, "unsupported-media-type", "application/x-ndjson"),
        (post("", "content-type: text/plain\r\n", EVENT), 415, "unsupported-media-type", "text/plain"),
        (post("", "content-type: application/json\r\ncontent-encoding: gzip\r\n", EVENT), 415, "unsupported-media-type", "gzip"),
        (post("", JSON, "[]"), 422, "empty", "no event"),
        (post("", JSON, "{}"), 422, "invalid", r#""errors":[{"index":0,"field":"type","problem":"is required"}"#),
        (post("", JSON, &wrong_topic), 422, "invalid", r#""field":"topic""#),
    ];
    for (request, status, name, detail) in &cases {
        let (got, head, body) = relay.send(request).await;
        assert_eq!(got, *status, "{request}: {body}");
        assert!(head.contains("content-type: application/problem+json"), "{head}");
        assert_eq!(head.contains("allow: post"), *status == 405, "{head}");
        assert!(body.contains(detail), "{request}: {body}");
        let problem = problem(&body);
        assert_eq!(problem["type"], format!("urn:dualstream:problem/{name}"));
        assert_eq!(problem["status"], *status);
    }
    assert_eq!(relay.fake.stored(), [""; 0]);
    let counted: u64 = CODES.iter().map(|code| relay.requests(*code)).sum();
    assert_eq!(counted, cases.len() as u64);
}

// Goal: every content type of the contract is read.
#[tokio::test]
async fn content_types() {
    let relay = Running::start(Behaviour::Store).await;
    let cloud = r#"{"specversion":"1.0","id":"a","type":"t","source":"/u/1"}"#;
    let binary = "content-type: text/plain\r\nce-specversion: 1.0\r\nce-id: a\r\nce-type: t\r\nce-source: /u/1\r\n";
    for (headers, body) in [
        ("content-type: application/json; charset=utf-8\r\n", EVENT.to_owned()),
        ("content-type: application/x-ndjson\r\n", format!("{EVENT}\n")),
        ("content-type: application/cloudevents+json\r\n", cloud.to_owned()),
        ("content-type: application/cloudevents-batch+json\r\n", format!("[{cloud}]")),
        (binary, "hello".to_owned()),
    ] {
        let (status, _, reply) = relay.send(&post("", headers, &body)).await;
        assert_eq!(status, 202, "{reply}");
    }
    assert_eq!(relay.fake.stored().len(), 5);
    assert!(relay.fake.stored()[4].contains(r#""payload":"hello""#));
}

// Goal: the trace of my request reaches the record in Kafka.
#[tokio::test]
async fn traceparent() {
    let relay = Running::start(Behaviour::Store).await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for header in [trace, "nonsense"] {
        assert_eq!(relay.send(&post("", &format!("{JSON}traceparent: {header}\r\n"), EVENT)).await.0, 202);
    }
    let traces: Vec<_> = relay.fake.shared.stored.lock().unwrap().iter().map(|(_, trace)| trace.clone()).collect();
    assert_eq!(traces, [Some(trace.to_owned()), None]);
}
