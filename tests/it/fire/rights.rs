//! Guarantee G2 while Kafka forbids: a right that is taken away is an outage that somebody can end, never a reason to give an event up.

use std::time::Duration;

use super::{SOON, drained};
use crate::support::{
    consume::read_topic,
    kafka::{Kafka, unique},
    load::{Load, Plan},
    relay::Relay,
};

const ACLS: &str = "kafka.admin.AclCommand";

// Goal: somebody takes the right to write away, and gives it back: the relay says which right is missing, keeps everything, and goes on by
// itself; a client that is throttled by a quota is only slow.
#[test]
fn a_revoked_right_blocks_and_a_restored_one_drains() {
    let kafka = Kafka::start_with(
        1,
        &[("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"), ("allow.everyone.if.no.acl.found", "true")],
    );
    let topic = unique("rights");
    kafka.create_topic(&topic, 3, 1, &[]);
    let relay = Relay::builder().kafka(&kafka.bootstrap(), &topic).start();
    let plan = Plan { writers: 2, sources: 3, batch: 20, spread: true, pause: Duration::from_millis(5), ..Plan::default() };
    let load = Load::start(relay.ingest_socket(), &plan);
    load.wait_accepted(1_000, SOON);

    let deny = ["--deny-principal", "User:ANONYMOUS", "--operation", "Write", "--topic", topic.as_str()];
    kafka.tool(ACLS, &[&["--add", "--force"], &deny[..]].concat());
    relay.wait_metric(r#"drain_blocked{reason="authorization"}"#, SOON, |blocked| blocked > 0.0);
    let status = relay.status();
    assert_eq!(status["drain"]["state"], "blocked");
    assert!(status["drain"]["detail"].as_str().is_some_and(|words| words.contains("grant WRITE")), "{}", status["drain"]);
    load.wait_accepted(1_000, SOON);
    relay.probe_client().get("/readyz").expect(200);
    let named = |line: &serde_json::Value| line["reason"] == "authorization";
    assert!(relay.json_logs().iter().any(named), "the log says nothing");

    kafka.tool(ACLS, &[&["--remove", "--force"], &deny[..]].concat());
    // The last right of a resource is gone: everybody may again.
    relay.wait_metric(r#"drain_blocked{reason="authorization"}"#, SOON, |blocked| blocked == 0.0);
    let quota = ["--alter", "--entity-type", "clients", "--entity-default", "--add-config", "producer_byte_rate=100000"];
    kafka.tool("kafka.admin.ConfigCommand", &quota);
    load.wait_accepted(500, SOON);
    let report = load.stop();
    drained(&relay);
    assert_eq!(relay.metric("dead_letters"), 0.0);
    report.assert_delivered(&read_topic(&kafka.bootstrap(), &topic));
    assert_eq!(relay.stop(SOON), 0);
}
