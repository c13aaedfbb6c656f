//! TLS, mutual TLS and SASL towards a real Kafka: right, wrong, and put right while the relay runs.

mod certificates;
mod cluster;

use std::{
    fs,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use self::certificates::{Authority, Life};
use self::cluster::{PASSWORD, Secured, USER};
use crate::support::{command::dualstream, consume::read_count, relay::Relay, relay_builder::Builder, wait};

const SOON: Duration = Duration::from_secs(60);
const EVENTS: usize = 20;

/// A relay in the making, with the files that its settings name in its own folder.
struct Setup {
    builder: Builder,
    topic: String,
}

impl Setup {
    fn new(name: &str, brokers: &str) -> Self {
        let secured = Secured::shared();
        let topic = secured.kafka.topic(name, 2);
        let setup = Self { builder: Relay::builder().kafka(brokers, &topic).set("kafka.tls", true), topic };
        setup.file("kafka.tls_ca_file", &secured.authority.pem())
    }

    fn set(mut self, key: &str, value: &str) -> Self {
        self.builder = self.builder.set(key, value);
        self
    }

    /// A setting that names a file with this content.
    fn file(self, key: &str, content: &str) -> Self {
        let path = self.builder.dir().join(key);
        fs::write(&path, content).unwrap();
        self.set(key, &path.display().to_string())
    }

    fn user(self, mechanism: &str, password: &str) -> Self {
        let setup = self.set("kafka.sasl_mechanism", mechanism).set("kafka.sasl_username", USER);
        setup.file("kafka.sasl_password_file", password)
    }

    fn certificate(self, authority: &Authority, life: Life) -> Self {
        let signed = authority.sign("relay", life);
        self.file("kafka.tls_certificate_file", &signed.certificate).file("kafka.tls_key_file", &signed.key)
    }

    fn start(self) -> Sending {
        let relay = self.builder.start();
        let events: Vec<_> =
            (0..EVENTS).map(|n| json!({"type": "t", "source_type": "user", "source_id": format!("s{}", n % 3), "payload": n})).collect();
        relay.client().post_json("/v1/events", &json!(events)).expect(202);
        Sending { relay, topic: self.topic }
    }
}

/// A relay that was handed its events.
struct Sending {
    relay: Relay,
    topic: String,
}

impl Sending {
    /// Replaces a file in one step, as Kubernetes and careful people do.
    fn replace(&self, key: &str, content: &str) {
        let path = self.relay.dir().join(key);
        let new = self.relay.dir().join("new");
        fs::write(&new, content).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// Status, log and check say that the line is blocked, and why.
    #[track_caller]
    fn is_told(&self, parts: &[&str]) {
        let all_in = |text: &str| parts.iter().all(|part| text.contains(part));
        wait::until_ok("a sentence in the status", SOON, || {
            let drain = self.relay.status()["drain"].clone();
            let (state, text) = (drain["state"].as_str().unwrap_or_default().to_owned(), drain.to_string());
            if state == "blocked" && drain["reason"] == "authentication" && all_in(&text) { Ok(()) } else { Err(text) }
        });
        let logs = self.relay.json_logs();
        assert!(logs.iter().any(|line| line["level"] == "WARN" && all_in(&line.to_string())), "{parts:?} in {logs:#?}");
        let file = self.relay.dir().join("dualstream.toml");
        let ended = dualstream(["check", "--connect", "--json", "--config", file.to_str().unwrap()]).run().expect(3);
        let checks: Value = ended.json()["checks"].clone();
        let failed: Vec<_> = checks.as_array().unwrap().iter().filter(|check| check["name"] == "kafka").collect();
        assert!(failed.iter().any(|check| check["verdict"] == "fail" && all_in(&check.to_string())), "{parts:?} in {failed:#?}");
        for secret in [PASSWORD, "wrong password"] {
            assert!(!ended.stdout.contains(secret) && !self.relay.logs().concat().contains(secret), "a password is printed");
        }
    }

    /// Kafka has every event once, per source in order, and nobody restarted the relay.
    #[track_caller]
    fn arrives(&self) {
        self.relay.wait_metric("buffer_events", SOON, |backlog| backlog == 0.0);
        let records = read_count(&Secured::shared().kafka.bootstrap(), &self.topic, EVENTS, SOON);
        assert_eq!(records.len(), EVENTS);
        for source in 0..3 {
            let payloads: Vec<_> =
                records.iter().filter(|record| record.key_str() == format!("s{source}")).map(|r| r.json()["payload"].clone()).collect();
            let wanted: Vec<_> = (0..EVENTS).filter(|n| n % 3 == source).map(|n| json!(n)).collect();
            assert_eq!(payloads, wanted);
        }
        assert_eq!(self.relay.status()["drain"]["state"], "running");
        self.relay.wait_metric("drain_blocked", SOON, |blocked| blocked == 0.0);
    }
}

/// A token that the test's broker takes: signed by nobody.
fn token(life: i64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_secs()).unwrap();
    let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    format!("{}.{}.", part(json!({"alg": "none"})), part(json!({"sub": USER, "iat": now - 1, "exp": now + life})))
}

// Goal: with the right credentials events arrive, whichever way of proving who I am my Kafka asks for.
#[test]
fn every_way_in_delivers() {
    let secured = Secured::shared();
    let mutual = Setup::new("mutual", &secured.mutual).certificate(&secured.authority, Life::Good);
    let ways = [
        Setup::new("scram", &secured.sasl).user("SCRAM-SHA-512", PASSWORD),
        // As editors leave it.
        Setup::new("plain", &secured.sasl).user("PLAIN", &format!("{PASSWORD}\n")),
        Setup::new("oauth", &secured.sasl).set("kafka.sasl_mechanism", "OAUTHBEARER").file("kafka.sasl_token_file", &token(3_600)),
        mutual,
    ];
    let relays = ways.map(Setup::start);
    for sending in relays {
        sending.arrives();
        let file = sending.relay.dir().join("dualstream.toml");
        let ended = dualstream(["check", "--connect", "--json", "--config", file.to_str().unwrap()]).run();
        let checks = ended.json()["checks"].clone();
        let kafka: Vec<_> = checks.as_array().unwrap().iter().filter(|check| check["name"] == "kafka").collect();
        assert!(!kafka.is_empty() && kafka.iter().all(|check| check["verdict"] == "ok"), "{checks:#}");
    }
}

// Goal: what is wrong with my credentials is told in a sentence that I can act on, in the status, in the log and by the check;
// nothing is lost meanwhile; and once I have put the file right, everything arrives in order, without a restart.
#[test]
fn wrong_credentials_are_told_and_put_right_while_it_runs() {
    let secured = Secured::shared();
    let other = Authority::new("authority of nobody");
    let wrong_password = Setup::new("password", &secured.sasl).user("SCRAM-SHA-512", "wrong password").start();
    let wrong_authority = Setup::new("authority", &secured.mutual).certificate(&secured.authority, Life::Good);
    let wrong_authority = wrong_authority.file("kafka.tls_ca_file", &other.pem()).start();
    let expired = Setup::new("expired", &secured.mutual).certificate(&secured.authority, Life::Over).start();
    let unknown = Setup::new("unknown", &secured.mutual).certificate(&other, Life::Good).start();
    let broken = Setup::new("broken", &secured.sasl).user("SCRAM-SHA-512", PASSWORD).file("kafka.tls_ca_file", "no certificate").start();
    let stale_token = Setup::new("token", &secured.sasl).set("kafka.sasl_mechanism", "OAUTHBEARER");
    let stale_token = stale_token.file("kafka.sasl_token_file", &token(-5)).start();

    wrong_password.is_told(&["kafka.sasl_password_file"]);
    wrong_authority.is_told(&["kafka.tls_ca_file"]);
    expired.is_told(&["kafka.tls_certificate_file", "expired"]);
    unknown.is_told(&["kafka.tls_certificate_file"]);
    broken.is_told(&["ssl.ca.location"]);
    stale_token.is_told(&["kafka.sasl_token_file", "expired at"]);

    let renewed = secured.authority.sign("relay", Life::Good);
    wrong_password.replace("kafka.sasl_password_file", PASSWORD);
    wrong_authority.replace("kafka.tls_ca_file", &secured.authority.pem());
    for relay in [&expired, &unknown] {
        relay.replace("kafka.tls_key_file", &renewed.key);
        relay.replace("kafka.tls_certificate_file", &renewed.certificate);
    }
    broken.replace("kafka.tls_ca_file", &secured.authority.pem());
    stale_token.replace("kafka.sasl_token_file", &token(3_600));
    for sending in [wrong_password, wrong_authority, expired, unknown, broken, stale_token] {
        sending.arrives();
    }
}

// Goal: a broker that is not who it should be gets no event, and I am told why: its certificate is for another host, or has expired.
#[test]
fn a_broker_that_is_not_who_it_should_be_gets_nothing() {
    let secured = Secured::shared();
    let elsewhere = Setup::new("elsewhere", &secured.elsewhere).start();
    let stale = Setup::new("stale", &secured.stale).start();
    let plaintext = Setup::new("plaintext", &secured.kafka.bootstrap()).start();
    elsewhere.is_told(&["the host name in kafka.brokers"]);
    stale.is_told(&["has expired"]);
    // A broker that stops closes connections, too: not blocked, but told.
    wait::until("what a listener without TLS means", SOON, || {
        plaintext.relay.status()["drain"]["last_error"].to_string().contains("does not speak TLS").then_some(())
    });
    for sending in [&elsewhere, &stale, &plaintext] {
        assert_eq!(sending.relay.status()["buffer"]["ledger"]["backlog"], EVENTS);
    }
}

// Goal: a password that is changed while all is well is taken without a restart, and nothing is lost or sent twice.
#[test]
fn a_rotated_password_is_taken_while_it_runs() {
    let secured = Secured::shared();
    let sending = Setup::new("rotated", &secured.sasl).user("SCRAM-SHA-512", PASSWORD).start();
    sending.arrives();
    sending.replace("kafka.sasl_password_file", &format!("{PASSWORD}\n\n"));
    wait::until("the change to be logged", SOON, || {
        let logs = sending.relay.json_logs();
        logs.iter().any(|line| line["message"].as_str().is_some_and(|text| text.contains("connecting to Kafka anew"))).then_some(())
    });
    let event = json!({"type": "t", "source_type": "user", "source_id": "after", "payload": 0});
    sending.relay.client().post_json("/v1/events", &event).expect(202);
    let records = read_count(&secured.kafka.bootstrap(), &sending.topic, EVENTS + 1, SOON);
    assert_eq!(records.len(), EVENTS + 1);
}

// Goal: after a crash a relay that looks into Kafka first tells of wrong credentials like any other, and once they are right it goes on
// without a loss or a repeat.
#[test]
fn a_relay_that_looks_first_tells_what_is_in_its_way() {
    let secured = Secured::shared();
    let setup = Setup::new("looks", &secured.sasl).user("SCRAM-SHA-512", PASSWORD).set("kafka.recovery", "reconcile");
    let mut sending = setup.start();
    sending.arrives();
    let more: Vec<_> = (0..EVENTS).map(|n| json!({"type": "t", "source_type": "user", "source_id": "more", "payload": n})).collect();
    sending.relay.client().post_json("/v1/events", &json!(more)).expect(202);
    sending.relay.kill9();
    sending.replace("kafka.sasl_password_file", "wrong password");
    sending.relay.restart();
    sending.is_told(&["kafka.sasl_password_file"]);
    sending.replace("kafka.sasl_password_file", PASSWORD);
    sending.relay.wait_metric("buffer_events", SOON, |backlog| backlog == 0.0);
    let records = read_count(&secured.kafka.bootstrap(), &sending.topic, 2 * EVENTS, SOON);
    let of_more: Vec<_> =
        records.iter().filter(|record| record.key_str() == "more").map(|record| record.json()["payload"].clone()).collect();
    assert_eq!((records.len(), of_more), (2 * EVENTS, (0..EVENTS).map(|n| json!(n)).collect()));
}

// Goal: my key has a password, in a file of its own: with the right one events arrive; that it is wrong, or missing, is told in a sentence that
// names what to correct, and once that is done everything arrives, without a restart.
#[test]
fn a_key_with_a_password() {
    let secured = Secured::shared();
    let signed = secured.authority.sign("relay", Life::Good);
    let locked = signed.locked_key(PASSWORD);
    let with_key = |name: &str| {
        let setup = Setup::new(name, &secured.mutual).file("kafka.tls_certificate_file", &signed.certificate);
        setup.file("kafka.tls_key_file", &locked)
    };
    let right = with_key("unlocked").file("kafka.tls_key_password_file", &format!("{PASSWORD}\n")).start();
    let wrong = with_key("locked").file("kafka.tls_key_password_file", "wrong password").start();
    let missing = with_key("nopassword").start();
    right.arrives();
    for sending in [&wrong, &missing] {
        sending.is_told(&["kafka.tls_key_file is locked", "kafka.tls_key_password_file"]);
    }
    wrong.replace("kafka.tls_key_password_file", PASSWORD);
    missing.replace("kafka.tls_key_file", &signed.key);
    wrong.arrives();
    missing.arrives();
}
