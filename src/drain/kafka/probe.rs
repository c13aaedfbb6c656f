//! A look at Kafka for `dualstream check --connect`: reachable? does the topic exist, may we see it, how large may a record be? May we read it,
//! where the recovery needs that?
//!
//! Changes nothing: the look must not create the topic that it looks for.

use super::super::sink::Refusal;
use super::consumer::may_read;
use super::context::Context;
use super::limits::{max_message_bytes, topic_setting};
use super::record::Topic;
use super::security::Security;
use super::settings::{BuildError, producer_settings, topic};
use super::unusable;
use crate::config::{Delivery, KafkaConfig, Recovery};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;
use rdkafka::producer::{BaseProducer, Producer};
use std::time::Duration;

/// What Kafka says about itself and the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaFacts {
    /// Brokers of the cluster, `host:port`.
    pub brokers: Vec<String>,
    /// The topic and its number of partitions; `None` when the topic depends on the event.
    pub topic: Option<(String, usize)>,
    /// The topic's limit on a batch of records, in bytes; `None` when it depends on the event or may not be read.
    pub max_message_bytes: Option<u64>,
    /// Whether the topic may be read; `None` when nobody has to (`kafka.recovery`), the topic depends on the event, or Kafka did not say.
    pub may_read: Option<bool>,
    /// With `kafka.delivery = "exactly-once"`: the cursors' topic.
    pub cursors: Option<CursorFacts>,
    /// With `kafka.dead_letter_topic`: that topic.
    pub dead_letters: Option<DeadLetterTopic>,
}

/// What Kafka says about the topic of `kafka.dead_letter_topic`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadLetterTopic {
    /// It is there, and this user may see it. Whether it may be written to is said by nobody before something is written.
    There,
    /// It is not there.
    Missing,
    /// This user may not use it.
    NotAuthorized,
    /// Kafka did not say.
    Unknown(String),
}

/// What Kafka says about the topic of `kafka.cursor_topic`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CursorFacts {
    /// Whether it is there, as far as we may see.
    pub exists: bool,
    /// Whether it keeps the newest cursor for ever; `None` when Kafka did not say.
    pub compacted: Option<bool>,
    /// Whether it may be read; `None` when Kafka did not say.
    pub may_read: Option<bool>,
}

/// Why Kafka is not ready for events.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The settings themselves.
    #[error("the settings cannot work")]
    Settings(#[from] BuildError),
    /// Nobody answered.
    #[error("no broker of {brokers} answered within {timeout:?}{}", said.as_ref().map(|said| format!(" ({said})")).unwrap_or_default())]
    Unreachable {
        /// The bootstrap servers.
        brokers: String,
        /// How long we waited.
        timeout: Duration,
        /// The newest error of a connection.
        said: Option<String>,
    },
    /// Nobody lets us in, or we trust nobody.
    #[error("no connection to {brokers}: {meaning} ({said})")]
    Credentials {
        /// The bootstrap servers.
        brokers: String,
        /// What it means, and what to do.
        meaning: &'static str,
        /// In librdkafka's words.
        said: String,
    },
    /// The topic is not there.
    #[error("topic {topic:?} does not exist; create it, or correct kafka.topic")]
    NoTopic {
        /// Its name.
        topic: String,
    },
    /// We may not see the topic.
    #[error("this user may not use topic {topic:?}; grant WRITE and DESCRIBE")]
    NotAuthorized {
        /// Its name.
        topic: String,
    },
    /// Anything else that Kafka said.
    #[error("cannot look at topic {topic:?}")]
    Refused {
        /// Its name, or `*`.
        topic: String,
        /// What Kafka answered.
        #[source]
        source: KafkaError,
    },
}

