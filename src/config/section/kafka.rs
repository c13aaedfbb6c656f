//! `[kafka]`

use super::super::kind::{FilePath, Headers, OneOf, OrNone, Properties, Switch, Time, brokers, free_text, topic, topic_name};
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
        OneOf(Self::NAMES).name(self).unwrap_or_default()
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
        OneOf(Self::NAMES).name(self).unwrap_or("none")
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

/// What a consumer can see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// Every event, and repeats that it can recognise.
    #[default]
    AtLeastOnce,
    /// Every event once, for consumers that read what is committed.
    ExactlyOnce,
}

impl Delivery {
    /// Both, as the settings have them.
    const NAMES: &'static [(&'static str, Self)] = &[("at-least-once", Self::AtLeastOnce), ("exactly-once", Self::ExactlyOnce)];

    /// As the settings have it.
    pub fn name(self) -> &'static str {
        OneOf(Self::NAMES).name(self).unwrap_or_default()
    }
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

/// What to do while Kafka refuses a topic in a way that waiting alone may not cure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBlocked {
    /// Wait, with everything behind it.
    #[default]
    Wait,
    /// Set the events of that topic aside, in order, and go on with the others.
    Park,
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

        /// What a consumer can see. `at-least-once`: every event, and a repeated one, after an unclean stop, is recognisable.
        /// `exactly-once`: no repeats for consumers with `isolation.level=read_committed`; events go in transactions, and come up to
        /// `transaction_interval` later. Needs the topic `cursor_topic`, rights on it and on transactional ids
        /// (docs/consumers.md). `recovery` has no meaning then.
        delivery: Delivery = Delivery::AtLeastOnce, OneOf(Delivery::NAMES);

        /// Where each transaction notes how far this relay has come, under its relay-id: a compacted topic that many relays may share. With
        /// `exactly-once` only.
        cursor_topic: String = "dualstream-cursors".into(), topic_name();

        /// How long a transaction collects events, unless it is full earlier. Longer ones cost Kafka less, and delay consumers and
        /// notifications. With `exactly-once` only.
        transaction_interval: Duration = Duration::from_millis(100), Time { min_ms: 1, max_ms: 5_000 };

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

        /// Topic that gets a copy of each dead letter, with headers that say why (docs/consumers.md), besides the one on disk. When there is no room
        /// for more dead letters on disk, those that are in the topic give way. Needs WRITE and DESCRIBE on it. Empty: no copies.
        dead_letter_topic: Option<String> = None, OrNone(topic_name());

        /// What happens while Kafka refuses a topic in a way that waiting alone may not cure: it is missing, its name is none, a right was
        /// revoked. `"wait"`: the backlog waits behind it. `"park"`: the events of that topic are set aside on disk (`buffer.parked_bytes`), in
        /// order, those of other topics go on, and the topic is tried again until it takes them. Nothing is skipped either way. Parking is of
        /// use where `topic` is a template, and cannot be had with `exactly-once`.
        on_blocked: OnBlocked = OnBlocked::Wait, OneOf(&[("wait", OnBlocked::Wait), ("park", OnBlocked::Park)]);
    }
}
