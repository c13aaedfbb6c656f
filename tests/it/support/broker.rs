//! One Kafka node, broker and controller in one, as a JVM of its own. [`super::kafka`] makes clusters of them.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use super::{ports, process::Process};

/// `scripts/deps.sh` and `tests/kafka/pom.xml` name the same version.
const VERSION: &str = "3.9.1";

/// A stop by SIGTERM takes half a second; a node that has lost its controllers never ends by itself.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// A node with a fixed address and a data folder, running or not.
pub struct Broker {
    /// The node's id in the cluster, from 1.
    pub id: usize,
    /// Where clients find it, running or not.
    pub address: String,
    dir: PathBuf,
    single: bool,
    process: Mutex<Option<Process>>,
}

/// The ports of a node, chosen for all nodes before the first configuration is written.
pub struct Ports {
    client: u16,
    controller: u16,
}

impl Ports {
    /// Two free ports.
    pub fn choose() -> Self {
        Self { client: ports::free(), controller: ports::free() }
    }
}

impl Ports {
    /// Properties of a node with a second listener at `inner`, which clients are told to find at `outer`: a proxy.
    pub fn proxied(&self, inner: &str, outer: &str) -> [(&'static str, String); 4] {
        let (client, controller) = (ports::address(self.client), ports::address(self.controller));
        [
            ("listeners", format!("PLAINTEXT://{client},PROXIED://{inner},CONTROLLER://{controller}")),
            ("advertised.listeners", format!("PLAINTEXT://{client},PROXIED://{outer}")),
            ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned()),
            ("inter.broker.listener.name", "PLAINTEXT".to_owned()),
        ]
    }
}

impl Broker {
    /// Writes the configuration of node `index` of `cluster` below `dir` and formats its storage. `extra` overrides; in its values
    /// `{client}` and `{controller}` stand for the node's own addresses.
    pub fn create(dir: &Path, cluster: &[Ports], index: usize, extra: &[(&str, &str)]) -> Self {
        let broker = Self {
            id: index + 1,
            address: ports::address(cluster[index].client),
            dir: dir.join(format!("node-{}", index + 1)),
            single: cluster.len() == 1,
            process: Mutex::new(None),
        };
        fs::create_dir(&broker.dir).expect("the cluster's folder takes a folder");
        fs::write(broker.config(), properties(&broker, &cluster[index], cluster, extra)).expect("the node's folder takes a file");
        broker.format();
        broker
    }

    /// Starts the JVM. It serves clients some seconds later.
    pub fn spawn(&self) {
        let mut process = self.process();
        assert!(process.is_none(), "broker {} runs already", self.id);
        let mut java = self.java();
        java.arg("kafka.Kafka").arg(self.config());
        *process = Some(Process::spawn(&format!("broker {}", self.id), &java));
    }

    /// Runs one of Kafka's own tools, such as `kafka.admin.AclCommand`, to its end.
    pub fn tool(&self, class: &str, words: &[&str]) {
        let mut java = self.java();
        java.arg(class).args(["--bootstrap-server", &self.address]).args(words);
        let process = Process::spawn(class, &java);
        let status = process.wait_exit(Duration::from_secs(120));
        assert!(status.success(), "{class} {words:?}:\n{}", process.tail(50));
    }

    /// SIGTERM: it hands its partitions over and says goodbye.
    pub fn stop(&self) {
        let process = self.process().take();
        process.unwrap_or_else(|| panic!("broker {} does not run", self.id)).stop(STOP_GRACE);
    }

    /// kill -9.
    pub fn kill(&self) {
        drop(self.process().take());
    }

    /// Runs one of Kafka's own tools to its end.
    #[track_caller]
    pub fn run_tool(&self, class: &str, arguments: &[&str]) {
        let mut java = self.java();
        java.arg(class).args(arguments);
        let process = Process::spawn(class, &java);
        let status = process.wait_exit(Duration::from_secs(60));
        assert!(status.success(), "{class} {arguments:?} failed:\n{}", process.tail(50));
    }

    /// SIGSTOP: connections stay open and nothing answers.
    pub fn pause(&self) {
        self.running(Process::pause);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.running(Process::resume);
    }

    /// Whether it has been started and not stopped.
    pub fn is_running(&self) -> bool {
        self.process().is_some()
    }

    /// Why it may not be answering: how it ended, and the last of what it logged.
    pub fn state(&self) -> String {
        let process = self.process();
        let Some(process) = process.as_ref() else {
            return format!("broker {}: not started", self.id);
        };
        let state = process.exited().map_or("running".to_owned(), |s| s.to_string());
        format!("broker {} ({state}):\n{}", self.id, process.tail(30))
    }

    fn running(&self, act: impl FnOnce(&Process)) {
        let process = self.process();
        act(process.as_ref().unwrap_or_else(|| panic!("broker {} does not run", self.id)));
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap()
    }

    fn config(&self) -> PathBuf {
        self.dir.join("server.properties")
    }

    fn format(&self) {
        let mut java = self.java();
        java.args(["kafka.tools.StorageTool", "format"]).args(["--cluster-id", "ZHVhbHN0cmVhbS10ZXN0cw", "--config"]).arg(self.config());
        let process = Process::spawn("kafka storage format", &java);
        let status = process.wait_exit(Duration::from_secs(60));
        assert!(status.success(), "cannot format Kafka's storage:\n{}", process.tail(50));
    }

    fn java(&self) -> Command {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let libs = root.join(format!(".cache/kafka-{VERSION}/libs"));
        assert!(libs.join(".complete").exists(), "Kafka is not here: run `make deps` first");
        let logging = root.join("tests/kafka/log4j.properties");
        let mut java = Command::new("java");
        // Small and quick to start: a test broker lives for seconds. The archive is made by scripts/kafka-classes.sh.
        java.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Xlog:disable"])
            .arg(format!("-XX:SharedArchiveFile={}", libs.with_file_name("classes.jsa").display()))
            .args(["-Xms64m", if self.single { "-Xmx512m" } else { "-Xmx384m" }])
            .arg(format!("-Dlog4j.configuration=file:{}", logging.display()))
            .arg("-cp")
            .arg(libs.join("*"))
            .current_dir(&self.dir);
        java
    }
}

fn properties(broker: &Broker, own: &Ports, cluster: &[Ports], extra: &[(&str, &str)]) -> String {
    let voters: Vec<_> = (1..).zip(cluster).map(|(id, node)| format!("{id}@{}", ports::address(node.controller))).collect();
    let client = &broker.address;
    let controller = ports::address(own.controller);
    let replicas = cluster.len().min(3);
    let in_sync = if replicas == 3 { 2 } else { 1 };
    let mut text = format!(
        "process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{client},CONTROLLER://{controller}
advertised.listeners=PLAINTEXT://{client}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
default.replication.factor={replicas}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={replicas}
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
",
        id = broker.id,
        voters = voters.join(","),
        data = broker.dir.join("data").display(),
    );
    text.push_str(SMALL_AND_QUICK);
    for (key, value) in extra {
        let value = value.replace("{client}", client).replace("{controller}", &controller);
        writeln!(text, "{key}={value}").expect("a String takes all");
    }
    text
}

/// Few partitions for Kafka's own topics, small buffers, and a broker that died is noticed in seconds.
const SMALL_AND_QUICK: &str = "offsets.topic.num.partitions=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
log.index.size.max.bytes=1048576
log.cleaner.dedupe.buffer.size=4194304
num.network.threads=2
num.io.threads=4
background.threads=2
";
