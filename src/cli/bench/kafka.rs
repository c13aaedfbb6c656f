//! The Kafka under test: the user's, or a mock cluster in this process; and topics that are gone afterwards.

use super::error::BenchError;
use super::plan::Plan;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Partitions of each topic.
const PARTITIONS: i32 = 8;
/// Kafka answers administrators within this, or not at all.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(20);
/// A new topic is known to all brokers within this.
const KNOWN_WITHIN: Duration = Duration::from_secs(20);

/// A cluster and the topics that were made in it.
pub(super) struct Cluster {
    brokers: String,
    engine: Engine,
    prefix: String,
    topics: Vec<String>,
}

enum Engine {
    Mock(MockCluster<'static, DefaultProducerContext>),
    Real { admin: AdminClient<DefaultClientContext>, runtime: Runtime },
}

impl Cluster {
    /// Starts the mock, or gets ready to talk to the real one.
    pub(super) fn start(plan: &Plan) -> Result<Self, BenchError> {
        let prefix = format!("{}-{}", plan.topic_prefix, std::process::id());
        let (brokers, engine) = match &plan.brokers {
            None => {
                let mock = MockCluster::new(1).map_err(BenchError::kafka("start the mock cluster"))?;
                (mock.bootstrap_servers(), Engine::Mock(mock))
            }
            Some(brokers) => {
                let admin = ClientConfig::new().set("bootstrap.servers", brokers).create();
                let admin = admin.map_err(BenchError::kafka(format!("use {brokers}")))?;
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                (brokers.clone(), Engine::Real { admin, runtime: runtime.map_err(BenchError::io("start a runtime"))? })
            }
        };
        Ok(Self { brokers, engine, prefix, topics: Vec::new() })
    }

    /// Bootstrap servers.
    pub(super) fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Makes a topic and waits until it can be written to.
    pub(super) fn topic(&mut self, name: &str) -> Result<String, BenchError> {
        let topic = format!("{}-{name}", self.prefix);
        let what = format!("make the topic {topic} at {}", self.brokers);
        match &self.engine {
            Engine::Mock(mock) => mock.create_topic(&topic, PARTITIONS, 1).map_err(BenchError::kafka(what))?,
            Engine::Real { admin, runtime } => {
                // -1: as many replicas as the cluster makes by default.
                let new = NewTopic::new(&topic, PARTITIONS, TopicReplication::Fixed(-1));
                let made = runtime.block_on(admin.create_topics([&new], &options())).map_err(BenchError::kafka(&what))?;
                first_error(made.into_iter()).map_err(BenchError::kafka(&what))?;
                self.topics.push(topic.clone());
                wait_until_known(admin, &topic)?;
            }
        }
        Ok(topic)
    }

    /// Removes all topics that were made.
    pub(super) fn clean_up(&mut self) -> Result<(), BenchError> {
        let Engine::Real { admin, runtime } = &self.engine else { return Ok(()) };
        let topics = std::mem::take(&mut self.topics);
        if topics.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        let what = format!("remove the topics {}", names.join(", "));
        let removed = runtime.block_on(admin.delete_topics(&names, &options())).map_err(BenchError::kafka(&what))?;
        first_error(removed.into_iter()).map_err(BenchError::kafka(&what))
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ADMIN_TIMEOUT)).operation_timeout(Some(ADMIN_TIMEOUT))
}

fn first_error(mut results: impl Iterator<Item = Result<String, (String, RDKafkaErrorCode)>>) -> Result<(), KafkaError> {
    results.try_for_each(|result| result.map(drop).map_err(|(_, code)| KafkaError::AdminOp(code)))
}

/// Until each partition has a leader.
fn wait_until_known(admin: &AdminClient<DefaultClientContext>, topic: &str) -> Result<(), BenchError> {
    let deadline = Instant::now() + KNOWN_WITHIN;
    let partitions = usize::try_from(PARTITIONS).unwrap_or_default();
    while Instant::now() < deadline {
        let metadata = admin.inner().fetch_metadata(Some(topic), ADMIN_TIMEOUT).map_err(BenchError::kafka(format!("look at {topic}")))?;
        let led = metadata.topics().iter().flat_map(MetadataTopic::partitions).filter(|partition| partition.leader() >= 0).count();
        if led == partitions {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Err(BenchError::Late { what: "making a topic", after: KNOWN_WITHIN })
}
