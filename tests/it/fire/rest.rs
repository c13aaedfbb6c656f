//! A relay that can do nothing but wait takes no processor from the application beside it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    SOON,
    copies::{TOO_LARGE, event, post, setting},
    drained, operate, with_socket,
};
use crate::support::{
    kafka::{Kafka, unique},
    ports,
    relay::Relay,
    relay_builder::Builder,
    wait,
};

/// How long a relay is watched at a time.
const SLICE: Duration = Duration::from_secs(3);
/// Most of a core that it may take meanwhile. Measured: 0.2 to 1.5 % each; a loop that looks without waiting takes far more.
const MOST: f64 = 0.1;

/// Many requests, so that there is something to go through again and again.
fn fill(relay: &Relay, kind: &str) {
    let batch: Vec<Value> =
        (0..300).map(|n| json!({"type": kind, "source_type": "user", "source_id": format!("s{}", n % 7), "payload": n})).collect();
    for _ in 0..20 {
        relay.client().post_json("/v1/events", &json!(batch)).expect(202);
    }
}

fn away() -> Builder {
    Relay::builder().kafka(&ports::address(ports::free()), "events")
}

#[track_caller]
fn wait_status(relay: &Relay, what: &str, holds: impl Fn(&Value) -> bool) {
    wait::until_ok(what, SOON, || {
        let status = relay.status();
        if holds(&status) { Ok(()) } else { Err(status["drain"].to_string()) }
    });
}

#[track_caller]
fn wait_state(relay: &Relay, state: &str) {
    wait_status(relay, state, |status| status["drain"]["state"] == state);
}

fn pause(relay: &Relay, socket: &str) {
    let _ = operate(socket, &["pause"]);
    wait_state(relay, "paused");
}

fn quiet(kafka: &Kafka) -> Relay {
    let relay = Relay::builder().kafka(&kafka.bootstrap(), &kafka.topic("rest", 3)).start();
    fill(&relay, "t");
    drained(&relay);
    relay
}

fn kafka_away() -> Relay {
    let relay = away().start();
    fill(&relay, "t");
    relay
}

fn full() -> Relay {
    let relay = away().set("buffer.max_bytes", "2MiB").set("ingest.full_timeout", "100ms").start();
    let large = json!({"type": "t", "source_type": "user", "source_id": "1", "payload": "x".repeat(100_000)});
    wait::until_eq("a full buffer", SOON, &503, || relay.client().post_json("/v1/events", &large).status);
    relay
}

fn redis_away(kafka: &Kafka) -> Relay {
    let nobody = format!("redis://{}", ports::address(ports::free()));
    let relay = Relay::builder().kafka(&kafka.bootstrap(), &kafka.topic("rest-redis", 3)).redis(&nobody).start();
    fill(&relay, "t");
    drained(&relay);
    relay
}

fn missing_topic(kafka: &Kafka) -> Relay {
    let builder = Relay::builder().kafka(&kafka.bootstrap(), &unique("rest-missing"));
    let relay = builder.kafka_property("topic.metadata.propagation.max.ms", "2000").start();
    fill(&relay, "t");
    wait_state(&relay, "blocked");
    relay
}

/// Two topics are missing, and so their events parked; a third takes its own.
fn parked(kafka: &Kafka, is_paused: bool) -> Relay {
    let name = unique("rest-parked");
    kafka.create_topic(&format!("{name}.a"), 3, 1, &[]);
    let builder = Relay::builder().kafka(&kafka.bootstrap(), &format!("{name}.{{type}}")).set("kafka.on_blocked", "park");
    let (relay, socket) = with_socket(builder);
    for kind in ["a", "b", "c"] {
        fill(&relay, kind);
    }
    let parked = |events: u64| {
        move |status: &Value| status["buffer"]["parked"]["events"] == events && status["buffer"]["ledger"]["backlog"] == events
    };
    wait_status(&relay, "two topics are parked", parked(12_000));
    // In a file of its own each.
    for more in 1..=5 {
        post(&relay, &json!({"type": "b", "source_type": "user", "source_id": "s"}));
        wait_status(&relay, "one more is parked", parked(12_000 + more));
    }
    if is_paused {
        pause(&relay, &socket);
    }
    relay
}

