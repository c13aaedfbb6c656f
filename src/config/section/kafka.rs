//! `[kafka]`

use super::super::kind::{FilePath, Headers, OneOf, OrNone, Properties, Switch, Time, brokers, free_text, topic};
use super::section;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// How the relay says who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaslMechanism {
    /// Name and password as they are.
    Plain,
    /// A proof of the password, SHA-256.
    ScramSha256,
    /// A proof of the password, SHA-512.
    ScramSha512,
    /// A token that somebody else renews.
    OauthBearer,
}

impl SaslMechanism {
    /// All of them, by their names in Kafka.
    const NAMES: &'static [(&'static str, Self)] = &[
        ("PLAIN", Self::Plain),
        ("SCRAM-SHA-256", Self::ScramSha256),
        ("SCRAM-SHA-512", Self::ScramSha512),
        ("OAUTHBEARER", Self::OauthBearer),
    ];

    /// The name in Kafka.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, mechanism)| *mechanism == self).map_or("", |(name, _)| name)
    }
}

/// What a record looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecordFormat {
    /// The event's JSON as the value.
    #[default]
    Event,
    /// `CloudEvents` JSON as the value.
    CloudEventsStructured,
    /// `CloudEvents` attributes as headers, the payload as the value.
    CloudEventsBinary,
}

/// How batches are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip
    Gzip,
    /// Snappy
    Snappy,
    /// LZ4
    #[default]
    Lz4,
    /// Zstandard
    Zstd,
}

impl Compression {
    /// All of them, by their names in Kafka.
    const NAMES: &'static [(&'static str, Self)] =
        &[("none", Self::None), ("gzip", Self::Gzip), ("snappy", Self::Snappy), ("lz4", Self::Lz4), ("zstd", Self::Zstd)];

    /// The name in Kafka.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, compression)| *compression == self).map_or("none", |(name, _)| name)
    }
}

/// How the place to go on from is found after a crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recovery {
    /// From the checkpoint beside the buffer.
    #[default]
    Checkpoint,
    /// From the checkpoint, and what Kafka has beyond it.
    Reconcile,
}

/// What to do with an event that Kafka refuses for what it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRejected {
    /// Keep it as a dead letter and go on.
    #[default]
    DeadLetter,
    /// Wait, and try it again.
    Block,
}

section! {
    /// Kafka, for what must not be lost.
    pub struct KafkaConfig in kafka {
        /// Bootstrap servers.
        brokers: String = "127.0.0.1:9092".into(), brokers();

        /// Topic, or a template for it, such as `events.{source_type}`; an event whose topic name Kafka would refuse is refused.
        topic: String = "events".into(), topic();

        /// What a record is: `event`, the whole event as JSON; `cloudevents-structured`, the event as `CloudEvents` JSON;
        /// `cloudevents-binary`, the attributes as `ce_` headers and the payload as the value (none without a payload). The source of a
        /// `CloudEvents` record is `/{source_type}/{source_id}`. Both take fields of the event that the relay does not know as extension
        /// attributes when their names are lower-case letters and digits and their values a text, a boolean or a 32-bit whole number;
        /// others are left out.
        format: RecordFormat = RecordFormat::Event, OneOf(&[
            ("event", RecordFormat::Event),
            ("cloudevents-structured", RecordFormat::CloudEventsStructured),
            ("cloudevents-binary", RecordFormat::CloudEventsBinary),
        ]);

        /// Headers that every record gets besides the relay's own, such as the environment that it comes from.
        headers: BTreeMap<String, String> = BTreeMap::new(), Headers;

        /// How batches are compressed on their way and in Kafka.
        compression: Compression = Compression::Lz4, OneOf(Compression::NAMES);

        /// How the place to go on from is found after an unclean stop: `checkpoint`, from the checkpoint beside the buffer, so that what was in
        /// flight and acknowledged since comes twice; `reconcile`, the ends of the partitions are read first, and what is found there of
        /// this relay's is not sent again; so also when a producer handle has ended with events on their way. That needs the right READ on the
        /// topic, and takes some seconds.
        recovery: Recovery = Recovery::Checkpoint, OneOf(&[("checkpoint", Recovery::Checkpoint), ("reconcile", Recovery::Reconcile)]);

        /// How long `reconcile` may read, once Kafka answers; what it has not seen by then is sent again.
        reconcile_timeout: Duration = Duration::from_secs(30), Time { min_ms: 1_000, max_ms: 600_000 };

        /// TLS towards the brokers. Their certificates must be for the names in `brokers`. Needs a build with the feature `kafka-tls`.
        /// Files of certificates and secrets are read for every connection that is made anew, and looked at every few seconds: a changed
        /// one is taken without a restart.
        tls: bool = false, Switch;

        /// File with the certificates of the authorities that sign the brokers' certificates (PEM). Empty: the system's own.
        tls_ca_file: Option<PathBuf> = None, OrNone(FilePath);

        /// File with the relay's own certificate and those that sign it (PEM), for mutual TLS.
        tls_certificate_file: Option<PathBuf> = None, OrNone(FilePath);

        /// File with the key of that certificate (PEM).
        tls_key_file: Option<PathBuf> = None, OrNone(FilePath);

        /// File with the password of that key.
        tls_key_password_file: Option<PathBuf> = None, OrNone(FilePath);

        /// How the relay authenticates itself. All but `PLAIN` need a build with the feature `kafka-tls`.
        sasl_mechanism: Option<SaslMechanism> = None, OrNone(OneOf(SaslMechanism::NAMES));

        /// User name for `PLAIN` and `SCRAM`.
        sasl_username: Option<String> = None, OrNone(free_text());

        /// File with the user name, instead of `sasl_username`.
        sasl_username_file: Option<PathBuf> = None, OrNone(FilePath);

        /// File with the password for `PLAIN` and `SCRAM`.
        sasl_password_file: Option<PathBuf> = None, OrNone(FilePath);

        /// File with the token (a JWT) for `OAUTHBEARER`; read again before the token in use expires, so somebody must renew the file,
        /// as Kubernetes does with a projected service account token.
        sasl_token_file: Option<PathBuf> = None, OrNone(FilePath);

        /// librdkafka producer properties: any but those that the guarantees rest on. File, environment and flags add up, entry by
        /// entry. Values of passwords and keys are never printed.
        properties: BTreeMap<String, String> = BTreeMap::new(), Properties;

        /// What becomes of an event that Kafka will never take. `"dead-letter"`: it is set aside with the reason, and the rest goes on;
        /// `"block"`: everything waits behind it.
        on_rejected: OnRejected = OnRejected::DeadLetter, OneOf(&[("dead-letter", OnRejected::DeadLetter), ("block", OnRejected::Block)]);
    }
    only {
        /// What a consumer can see: every event at least once, and a repeated one is recognisable.
        delivery = "at-least-once";

        /// What happens while Kafka refuses what waiting alone may not cure (a missing topic, a revoked right): nothing is
        /// skipped, the backlog waits.
        on_blocked = "wait";
    }
}
