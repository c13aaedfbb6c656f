//! Guarantees G2 and G3 when a topic goes away under load and comes back.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use rdkafka::{
    ClientConfig, ClientContext,
    error::RDKafkaErrorCode,
    message::DeliveryResult,
    producer::{BaseProducer, BaseRecord, Producer, ProducerContext},
};

use super::{SOON, drained};
use crate::support::{
    consume::read_topic,
    kafka::{Kafka, unique},
    load::{Load, Plan},
    order::{assert_ordered, dedup},
    relay::Relay,
    wait,
};

/// A producer that stands still after a topic was made again is replaced after two minutes.
const PATIENT: Duration = Duration::from_secs(400);

// Goal: the topic is deleted under load: the relay says so and keeps everything; it is made again: everything that Kafka had not
// acknowledged arrives, in order, without a restart.
#[test]
fn a_topic_that_is_made_again_gets_the_backlog() {
    let kafka = Kafka::shared();
    let topic = unique("again");
    kafka.create_topic(&topic, 3, 1, &[]);
    let relay = Relay::builder().kafka(&kafka.bootstrap(), &topic).kafka_property("topic.metadata.refresh.interval.ms", "2000");
    let relay = relay.kafka_property("topic.metadata.propagation.max.ms", "3000").start();
    let plan = Plan { writers: 4, sources: 1, batch: 10, pause: Duration::from_millis(5), ..Plan::default() };
    let load = Load::start(relay.ingest_socket(), &plan);
    load.wait_accepted(1_000, SOON);

    kafka.delete_topic(&topic);
    relay.wait_metric(r#"drain_blocked{reason="unknown_topic"}"#, SOON, |blocked| blocked > 0.0);
    let acked_before = relay.status()["buffer"]["acked_seq"].as_u64().unwrap();
    let detail = relay.status()["drain"]["detail"].to_string();
    assert!(detail.contains("create it"), "{detail}");
    load.wait_accepted(500, SOON);
    kafka.create_topic(&topic, 3, 1, &[]);
    wait::until_ok("acks of the new topic", PATIENT, || {
        let status = relay.status();
        let acked = status["buffer"]["acked_seq"].as_u64().unwrap();
        if acked > acked_before + 200 { Ok(()) } else { Err(status["drain"].to_string()) }
    });
    let report = load.stop();
    drained(&relay);
    assert_eq!(relay.metric("dead_letters"), 0.0);
    let (unique, _) = dedup(&read_topic(&kafka.bootstrap(), &topic));
    assert_ordered(&unique);
    // What the old topic had acknowledged went with it; of each source, what is here is the rest, without a hole.
    let mut numbers: BTreeMap<(u64, String), Vec<u64>> = BTreeMap::new();
    for record in &unique {
        let event = record.json();
        let writer = event["payload"]["w"].as_u64().unwrap();
        numbers.entry((writer, record.key_str().to_owned())).or_default().push(event["payload"]["n"].as_u64().unwrap());
    }
    assert_eq!(numbers.len(), 4, "{:?}", numbers.keys());
    let step = |numbers: &[u64]| numbers.windows(2).map(|pair| pair[1] - pair[0]).collect::<std::collections::BTreeSet<_>>();
    assert!(numbers.values().all(|numbers| step(numbers).len() == 1), "a hole: {numbers:?}");
    let last = numbers.values().filter_map(|numbers| numbers.last()).max();
    let posted = report.attempts.iter().map(|attempt| attempt.first + attempt.count - 1).max();
    assert_eq!(last.copied(), posted, "the newest is there");
    assert_eq!(relay.stop(SOON), 0);
}

/// What became of the one record that was sent.
#[derive(Default)]
struct Delivery(Mutex<Option<Result<(), RDKafkaErrorCode>>>);

impl ClientContext for Delivery {}

impl ProducerContext for Delivery {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let told = result.as_ref().map(drop).map_err(|(error, _)| error.rdkafka_error_code().expect("a code"));
        *self.0.lock().unwrap() = Some(told);
    }
}

/// Sends a record without a key; what Kafka says.
fn send_without_key(kafka: &Kafka, topic: &str) -> Result<(), RDKafkaErrorCode> {
    let mut client = ClientConfig::new();
    let client = client.set("bootstrap.servers", kafka.bootstrap());
    let producer: BaseProducer<Delivery> = client.create_with_context(Delivery::default()).unwrap();
    producer.send(BaseRecord::<(), _, _>::to(topic).payload("{}")).map_err(|(error, _)| error).unwrap();
    wait::until("a report", SOON, || {
        producer.poll(wait::POLL);
        *producer.context().0.lock().unwrap()
    })
}

// Goal: a compacted topic takes everything that the relay sends, since every event has a source and so a key; a record without one, from
// anybody else, it refuses.
#[test]
fn a_compacted_topic_takes_every_event() {
    let kafka = Kafka::shared();
    let topic = unique("compacted");
    kafka.create_topic(&topic, 3, 1, &[("cleanup.policy", "compact")]);
    let relay = Relay::builder().kafka(&kafka.bootstrap(), &topic).start();
    let load = Load::start(relay.ingest_socket(), &Plan { writers: 2, requests: 50, ..Plan::default() });
    let report = load.finish();
    drained(&relay);
    assert_eq!((relay.metric("dead_letters"), report.accepted()), (0.0, 1_000));
    report.assert_delivered(&read_topic(&kafka.bootstrap(), &topic));
    assert_eq!(send_without_key(kafka, &topic), Err(RDKafkaErrorCode::InvalidRecord));
    assert_eq!(relay.stop(SOON), 0);
}