/// A dead letter whose topic is missing.
fn uncopied(kafka: &Kafka) -> Relay {
    let (_, _, builder) = setting(kafka, "rest-dead");
    let relay = builder.start();
    post(&relay, &event("p1", TOO_LARGE));
    wait_status(&relay, "a copy that has to wait", |status| !status["dead_letters"]["copies"]["blocked"].is_null());
    relay
}

fn paused(kafka: &Kafka) -> Relay {
    let (relay, socket) = with_socket(Relay::builder().kafka(&kafka.bootstrap(), &kafka.topic("rest-paused", 3)));
    pause(&relay, &socket);
    fill(&relay, "t");
    relay
}

/// An event that Kafka never takes, with more behind it, where that holds the line.
fn refused(kafka: &Kafka) -> Relay {
    let (_, _, builder) = setting(kafka, "rest-refused");
    let relay = builder.set("kafka.on_rejected", "block").start();
    post(&relay, &event("p1", TOO_LARGE));
    fill(&relay, "load");
    relay.wait_metric(r#"drain_blocked{reason="rejected"}"#, SOON, |blocked| blocked == 1.0);
    relay
}

fn dead_letters_full(kafka: &Kafka) -> Relay {
    let (_, _, builder) = setting(kafka, "rest-full-dead");
    let relay = builder.set("buffer.dead_letter_bytes", "64KiB").set("buffer.dead_letters_full", "block").start();
    for n in 0..8 {
        post(&relay, &event(&format!("p{n}"), TOO_LARGE));
    }
    fill(&relay, "load");
    relay.wait_metric(r#"drain_blocked{reason="dead_letters_full"}"#, SOON, |blocked| blocked == 1.0);
    relay
}

fn in_transactions(kafka: &Kafka, has_cursors: bool) -> Relay {
    let cursors = unique("rest-cursors");
    if has_cursors {
        kafka.create_topic(&cursors, 1, 1, &[("cleanup.policy", "compact")]);
    }
    let builder = Relay::builder().kafka(&kafka.bootstrap(), &kafka.topic("rest-once", 3));
    let relay = builder.set("kafka.delivery", "exactly-once").set("kafka.cursor_topic", cursors).start();
    fill(&relay, "t");
    if has_cursors {
        drained(&relay);
    } else {
        wait_state(&relay, "blocked");
    }
    relay
}

// Goal: whatever my relay waits for (Kafka, a topic, room, Redis, an operator), and however much lies in its buffer meanwhile, it leaves the processor to
// the application beside it.
#[test]
fn waiting_costs_nothing() {
    let kafka = Kafka::shared();
    let waiting = [
        ("nothing to do", quiet(kafka)),
        ("Kafka away", kafka_away()),
        ("the buffer full", full()),
        ("Redis away", redis_away(kafka)),
        ("paused", paused(kafka)),
        ("a topic missing", missing_topic(kafka)),
        ("topics parked", parked(kafka, false)),
        ("topics parked, and paused", parked(kafka, true)),
        ("a dead letter that cannot be copied", uncopied(kafka)),
        ("an event refused", refused(kafka)),
        ("the dead letters full", dead_letters_full(kafka)),
        ("nothing to do, in transactions", in_transactions(kafka, true)),
        ("the topic for cursors missing", in_transactions(kafka, false)),
    ];
    let look = || (Instant::now(), waiting.each_ref().map(|(_, relay)| relay.processor_seconds()));
    let (mut last, mut seen) = (look(), String::from("nothing yet"));
    wait::until_ok("all of them to rest", SOON, || {
        let slice = last.0.elapsed();
        if slice < SLICE {
            return Err(seen.clone());
        }
        let now = look();
        let shares = now.1.iter().zip(last.1).map(|(now, before)| (now - before) / slice.as_secs_f64());
        let busy = waiting.iter().zip(shares).filter(|(_, share)| *share > MOST);
        let busy: Vec<String> = busy.map(|((state, _), share)| format!("{state}: {:.0} % of a core", share * 100.0)).collect();
        (last, seen) = (now, busy.join(", "));
        if busy.is_empty() { Ok(()) } else { Err(seen.clone()) }
    });
}
