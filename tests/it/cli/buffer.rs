//! `dualstream buffer info` and `dualstream buffer peek`, on a running relay and on the directory of a stopped one.

use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};

use super::{SOON, nowhere, url};
use crate::support::{
    command::{Ended, dualstream},
    relay::Relay,
};

const EVENTS: usize = 25;

/// A relay with [`EVENTS`] events in its buffer, of two sources in turn.
fn filled() -> Relay {
    let relay = Relay::builder().kafka(&nowhere(), "events").set("shutdown.grace", "500ms").start();
    let event =
        |n: usize| json!({"id": format!("e{n}"), "type": "t", "source_type": "user", "source_id": format!("s/{}", n % 2), "payload": n});
    let events: Vec<_> = (0..EVENTS).map(event).collect();
    for batch in events.chunks(10) {
        relay.client().post_json("/v1/events", &json!(batch)).expect(202);
    }
    relay
}

fn ids(ended: &Ended) -> Vec<String> {
    ended.json_lines().iter().map(|event| event["id"].as_str().expect("an id").to_owned()).collect()
}

fn numbered(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(|n| format!("e{n}")).collect()
}

/// Looks at a buffer in every way there is; `place` says where it is.
fn look(place: &[&str]) {
    let peek = |flags: &[&str]| dualstream([&["buffer", "peek"], place, flags].concat()).run().expect(0);
    assert_eq!(ids(&peek(&["--json", "--limit", "100"])), numbered(0..EVENTS));
    assert_eq!(ids(&peek(&["--json"])), numbered(0..10), "ten when not told");
    assert_eq!(ids(&peek(&["--json", "--from", "8", "-n", "3"])), numbered(7..10), "seqs begin at 1");
    for source in ["s/1", "user/s/1"] {
        assert_eq!(ids(&peek(&["--json", "--limit", "100", "--source", source])), numbered((1..EVENTS).step_by(2)), "{source}");
    }
    assert_eq!(ids(&peek(&["--json", "--source", "user"])), numbered([]), "a type is no source");
    let third: Value = peek(&["--json", "-n", "3"]).json_lines().remove(2);
    assert_eq!((&third["seq"], &third["type"], &third["source_id"]), (&json!(3), &json!("t"), &json!("s/0")), "{third}");
    assert_eq!((&third["value"]["id"], &third["value"]["payload"]), (&json!("e2"), &json!(2)), "{third}");
    let lines = peek(&["-n", "2"]).stdout;
    assert_eq!(lines.lines().count(), 2, "{lines}");
    assert!(lines.contains("user/s/0") && lines.contains("e0"), "{lines}");
    let text = dualstream([&["buffer", "info"], place].concat()).run().expect(0).stdout;
    assert!(text.lines().any(|line| line.split_whitespace().eq(["waiting", "25"])), "{text}");
}

// Goal: while Kafka is away I can see what waits, how much it is and what is in it, without taking anything.
#[test]
fn a_look_into_a_running_relay() {
    let relay = filled();
    let ops = url(&relay, "ops");

    look(&["--url", &ops]);

    let info = dualstream(["buffer", "info", "--json", "--url", &ops]).run().expect(0).json();
    assert_eq!(info["ledger"]["accepted"], EVENTS, "{info:#}");
    assert_eq!(info["ledger"]["backlog"], EVENTS, "{info:#}");
    assert_eq!(info["relay_id"], relay.status()["relay"]["relay_id"]);
    let folder_itself = relay.buffer_dir().metadata().unwrap().blocks() * 512;
    assert_eq!(info["bytes"], relay.allocated_bytes() - folder_itself, "what it says is what the file system counts");
}

// Goal: the directory of a relay that runs, was killed, or was stopped shows the same events, and looking changes nothing: the relay
// starts on it again as if nobody had looked.
#[test]
fn a_look_into_a_directory() {
    let mut relay = filled();
    let dir = relay.buffer_dir().to_str().unwrap().to_owned();
    let info = || dualstream(["buffer", "info", "--json", "--dir", &dir]).run().expect(0).json();
    let relay_id = relay.status()["relay"]["relay_id"].clone();
    look(&["--dir", &dir]);
    assert_eq!(info()["in_use"], true);

    relay.kill9();
    look(&["--dir", &dir]);
    let killed = info();
    assert_eq!((&killed["in_use"], &killed["clean"], &killed["backlog"]), (&json!(false), &json!(false), &json!(EVENTS)), "{killed:#}");
    assert_eq!((&killed["relay_id"], &killed["problems"]), (&relay_id, &json!([])), "{killed:#}");

    relay.restart();
    relay.wait_metric("buffer_events", SOON, |backlog| backlog == EVENTS as f64);
    assert_eq!(relay.stop(SOON), 5, "events are left");
    look(&["--dir", &dir]);
    let stopped = info();
    assert_eq!((&stopped["in_use"], &stopped["clean"], &stopped["relay_id"]), (&json!(false), &json!(true), &relay_id), "{stopped:#}");
    let text = dualstream(["buffer", "info", "--dir", &dir]).run().expect(0).stdout;
    assert!(text.contains("stopped cleanly"), "{text}");
}

// Goal: a directory that is not there, or is no buffer, is a failure with its name, not an empty buffer; and none is made.
#[test]
fn no_buffer_is_not_an_empty_buffer() {
    let empty = crate::support::scratch::dir("no-buffer");
    let absent = empty.path().join("absent");
    for command in ["info", "peek"] {
        let ended = dualstream(["buffer", command, "--dir", absent.to_str().unwrap()]).run().expect(1);
        assert!(ended.stderr.contains(absent.to_str().unwrap()), "{ended:#?}");
    }
    assert!(!absent.exists());
}
