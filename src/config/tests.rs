//! The settings as a whole: layers over each other, and the messages a user gets.

use super::*;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

/// Settings given in a test. The file is written as `relay.toml` into a directory of its own, and messages name it so.
struct Case {
    dir: TempDir,
    sources: Sources,
}

impl Case {
    fn new(file: &str, environment: &[(&str, &str)], flags: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("relay.toml");
        std::fs::write(&path, file).unwrap();
        let sources = Sources {
            file: (!file.is_empty()).then_some(path),
            environment: environment.iter().map(|(name, value)| (name.into(), value.into())).collect(),
            flags: flags.iter().map(|text| FlagValue::Set((*text).to_owned())).collect(),
        };
        Self { dir, sources }
    }

    fn problems(&self) -> Vec<String> {
        let dir = format!("{}/", self.dir.path().display());
        match load(&self.sources) {
            Ok(config) => panic!("accepted: {config:?}"),
            Err(problems) => problems.0.iter().map(|problem| problem.to_string().replace(&dir, "")).collect(),
        }
    }

    fn config(&self) -> Config {
        load(&self.sources).unwrap_or_else(|problems| panic!("{problems}"))
    }
}

fn check_file(file: &str, expect: &[&str]) {
    assert_eq!(Case::new(file, &[], &[]).problems(), expect, "{file}");
}

// Goal: flags beat environment variables, those beat the file, and that beats the defaults.
#[test]
fn precedence() {
    let file = "[buffer]\nmax_bytes = \"2GiB\"\nmax_events = 5\ndir = \"/from-file\"\n";
    let env = [("DUALSTREAM__BUFFER__MAX_EVENTS", "6"), ("DUALSTREAM__BUFFER__DIR", "/from-env"), ("PATH", "/bin")];
    let buffer = Case::new(file, &env, &["buffer.dir=/first", "buffer.dir=/from-flag"]).config().buffer;
    assert_eq!(buffer, BufferConfig { max_bytes: 2 << 30, max_events: 6, dir: PathBuf::from("/from-flag"), ..BufferConfig::default() });
}

// Goal: with nothing given, the documented defaults hold.
#[test]
fn nothing_given() {
    assert_eq!(Case::new("", &[], &[]).config(), Config::default());
    let config = Config::default();
    assert_eq!(config.ingest.listen.unwrap().to_string(), "127.0.0.1:7410");
    assert_eq!((config.buffer.max_bytes, config.shutdown.grace), (1 << 30, Duration::from_secs(25)));
}

