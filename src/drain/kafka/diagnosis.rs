//! What lies behind a connection that does not come about, for people: librdkafka's code says that TLS or SASL failed, its text says
//! why. Pure.
//!
//! The texts are OpenSSL's, the broker's and librdkafka's own; one that is not known here gets the meaning of its code.

use super::super::classify::{Class, classify};
use super::security::UNUSABLE;
use crate::error::Disposition;
use rdkafka::error::RDKafkaErrorCode as Code;

/// Pieces of the text (any of them), and what it means then.
const MEANINGS: [(&[&str], &str); 9] = [
    (
        &["certificate verify failed", "Failed to verify broker certificate", "error:0A000086"],
        "the broker's certificate is not accepted: it is signed by an authority that is not in kafka.tls_ca_file, or has expired, or is \
         not for the host name in kafka.brokers",
    ),
    (
        &["alert certificate required", "client SSL authentication might be required"],
        "the broker wants a certificate of the relay; set kafka.tls_certificate_file and kafka.tls_key_file",
    ),
    (&["alert certificate expired"], "the relay's certificate has expired; put a new one into kafka.tls_certificate_file"),
    (
        &["alert certificate unknown", "alert bad certificate", "alert unknown ca", "alert certificate revoked"],
        "the broker does not accept the relay's certificate: it has expired, or is signed by an authority that the broker does not trust; \
         put a new one into kafka.tls_certificate_file",
    ),
    (
        &["alert handshake failure", "alert protocol version", "no shared cipher", "unsupported protocol"],
        "the broker and the relay have no version or cipher of TLS in common; check the broker's ssl.* settings",
    ),
    (
        &["wrong version number", "record layer failure"],
        "the broker's listener does not speak TLS; check the port in kafka.brokers, or set kafka.tls = false",
    ),
    (
        &["invalid credentials", "Authentication failed", "Invalid username or password"],
        "the broker does not accept the user name and password; correct kafka.sasl_username or the file of kafka.sasl_password_file",
    ),
    (&["OAUTHBEARER token", "invalid_token"], "no token that the broker accepts; check kafka.sasl_token_file and who renews it"),
    (
        &["not enabled in the server", "Unsupported SASL mechanism", "unsupported mechanism"],
        "the broker's listener does not offer this mechanism; check kafka.sasl_mechanism and the port in kafka.brokers",
    ),
];

/// As [`MEANINGS`], of connections that were closed without a word: a broker that stops does that too, so it may pass.
const DOUBTFUL: [(&[&str], &str); 2] = [
    (
        &["PLAINTEXT broker listener"],
        "Kafka closes the connection; if it goes on, the listener does not speak TLS: check the port in kafka.brokers and kafka.tls",
    ),
    (
        &["connecting to a SSL listener"],
        "Kafka closes the connection; if it goes on, the listener speaks TLS: check the port in kafka.brokers and kafka.tls",
    ),
];

/// As [`MEANINGS`], of a handle that cannot be made because of a file.
const UNUSABLE_FILES: [(&str, &str); 2] = [
    (KEY_FAILED, "the file of kafka.tls_key_file is no key that can be used (PEM); correct it, no restart is needed"),
    (
        "ssl.certificate.location failed",
        "the file of kafka.tls_certificate_file is no certificate that can be used (PEM); correct it, no restart is needed",
    ),
];
const KEY_FAILED: &str = "ssl.key.location failed";
const LOCKED: &str = "the key of kafka.tls_key_file is locked: correct the password in the file of kafka.tls_key_password_file, or set it where there is none";

/// What it means that a handle cannot be made, by what librdkafka says. It says the same of a key that is none and of a wrong password:
/// `key_is_locked` tells whether the key has one.
pub(super) fn unusable(text: &str, key_is_locked: bool) -> Class {
    let known = UNUSABLE_FILES.iter().find(|(piece, _)| text.contains(piece));
    let meaning = match known {
        Some((KEY_FAILED, _)) if key_is_locked => LOCKED,
        Some((_, meaning)) => meaning,
        None => UNUSABLE.meaning,
    };
    Class { meaning, ..UNUSABLE }
}

