//! librdkafka's settings: what the guarantees rest on (fixed), what suits a relay (can be overridden), what the user asks for.

use super::super::window::Window;
use super::record::Topic;
use super::security::{SecretError, Security, needs_tls_build, unserved_key};
use crate::config::{Delivery, KafkaConfig, OnBlocked, Placeholder, Template, TemplateError, topic_name_problem};
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

/// Why the drain cannot be built from its settings.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The topic is no template.
    #[error("kafka.topic {0}")]
    Template(TemplateError),
    /// The topic has a name that Kafka does not take.
    #[error("kafka.topic {name:?} {problem}")]
    TopicName {
        /// The name.
        name: String,
        /// What is wrong, as a predicate.
        problem: &'static str,
    },
    /// No bootstrap server.
    #[error("kafka.brokers is empty")]
    NoBrokers,
    /// Settings that are refused, by the relay or by librdkafka.
    #[error("{}", .0.iter().map(|one| format!("{} ({})", one.text, one.cure)).collect::<Vec<_>>().join("; "))]
    Properties(Vec<Unusable>),
    /// A file of secrets or certificates.
    #[error("the files of TLS and SASL cannot be used")]
    Secret(#[from] SecretError),
    /// librdkafka refuses the settings together, although each by itself is one.
    #[error("kafka.brokers and kafka.properties do not work together")]
    Client(#[from] KafkaError),
}

/// Properties that cannot be set, and why. Aliases are listed too: librdkafka takes either.
const DENIED: [(&str, &str); 24] = [
    ("acks", "an event counts as delivered only when all in-sync replicas have it"),
    ("request.required.acks", "an event counts as delivered only when all in-sync replicas have it"),
    ("bootstrap.servers", "it is set by kafka.brokers"),
    ("metadata.broker.list", "it is set by kafka.brokers"),
    ("delivery.report.only.error", "the relay needs the report of every event"),
    ("dr_cb", "the relay needs the report of every event"),
    ("dr_msg_cb", "the relay needs the report of every event"),
    ("delivery.timeout.ms", "events never expire: the disk buffer waits as long as Kafka is away"),
    ("message.timeout.ms", "events never expire: the disk buffer waits as long as Kafka is away"),
    ("enable.idempotence", "without it retries repeat and reorder events"),
    ("enable.gapless.guarantee", "without it a later event overtakes one that failed"),
    ("log.queue", "the relay serves the log itself"),
    ("max.in.flight", "idempotence fixes it at no more than 5"),
    ("max.in.flight.requests.per.connection", "idempotence fixes it at no more than 5"),
    ("message.send.max.retries", "events are retried for ever"),
    ("retries", "events are retried for ever"),
    ("msg_order_cmp", "order per source rests on it"),
    ("partitioner", "all producers of a topic must agree on it; the relay uses murmur2, as Java does"),
    ("partitioner_cb", "all producers of a topic must agree on it; the relay uses murmur2, as Java does"),
    ("queue.buffering.backpressure.threshold", "the relay's own window decides how much waits for Kafka"),
    ("queuing.strategy", "order per source rests on first in, first out"),
    ("statistics.interval.ms", "the relay reads the statistics to know whether Kafka is there"),
    ("transactional.id", "it is the relay-id, with kafka.delivery = \"exactly-once\""),
    ("transaction.timeout.ms", "it bounds how long readers wait for a relay that died, with kafka.delivery = \"exactly-once\""),
];

/// What the guarantees rest on.
const FIXED: [(&str, &str); 4] = [
    ("enable.idempotence", "true"),
    // A batch that fails for good stops the handle, instead of letting the next one pass it.
    ("enable.gapless.guarantee", "true"),
    // What Java producers use, so that all agree on where a key goes.
    ("partitioner", "murmur2_random"),
    ("statistics.interval.ms", "2000"),
];

/// Besides, when events count one by one.
const AT_LEAST_ONCE: [(&str, &str); 1] = [
    // 0: never. The disk buffer is the queue.
    ("message.timeout.ms", "0"),
];

/// Besides, when events count with their transaction. Its end is also the end of each message in it.
const EXACTLY_ONCE: [(&str, &str); 1] = [
    // How long those who read what is committed wait when this relay dies in the middle of a transaction and nobody starts it again.
    ("transaction.timeout.ms", "15000"),
];

/// Better than [`DEFAULTS`] for transactions; the user's properties override these, too.
const DEFAULTS_EXACTLY_ONCE: [(&str, &str); 2] = [
    // Must be less than the transaction's.
    ("socket.timeout.ms", "10000"),
    // Each transaction waits for its last batches.
    ("linger.ms", "2"),
];

/// Besides, when topics are parked that Kafka refuses.
const DEFAULTS_PARKING: [(&str, &str); 1] = [
    // How long a topic that Kafka does not know may still be on its way: until then the others wait with it, each time that it is tried.
    ("topic.metadata.propagation.max.ms", "5000"),
];

/// What suits a relay; the user's properties override these.
const DEFAULTS: [(&str, &str); 16] = [
    ("linger.ms", "5"),
    ("batch.size", "1000000"),
    ("batch.num.messages", "20000"),
    // The largest that librdkafka takes: the topic's own limit decides what is too large, not a second one here.
    ("message.max.bytes", "1000000000"),
    // In KiB; counts values only, and must let the largest single event in. The window is the real bound.
    ("queue.buffering.max.kbytes", "1048576"),
    // Notice a broker that vanished without a word within seconds, and come back as fast (the defaults take minutes).
    ("socket.timeout.ms", "20000"),
    ("request.timeout.ms", "10000"),
    ("socket.connection.setup.timeout.ms", "10000"),
    ("socket.keepalive.enable", "true"),
    ("socket.nagle.disable", "true"),
    ("reconnect.backoff.ms", "50"),
    ("reconnect.backoff.max.ms", "2000"),
    ("retry.backoff.ms", "50"),
    ("retry.backoff.max.ms", "1000"),
    ("topic.metadata.refresh.interval.ms", "60000"),
    // A broker closes idle connections; that is no news.
    ("log.connection.close", "false"),
];

/// Other names of [`DEFAULTS`]. Of two names for one thing, librdkafka keeps what was set last, and the order is not ours to choose.
const ALIASES: [(&str, &str); 2] = [("queue.buffering.max.ms", "linger.ms"), ("compression.codec", "compression.type")];

/// A setting that cannot be used, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// What is wrong, a sentence without a secret.
    pub text: String,
    /// What to do about it.
    pub cure: &'static str,
}

