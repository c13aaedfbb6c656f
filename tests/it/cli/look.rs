//! `dualstream status` and `dualstream healthcheck`

use serde_json::{Value, json};

use super::{SOON, nowhere, url};
use crate::support::{command::dualstream, kafka::Kafka, redis::Redis, relay::Relay, wait};

// Goal: a script reads the whole relay from `status --json`, the same as the relay itself says, and a person reads the figures that
// matter from `status`.
#[test]
fn status_for_scripts_and_for_people() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("status", 2);
    let redis = Redis::start();
    let relay = Relay::builder().kafka(&kafka.bootstrap(), &topic).redis(&redis.url()).start();
    let events: Vec<_> = (0..12).map(|n| json!({"type": "t", "source_type": "user", "source_id": n.to_string()})).collect();
    relay.client().post_json("/v1/events?ack=kafka&timeout=60s", &json!(events)).expect(200);
    relay.wait_metric("notify_published_total", SOON, |published| published >= 12.0);
    let ops = url(&relay, "ops");

    let status = dualstream(["status", "--url", &ops, "--json"]).run().expect(0).json();

    assert_eq!(keys(&status), keys(&relay.status()));
    assert_eq!(status["relay"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["relay"]["relay_id"], relay.status()["relay"]["relay_id"]);
    assert_eq!(status["ingest"]["events"]["accepted"], 12, "{status:#}");
    let ledger = &status["buffer"]["ledger"];
    assert_eq!((&ledger["accepted"], &ledger["acked"], &ledger["backlog"]), (&json!(12), &json!(12), &json!(0)), "{status:#}");
    assert_eq!((&status["drain"]["acked"], &status["notify"]["published"]), (&json!(12), &json!(12)), "{status:#}");
    assert_eq!((&status["health"]["ready"], &status["health"]["degraded"]), (&json!(true), &json!(false)), "{status:#}");

    let screen = dualstream(["status", "--url", &ops]).run().expect(0).stdout;
    for part in ["relay", "ready", "buffer", "kafka", "redis", "12"] {
        assert!(screen.contains(part), "{part} in\n{screen}");
    }
    assert!(!screen.contains('\u{1b}'), "no colours where no terminal is");
}

// Goal: my container's health check is one command: 0 when a write would be taken now, 1 with the reason when not, and live is
// another question than ready.
#[test]
fn healthcheck_says_ready_live_and_why_not() {
    let relay = Relay::builder().kafka(&nowhere(), "events").set("shutdown.grace", "60s").set("shutdown.linger", "50s").start();
    for listener in ["ops", "probe"] {
        let at = url(&relay, listener);
        for question in [&["healthcheck"][..], &["healthcheck", "--live"], &["healthcheck", "--started"]] {
            dualstream([question, &["--url", &at]].concat()).run().expect(0);
        }
    }

    relay.sigterm();

    let at = url(&relay, "probe");
    let ended = wait::until_ok("it to be unready", SOON, || {
        let ended = dualstream(["healthcheck", "--url", &at]).run();
        if ended.code == 0 { Err("still ready") } else { Ok(ended) }
    });
    let ended = ended.expect(1);
    assert!(ended.stdout.contains("shutting_down"), "{ended:#?}");
    dualstream(["healthcheck", "--live", "--url", &at]).run().expect(0);
}

// Goal: a relay that is not there is exit code 3 from every command, with the address that was tried; something else that answers
// there is not taken for a relay.
#[test]
fn nobody_there_is_exit_code_three() {
    let nowhere = nowhere();
    let at = format!("http://{nowhere}");
    for command in
        [&["status"][..], &["status", "--json"], &["healthcheck"], &["healthcheck", "--live"], &["buffer", "info"], &["buffer", "peek"]]
    {
        let ended = dualstream([command, &["--url", &at]].concat()).run().expect(3);
        assert!(ended.stderr.contains("cannot reach the relay") && ended.stderr.contains(&nowhere), "{ended:#?}");
        assert_eq!(ended.stdout, "");
        let ended = dualstream([command, &["--socket", "/nonexistent/ops.sock"]].concat()).run().expect(3);
        assert!(ended.stderr.contains("/nonexistent/ops.sock"), "{ended:#?}");
    }
    // Where the settings say that the relay is.
    let ended = dualstream(["status"]).env("DUALSTREAM__OPS__LISTEN", &nowhere).run().expect(3);
    assert!(ended.stderr.contains(&nowhere), "{ended:#?}");

    let relay = Relay::builder().kafka(&nowhere, "events").start();
    let ingest = url(&relay, "ingest");
    let ended = dualstream(["healthcheck", "--url", &ingest]).run().expect(3);
    assert!(ended.stderr.contains("is not a dualstream relay"), "{ended:#?}");
}

// Goal: wrong usage is exit code 2 with a hint, and help and version are there.
#[test]
fn usage_help_and_version() {
    for wrong in [&["nonsense"][..], &["status", "--nonsense"], &["buffer"], &["buffer", "peek", "--limit", "many"], &[]] {
        let ended = dualstream(wrong).run().expect(2);
        assert!(ended.stderr.contains("--help") || ended.stderr.contains("Usage"), "{ended:#?}");
    }
    let version = dualstream(["--version"]).run().expect(0).stdout;
    assert_eq!(version.trim(), format!("dualstream {}", env!("CARGO_PKG_VERSION")));
    for command in [&["--help"][..], &["run", "--help"], &["check", "--help"], &["status", "--help"], &["send", "--help"]] {
        let help = dualstream(command).run().expect(0).stdout;
        assert!(help.contains("Examples:") && help.contains("Exit code"), "{help}");
    }
}

/// Names of the members, two levels deep.
fn keys(document: &Value) -> Vec<String> {
    let object = document.as_object().expect("an object");
    let below = |name: &String, value: &Value| match value.as_object() {
        Some(members) => members.keys().map(|member| format!("{name}.{member}")).collect(),
        None => vec![name.clone()],
    };
    object.iter().flat_map(|(name, value)| below(name, value)).collect()
}