// Goal: every kind of value can be given in the file, in the environment and by flag, and means the same.
#[test]
fn all_kinds_from_all_layers() {
    let file = r#"
        [ingest]
        listen = ""
        socket = "/run/d.sock"
        socket_mode = "0600"
        allow_uids = [1000, 1001]
        full_timeout = "250ms"
        ack = "kafka"
        [buffer]
        segment_bytes = "1MiB"
        require_durable = true
        [kafka]
        delivery = "at-least-once"
        [kafka.properties]
        linger.ms = 5
    "#;
    let env = [
        ("DUALSTREAM__INGEST__LISTEN", ""),
        ("DUALSTREAM__INGEST__SOCKET", "/run/d.sock"),
        ("DUALSTREAM__INGEST__SOCKET_MODE", "0600"),
        ("DUALSTREAM__INGEST__ALLOW_UIDS", "[1000, 1001]"),
        ("DUALSTREAM__INGEST__FULL_TIMEOUT", "250ms"),
        ("DUALSTREAM__INGEST__ACK", "kafka"),
        ("DUALSTREAM__BUFFER__SEGMENT_BYTES", "1048576"),
        ("DUALSTREAM__BUFFER__REQUIRE_DURABLE", "true"),
        ("DUALSTREAM__KAFKA__DELIVERY", "at-least-once"),
        ("DUALSTREAM__KAFKA__PROPERTIES", r#"{"linger.ms"=5}"#),
    ];
    let flags = [
        "ingest.listen=",
        "ingest.socket=/run/d.sock",
        "ingest.socket_mode=600",
        "ingest.allow_uids=1000,1001",
        "ingest.full_timeout=250ms",
        "ingest.ack=kafka",
        "buffer.segment_bytes=1MiB",
        "buffer.require_durable=true",
        "kafka.delivery=at-least-once",
        "kafka.properties.linger.ms=5",
    ];
    let config = Case::new(file, &[], &[]).config();
    assert_eq!((config.ingest.listen, config.ingest.socket_mode, config.ingest.ack), (None, 0o600, AckLevel::Kafka));
    assert_eq!(config.kafka.properties, [("linger.ms".to_owned(), "5".to_owned())].into());
    assert_eq!(config, Case::new("", &env, &[]).config());
    assert_eq!(config, Case::new("", &[], &flags).config());
}

// Goal: properties of file, environment and flags add up entry by entry, so that a secret need not stand in the file.
#[test]
fn properties_add_up() {
    let file = "[kafka.properties]\n\"compression.type\" = \"lz4\"\n\"linger.ms\" = 5\n";
    let env = [("DUALSTREAM__KAFKA__PROPERTIES", r#"{"sasl.password"="hunter2", "linger.ms"="6"}"#)];
    let config = Case::new(file, &env, &["kafka.properties.client.id=me"]).config();
    let expect = [("client.id", "me"), ("compression.type", "lz4"), ("linger.ms", "6"), ("sasl.password", "hunter2")];
    assert_eq!(config.kafka.properties, expect.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    assert!(!format!("{config:?}").contains("hunter2"));
}

// Goal: all problems come at once, from every layer, each with its place and with what is allowed.
#[test]
fn everything_at_once() {
    let file = "[buffer]\nmax_bytes = \"12 parsecs\"\nmax_byte = 1\n\n[redis]\nurl = \"redis://u:hunter2@h:x\"\n";
    let env = [("DUALSTREAM__KAFKA__BROKER", "h:9092"), ("DUALSTREAM__SHUTDOWN__GRACE", "25")];
    let expect = [
        "relay.toml:2:13: buffer.max_bytes is \"12 parsecs\", which is not a size; allowed: a size from 1MiB to 1PiB",
        "relay.toml:3:1: there is no key buffer.max_byte; did you mean buffer.max_bytes?",
        "relay.toml:6:7: redis.url is a URL whose port is not a number from 1 to 65535 (percent-encode ':' and '@' in the password); \
         allowed: \"redis://[user:password@]host[:port][/database]\" or \"redis+unix:///path\", or \"\" for none",
        "environment variable DUALSTREAM__KAFKA__BROKER: there is no key kafka.broker; did you mean DUALSTREAM__KAFKA__BROKERS?",
        "environment variable DUALSTREAM__SHUTDOWN__GRACE: shutdown.grace is \"25\", which has no unit of time; \
         allowed: a time from 100ms to 1h",
        "flag --set: \"buffer.dir\" has no value; write --set KEY=VALUE, such as --set buffer.max_bytes=2GiB",
        "flag --set log.level: log.level is \"loud\", which is not a level; \
         allowed: off, error, warn, info, debug or trace, or a filter such as \"info,dualstream::drain=debug\"",
    ];
    assert_eq!(Case::new(file, &env, &["buffer.dir", "log.level=loud"]).problems(), expect);
}

// Goal: a mistake in the file is named with its line and column, once.
#[test]
fn mistakes_in_the_file() {
    for (file, expect) in [
        (
            "[ingest]\nlisten = \"0.0.0.0:7410\"",
            &["relay.toml:2:10: ingest.listen is 0.0.0.0:7410, which other hosts can reach: without a token or TLS, which this version \
             does not have, anybody there could use it; allowed: a loopback address and port, such as \"127.0.0.1:7410\" or \
             \"[::1]:7410\", or \"\" for none"] as &[&str],
        ),
        (
            "[buffer]\nmax_bytes = \"1000KiB\"",
            &["relay.toml:2:13: buffer.max_bytes is 1000KiB, which is less than 1MiB; allowed: a size from 1MiB to 1PiB"],
        ),
        (
            "[kafka]\ndelivery = \"once\"\non_blocked = \"skip\"",
            &[
                "relay.toml:2:12: kafka.delivery is \"once\", which is not supported; allowed: \"at-least-once\" or \"exactly-once\"",
                "relay.toml:3:14: kafka.on_blocked is \"skip\", which is not supported; allowed: \"wait\" or \"park\"",
            ],
        ),
        (
            "[redis]\nmode = \"coalesce\"",
            &["relay.toml:2:8: redis.mode is \"coalesce\", which is not supported; allowed: \"each\" (the only value of this version)"],
        ),
        (
            "[redis]\nchannel = \"events:{id}\"",
            &[
                "relay.toml:2:11: redis.channel is \"events:{id}\", which contains {id}: that would make one name per event, without bound; \
             use {source_id} or {type}; allowed: a channel name, or a template over {type}, {source_type} and {source_id}",
            ],
        ),
        (
            "[gateway]\nlisten = \"x\"\n[bufer]\na = 1\nb = 2",
            &[
                "relay.toml:1:2: there is no section [gateway]; the sections are ingest, buffer, kafka, redis, ops, shutdown, log",
                "relay.toml:3:2: there is no section [bufer]; did you mean [buffer]?",
            ],
        ),
        (
            "buffer = 5\nbrokers = \"h:1\"",
            &[
                "relay.toml:1:1: buffer is a section, not a key; write [buffer] on a line of its own and its keys below",
                "relay.toml:2:1: there is no key brokers outside the sections; did you mean brokers in [kafka]?",
            ],
        ),
        (
            "[ingest]\ncolour = 5",
            &["relay.toml:2:1: there is no key ingest.colour; the keys of [ingest] are listen, socket, socket_mode, allow_uids, \
             full_timeout, ack, max_event_bytes, max_body_bytes, max_batch_events, dedup_window_events, max_connections, \
             request_timeout"],
        ),
    ] {
        check_file(file, expect);
    }
}

// Goal: broken TOML is one message per broken line, and the sound lines are still judged.
#[test]
fn broken_toml() {
    let problems =
        Case::new("[buffer]\nmax_bytes = 1 GiB\nmax_event = 1\n[ops\nlevel = 5\n\n[log]\nformat = \"loud\"\n", &[], &[]).problems();
    let places: Vec<_> = problems.iter().filter_map(|problem| problem.split_once(": ")).collect();
    assert_eq!(
        places.iter().map(|(place, text)| (*place, &text[..22])).collect::<Vec<_>>(),
        [
            ("relay.toml:2:13", "this is not valid TOML"),
            ("relay.toml:3:1", "there is no key buffer"),
            ("relay.toml:4:5", "this is not valid TOML"),
            ("relay.toml:8:10", "log.format is \"loud\", "),
        ],
        "{problems:#?}"
    );
}

// Goal: limits that cannot work together are refused, with both values and where they came from.
#[test]
fn relations() {
    for (file, flags, expect) in [
        (
            "[ingest]\nmax_event_bytes = \"32MiB\"",
            &[] as &[&str],
            &[
                "relay.toml:2:19: ingest.max_event_bytes is \"32MiB\" (relay.toml:2:19), but ingest.max_body_bytes is \"16MiB\" (the default); \
             allowed: an event no larger than a body",
            ] as &[&str],
        ),
        (
            "[buffer]\nmax_bytes = \"1MiB\"",
            &["buffer.segment_bytes=300KiB"],
            &[
                "flag --set buffer.segment_bytes: buffer.segment_bytes is \"300KiB\" (flag --set buffer.segment_bytes), but buffer.max_bytes is \
             \"1MiB\" (relay.toml:2:13); allowed: at most a quarter of it, so that at least 4 segments fit",
            ],
        ),
        (
            "[shutdown]\nlinger = \"25s\"",
            &[],
            &["relay.toml:2:10: shutdown.grace is \"25s\" (the default), but shutdown.linger is \"25s\" (relay.toml:2:10); \
             allowed: a grace longer than the linger, or no time is left to send the backlog"],
        ),
        (
            "",
            &["ingest.listen="],
            &["flag --set ingest.listen: ingest.listen and ingest.socket are both empty, so that nobody could hand in an event; \
             allowed: at least one of them"],
        ),
        (
            "",
            &["ops.probe_listen=0.0.0.0:7411"],
            &["flag --set ops.probe_listen: ops.listen is \"127.0.0.1:7411\" (the default), and ops.probe_listen is \"0.0.0.0:7411\" \
             (flag --set ops.probe_listen); allowed: a port of its own for each"],
        ),
        (
            "",
            &["ingest.socket=/run/d.sock", "ops.socket=/run/d.sock"],
            &["flag --set ops.socket: ingest.socket is \"/run/d.sock\" (flag --set ingest.socket), and ops.socket is \"/run/d.sock\" \
             (flag --set ops.socket); allowed: a path of its own for each"],
        ),
        (
            "[kafka]\ntopic = \"events\"",
            &["kafka.dead_letter_topic=events"],
            &[
                "flag --set kafka.dead_letter_topic: kafka.dead_letter_topic is \"events\" (flag --set kafka.dead_letter_topic), and kafka.topic is \
             \"events\" (relay.toml:2:9); allowed: a topic of its own for dead letters",
            ],
        ),
        (
            "[kafka]\ndelivery = \"exactly-once\"",
            &["kafka.dead_letter_topic=dualstream-cursors"],
            &[
                "flag --set kafka.dead_letter_topic: kafka.dead_letter_topic is \"dualstream-cursors\" (flag --set kafka.dead_letter_topic), and \
             kafka.cursor_topic is \"dualstream-cursors\" (the default); allowed: a topic of its own for dead letters",
            ],
        ),
    ] {
        assert_eq!(Case::new(file, &[], flags).problems().iter().map(|text| text.replace("  ", " ")).collect::<Vec<_>>(), expect);
    }
}

// Goal: sound neighbours of the limits are accepted.
#[test]
fn just_within() {
    for flags in [
        &["ingest.max_event_bytes=16MiB"] as &[&str],
        &["buffer.max_bytes=1MiB", "buffer.segment_bytes=256KiB"],
        &["shutdown.linger=24s"],
        &["ingest.listen=", "ingest.socket=/run/d.sock"],
        &["ops.probe_listen=0.0.0.0:7412"],
        &["ingest.listen=127.0.0.1:0", "ops.listen=127.0.0.1:0", "ops.probe_listen=0.0.0.0:0"],
        &["kafka.dead_letter_topic=dualstream-cursors"],
        &["kafka.topic=events-{type}", "kafka.dead_letter_topic=events"],
    ] {
        let _ = Case::new("", &[], flags).config();
    }
}

// Goal: one mistake is one message: rules between keys keep quiet about a key that is broken anyway.
#[test]
fn no_follow_up_problems() {
    assert_eq!(Case::new("", &[], &["ingest.listen=nowhere", "shutdown.grace=soon"]).problems().len(), 2);
}

// Goal: the Redis address can come from a mounted secret, and is never printed.
#[test]
fn url_file() {
    let case = Case::new("[redis]\nurl_file = \"URL\"\n", &[], &[]);
    let secret = case.dir.path().join("url");
    let name = secret.display().to_string();
    let given = format!("redis.url_file={name}");
    let with = |flags: &[&str], env: &[(&str, &str)]| Case::new("", env, flags);

    std::fs::write(&secret, "redis://u:hunter2@h:6379\n").unwrap();
    let config = with(&[&given], &[]).config();
    assert_eq!(config.redis.url.as_deref(), Some("redis://u:hunter2@h:6379"));
    assert!(!format!("{config:?}").contains("hunter2"));

    // The layer that is higher counts; within one, it must be said which is meant.
    let env = [("DUALSTREAM__REDIS__URL", "redis://env")];
    assert_eq!(with(&[&given], &env).config().redis.url, config.redis.url);
    let env = [("DUALSTREAM__REDIS__URL_FILE", name.as_str())];
    assert_eq!(with(&["redis.url=redis://flag"], &env).config().redis.url.as_deref(), Some("redis://flag"));
    assert_eq!(with(&["redis.url="], &env).config().redis.url, None);
    let both = with(&[&given, "redis.url=redis://flag"], &[]).problems();
    assert_eq!(both, ["flag --set redis.url_file: redis.url_file is given beside redis.url; allowed: one of them"]);

    for (content, expect) in [("", "which is empty"), ("hunter2", "without a scheme"), ("redis://u:hunter2@h:x", "port is not a number")] {
        std::fs::write(&secret, content).unwrap();
        let problem = with(&[&given], &[]).problems().concat();
        assert!(problem.contains(expect) && !problem.contains("hunter2"), "{problem}");
    }
    std::fs::remove_file(&secret).unwrap();
    assert!(with(&[&given], &[]).problems().concat().contains("cannot be read"));
}

// Goal: a file that is not there, or is not text, is one clear problem.
#[test]
fn unreadable_files() {
    let mut case = Case::new("x", &[], &[]);
    std::fs::write(case.dir.path().join("relay.toml"), [0xff, 0xfe]).unwrap();
    assert!(case.problems()[0].starts_with("relay.toml: the file cannot be read: "));
    case.sources.file = Some(case.dir.path().join("absent.toml"));
    assert!(case.problems()[0].starts_with("absent.toml: the file cannot be read: No such file"));
}

// Goal: what would break a promise when both are asked for is told at start.
#[test]
fn parking_is_not_for_exactly_once() {
    let both = "[kafka]\ntopic = \"e.{type}\"\non_blocked = \"park\"\ndelivery = \"exactly-once\"\n";
    let problems = Case::new(both, &[], &[]).problems();
    assert!(problems.len() == 1 && problems[0].contains("kafka.delivery is \"exactly-once\""), "{problems:#?}");
    let _ = Case::new(&both.replace("exactly", "at-least"), &[], &[]).config();
}

// Goal: TLS and SASL settings that would silently do nothing, or lack their partner, are told at start.
#[test]
fn security_of_kafka_fits_together() {
    let cases: [(&str, &str); 11] = [
        ("tls_ca_file = \"/ca\"", "kafka.tls_ca_file is \"/ca\" (relay.toml:2:15), but kafka.tls is false (the default)"),
        ("tls = true\ntls_key_file = \"/k\"", "allowed: both of them, or neither"),
        ("tls = true\ntls_key_password_file = \"/p\"", "allowed: a key for the password"),
        ("sasl_username = \"u\"", "kafka.sasl_mechanism is not given"),
        (
            "sasl_mechanism = \"PLAIN\"\nsasl_username = \"u\"",
            "needs kafka.sasl_username (or kafka.sasl_username_file) and kafka.sasl_password_file",
        ),
        ("sasl_mechanism = \"OAUTHBEARER\"", "kafka.sasl_token_file is not given"),
        ("sasl_mechanism = \"GSSAPI\"", "\"GSSAPI\", which is not supported"),
        (
            "sasl_mechanism = \"PLAIN\"\nsasl_username = \"u\"\nsasl_username_file = \"/u\"\nsasl_password_file = \"/p\"",
            "allowed: one of them",
        ),
        ("tls = true\nproperties = { \"security.protocol\" = \"ssl\" }", "kafka.properties.\"security.protocol\" says what kafka.tls"),
        ("compression = \"zstd\"\nproperties = { \"compression.codec\" = \"lz4\" }", "has a compression, too"),
        ("tls = true\ntls_ca_file = \"/ca\"\nproperties = { \"ssl.ca.location\" = \"/x\" }", "says what kafka.tls_ca_file says"),
    ];
    for (keys, expect) in cases {
        let problems = Case::new(&format!("[kafka]\n{keys}\n"), &[], &[]).problems();
        assert!(problems.len() == 1 && problems[0].contains(expect), "{keys}: {problems:#?}");
    }
    for fine in [
        "tls = true",
        "tls = true\ntls_certificate_file = \"/c\"\ntls_key_file = \"/k\"\ntls_key_password_file = \"/p\"",
        "sasl_mechanism = \"SCRAM-SHA-512\"\nsasl_username_file = \"/u\"\nsasl_password_file = \"/p\"",
        "properties = { \"security.protocol\" = \"ssl\", \"ssl.ca.location\" = \"/x\" }",
        "sasl_mechanism = \"PLAIN\"\nsasl_username = \"u\"\nproperties = { \"sasl.password\" = \"p\" }",
    ] {
        let _ = Case::new(&format!("[kafka]\n{fine}\n"), &[], &[]).config();
    }
}