const REMOVE: &str = "remove it from kafka.properties";
const BUILD_TLS: &str = "use the container image, or build with `cargo build --release --features kafka-tls`";

/// What this program cannot do of what `[kafka]` asks; empty when nothing is wrong.
pub fn check_properties(config: &KafkaConfig) -> Vec<Unusable> {
    let unserved = unserved_key(config).map(|key| Unusable { text: no_tls(&key), cure: BUILD_TLS });
    unserved.into_iter().chain(config.properties.iter().filter_map(|(key, value)| property_problem(key, value))).collect()
}

fn no_tls(what: &str) -> String {
    format!("{what} needs TLS or its ciphers, which this build of the program does not have")
}

fn property_problem(key: &str, value: &str) -> Option<Unusable> {
    let remove = |text| Some(Unusable { text, cure: REMOVE });
    if let Some((_, reason)) = DENIED.iter().find(|(denied, _)| *denied == key) {
        return remove(format!("kafka.properties.{key:?} cannot be set: {reason}"));
    }
    if needs_tls_build(key, value) {
        return Some(Unusable { text: no_tls(&format!("kafka.properties.{key:?}")), cure: BUILD_TLS });
    }
    let mut alone = ClientConfig::new();
    let _ = alone.set(key, value);
    // The value is left out of every sentence: it may be a password.
    match alone.create_native_config() {
        Ok(_) => None,
        Err(KafkaError::ClientConfig(_, said, ..)) => remove(format!("kafka.properties.{key:?} is not accepted: {said}")),
        Err(error) => remove(format!("kafka.properties.{key:?} is not accepted: {error}")),
    }
}

