//! A look at Kafka for `dualstream check --connect`: reachable? does the topic exist, may we see it, how large may a record be? May we read it,
//! where the recovery needs that?
//!
//! Changes nothing: the look must not create the topic that it looks for.

use super::super::sink::Refusal;
use super::context::Context;
use super::limits::max_message_bytes;
use super::reconcile;
use super::record::Topic;
use super::security::Security;
use super::settings::{BuildError, producer_settings, topic};
use super::unusable;
use crate::config::{KafkaConfig, Recovery};
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
    let Some(name) = name else { return Ok(KafkaFacts { brokers, topic: None, max_message_bytes: None, may_read: None }) };
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
    let asked = config.recovery == Recovery::Reconcile;
    let may_read = if asked { reconcile::may_read(&client, &Security::of(config), &name, timeout) } else { None };
    Ok(KafkaFacts { brokers, topic: Some((name, partitions)), max_message_bytes, may_read })
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
