//! The configuration of a [`Relay`] under test: harmless defaults, and any setting by its name.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;
use toml::{Table, Value};

use super::{process::Process, relay::Relay, scratch};

/// The real binary.
pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_dualstream");

/// Collects settings, then starts the relay.
pub struct Builder {
    dir: TempDir,
    settings: Table,
    env: Vec<(String, String)>,
    group: Option<PathBuf>,
}

/// How a relay ended that was expected to.
#[derive(Debug)]
pub struct Exit {
    /// None when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote.
    pub lines: Vec<String>,
}

impl Builder {
    /// Every listener on a free port of its choice, a socket, a buffer in a folder of its own, JSON logs; no Kafka and
    /// no Redis named.
    pub(super) fn new() -> Self {
        let dir = scratch::dir("relay");
        let buffer = dir.path().join("buffer");
        let socket = scratch::socket_path(dir.path(), "ingest.sock");
        let builder = Self { dir, settings: Table::new(), env: Vec::new(), group: None };
        builder
            .set("ingest.listen", "127.0.0.1:0")
            .set("ingest.socket", socket.display().to_string())
            .set("ops.listen", "127.0.0.1:0")
            .set("ops.probe_listen", "127.0.0.1:0")
            .set("buffer.dir", buffer.display().to_string())
            .set("log.format", "json")
    }

    /// Kafka's bootstrap servers and the topic.
    pub fn kafka(self, bootstrap: &str, topic: &str) -> Self {
        self.set("kafka.brokers", bootstrap).set("kafka.topic", topic)
    }

    /// Redis to notify.
    pub fn redis(self, url: &str) -> Self {
        self.set("redis.url", url)
    }

    /// Any setting, as `section.key`; a key with dots in it belongs into a table: `set("kafka.properties", table)`.
    pub fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        let (section, key) = name.split_once('.').expect("section.key");
        let section = self.settings.entry(section).or_insert_with(|| Value::Table(Table::new()));
        let section = section.as_table_mut().expect("a section is a table");
        section.insert(key.to_owned(), value.into());
        self
    }

    /// One librdkafka property: an entry of `kafka.properties`.
    pub fn kafka_property(mut self, name: &str, value: impl Into<Value>) -> Self {
        let kafka = self.settings.get("kafka").and_then(|k| k.get("properties"));
        let mut properties = kafka.and_then(Value::as_table).cloned().unwrap_or_default();
        properties.insert(name.to_owned(), value.into());
        self = self.set("kafka.properties", properties);
        self
    }

    /// A variable in the relay's environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// It writes its process id into this file before it begins: it joins a control group.
    pub fn joins(mut self, processes: &Path) -> Self {
        self.group = Some(processes.to_owned());
        self
    }

    /// The folder with everything the relay writes.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts the relay and waits until it says that it is ready.
    #[track_caller]
    pub fn start(self) -> Relay {
        let command = self.command();
        let setting = |name: &str| {
            let (section, key) = name.split_once('.').expect("section.key");
            let value = self.settings.get(section).and_then(|s| s.get(key));
            value.and_then(Value::as_str).unwrap_or_default().into()
        };
        Relay::launch(command, setting("ingest.socket"), setting("buffer.dir"), self.dir)
    }

    /// Runs a relay that is expected to end by itself, such as one whose configuration is wrong.
    #[track_caller]
    pub fn run_to_exit(self, deadline: Duration) -> Exit {
        let process = Process::spawn("relay", &self.command());
        let status = process.wait_exit(deadline);
        Exit { code: status.code(), lines: process.lines() }
    }

    fn command(&self) -> Command {
        let config = self.dir.path().join("dualstream.toml");
        let text = toml::to_string(&self.settings).expect("settings are TOML");
        fs::write(&config, text).expect("the relay's folder takes a file");
        let mut command = Command::new(PROGRAM);
        if let Some(group) = &self.group {
            command = Command::new("sh");
            command.args(["-c", r#"echo $$ >"$1" && shift && exec "$@""#, "sh"]).arg(group).arg(PROGRAM);
        }
        command.arg("run").arg("--config").arg(config);
        command.current_dir(self.dir.path()).envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }
}