/// The whole of the producer's settings, with the secrets that are in their files now.
///
/// # Errors
/// [`BuildError`] for settings that can never work, and for files that cannot be used now.
pub fn producer_settings(config: &KafkaConfig, relay_id: &str) -> Result<ClientConfig, BuildError> {
    let client = client_config(config, relay_id)?;
    Ok(Security::of(config).with_secrets(&client)?)
}

/// The producer's settings but for what is in files.
///
/// # Errors
/// [`BuildError`] for settings that can never work.
pub(super) fn client_config(config: &KafkaConfig, relay_id: &str) -> Result<ClientConfig, BuildError> {
    if config.brokers.trim().is_empty() {
        return Err(BuildError::NoBrokers);
    }
    let problems = check_properties(config);
    if !problems.is_empty() {
        return Err(BuildError::Properties(problems));
    }
    let mut client = ClientConfig::new();
    let mut set = |key: &str, value: &str| {
        let _ = client.set(key, value);
    };
    let overridden = |key: &str| ALIASES.iter().any(|(alias, name)| *name == key && config.properties.contains_key(*alias));
    for (key, value) in DEFAULTS.into_iter().filter(|(key, _)| !overridden(key)) {
        set(key, value);
    }
    let exactly_once = config.delivery == Delivery::ExactlyOnce;
    if exactly_once {
        for (key, value) in DEFAULTS_EXACTLY_ONCE.into_iter().filter(|(key, _)| !overridden(key)) {
            set(key, value);
        }
    }
    if config.on_blocked == OnBlocked::Park {
        for (key, value) in DEFAULTS_PARKING {
            set(key, value);
        }
    }
    if !overridden("compression.type") {
        set("compression.type", config.compression.name());
    }
    // Twice the window: librdkafka also counts what it has reported and we have not yet looked at.
    set("queue.buffering.max.messages", &(2 * Window::default().events).to_string());
    set("client.id", &format!("dualstream-{relay_id}"));
    for (key, value) in &config.properties {
        set(key, value);
    }
    set("bootstrap.servers", &config.brokers);
    for (key, value) in Security::of(config).properties() {
        set(key, value);
    }
    let fixed = if exactly_once { &EXACTLY_ONCE } else { &AT_LEAST_ONCE };
    for (key, value) in FIXED.iter().chain(fixed) {
        set(key, value);
    }
    if exactly_once {
        set("transactional.id", &format!("dualstream-{relay_id}"));
    }
    let debug = config.properties.contains_key("debug");
    let _ = client.set_log_level(if debug { RDKafkaLogLevel::Debug } else { RDKafkaLogLevel::Info });
    Ok(client)
}

