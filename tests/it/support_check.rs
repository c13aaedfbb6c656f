//! The harness itself: a test that fails here says nothing about the relay.

use std::time::{Duration, Instant};

use rdkafka::{
    ClientConfig,
    message::{Header, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, Producer},
};

use crate::support::{
    consume::{Record, read_count, read_topic},
    kafka::{Kafka, unique},
    metrics, order,
    redis::Redis,
    subscriber::Subscriber,
};

const SOON: Duration = Duration::from_secs(30);

// A record comes back from Kafka with its key, value, header and timestamp, from every partition.
#[test]
fn kafka_gives_back_what_was_produced() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("round-trip", 3);
    let producer = producer(&kafka.bootstrap());
    for n in 0..30 {
        let headers = OwnedHeaders::new().insert(Header { key: "dualstream", value: Some(&format!("relay-a/{n}")) });
        let (key, value) = (format!("source-{}", n % 7), format!(r#"{{"n":{n}}}"#));
        let record = BaseRecord::to(&topic).key(&key).payload(&value).headers(headers).timestamp(1_700_000_000_000 + n);
        producer.send(record).map_err(|(e, _)| e).unwrap();
    }
    producer.flush(SOON).unwrap();

    let records = read_topic(&kafka.bootstrap(), &topic);

    assert_eq!(records.len(), 30);
    let tenth = records.iter().find(|r| r.json()["n"] == 10).unwrap();
    assert_eq!(tenth.key_str(), "source-3");
    assert_eq!(tenth.timestamp_ms, 1_700_000_000_010);
    assert_eq!(tenth.header("dualstream"), Some(&b"relay-a/10"[..]));
    order::assert_ordered(&records);
    assert_eq!(order::by_key(&records).len(), 7);
    assert!(read_topic(&kafka.bootstrap(), &kafka.topic("empty", 2)).is_empty());
}

// A broker that was stopped, or killed, comes back at its address with its data.
#[test]
fn a_broker_comes_back_as_it_was() {
    let kafka = Kafka::start(1);
    kafka.create_topic("kept", 1, 1, &[("max.message.bytes", "2000000")]);
    let bootstrap = kafka.bootstrap();
    let producer = producer(&bootstrap);
    send(&producer, "kept", "before");

    kafka.stop_broker(0);
    let metadata = producer.client().fetch_metadata(None, Duration::from_millis(300));
    assert!(metadata.is_err(), "a stopped broker answers");
    kafka.start_broker(0);
    send(&producer, "kept", "between");
    kafka.kill_broker(0);
    kafka.start_broker(0);
    send(&producer, "kept", "after");
    kafka.pause(0);
    let metadata = producer.client().fetch_metadata(None, Duration::from_millis(300));
    assert!(metadata.is_err(), "a paused broker answers");
    kafka.resume(0);

    assert_eq!(kafka.bootstrap(), bootstrap);
    let records = read_count(&bootstrap, "kept", 3, SOON);
    let values: Vec<_> = records.iter().map(|r| r.value.as_slice()).collect();
    assert_eq!(values, [&b"before"[..], b"between", b"after"]);
}

// Three brokers replicate a topic, and go on when the leader is killed.
#[test]
fn three_brokers_survive_the_loss_of_a_leader() {
    let kafka = Kafka::start(3);
    kafka.create_topic("replicated", 2, 3, &[]);
    let producer = producer(&kafka.bootstrap());
    send(&producer, "replicated", "one");

    let leader = kafka.leader("replicated", 0);
    kafka.kill_broker(leader);
    send(&producer, "replicated", "two");
    kafka.start_broker(leader);

    let mut values: Vec<_> = read_topic(&kafka.bootstrap(), "replicated").into_iter().map(|r| r.value).collect();
    values.sort_unstable();
    assert_eq!(values, [b"one", b"two"]);
}

// A subscriber sees what is published, in order, with the channel.
#[test]
fn a_subscriber_sees_what_is_published() {
    let redis = Redis::start_with_password("secret");
    let subscriber = Subscriber::start(&redis.url(), "events:*");
    let mut connection = redis.connection();
    publish(&mut connection, "events:order:1", r#"{"id":"a"}"#);
    publish(&mut connection, "other", "not for us");
    publish(&mut connection, "events:order:2", r#"{"id":"b"}"#);

    let messages = subscriber.wait_for(2, SOON);

    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0].channel, "events:order:1");
    assert_eq!(messages[1].json()["id"], "b");
    assert!(messages[0].received <= messages[1].received);
}

// Redis can freeze with its connections open, thaw, stop, and come back at its address.
#[test]
fn redis_freezes_and_comes_back() {
    let redis = Redis::start();
    let (url, mut connection) = (redis.url(), redis.connection());
    connection.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    redis.freeze();
    let frozen: redis::RedisResult<String> = redis::cmd("PING").query(&mut connection);
    assert!(frozen.unwrap_err().is_timeout());
    redis.thaw();
    redis::cmd("PING").exec(&mut redis.connection()).unwrap();

    let subscriber = Subscriber::start(&url, "*");
    redis.stop();
    assert!(redis::Client::open(url.clone()).unwrap().get_connection().is_err());
    redis.start_again();

    assert_eq!(redis.url(), url);
    publish(&mut redis.connection(), "events:a:1", "{}");
    assert_eq!(subscriber.count(), 0);
    assert!(subscriber.ended().is_some());
}

// Deduplication drops what a relay sent again, per relay and partition, and nothing else.
#[test]
fn dedup_follows_relay_and_partition() {
    let record = |partition, origin: &str| Record {
        partition,
        offset: 0,
        key: Some(format!("source-{partition}").into_bytes()),
        value: Vec::new(),
        timestamp_ms: 0,
        headers: vec![("dualstream".into(), origin.into())],
    };
    let sent =
        [record(0, "a/0"), record(0, "a/1"), record(1, "a/1"), record(0, "b/1"), record(0, "a/0"), record(0, "a/1"), record(0, "a/4")];

    let (unique, duplicates) = order::dedup(&sent);

    assert_eq!(duplicates, 2);
    assert_eq!(unique.len(), 5);
    order::assert_ordered(&unique);
}

// Metrics are read by series and by name, in Prometheus' and in OpenMetrics' spelling.
#[test]
fn metrics_are_read_by_series_and_by_name() {
    let text = r#"# TYPE dualstream_ingest_requests counter
dualstream_ingest_requests_total{code="202"} 5
dualstream_ingest_requests_total{code="503",why="a } b"} 2 # {trace_id="x"} 1.0
# TYPE dualstream_dead_letters gauge
dualstream_buffer_events 7
"#;
    assert_eq!(metrics::value(text, "ingest_requests_total"), Some(7.0));
    let one = r#"dualstream_ingest_requests_total{code="202"}"#;
    assert_eq!(metrics::value(text, one), Some(5.0));
    assert_eq!(metrics::value(text, "buffer_events"), Some(7.0));
    assert_eq!(metrics::value(text, "dead_letters"), Some(0.0));
    assert_eq!(metrics::value(text, "nonsense"), None);
}

fn producer(bootstrap: &str) -> BaseProducer {
    ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("partitioner", "murmur2_random")
        .set("message.timeout.ms", "60000")
        .set("reconnect.backoff.max.ms", "200")
        .set("log_level", "0")
        .create()
        .unwrap()
}

/// Sends one record with a key of its own and waits until Kafka has it.
fn send(producer: &BaseProducer, topic: &str, value: &str) {
    let started = Instant::now();
    let key = unique("key");
    let record = BaseRecord::to(topic).key(&key).payload(value);
    producer.send(record).map_err(|(e, _)| e).unwrap();
    producer.flush(Duration::from_secs(60)).unwrap_or_else(|e| panic!("{value} not taken after {:?}: {e}", started.elapsed()));
}

fn publish(connection: &mut redis::Connection, channel: &str, payload: &str) {
    let mut command = redis::cmd("PUBLISH");
    command.arg(channel).arg(payload).exec(connection).unwrap();
}
