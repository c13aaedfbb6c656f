//! What TLS and SASL towards Kafka need of each other: a setting that would have no effect, or lacks its partner, is a problem.

use super::problem::Problem;
use super::relation::Judge;
use super::section::{Delivery, KafkaConfig, OnBlocked, SaslMechanism};

/// Properties of librdkafka that say the same as a key, and the key.
const SAME: [(&str, &str); 11] = [
    ("security.protocol", "kafka.tls"),
    ("ssl.ca.location", "kafka.tls_ca_file"),
    ("ssl.ca.pem", "kafka.tls_ca_file"),
    ("ssl.certificate.location", "kafka.tls_certificate_file"),
    ("ssl.certificate.pem", "kafka.tls_certificate_file"),
    ("ssl.key.location", "kafka.tls_key_file"),
    ("ssl.key.pem", "kafka.tls_key_file"),
    ("sasl.mechanism", "kafka.sasl_mechanism"),
    ("sasl.mechanisms", "kafka.sasl_mechanism"),
    ("sasl.username", "kafka.sasl_username"),
    ("sasl.password", "kafka.sasl_password_file"),
];

/// The problems between keys of `[kafka]`.
pub(super) fn check(judge: &Judge<'_>) -> Vec<Problem> {
    let kafka = &judge.loaded.config.kafka;
    [unused_tls(judge, kafka), pair(judge, kafka), unused_sasl(judge, kafka), name(judge, kafka), secret(judge, kafka)]
        .into_iter()
        .flatten()
        .chain(given_twice(judge, kafka))
        .chain(parking(judge, kafka))
        .chain(compression(judge, kafka))
        .collect()
}

/// What is parked is delivered after what was sent later: a cursor that says how far this relay has come cannot tell of it.
fn parking(judge: &Judge<'_>, kafka: &KafkaConfig) -> Option<Problem> {
    let [on_blocked, delivery] = ["kafka.on_blocked", "kafka.delivery"];
    let both = kafka.on_blocked == OnBlocked::Park && kafka.delivery == Delivery::ExactlyOnce;
    judge.problem(&[on_blocked, delivery], both, || {
        let (parks, once) = (judge.told(on_blocked), judge.told(delivery));
        format!("{parks}, but {once}; allowed: \"wait\" with exactly-once, since its cursor counts events in their order")
    })
}

/// The first file of TLS that is given.
fn tls_file(kafka: &KafkaConfig) -> Option<&'static str> {
    let files = [
        ("kafka.tls_ca_file", &kafka.tls_ca_file),
        ("kafka.tls_certificate_file", &kafka.tls_certificate_file),
        ("kafka.tls_key_file", &kafka.tls_key_file),
        ("kafka.tls_key_password_file", &kafka.tls_key_password_file),
    ];
    files.into_iter().find(|(_, path)| path.is_some()).map(|(key, _)| key)
}

/// Whether the user says by property what protocol is spoken; then the keys beside it are theirs to combine.
fn protocol_by_property(kafka: &KafkaConfig) -> bool {
    kafka.properties.contains_key("security.protocol")
}

fn unused_tls(judge: &Judge<'_>, kafka: &KafkaConfig) -> Option<Problem> {
    let file = tls_file(kafka)?;
    judge.problem(&[file, "kafka.tls"], !kafka.tls && !protocol_by_property(kafka), || {
        format!("{}, but {}, so that it would not be used; allowed: kafka.tls = true beside it", judge.told(file), judge.told("kafka.tls"))
    })
}

fn pair(judge: &Judge<'_>, kafka: &KafkaConfig) -> Option<Problem> {
    let [certificate, key, password] = ["kafka.tls_certificate_file", "kafka.tls_key_file", "kafka.tls_key_password_file"];
    let has_key = kafka.tls_key_file.is_some() || kafka.properties.contains_key("ssl.key.pem");
    let halves = kafka.tls_certificate_file.is_some() != kafka.tls_key_file.is_some();
    let by_property = ["ssl.key.location", "ssl.key.pem", "ssl.certificate.location", "ssl.certificate.pem"]
        .iter()
        .any(|name| kafka.properties.contains_key(*name));
    judge
        .problem(&[certificate, key], halves && !by_property, || {
            format!("{}, and {}; allowed: both of them, or neither", judge.told(certificate), judge.told(key))
        })
        .or_else(|| {
            judge.problem(&[password, key], kafka.tls_key_password_file.is_some() && !has_key && !by_property, || {
                format!("{}, but {}; allowed: a key for the password", judge.told(password), judge.told(key))
            })
        })
}