/// What an error of a connection means.
pub(super) fn diagnose(code: Code, text: &str) -> Class {
    let class = classify(code);
    if !of_connections(code) {
        return class;
    }
    let find = |meanings: &[(&[&str], &'static str)]| {
        let known = meanings.iter().find(|(pieces, _)| pieces.iter().any(|piece| text.contains(piece)));
        known.map(|(_, meaning)| *meaning)
    };
    if let Some(meaning) = find(&DOUBTFUL) {
        return Class { disposition: Disposition::Retry, reason: "unreachable", meaning };
    }
    let meaning = find(&MEANINGS).or(match code {
        Code::BrokerTransportFailure => None,
        Code::SSL => Some("no TLS connection comes about; check kafka.tls and the files of kafka.tls_*"),
        _ => Some("the broker does not accept the credentials; check kafka.sasl_* and the files that they name"),
    });
    meaning.map_or(class, |meaning| Class { disposition: Disposition::Block, reason: "authentication", meaning })
}

/// Codes of connections: others speak of topics and events, whatever their texts contain.
fn of_connections(code: Code) -> bool {
    matches!(
        code,
        Code::SSL | Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism | Code::BrokerTransportFailure
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: an operator reads what to correct, not an error of OpenSSL. The texts are what a real broker and librdkafka said.
    #[test]
    fn texts_of_a_real_broker() {
        for (code, text, wanted) in [
            (
                Code::SSL,
                "SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker certificate could not be verified, verify that ssl.ca.location is correctly configured",
                "kafka.tls_ca_file",
            ),
            (
                Code::Authentication,
                "SASL authentication error: Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-512",
                "kafka.sasl_password_file",
            ),
            (
                Code::BrokerTransportFailure,
                "Receive failed: error:0A000416:SSL routines::ssl/tls alert certificate unknown: SSL alert number 46",
                "put a new one into kafka.tls_certificate_file",
            ),
            (
                Code::SSL,
                "Receive failed: error:0A000412:SSL routines::ssl/tls alert bad certificate: SSL alert number 42",
                "put a new one into kafka.tls_certificate_file",
            ),
            (Code::Authentication, "Failed to acquire SASL OAUTHBEARER token: the token in /t expired at 2026", "kafka.sasl_token_file"),
            (Code::Authentication, "something new", "check kafka.sasl_*"),
            (Code::SSL, "something new", "kafka.tls_*"),
        ] {
            let class = diagnose(code, text);
            assert_eq!((class.disposition, class.reason), (Disposition::Block, "authentication"), "{text}");
            assert!(class.meaning.contains(wanted), "{text}: {}", class.meaning);
        }
    }

    // Goal: a key that cannot be unlocked is told from one that is none.
    #[test]
    fn files_that_cannot_be_used() {
        let key = "cannot make a Kafka handle: Client creation error: ssl.key.location failed: error:0A080009:SSL routines::PEM lib";
        for (text, is_locked, wanted) in [
            (key, true, "kafka.tls_key_password_file"),
            (key, false, "kafka.tls_key_file is no key"),
            ("ssl.certificate.location failed: error:0A080009:SSL routines::PEM lib", true, "kafka.tls_certificate_file"),
            ("ssl.ca.location failed: something", true, UNUSABLE.meaning),
        ] {
            let meaning = unusable(text, is_locked).meaning;
            assert!(meaning.contains(wanted), "{text}: {meaning}");
        }
    }

    // Goal: a broker that restarts is an outage that passes, not wrong credentials, and an error of a topic is not taken for one.
    #[test]
    fn closed_connections_are_no_proof() {
        let closed = "SSL handshake failed: Disconnected: SSL connection closed by peer: connecting to a PLAINTEXT broker listener?";
        let class = diagnose(Code::BrokerTransportFailure, closed);
        assert_eq!((class.disposition, class.reason), (Disposition::Retry, "unreachable"));
        assert!(class.meaning.contains("does not speak TLS"), "{}", class.meaning);
        assert_eq!(diagnose(Code::BrokerTransportFailure, "Disconnected"), classify(Code::BrokerTransportFailure));
        assert_eq!(diagnose(Code::UnknownTopic, "certificate verify failed"), classify(Code::UnknownTopic));
    }
}