/// The topic setting, checked.
pub(super) fn topic(config: &KafkaConfig) -> Result<Topic, BuildError> {
    let template = Template::parse(&config.topic, &[Placeholder::Type, Placeholder::SourceType]).map_err(BuildError::Template)?;
    match template.constant() {
        None => Ok(Topic::PerEvent { template, name: String::new() }),
        Some(name) => match topic_name_problem(name) {
            None => Ok(Topic::Constant(name.to_owned())),
            Some(problem) => Err(BuildError::TopicName { name: name.to_owned(), problem }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SaslMechanism;
    use std::collections::BTreeMap;

    fn problems(pairs: &[(&str, &str)]) -> Vec<String> {
        let config = KafkaConfig { properties: properties(pairs), ..KafkaConfig::default() };
        check_properties(&config).into_iter().map(|problem| problem.text).collect()
    }

    fn properties(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    // Goal: a property that would break a guarantee is refused by name, with the reason.
    #[test]
    fn guarantees_cannot_be_switched_off() {
        for (key, _) in DENIED {
            let problems = problems(&[(key, "1")]);
            assert_eq!(problems.len(), 1, "{key}");
            assert!(problems[0].contains(key) && problems[0].contains("cannot be set"), "{}", problems[0]);
        }
        for (key, _) in FIXED.iter().chain(&AT_LEAST_ONCE).chain(&EXACTLY_ONCE) {
            assert!(DENIED.iter().any(|(denied, _)| denied == key), "{key} is fixed but could be set");
        }
    }

    // Goal: a typing error in a property is found by `check`, all of them at once, and no value (a password) is printed.
    #[test]
    fn unknown_properties_are_named() {
        let problems = problems(&[("linger.msx", "s3cret"), ("linger.ms", "s3cret"), ("compression.type", "zstd")]);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[1].contains("linger.msx") && problems[1].contains("No such configuration property"), "{problems:?}");
        assert!(!problems.concat().contains("s3cret"), "{problems:?}");
    }

    // Goal: what the user sets is what counts, under whichever of librdkafka's names.
    #[test]
    fn user_properties_override_the_defaults() {
        let user =
            properties(&[("queue.buffering.max.ms", "50"), ("compression.codec", "none"), ("batch.size", "1000"), ("client.id", "me")]);
        let config = KafkaConfig { properties: user, ..KafkaConfig::default() };
        for _ in 0..16 {
            let native = client_config(&config, "r").unwrap().create_native_config().unwrap();
            assert_eq!(native.get("linger.ms").unwrap(), "50");
            assert_eq!(native.get("compression.type").unwrap(), "none");
            assert_eq!(native.get("batch.size").unwrap(), "1000");
            assert_eq!(native.get("client.id").unwrap(), "me");
            assert_eq!(native.get("message.timeout.ms").unwrap(), "0");
            assert_eq!(native.get("enable.gapless.guarantee").unwrap(), "true");
        }
    }

    // Goal: settings that can never work are refused when the relay starts, in words that name them.
    #[test]
    fn impossible_settings_do_not_start() {
        let refused = |change: fn(&mut KafkaConfig)| {
            let mut config = KafkaConfig::default();
            change(&mut config);
            client_config(&config, "r").map(drop).and_then(|()| topic(&config).map(drop)).unwrap_err().to_string()
        };
        assert_eq!(refused(|config| config.brokers = " ".into()), "kafka.brokers is empty");
        assert!(refused(|config| config.topic = "a/b".into()).contains("\"a/b\" may hold only"));
        assert!(refused(|config| config.topic = "{id}".into()).contains("per event"));
        assert!(refused(|config| config.topic = "{source_id}".into()).contains("source_id"));
        assert!(refused(|config| config.properties = BTreeMap::from([("acks".into(), "1".into())])).contains("all in-sync replicas"));
    }

    // Goal: a build without TLS says so, and what to do, instead of blaming my settings.
    #[test]
    fn what_needs_tls_is_said_by_a_build_without_it() {
        let asked = [
            KafkaConfig { tls: true, ..KafkaConfig::default() },
            KafkaConfig { sasl_mechanism: Some(SaslMechanism::ScramSha512), ..KafkaConfig::default() },
            KafkaConfig { properties: properties(&[("security.protocol", "sasl_ssl")]), ..KafkaConfig::default() },
            KafkaConfig { properties: properties(&[("ssl.ca.location", "/ca.crt")]), ..KafkaConfig::default() },
            KafkaConfig { properties: properties(&[("sasl.mechanism", "SCRAM-SHA-256")]), ..KafkaConfig::default() },
        ];
        for config in asked {
            let found = check_properties(&config);
            if cfg!(feature = "kafka-tls") {
                assert_eq!(found, [], "{config:?}");
            } else {
                assert!(found.len() == 1 && found[0].text.contains("needs TLS") && found[0].cure == BUILD_TLS, "{found:?}");
            }
        }
        let plain = KafkaConfig { sasl_mechanism: Some(SaslMechanism::Plain), ..KafkaConfig::default() };
        assert_eq!(check_properties(&plain), []);
    }
}