fn unused_sasl(judge: &Judge<'_>, kafka: &KafkaConfig) -> Option<Problem> {
    let given = [
        ("kafka.sasl_username", kafka.sasl_username.is_some()),
        ("kafka.sasl_username_file", kafka.sasl_username_file.is_some()),
        ("kafka.sasl_password_file", kafka.sasl_password_file.is_some()),
        ("kafka.sasl_token_file", kafka.sasl_token_file.is_some()),
    ];
    let (key, _) = given.into_iter().find(|(_, given)| *given)?;
    let by_property = ["sasl.mechanism", "sasl.mechanisms"].iter().any(|name| kafka.properties.contains_key(*name));
    judge.problem(&[key, "kafka.sasl_mechanism"], kafka.sasl_mechanism.is_none() && !by_property, || {
        format!("{}, but kafka.sasl_mechanism is not given, so that it would not be used; allowed: a mechanism beside it", judge.told(key))
    })
}

fn name(judge: &Judge<'_>, kafka: &KafkaConfig) -> Option<Problem> {
    let [name, file] = ["kafka.sasl_username", "kafka.sasl_username_file"];
    let twice = kafka.sasl_username.is_some() && kafka.sasl_username_file.is_some();
    let told = || format!("{}, and {}; allowed: one of them", judge.told(name), judge.told(file));
    judge.problem(&[name, file], twice, told)
}

/// A mechanism without what it proves.
fn secret(judge: &Judge<'_>, kafka: &KafkaConfig) -> Option<Problem> {
    let mechanism = kafka.sasl_mechanism?;
    let told = || judge.told("kafka.sasl_mechanism");
    if mechanism == SaslMechanism::OauthBearer {
        let file = "kafka.sasl_token_file";
        let by_property = kafka.properties.keys().any(|name| name.contains("oauthbearer"));
        return judge.problem(&["kafka.sasl_mechanism", file], kafka.sasl_token_file.is_none() && !by_property, || {
            format!("{}, but {file} is not given; allowed: a token file beside it", told())
        });
    }
    let [user, password] = ["kafka.sasl_username", "kafka.sasl_password_file"];
    let no_user = kafka.sasl_username.is_none() && kafka.sasl_username_file.is_none() && !kafka.properties.contains_key("sasl.username");
    let no_password = kafka.sasl_password_file.is_none() && !kafka.properties.contains_key("sasl.password");
    judge.problem(&["kafka.sasl_mechanism", user, password], no_user || no_password, || {
        format!("{}, which needs {user} (or {user}_file) and {password}; allowed: both beside it", told())
    })
}

fn given_twice(judge: &Judge<'_>, kafka: &KafkaConfig) -> Vec<Problem> {
    let own = |key: &str| match key {
        "kafka.tls" => kafka.tls || kafka.sasl_mechanism.is_some(),
        "kafka.tls_ca_file" => kafka.tls_ca_file.is_some(),
        "kafka.tls_certificate_file" => kafka.tls_certificate_file.is_some(),
        "kafka.tls_key_file" => kafka.tls_key_file.is_some(),
        "kafka.sasl_mechanism" => kafka.sasl_mechanism.is_some(),
        "kafka.sasl_username" => kafka.sasl_username.is_some() || kafka.sasl_username_file.is_some(),
        _ => kafka.sasl_password_file.is_some(),
    };
    let told = |(property, key): (&'static str, &'static str)| {
        judge.problem(&["kafka.properties", key], own(key) && kafka.properties.contains_key(property), || {
            let keys = if key == "kafka.tls" { "kafka.tls and kafka.sasl_mechanism" } else { key };
            format!("kafka.properties.{property:?} says what {keys} says; allowed: one of them")
        })
    };
    SAME.into_iter().filter_map(told).collect()
}

fn compression(judge: &Judge<'_>, kafka: &KafkaConfig) -> Option<Problem> {
    let by_property = ["compression.type", "compression.codec"].iter().any(|name| kafka.properties.contains_key(*name));
    let by_key = judge.loaded.origins.contains_key("kafka.compression");
    judge.problem(&["kafka.compression", "kafka.properties"], by_property && by_key, || {
        format!("{}, and kafka.properties has a compression, too; allowed: one of them", judge.told("kafka.compression"))
    })
}
