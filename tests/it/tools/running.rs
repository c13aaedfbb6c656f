//! The tools on a running relay: through ops, with the right to change something.

use std::fs;

use serde_json::json;

use super::{SOON, fixtures::nowhere};
use crate::support::{command::dualstream, consume::read_topic, dense::dense_text, kafka::Kafka, relay::Relay, scratch, wait};

/// `--url` of a relay's ops listener.
fn ops(relay: &Relay) -> String {
    let ready = relay.json_logs().into_iter().find(|line| line["message"] == "ready").expect("it is ready");
    format!("http://{}", ready["ops"].as_str().unwrap())
}

fn small(n: u64) -> serde_json::Value {
    json!({"id": format!("e{n}"), "type": "t", "source_type": "user", "source_id": "1", "payload": n})
}

// Goal: where I want no dead letters, one event that Kafka will never take stops the line; I see which, save it, give it up, and everything behind it is delivered
// without a restart, in order, while the books balance.
#[test]
fn a_poison_event_is_given_up() {
    let kafka = Kafka::shared();
    let topic = "poisoned-user";
    kafka.create_topic(topic, 1, 1, &[("max.message.bytes", "4000")]);
    // The limit of a topic that depends on the event is not known when the event is handed in.
    let relay = Relay::builder().kafka(&kafka.bootstrap(), "poisoned-{source_type}").set("kafka.on_rejected", "block");
    let socket = scratch::socket_path(relay.dir(), "ops.sock");
    let relay = relay.set("ops.socket", socket.display().to_string()).start();
    let mut poison = small(3);
    // What compression cannot make small.
    let mut random = dense_text(7, 20_000);
    random.insert(0, 'p');
    poison["payload"] = json!(random);
    for event in [small(1), small(2), poison.clone(), small(4), small(5)] {
        relay.client().post_json("/v1/events", &event).expect(202);
    }
    wait::until_ok("the poison event by its number", SOON, || {
        let told = relay.status()["drain"].to_string();
        if told.contains("event 3 ") { Ok(()) } else { Err(told) }
    });

    let at = ["--socket", socket.to_str().unwrap()];
    let saved = dualstream([&["buffer", "export", "--from-seq", "3", "--limit", "1"], &at[..]].concat()).run().expect(0).json_lines();
    assert_eq!(saved[0]["value"]["payload"], poison["payload"]);
    let purge = |more: &[&str]| {
        dualstream([&["buffer", "purge", "--from-seq", "3", "--to-seq", "3"], more, &at[..]].concat()).run().expect(0).stdout
    };
    assert!(purge(&[]).starts_with("Would purge 1 event, seq 3 to 3."));
    assert!(relay.metric("buffer_events") >= 3.0);
    assert_eq!(purge(&["--yes"]), "Purged 1 event, seq 3 to 3.\n");
    relay.wait_metric("buffer_events", SOON, |backlog| backlog == 0.0);
    let ids: Vec<String> =
        read_topic(&kafka.bootstrap(), topic).iter().map(|record| record.json()["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, ["e1", "e2", "e4", "e5"]);
    let ledger = relay.status()["buffer"]["ledger"].clone();
    assert_eq!((&ledger["acked"], &ledger["purged"], &ledger["accepted"]), (&json!(4), &json!(1), &json!(5)), "{ledger}");
    assert!(relay.metric("conservation_error") == 0.0);
    let log = relay.json_logs();
    let who = log.iter().find(|line| line["message"] == "a purge of waiting events was done").expect("a change is logged");
    assert!(who["who"].as_str().is_some_and(|who| who.starts_with("uid ")) && who["events"] == 1, "{who}");
}

// Goal: nobody can purge through a port of this machine without the token; with it, or over the socket, it works; a changed token counts
// at once.
#[test]
fn only_who_may_can_purge() {
    let dir = scratch::dir("token");
    let (token, wrong) = (dir.path().join("token"), dir.path().join("wrong"));
    fs::write(&token, "correct horse\n").unwrap();
    fs::write(&wrong, "battery staple\n").unwrap();
    let relay = nowhere().set("ops.token_file", token.display().to_string()).start();
    let without = nowhere().start();
    for relay in [&relay, &without] {
        (1..=4).for_each(|n| drop(relay.client().post_json("/v1/events", &small(n)).expect(202)));
    }
    let purge = |relay: &Relay, more: &[&str]| {
        dualstream([&["buffer", "purge", "--to-seq", "1", "--yes", "--url", &ops(relay)], more].concat()).run()
    };
    let refused = purge(&without, &[]).expect(1);
    assert!(refused.stderr.contains("ops.token_file is not set"), "{refused:#?}");
    for flags in [&[][..], &["--token-file", wrong.to_str().unwrap()]] {
        let refused = purge(&relay, flags).expect(1);
        assert!(refused.stderr.contains("401") && refused.stderr.contains("Authorization: Bearer"), "{refused:#?}");
    }
    assert!(relay.metric("buffer_events") == 4.0 && without.metric("buffer_events") == 4.0);
    let from_page = relay.ops_client().request("POST", "/v1/buffer/purge?all=true", &[("origin", "http://evil.example")], "");
    assert_eq!((from_page.status, from_page.header("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(relay.probe_client().request("POST", "/v1/buffer/purge?all=true", &[], "").status, 404);

    let purged = purge(&relay, &["--token-file", token.to_str().unwrap(), "--json"]).expect(0).json();
    assert_eq!(purged, json!({"events": 1, "first_seq": 1, "last_seq": 1, "dry_run": false}));
    fs::copy(&wrong, &token).unwrap();
    assert_eq!(purge(&relay, &["--token-file", wrong.to_str().unwrap()]).expect(0).stdout, "Purged no event.\n");
    // The rest in another way, and after a crash nothing comes back.
    let mut relay = relay;
    relay.kill9();
    relay.restart();
    relay.wait_metric("buffer_events", SOON, |backlog| backlog == 3.0);
    let ledger = relay.status()["buffer"]["ledger"].clone();
    assert_eq!((&ledger["purged"], &ledger["accepted"], &ledger["backlog"]), (&json!(1), &json!(4), &json!(3)), "{ledger}");
}

// Goal: a running relay's events can be saved in pages, with the same lines as from its directory, whatever their size.
#[test]
fn an_export_through_the_relay_is_the_same_as_from_its_directory() {
    let relay = nowhere().set("buffer.max_bytes", "64MiB").set("buffer.segment_bytes", "8MiB").start();
    // More than one answer of the relay can hold.
    let large = |n: u64| json!({"id": n.to_string(), "type": "t", "source_type": "u", "source_id": (n % 3).to_string(), "payload": "l".repeat(700_000)});
    for n in 1..=12 {
        relay.client().post_json("/v1/events", &large(n)).expect(202);
    }
    let many: Vec<_> = (100..1_600).map(small).collect();
    relay.client().post_json("/v1/events", &json!(many)).expect(202);
    let pretty = serde_json::to_string_pretty(&small(9)).unwrap();
    relay
        .client()
        .post("/v1/events", "application/json", &[("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")], pretty)
        .expect(202);
    let export = |place: &[&str]| dualstream([&["buffer", "export"], place].concat()).run().expect(0);
    let (through, from_disk) = (export(&["--url", &ops(&relay)]), export(&["--dir", relay.buffer_dir().to_str().unwrap()]));
    assert!(through.stdout == from_disk.stdout, "{} and {} lines", through.stdout.lines().count(), from_disk.stdout.lines().count());
    assert_eq!(through.stderr, "exported 1,513 events, seq 1 to 1513\n");
    let last = through.stdout.lines().last().unwrap().to_owned();
    assert!(last.contains("value_base64") && last.contains("\"traceparent\":\"00-0af7"), "{last}");
}