/// Asks Kafka. Blocks up to about three times the timeout: for metadata, for the topic's configuration, for a try to read it.
///
/// # Errors
/// [`ProbeError`], which says what to do.
pub fn probe(config: &KafkaConfig, timeout: Duration) -> Result<KafkaFacts, ProbeError> {
    let mut client = producer_settings(config, "check")?;
    let _ = client.set("allow.auto.create.topics", "false");
    let name = match topic(config)? {
        Topic::Constant(name) => Some(name),
        Topic::PerEvent { .. } => None,
    };
    let producer: BaseProducer<Context> =
        client.create_with_context(Context::new(Security::of(config).token())).map_err(|error| not_made(config, error))?;
    // A token of OAUTHBEARER is asked for when the handle is polled, which the request below does not do.
    producer.poll(Duration::from_millis(100));
    let metadata = producer
        .client()
        .fetch_metadata(name.as_deref(), timeout)
        .map_err(|error| explain(&producer, config, timeout, name.as_deref(), error))?;
    let brokers = metadata.brokers().iter().map(|broker| format!("{}:{}", broker.host(), broker.port())).collect();
    let cursors = (config.delivery == Delivery::ExactlyOnce).then(|| look_at_cursors(&producer, &client, config, timeout));
    let dead_letters = config.dead_letter_topic.as_ref().map(|topic| look_at_dead_letters(&producer, topic, timeout));
    let Some(name) = name else {
        return Ok(KafkaFacts { brokers, topic: None, max_message_bytes: None, may_read: None, cursors, dead_letters });
    };
    let found = metadata.topics().iter().find(|topic| topic.name() == name);
    let code = found.and_then(MetadataTopic::error).map_or(RDKafkaErrorCode::NoError, RDKafkaErrorCode::from);
    let partitions = found.map_or(0, |topic| topic.partitions().len());
    match code {
        RDKafkaErrorCode::NoError if partitions > 0 => {}
        RDKafkaErrorCode::NoError | RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => {
            return Err(ProbeError::NoTopic { topic: name });
        }
        RDKafkaErrorCode::TopicAuthorizationFailed => return Err(ProbeError::NotAuthorized { topic: name }),
        code => return Err(ProbeError::Refused { topic: name, source: KafkaError::MetadataFetch(code) }),
    }
    let max_message_bytes = max_message_bytes(&client, &name, timeout).ok();
    let asked = config.recovery == Recovery::Reconcile && cursors.is_none();
    let may_read = if asked { may_read(&client, &Security::of(config), &name, timeout) } else { None };
    Ok(KafkaFacts { brokers, topic: Some((name, partitions)), max_message_bytes, may_read, cursors, dead_letters })
}

fn look_at_dead_letters(producer: &BaseProducer<Context>, topic: &str, timeout: Duration) -> DeadLetterTopic {
    let metadata = match producer.client().fetch_metadata(Some(topic), timeout) {
        Ok(metadata) => metadata,
        Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
            return DeadLetterTopic::NotAuthorized;
        }
        Err(error) => return DeadLetterTopic::Unknown(error.to_string()),
    };
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let code = found.and_then(MetadataTopic::error).map_or(RDKafkaErrorCode::NoError, RDKafkaErrorCode::from);
    match code {
        RDKafkaErrorCode::NoError if found.is_some_and(|found| !found.partitions().is_empty()) => DeadLetterTopic::There,
        RDKafkaErrorCode::NoError | RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => DeadLetterTopic::Missing,
        RDKafkaErrorCode::TopicAuthorizationFailed => DeadLetterTopic::NotAuthorized,
        code => DeadLetterTopic::Unknown(code.to_string()),
    }
}

fn look_at_cursors(producer: &BaseProducer<Context>, client: &ClientConfig, config: &KafkaConfig, timeout: Duration) -> CursorFacts {
    let topic = &config.cursor_topic;
    let exists = producer.client().fetch_metadata(Some(topic), timeout).is_ok_and(|metadata| {
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        found.is_some_and(|found| found.error().is_none() && !found.partitions().is_empty())
    });
    if !exists {
        return CursorFacts { exists, compacted: None, may_read: None };
    }
    let policy = topic_setting(client, topic, "cleanup.policy", timeout);
    let compacted = policy.ok().map(|policy| policy.contains("compact") && !policy.contains("delete"));
    CursorFacts { exists, compacted, may_read: may_read(client, &Security::of(config), topic, timeout) }
}

/// Why there is no handle: for a file that cannot be used, or the settings themselves.
fn not_made(config: &KafkaConfig, error: KafkaError) -> ProbeError {
    let security = Security::of(config);
    if !security.has_files() {
        return ProbeError::Settings(BuildError::from(error));
    }
    let Refusal { class, detail } = unusable(&error, &security);
    ProbeError::Credentials { brokers: config.brokers.clone(), meaning: class.meaning, said: detail }
}

/// What lies behind a metadata request that failed: the connections' own errors, which librdkafka tells when it is polled.
fn explain(
    producer: &BaseProducer<Context>,
    config: &KafkaConfig,
    timeout: Duration,
    topic: Option<&str>,
    error: KafkaError,
) -> ProbeError {
    producer.poll(Duration::from_millis(100));
    let brokers = config.brokers.clone();
    let trouble = producer.context().take_trouble();
    match (error.rdkafka_error_code(), trouble) {
        (_, Some(trouble)) if trouble.class.reason == "authentication" => {
            ProbeError::Credentials { brokers, meaning: trouble.class.meaning, said: trouble.detail }
        }
        (Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::OperationTimedOut), trouble) => {
            let said = trouble.map(|trouble| format!("{}: {}", trouble.class.meaning, trouble.detail));
            ProbeError::Unreachable { brokers, timeout, said }
        }
        (Some(RDKafkaErrorCode::TopicAuthorizationFailed), _) => ProbeError::NotAuthorized { topic: topic.unwrap_or("*").to_owned() },
        _ => ProbeError::Refused { topic: topic.unwrap_or("*").to_owned(), source: error },
    }
}
