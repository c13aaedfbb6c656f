//! Settings: judged before they are used, all problems at once, and tried on the real Kafka, Redis and disk.

use std::{fs, path::Path, time::Duration};

use serde_json::{Value, json};

use crate::support::{
    command::{Call, Ended, dualstream},
    kafka::Kafka,
    ports,
    redis::Redis,
    relay::Relay,
    scratch,
};

const WRONG: &str = r#"[ingest]
listn = "127.0.0.1:7410"
full_timeout = "soon"
max_event_bytes = "32MiB"
[buffer]
max_bytes = "100KiB"
[kafka]
topic = "no spaces please"
properties = { "enable.idempotence" = "false" }
[redis]
channel = "events:{id}"
[nonsense]
x = 1
"#;

/// A part of the sentence for each problem of [`WRONG`], with its place in the file.
const PROBLEMS: [&str; 8] = [
    "relay.toml:2:1: there is no key ingest.listn; did you mean ingest.listen?",
    "relay.toml:3:16: ingest.full_timeout is \"soon\", which is not a time",
    "relay.toml:4:19: ingest.max_event_bytes is \"32MiB\"",
    "relay.toml:6:13: buffer.max_bytes is 100KiB, which is less than 1MiB",
    "relay.toml:8:9: kafka.topic is \"no spaces please\"",
    "relay.toml:11:11: redis.channel is \"events:{id}\"",
    "relay.toml:12:2: there is no section [nonsense]",
    "kafka.properties.\"enable.idempotence\" cannot be set: without it retries repeat and reorder events",
];

/// `check` of this configuration file.
fn check(file: &Path, flags: &[&str]) -> Call {
    let file = file.to_str().unwrap();
    dualstream(["check", "--config", file].into_iter().chain(flags.iter().copied()))
}

/// The checks of `check --json`, as `(name, verdict, text and cure)`.
#[track_caller]
fn checks(ended: &Ended) -> Vec<(String, String, String)> {
    let report = ended.json();
    let field = |check: &Value, name: &str| check[name].as_str().unwrap_or_default().to_owned();
    let checks = report["checks"].as_array().unwrap_or_else(|| panic!("no checks: {report}"));
    let read = |check| (field(check, "name"), field(check, "verdict"), format!("{} → {}", field(check, "text"), field(check, "cure")));
    checks.iter().map(read).collect()
}

// Goal: one look tells me everything that is wrong with my settings, from the file with line and column, from the environment and
// from flags; nothing is left for the next start.
#[test]
fn all_problems_are_told_at_once() {
    let dir = scratch::dir("config");
    let file = dir.path().join("relay.toml");
    fs::write(&file, WRONG).unwrap();

    let ended = check(&file, &["--json", "--set", "shutdown.grace=0s", "--set", "ingest.akc=kafka"])
        .env("DUALSTREAM__LOG__LEVEL", "loud")
        .env("DUALSTREAM_BUFFER_MAX_BYTES", "1GiB")
        .run()
        .expect(2);

    let told = checks(&ended);
    let elsewhere = [
        "DUALSTREAM__LOG__LEVEL: log.level is \"loud\"",
        "DUALSTREAM_BUFFER_MAX_BYTES: it sets nothing",
        "flag --set shutdown.grace: shutdown.grace is 0s",
        "flag --set ingest.akc: there is no key ingest.akc; did you mean ingest.ack?",
    ];
    let wanted: Vec<_> = PROBLEMS.iter().chain(&elsewhere).collect();
    for sentence in &wanted {
        assert_eq!(told.iter().filter(|(_, _, text)| text.contains(**sentence)).count(), 1, "{sentence} in {told:#?}");
    }
    assert_eq!(told.len(), wanted.len(), "{told:#?}");
    assert!(told.iter().all(|(_, verdict, _)| verdict == "fail"), "{told:#?}");
    assert_eq!(ended.json()["ok"], false);
}

// Goal: a relay does not start with settings that have a problem, and says the same as the check; it leaves no buffer behind.
#[test]
fn a_relay_does_not_start_with_wrong_settings() {
    let dir = scratch::dir("config");
    let file = dir.path().join("relay.toml");
    fs::write(&file, WRONG).unwrap();
    let buffer = dir.path().join("buffer");

    let file = file.to_str().unwrap();
    let ended = dualstream(["run", "--config", file, "--dir", buffer.to_str().unwrap()]).run().expect(2);

    for sentence in &PROBLEMS[..7] {
        assert!(ended.stderr.contains(sentence), "{sentence} in {}", ended.stderr);
    }
    assert!(!buffer.exists());
    let absent = dir.path().join("absent.toml");
    let ended = dualstream(["run", "--config", absent.to_str().unwrap()]).run().expect(2);
    assert!(ended.stderr.contains("absent.toml"), "{}", ended.stderr);
}

