//! A real Kafka: a cluster of [`Broker`]s on loopback, with its topics, and with the ways it can go away.

use std::{sync::OnceLock, time::Duration};

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
    error::{KafkaResult, RDKafkaErrorCode},
    metadata::{Metadata, MetadataBroker},
};
use tempfile::TempDir;

use super::{
    broker::{Broker, Ports},
    ports,
    proxy::Proxy,
    scratch, wait,
};

/// A start takes four seconds on an idle machine; three brokers beside a compiler on two cores take much longer.
const READY: Duration = Duration::from_secs(120);
const ASK: Duration = Duration::from_secs(2);

/// A cluster of combined brokers and controllers. Dropped, it is killed and its data removed.
pub struct Kafka {
    // Dropped in this order: first the processes, then their data.
    brokers: Vec<Broker>,
    _dir: TempDir,
}

impl Kafka {
    /// The single broker that all tests of this process share, each with topics of its own. Nobody may stop it.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Kafka> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(1))
    }

    /// A cluster of its own: replication factor up to 3, and with three or more brokers two must have a record in sync.
    pub fn start(brokers: usize) -> Self {
        Self::start_with(brokers, &[])
    }

    /// As [`Self::start`], with broker properties that go before the usual ones.
    pub fn start_with(brokers: usize, extra: &[(&str, &str)]) -> Self {
        let dir = scratch::dir("kafka");
        let ports: Vec<_> = (0..brokers).map(|_| Ports::choose()).collect();
        let brokers = (0..brokers).map(|index| Broker::create(dir.path(), &ports, index, extra)).collect();
        let kafka = Self { brokers, _dir: dir };
        kafka.start_all();
        kafka
    }

    /// A single broker that relays reach only through a proxy (its address is their `bootstrap.servers`); tests reach it directly.
    pub fn start_proxied() -> (Self, Proxy) {
        let dir = scratch::dir("kafka");
        let nodes = [Ports::choose()];
        let inner = ports::address(ports::free());
        let proxy = Proxy::start(inner.clone());
        let extra = nodes[0].proxied(&inner, proxy.address());
        let extra: Vec<(&str, &str)> = extra.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let kafka = Self { brokers: vec![Broker::create(dir.path(), &nodes, 0, &extra)], _dir: dir };
        kafka.start_all();
        (kafka, proxy)
    }

    /// Runs one of Kafka's own tools against the cluster: its main class and its words.
    pub fn tool(&self, class: &str, words: &[&str]) {
        self.brokers[0].tool(class, words);
    }

    /// The addresses of all brokers, running or not, as `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        let addresses: Vec<_> = self.brokers.iter().map(|b| b.address.as_str()).collect();
        addresses.join(",")
    }

    /// Creates a topic and waits until every partition has its leader and its replicas in sync.
    #[track_caller]
    pub fn create_topic(&self, name: &str, partitions: usize, replication: usize, settings: &[(&str, &str)]) {
        let count = i32::try_from(partitions).unwrap();
        let replicas = TopicReplication::Fixed(i32::try_from(replication).unwrap());
        let topic = settings.iter().fold(NewTopic::new(name, count, replicas), |topic, (key, value)| topic.set(key, value));
        let admin = admin(&self.bootstrap());
        let options = AdminOptions::new().operation_timeout(Some(READY));
        let (created, attempts) = answered(&format!("create topic {name}"), || block_on(admin.create_topics([&topic], &options)));
        match created.as_slice() {
            [Ok(_)] => {}
            [Err((_, RDKafkaErrorCode::TopicAlreadyExists))] if attempts > 1 => {}
            other => panic!("cannot create topic {name}: {other:?}"),
        }
        wait::until_ok(&format!("topic {name}"), READY, || {
            let metadata = metadata(&admin, Some(name))?;
            let ready = metadata.topics()[0].partitions().iter().filter(|p| p.leader() >= 0 && p.isr().len() == replication).count();
            if ready == partitions { Ok(()) } else { Err(format!("{ready} of {partitions} partitions ready")) }
        });
    }

    /// A new topic with a name of its own on a single replica; gives the name.
    #[track_caller]
    pub fn topic(&self, name: &str, partitions: usize) -> String {
        let name = unique(name);
        self.create_topic(&name, partitions, 1, &[]);
        name
    }

    /// Sets a topic's settings; those that are not named go back to their defaults.
    #[track_caller]
    pub fn set_topic(&self, name: &str, settings: &[(&str, &str)]) {
        let config = settings.iter().fold(AlterConfig::new(ResourceSpecifier::Topic(name)), |config, (key, value)| config.set(key, value));
        let admin = admin(&self.bootstrap());
        let (altered, _) = answered(&format!("set topic {name}"), || block_on(admin.alter_configs([&config], &AdminOptions::new())));
        match altered.as_slice() {
            [Ok(_)] => {}
            other => panic!("cannot set {settings:?} on topic {name}: {other:?}"),
        }
    }

    /// Deletes a topic.
    #[track_caller]
    pub fn delete_topic(&self, name: &str) {
        let admin = admin(&self.bootstrap());
        let (deleted, attempts) =
            answered(&format!("delete topic {name}"), || block_on(admin.delete_topics(&[name], &AdminOptions::new())));
        match deleted.as_slice() {
            [Ok(_)] => {}
            [Err((_, RDKafkaErrorCode::UnknownTopicOrPartition))] if attempts > 1 => {}
            other => panic!("cannot delete topic {name}: {other:?}"),
        }
    }

    /// Runs one of Kafka's own tools, of which the first argument is where the cluster is.
    #[track_caller]
    pub fn run_tool(&self, class: &str, arguments: &[&str]) {
        let bootstrap = self.bootstrap();
        self.brokers[0].run_tool(class, &[&["--bootstrap-server", bootstrap.as_str()], arguments].concat());
    }

    /// Stops broker `index` (from 0) in good order, and waits until it is gone.
    pub fn stop_broker(&self, index: usize) {
        self.brokers[index].stop();
    }

    /// kill -9 on broker `index`, and waits until it is gone.
    pub fn kill_broker(&self, index: usize) {
        self.brokers[index].kill();
    }

    /// Starts broker `index` again at its address and with its data, and waits until it serves.
    pub fn start_broker(&self, index: usize) {
        self.brokers[index].spawn();
        self.wait_for_broker(index, 1);
    }

    /// Starts every broker that does not run, and waits until all serve.
    pub fn start_all(&self) {
        for broker in self.brokers.iter().filter(|b| !b.is_running()) {
            broker.spawn();
        }
        for index in 0..self.brokers.len() {
            self.wait_for_broker(index, self.brokers.len());
        }
    }

    /// SIGSTOP on broker `index`: its connections stay open and nothing answers.
    pub fn pause(&self, index: usize) {
        self.brokers[index].pause();
    }

    /// SIGCONT on broker `index`.
    pub fn resume(&self, index: usize) {
        self.brokers[index].resume();
    }

    /// The index of the broker that leads a partition now.
    #[track_caller]
    pub fn leader(&self, topic: &str, partition: i32) -> usize {
        let admin = admin(&self.bootstrap());
        wait::until_ok(&format!("leader of {topic}/{partition}"), READY, || {
            let metadata = metadata(&admin, Some(topic))?;
            let partitions = metadata.topics()[0].partitions();
            partitions
                .iter()
                .find(|p| p.id() == partition)
                .and_then(|p| usize::try_from(p.leader() - 1).ok())
                .ok_or_else(|| "none".to_owned())
        })
    }

    /// Until the broker itself answers, and knows itself to be part of the cluster and `known` brokers in it.
    fn wait_for_broker(&self, index: usize, known: usize) {
        let broker = &self.brokers[index];
        let admin = admin(&broker.address);
        let up = wait::try_until(READY, || {
            let metadata = metadata(&admin, None)?;
            let ids: Vec<_> = metadata.brokers().iter().map(MetadataBroker::id).collect();
            let complete = ids.len() >= known && ids.iter().any(|id| usize::try_from(*id) == Ok(broker.id));
            if complete { Ok(()) } else { Err(format!("brokers {ids:?} in the cluster")) }
        });
        if let Err(seen) = up {
            panic!("Kafka is not up after {READY:?}; last seen: {seen}; {}", broker.state());
        }
    }
}

/// `name` with a suffix that no other topic, group or source has.
pub fn unique(name: &str) -> String {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn admin(bootstrap: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "200")
        // Kept out of the tests' output: a broker that is away is what many tests are about.
        .set("log_level", "0")
        .create()
        .expect("an admin client can be made")
}

fn metadata(admin: &AdminClient<DefaultClientContext>, topic: Option<&str>) -> Result<Metadata, String> {
    admin.inner().fetch_metadata(topic, ASK).map_err(|e| e.to_string())
}

/// What the cluster says to a request, and which attempt that was. One that could not be answered is made again: a client drops its
/// connection to a broker that some other broker does not know yet or any more, and what was on its way there with it. So what a later
/// attempt finds done already may be the work of an earlier one.
#[track_caller]
fn answered<T>(what: &str, mut ask: impl FnMut() -> KafkaResult<T>) -> (T, usize) {
    let mut attempts = 0;
    wait::until_ok(what, READY, || {
        attempts += 1;
        ask().map(|answer| (answer, attempts))
    })
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts").block_on(future)
}
