//! Guarantee G2 while Kafka forbids: a right that is taken away is an outage that somebody can end, never a reason to give an event up.

use std::{sync::OnceLock, time::Duration};

use serde_json::{Value, json};

use super::{
    SOON,
    copies::{TOO_LARGE, event, post, setting},
    drained, operate, with_socket,
};
use crate::support::{
    command::dualstream,
    consume::read_topic,
    kafka::{Kafka, unique},
    load::{Load, Plan},
    relay::Relay,
    wait,
};

pub const ACLS: &str = "kafka.admin.AclCommand";

/// A Kafka with rights: what nobody has ruled for a topic, everybody may.
pub fn guarded() -> &'static Kafka {
    static GUARDED: OnceLock<Kafka> = OnceLock::new();
    let rules =
        [("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"), ("allow.everyone.if.no.acl.found", "true")];
    GUARDED.get_or_init(|| Kafka::start_with(1, &rules))
}

// Goal: somebody takes the right to write away, and gives it back: the relay says which right is missing, keeps everything, and goes on by
// itself; a client that is throttled by a quota is only slow.
#[test]
fn a_revoked_right_blocks_and_a_restored_one_drains() {
    let kafka = guarded();
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
    let named = |line: &Value| line["reason"] == "authorization";
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

// Goal: I ask for a recovery that reads, and have forgotten the right to read: the check tells me before anything happens; without it events still
// arrive, and the log says why some may come twice.
#[test]
fn a_missing_right_to_read_is_told() {
    let kafka = guarded();
    let topic = unique("unread");
    kafka.create_topic(&topic, 1, 1, &[]);
    let allow = |operation: &str| {
        kafka.tool(ACLS, &["--add", "--allow-principal", "User:ANONYMOUS", "--operation", operation, "--topic", topic.as_str()]);
    };
    allow("Write");
    let (mut relay, socket) = with_socket(Relay::builder().kafka(&kafka.bootstrap(), &topic).set("kafka.recovery", "reconcile"));
    let config = relay.dir().join("dualstream.toml").display().to_string();
    let unread = || {
        let ended = dualstream(["check", "--connect", "--json", "--config", &config]).run().expect(0);
        let checks = ended.json()["checks"].as_array().cloned().unwrap_or_default();
        checks.into_iter().filter(|check| check["name"] == "kafka" && check["verdict"] != "ok").collect::<Vec<Value>>()
    };
    let told = unread();
    let is_told = |check: &Value| check["verdict"] == "warn" && check["cure"].as_str().is_some_and(|cure| cure.starts_with("grant READ"));
    assert!(told.len() == 1 && is_told(&told[0]), "{told:#?}");

    // So that something is in doubt after the kill, and there is something to read.
    let event = json!({"type": "t", "source_type": "user", "source_id": "s"});
    Relay::builder().kafka(&kafka.bootstrap(), &topic).start().client().post_json("/v1/events?ack=kafka", &event).expect(200);
    let _ = operate(&socket, &["pause"]);
    relay.client().post_json("/v1/events", &event).expect(202);
    relay.restart();
    drained(&relay);
    let is_said = |line: &Value| line["level"] == "WARN" && line["why"].as_str().is_some_and(|why| why.contains("grant READ"));
    assert!(relay.json_logs().iter().any(is_said), "{:#?}", relay.json_logs());

    allow("Read");
    assert_eq!(unread(), [Value::Null; 0]);
    assert_eq!(relay.stop(SOON), 0);
}

// Goal: the relay may not use its dead-letter topic: the check and the status say which right is missing, nothing else is held up, and the copy follows when
// the right is there.
#[test]
fn a_forbidden_dead_letter_topic_is_told_and_holds_nothing_up() {
    let kafka = guarded();
    let (events, dead, relay) = setting(kafka, "forbidden-dead");
    kafka.create_topic(&dead, 1, 1, &[]);
    let deny = ["--deny-principal", "User:ANONYMOUS", "--operation", "All", "--topic", dead.as_str()];
    kafka.tool(ACLS, &[&["--add", "--force"], &deny[..]].concat());
    let relay = relay.start();
    post(&relay, &event("p1", TOO_LARGE));
    post(&relay, &event("g1", 100));
    drained(&relay);
    let blocked = wait::until("the reason", SOON, || {
        let blocked = relay.status()["dead_letters"]["copies"]["blocked"].clone();
        blocked.is_object().then_some(blocked)
    });
    assert_eq!(blocked["reason"], "authorization");
    assert!(blocked["detail"].as_str().is_some_and(|words| words.contains("grant WRITE") && words.contains(&dead)), "{blocked}");
    let config = relay.dir().join("dualstream.toml").display().to_string();
    let said = dualstream(["check", "--connect", "--config", &config, "--set", &format!("kafka.topic={events}")]).run().stdout;
    assert!(said.contains("this user may not use topic") && said.contains("kafka.dead_letter_topic"), "{said}");

    kafka.tool(ACLS, &[&["--remove", "--force"], &deny[..]].concat());
    relay.wait_metric("dead_letters_uncopied", SOON, |waiting| waiting == 0.0);
    assert_eq!(read_topic(&kafka.bootstrap(), &dead).len(), 1);
    assert_eq!(relay.stop(SOON), 0);
}