// Goal: the environment goes over the file, and flags go over both.
#[test]
fn the_environment_goes_over_the_file_and_flags_over_both() {
    let dir = scratch::dir("config");
    let file = dir.path().join("relay.toml");
    fs::write(&file, "redis = { url = \"redis://file:1\", channel = \"of-file\" }\n").unwrap();
    let shown = |call: Call| {
        let ended = call.run().expect(0);
        let line = ended.stdout.lines().find(|line| line.contains("notifications go to")).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{ended:#?}"))
    };
    let from_file = shown(check(&file, &[]));
    let over_file = shown(check(&file, &[]).env("DUALSTREAM__REDIS__CHANNEL", "of-environment"));
    let over_both = shown(check(&file, &["--set", "redis.channel=of-flag"]).env("DUALSTREAM__REDIS__CHANNEL", "of-environment"));
    let named = shown(check(&file, &["--redis-url", "redis://flag:3"]).env("DUALSTREAM__REDIS__URL", "redis://environment:2"));
    let file_from_environment = shown(dualstream(["check"]).env("DUALSTREAM_CONFIG", file.to_str().unwrap()));

    assert!(from_file.contains("redis://file:1") && from_file.ends_with("channel of-file"), "{from_file}");
    assert!(over_file.contains("redis://file:1") && over_file.ends_with("channel of-environment"), "{over_file}");
    assert!(over_both.ends_with("channel of-flag"), "{over_both}");
    assert!(named.contains("redis://flag:3"), "{named}");
    assert_eq!(file_from_environment, from_file);
}

// Goal: what the environment says is what the running relay does, not only what the check shows.
#[test]
fn a_running_relay_follows_its_environment() {
    let unreachable = ports::address(ports::free());
    let relay = Relay::builder()
        .kafka(&unreachable, "events")
        .set("buffer.max_bytes", "32MiB")
        .set("ingest.max_batch_events", 1)
        .env("DUALSTREAM__BUFFER__MAX_BYTES", "48MiB")
        .env("DUALSTREAM__INGEST__MAX_BATCH_EVENTS", "2")
        .start();
    assert_eq!(relay.status()["buffer"]["max_bytes"], 48 << 20);
    let event = json!({"type": "t", "source_type": "user", "source_id": "1"});
    relay.client().post_json("/v1/events", &json!([event, event])).expect(202);
    relay.client().post_json("/v1/events", &json!([event, event, event])).expect(413);
}

// Goal: before it goes live I know that Kafka, Redis and the disk will do.
#[test]
fn a_check_that_connects_finds_everything_well() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("check", 3);
    let redis = Redis::start_with_password("s3cret");
    let dir = scratch::dir("config");
    let arguments = ["check", "--connect", "--brokers", &kafka.bootstrap(), "--topic", &topic, "--dir", dir.path().to_str().unwrap()];

    let ended = dualstream([&arguments[..], &["--json"]].concat()).env("DUALSTREAM__REDIS__URL", &redis.url()).run().expect(0);

    assert_eq!(ended.json()["ok"], true);
    let found = checks(&ended);
    let text_of = |name: &str| {
        let mut of_name = found.iter().filter(|(found, verdict, _)| found == name && verdict == "ok");
        let (_, _, text) = of_name.next().unwrap_or_else(|| panic!("no good {name} in {found:#?}"));
        text.clone()
    };
    assert!(text_of("kafka").contains(&format!("{} answers; topic {topic} has 3 partitions", kafka.bootstrap())), "{found:#?}");
    assert!(text_of("redis").contains(&redis.address()) && text_of("redis").contains("takes notifications"), "{found:#?}");
    for name in ["settings", "disk", "room", "sync"] {
        text_of(name);
    }
    assert!(!ended.stdout.contains("s3cret"), "{ended:#?}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "a check leaves nothing behind");
}

// Goal: a peer that cannot be used is told apart from wrong settings by the exit code, with a sentence that names it and says what
// to do; several are told at once.
#[test]
fn a_check_that_connects_names_what_is_wrong() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("check", 1);
    let redis = Redis::start_with_password("s3cret");
    let acl = ["ACL", "SETUSER", "reader", "on", ">reader-pw", "~*", "&*", "+@all", "-publish"];
    redis::cmd(acl[0]).arg(&acl[1..]).exec(&mut redis.connection()).unwrap();
    let nowhere = ports::address(ports::free());
    let good = (kafka.bootstrap(), topic.clone(), redis.url());
    let (kafka_at, redis_at) = (kafka.bootstrap(), redis.address());
    for (brokers, topic, url, parts) in [
        (&good.0, &"absent".to_owned(), &good.2, vec!["topic \"absent\" does not exist; create it, or correct kafka.topic".to_owned()]),
        (&good.0, &good.1, &format!("redis://{nowhere}"), vec![format!("nothing listens at {nowhere}")]),
        (&good.0, &good.1, &format!("redis://:wrong-pw@{redis_at}"), vec![redis_at.clone()]),
        (&good.0, &good.1, &format!("redis://{redis_at}"), vec![redis_at.clone()]),
        (&good.0, &good.1, &format!("redis://reader:reader-pw@{redis_at}"), vec!["this user may not publish on events:".to_owned()]),
        (
            &nowhere,
            &good.1,
            &format!("redis://{nowhere}"),
            vec![format!("no broker of {nowhere}"), format!("nothing listens at {nowhere}")],
        ),
    ] {
        let arguments = ["check", "--connect", "--json", "--brokers", brokers, "--topic", topic];
        let ended = dualstream(arguments).env("DUALSTREAM__REDIS__URL", url).run().expect(3);
        let failed: Vec<_> = checks(&ended).into_iter().filter(|(_, verdict, _)| verdict == "fail").collect();
        assert_eq!(failed.len(), parts.len(), "{failed:#?}");
        for ((name, _, text), part) in failed.iter().zip(&parts) {
            assert!(text.to_lowercase().contains(&part.to_lowercase()), "{part:?} in {name}: {text}");
            assert!(!text.ends_with("→ "), "a cure: {text}");
        }
        for secret in ["s3cret", "wrong-pw", "reader-pw"] {
            assert!(!ended.stdout.contains(secret) && !ended.stderr.contains(secret), "{ended:#?}");
        }
    }
    assert!(crate::support::consume::read_topic(&kafka_at, &topic).is_empty(), "a check sends nothing");
}

