//! G5, Kafka first: who hears of an event can read it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
};
use serde_json::json;

use super::SOON;
use crate::support::{
    consume::read_topic,
    kafka::Kafka,
    load::{Load, Plan},
    redis::Redis,
    relay::Relay,
    subscriber::Subscriber,
    wait,
};

const TOPIC: &str = "events";
const PARTITIONS: i32 = 4;

/// Events before Kafka stands still, while it does, and afterwards.
const STEP: u64 = 1500;

// Goal: no subscriber ever hears of an event that a Kafka consumer cannot find at that moment; not under load, and not while Kafka
// stands still: then there is silence, and afterwards every event is told of once, per source in Kafka's order.
#[test]
fn nobody_hears_of_an_event_that_kafka_does_not_have() {
    let kafka = Kafka::start(1);
    kafka.create_topic(TOPIC, usize::try_from(PARTITIONS).unwrap(), 1, &[]);
    let redis = Redis::start();
    let everything = Subscriber::start(&redis.url(), "events:*");
    let witness = Witness::start(&redis.url(), &kafka.bootstrap());
    let relay = Relay::builder().kafka(&kafka.bootstrap(), TOPIC).redis(&redis.url()).start();
    let plan = Plan { writers: 4, sources: 3, batch: 5, pause: Duration::from_millis(5), ..Plan::default() };
    let load = Load::start(relay.ingest_socket(), &plan);
    load.wait_accepted(STEP, SOON);

    kafka.pause(0);
    let marked = json!([{"id": "while-frozen", "type": "t", "source_type": "user", "source_id": "marked"}]);
    relay.client().post_json("/v1/events", &marked).expect(202);
    load.wait_accepted(STEP, SOON);
    let heard = everything.messages().iter().any(|message| message.payload.contains("while-frozen"));
    kafka.resume(0);
    assert!(!heard, "told of an event while Kafka stood still");
    load.wait_accepted(STEP, SOON);

    let report = load.stop();
    relay.wait_metric("buffer_events", SOON, |backlog| backlog == 0.0);
    let total = usize::try_from(report.accepted()).unwrap() + 1;
    assert!(total as u64 > 3 * STEP);
    assert_eq!(report.refused() + report.unknown(), 0, "{:?}", report.statuses());
    let told = everything.wait_for(total, SOON);
    assert_eq!(told.len(), total, "each event is told of once");
    let seen = witness.finish();
    assert_eq!(seen.told, total);
    assert!(seen.unfound.is_empty(), "told before Kafka had it: {:?}", seen.unfound);
    assert_same_order(&kafka.bootstrap(), &told);
}

/// Per source, the notifications are in the order of Kafka's log.
fn assert_same_order(bootstrap: &str, told: &[crate::support::subscriber::Message]) {
    let mut in_kafka: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in read_topic(bootstrap, TOPIC) {
        let event = record.json();
        let channel = format!("events:{}:{}", event["source_type"].as_str().unwrap(), event["source_id"].as_str().unwrap());
        in_kafka.entry(channel).or_default().push(event["id"].to_string());
    }
    let mut in_redis: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for message in told {
        in_redis.entry(message.channel.clone()).or_default().push(message.json()["id"].to_string());
    }
    assert_eq!(in_redis, in_kafka);
}

/// A subscriber that looks every event up in Kafka at the moment that it hears of it.
struct Witness {
    redis: String,
    thread: JoinHandle<Testimony>,
}

#[derive(Debug, Default)]
struct Testimony {
    told: usize,
    /// Ids of events that were not in Kafka when they were told of.
    unfound: Vec<String>,
}

impl Witness {
    /// What is published here ends the testimony: Redis delivers it after everything before.
    const STOP: &str = "witness:stop";

    fn start(redis: &str, bootstrap: &str) -> Self {
        let mut log = Log::open(bootstrap);
        let mut connection = redis::Client::open(redis).unwrap().get_connection().unwrap();
        let (subscribed, is_subscribed) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut subscription = connection.as_pubsub();
            subscription.psubscribe(&["events:*", Self::STOP]).unwrap();
            subscribed.send(()).unwrap();
            let mut testimony = Testimony::default();
            loop {
                let message = subscription.get_message().expect("Redis outlives the witness");
                if message.get_channel_name() == Self::STOP {
                    return testimony;
                }
                testimony.hear(&message.get_payload::<String>().unwrap(), &mut log);
            }
        });
        is_subscribed.recv_timeout(SOON).expect("it subscribes");
        Self { redis: redis.to_owned(), thread }
    }

    /// What it has to say about everything published so far.
    fn finish(self) -> Testimony {
        let mut connection = redis::Client::open(self.redis).unwrap().get_connection().unwrap();
        redis::cmd("PUBLISH").arg(Self::STOP).arg("").exec(&mut connection).unwrap();
        self.thread.join().expect("the witness does not panic")
    }
}

impl Testimony {
    fn hear(&mut self, payload: &str, log: &mut Log) {
        self.told += 1;
        let message: serde_json::Value = serde_json::from_str(payload).unwrap();
        let id = message["id"].as_str().unwrap();
        if !log.has_now(id) {
            self.unfound.push(id.to_owned());
        }
    }
}

/// What a consumer has read.
struct Log {
    consumer: BaseConsumer,
    /// Where each event is.
    places: HashMap<String, (i32, i64)>,
    /// The offset after the last record read, per partition.
    next: HashMap<i32, i64>,
}

impl Log {
    fn open(bootstrap: &str) -> Self {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("group.id", "witness")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "5")
            .set("log_level", "0")
            .create()
            .unwrap();
        let mut partitions = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            partitions.add_partition_offset(TOPIC, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&partitions).unwrap();
        Self { consumer, places: HashMap::new(), next: HashMap::new() }
    }

    /// Whether an event is below the high watermark of this moment, or was read before.
    fn has_now(&mut self, id: &str) -> bool {
        if self.places.contains_key(id) {
            return true;
        }
        // What is appended from here on does not count, though it may be read.
        let ends: Vec<_> = (0..PARTITIONS).map(|partition| (partition, self.high_watermark(partition))).collect();
        let deadline = Instant::now() + SOON;
        while ends.iter().any(|(partition, end)| self.next.get(partition).copied().unwrap_or_default() < *end) {
            assert!(Instant::now() < deadline, "cannot read up to {ends:?}, am at {:?}", self.next);
            let Some(Ok(message)) = self.consumer.poll(Duration::from_millis(100)) else { continue };
            self.next.insert(message.partition(), message.offset() + 1);
            let event: serde_json::Value = serde_json::from_slice(message.payload().unwrap()).unwrap();
            self.places.insert(event["id"].as_str().unwrap().to_owned(), (message.partition(), message.offset()));
        }
        self.places.get(id).is_some_and(|(partition, offset)| ends.iter().any(|(p, end)| p == partition && offset < end))
    }

    fn high_watermark(&self, partition: i32) -> i64 {
        wait::until_ok("a watermark", SOON, || self.consumer.fetch_watermarks(TOPIC, partition, Duration::from_secs(5))).1
    }
}
