//! Guarantees G2 to G4 over a network that swallows, delays and drops.

use std::time::Duration;

use super::{SOON, drained};
use crate::support::{
    consume::read_topic,
    kafka::{Kafka, unique},
    load::{Load, Plan},
    proxy::Proxy,
    relay::Relay,
    wait,
};

fn plan() -> Plan {
    Plan { writers: 3, sources: 3, batch: 20, spread: true, pause: Duration::from_millis(2), ..Plan::default() }
}

fn start(proxy: &Proxy, kafka: &Kafka) -> (Relay, String) {
    let topic = unique("network");
    kafka.create_topic(&topic, 3, 1, &[]);
    // Short, so that a dead connection is noticed while the test looks.
    let relay = Relay::builder().kafka(proxy.address(), &topic).kafka_property("socket.timeout.ms", "3000").set("ops.stall_after", "8s");
    (relay.kafka_property("request.timeout.ms", "2000").start(), topic)
}

// Goal: Kafka has my events and the connection breaks before it can say so, again and again: nothing is lost, reordered, or there twice.
#[test]
fn an_ack_that_is_lost_makes_no_duplicate() {
    let (kafka, proxy) = Kafka::start_proxied();
    let (relay, topic) = start(&proxy, &kafka);
    let load = Load::start(relay.ingest_socket(), &plan());
    load.wait_accepted(1_000, SOON);
    proxy.cut_produce_answers(15);
    wait::until("15 answers are swallowed", SOON, || (proxy.was_cut() == 15).then_some(()));
    load.wait_accepted(1_000, SOON);
    let report = load.stop();
    drained(&relay);
    let duplicates = report.assert_delivered(&read_topic(&kafka.bootstrap(), &topic));
    assert_eq!(duplicates, 0, "within one process a retry is recognised by the broker");
    assert_eq!(relay.metric("drain_retries_total"), 0.0, "the handle went on by itself");
    assert_eq!(relay.stop(SOON), 0);
}

// Goal: packets are dropped, not refused: writes go on, and everything arrives once the network is back, in order.
#[test]
fn a_black_hole_is_waited_out() {
    let (kafka, proxy) = Kafka::start_proxied();
    let (relay, topic) = start(&proxy, &kafka);
    let load = Load::start(relay.ingest_socket(), &plan());
    load.wait_accepted(1_000, SOON);
    proxy.black_hole(true);
    load.wait_accepted(5_000, SOON);
    // Longer than requests take to time out, so that connections are tried again and swallowed, too.
    relay.wait_metric(r#"degraded{reason="drain_stalled"}"#, SOON, |stalled| stalled > 0.0);
    relay.probe_client().get("/readyz").expect(200);
    proxy.black_hole(false);
    load.wait_accepted(1_000, SOON);
    let report = load.stop();
    drained(&relay);
    let duplicates = report.assert_delivered(&read_topic(&kafka.bootstrap(), &topic));
    assert_eq!(duplicates, 0);
    assert_eq!(relay.stop(SOON), 0);
}

// Goal: a broker that acknowledges late slows the drain, and changes nothing else.
#[test]
fn late_acks_are_waited_for() {
    let (kafka, proxy) = Kafka::start_proxied();
    let (relay, topic) = start(&proxy, &kafka);
    proxy.delay_produce_answers(Duration::from_millis(700));
    let load = Load::start(relay.ingest_socket(), &Plan { pause: Duration::from_millis(20), ..plan() });
    load.wait_accepted(2_000, SOON);
    let report = load.stop();
    drained(&relay);
    assert_eq!(report.assert_delivered(&read_topic(&kafka.bootstrap(), &topic)), 0);
    assert_eq!(relay.metric("drain_retries_total"), 0.0);
    assert_eq!(relay.stop(SOON), 0);
}