// Goal: a topic that takes less than the relay accepts is told before events get stuck.
#[test]
fn a_topic_with_a_lower_limit_is_a_warning() {
    let kafka = Kafka::shared();
    let topic = crate::support::kafka::unique("small");
    kafka.create_topic(&topic, 1, 1, &[("max.message.bytes", "65536")]);
    let arguments = ["check", "--connect", "--json", "--brokers", &kafka.bootstrap(), "--topic", &topic];
    let ended = dualstream(arguments).run().expect(0);
    let warned: Vec<_> = checks(&ended).into_iter().filter(|(name, verdict, _)| name == "kafka" && verdict == "warn").collect();
    assert_eq!(warned.len(), 1, "{ended:#?}");
    assert!(warned[0].2.contains("takes 65536 at most"), "{warned:?}");
    let fitting = [&arguments[..], &["--set", "ingest.max_event_bytes=32KiB"]].concat();
    let ended = dualstream(fitting).run().expect(0);
    assert!(checks(&ended).iter().all(|(name, verdict, _)| name != "kafka" || verdict == "ok"), "{ended:#?}");
}

// Goal: the example that I start from is right, without a warning, and so is the file that `config-reference` writes.
#[test]
fn the_example_passes_the_check() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = scratch::dir("config");
    let reference = dir.path().join("reference.toml");
    fs::write(&reference, dualstream(["config-reference", "--format", "toml"]).run().expect(0).stdout).unwrap();
    for file in [root.join("examples/relay.toml"), reference] {
        let ended = check(&file, &["--json"]).run().expect(0);
        let found = checks(&ended);
        assert!(found.iter().all(|(_, verdict, _)| verdict == "ok"), "{}: {found:#?}", file.display());
    }
}

// Goal: a relay that is given one port twice, or a port that is taken, ends with a sentence, not with half of its listeners.
#[test]
fn a_taken_port_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let exit = Relay::builder().kafka("127.0.0.1:1", "events").set("ingest.listen", address.as_str()).run_to_exit(Duration::from_secs(30));
    assert_eq!(exit.code, Some(1), "{exit:#?}");
    assert!(exit.lines.iter().any(|line| line.contains(&address) && line.contains("ingest.listen")), "{exit:#?}");

    let twice = ports::address(ports::free());
    let exit = Relay::builder()
        .kafka("127.0.0.1:1", "events")
        .set("ingest.listen", twice.as_str())
        .set("ops.listen", twice.as_str())
        .run_to_exit(Duration::from_secs(30));
    assert_eq!(exit.code, Some(2), "{exit:#?}");
    assert!(exit.lines.iter().any(|line| line.contains("a port of its own for each")), "{exit:#?}");
}
