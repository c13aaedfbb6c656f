//! Everything that runs: the mock broker, the Pub/Sub server, the relay, the producer, both consumers; on loopback, in this process.

use super::plan::Plan;
use super::producer::lanes;
use super::pubsub::PubSubServer;
use super::reader;
use super::relay::{Relay, TOPIC};
use super::shared::{Consumer, Shared};
use super::witness::PARTITIONS;
use super::{auditor, listener};
use crate::app::Outcome;
use crate::cli::exit::{Exit, Failure};
use crate::cli::http_client::Endpoint;
use crate::shutdown::{Trigger, Urgency};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use std::fmt::Display;
use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// All brokers, to the mock cluster.
const ALL: i32 = -1;

/// The demo's stage. Dropped in the order of its fields: who needs another goes first.
pub(super) struct World {
    relay: Relay,
    _consumers: [Consumer; 3],
    /// The producer's lanes, the Pub/Sub server, the ear for signals.
    _tasks: JoinSet<()>,
    broker: MockCluster<'static, DefaultProducerContext>,
    redis: SocketAddr,
    shared: Arc<Shared>,
    interrupt: Trigger,
    allowed: watch::Sender<u32>,
    directory: TempDir,
    _runtime: Runtime,
}

impl World {
    /// Starts everything; the producer sends nothing before [`World::allow`].
    pub(super) fn start(plan: &Plan) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(cannot("start"))?;
        let interrupt = Trigger::default();
        let mut tasks = JoinSet::new();
        hear_signals(&interrupt, &mut tasks, &runtime);

        let directory = tempfile::Builder::new().prefix("dualstream-demo-").permissions(Permissions::from_mode(0o700)).tempdir();
        let directory = directory.map_err(cannot("make a temporary directory"))?;
        let broker = MockCluster::new(1).map_err(cannot("start the Kafka mock broker"))?;
        broker.create_topic(TOPIC, PARTITIONS, 1).map_err(cannot("create the topic"))?;
        let server = runtime.block_on(PubSubServer::bind()).map_err(cannot("start the Redis Pub/Sub server"))?;
        let redis = server.addr();
        let _server = tasks.spawn_on(server.run(std::future::pending()), runtime.handle());

        let shared = Arc::new(Shared::new(plan.events));
        let relay = Relay::start(directory.path(), broker.bootstrap_servers(), redis)?;
        let brokers = broker.bootstrap_servers();
        let consumers = [reader::start(&brokers, &shared)?, auditor::start(&brokers, &shared)?, listener::start(redis, &shared)?];
        let (allowed, may_send) = watch::channel(0);
        let (tcp, socket) = (relay.addresses().ingest, relay.addresses().socket.clone());
        let (Some(tcp), Some(socket)) = (tcp, socket) else { return Err(cannot("find the relay")("it does not listen")) };
        for lane in lanes(tcp.into(), Endpoint::Socket(socket), plan, &may_send, &shared) {
            let _lane = tasks.spawn_on(lane.run(), runtime.handle());
        }
        force_when_forced(&interrupt, relay.trigger(), &mut tasks, &runtime);
        Ok(Self { relay, _consumers: consumers, _tasks: tasks, broker, redis, shared, interrupt, allowed, directory, _runtime: runtime })
    }

    /// Lets the producer send the events with numbers below this.
    pub(super) fn allow(&self, numbers_below: u32) {
        let _before = self.allowed.send_replace(numbers_below);
    }

    /// Takes Kafka away: connections break, new ones are refused.
    pub(super) fn take_kafka_away(&self) -> Result<(), Failure> {
        self.broker.broker_down(ALL).map_err(cannot("take the broker away"))?;
        self.shared.witness().set_kafka_away(true);
        Ok(())
    }

    /// Brings Kafka back, with what it had.
    pub(super) fn bring_kafka_back(&self) -> Result<(), Failure> {
        self.shared.witness().set_kafka_away(false);
        self.broker.broker_up(ALL).map_err(cannot("bring the broker back"))
    }

    /// The relay.
    pub(super) fn relay(&self) -> &Relay {
        &self.relay
    }

    /// What the parts have in common.
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The broker's address, for other Kafka clients.
    pub(super) fn kafka(&self) -> String {
        self.broker.bootstrap_servers()
    }

    /// The Pub/Sub server's address.
    pub(super) fn redis(&self) -> SocketAddr {
        self.redis
    }

    /// Where the buffer and the socket are; removed at the end.
    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Whether a signal asked for the end.
    pub(super) fn interrupted(&self) -> bool {
        self.interrupt.urgency() > Urgency::Running
    }

    /// Stops the relay in order, Kafka and Redis being there, then everything else.
    pub(super) fn end(mut self) -> Result<Outcome, Failure> {
        self.bring_kafka_back()?;
        self.relay.stop().ok_or_else(|| Failure::new(Exit::Failed, "the relay panicked"))
    }
}

fn cannot<E: Display>(what: &str) -> impl FnOnce(E) -> Failure {
    move |error| Failure::new(Exit::Failed, format!("cannot {what}: {error}"))
}

fn hear_signals(interrupt: &Trigger, tasks: &mut JoinSet<()>, runtime: &Runtime) {
    let interrupt = interrupt.clone();
    let listening = async move {
        if let Err(error) = interrupt.listen_to_signals().await {
            tracing::error!(%error, "cannot hear signals");
        }
    };
    let _task = tasks.spawn_on(listening, runtime.handle());
}

/// A second signal is meant for the relay, too, which then does not wait for its phases.
fn force_when_forced(interrupt: &Trigger, relay: Trigger, tasks: &mut JoinSet<()>, runtime: &Runtime) {
    let interrupt = interrupt.clone();
    let forwarding = async move {
        interrupt.reached(Urgency::Force).await;
        relay.ask(Urgency::Force);
    };
    let _task = tasks.spawn_on(forwarding, runtime.handle());
}
