//! The settings of every stage, one section per stage.
//!
//! Order of precedence: built-in default < TOML file < environment < flags. All problems are reported at once; unknown keys are errors.

mod template;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use template::{Placeholder, Template, TemplateError, topic_name_problem};

/// Everything that can be set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Where applications hand events in.
    pub ingest: IngestConfig,
    /// The disk buffer.
    pub buffer: BufferConfig,
    /// Kafka.
    pub kafka: KafkaConfig,
    /// Redis notifications.
    pub redis: RedisConfig,
    /// Where people and Kubernetes look in.
    pub ops: OpsConfig,
    /// How the relay stops.
    pub shutdown: ShutdownConfig,
    /// Logging.
    pub log: LogConfig,
}

/// Which confirmation a request waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AckLevel {
    /// On disk, synced.
    #[default]
    Buffered,
    /// Acknowledged by Kafka with acks=all.
    Kafka,
}

/// `[ingest]`
#[derive(Clone, Debug, PartialEq)]
pub struct IngestConfig {
    /// TCP address; loopback only. `None` (empty in the file): no TCP.
    pub listen: Option<SocketAddr>,
    /// Unix socket path. `None` (empty in the file): no socket.
    pub socket: Option<PathBuf>,
    /// Permission bits of the socket, octal in the file (`"0660"`).
    pub socket_mode: u32,
    /// User ids allowed on the socket; empty: all whom the mode lets in.
    pub allow_uids: Vec<u32>,
    /// How long a request waits for room in a full buffer before it is refused.
    pub full_timeout: Duration,
    /// Confirmation level when a request names none.
    pub ack: AckLevel,
    /// Largest single event, in bytes of JSON.
    pub max_event_bytes: u64,
    /// Largest request body, in bytes.
    pub max_body_bytes: u64,
    /// Most events in one request.
    pub max_batch_events: u32,
    /// Most connections open at once, over all listeners.
    pub max_connections: u32,
    /// How long a client may take to send a whole request (slow clients are cut off with 408).
    pub request_timeout: Duration,
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self {
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 7410))),
            socket: None,
            socket_mode: 0o660,
            allow_uids: Vec::new(),
            full_timeout: Duration::from_secs(2),
            ack: AckLevel::Buffered,
            max_event_bytes: 1 << 20,
            max_body_bytes: 16 << 20,
            max_batch_events: 10_000,
            max_connections: 16_384,
            request_timeout: Duration::from_secs(30),
        }
    }
}

/// `[buffer]`
#[derive(Clone, Debug, PartialEq)]
pub struct BufferConfig {
    /// The directory; created when absent.
    pub dir: PathBuf,
    /// Bound on allocated disk, everything included, in bytes.
    pub max_bytes: u64,
    /// Bound on the backlog in events; 0: no bound but the bytes.
    pub max_events: u64,
    /// Segment size in bytes; `None` (`"auto"` in the file): from `max_bytes`.
    pub segment_bytes: Option<u64>,
    /// Free space to leave on the volume for everybody else, in bytes.
    pub min_free_bytes: u64,
    /// Refuse to start where an fsync means nothing (tmpfs, overlay), instead of saying so in every reply.
    pub require_durable: bool,
}

impl Default for BufferConfig {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("./dualstream-data"),
            max_bytes: 1 << 30,
            max_events: 0,
            segment_bytes: None,
            min_free_bytes: 64 << 20,
            require_durable: false,
        }
    }
}

/// `[kafka]`
#[derive(Clone, Debug, PartialEq)]
pub struct KafkaConfig {
    /// Bootstrap servers, `host:port,host:port`.
    pub brokers: String,
    /// Topic, a template over `{type}` and `{source_type}`.
    pub topic: String,
    /// Any librdkafka producer property but those that the guarantees rest on.
    pub properties: BTreeMap<String, String>,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self { brokers: "127.0.0.1:9092".into(), topic: "events".into(), properties: BTreeMap::new() }
    }
}

/// How events become notifications.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NotifyMode {
    /// One `PUBLISH` per event.
    #[default]
    Each,
}

/// `[redis]`
#[derive(Clone, Debug, PartialEq)]
pub struct RedisConfig {
    /// `redis://user:password@host:port/`; `None` (empty in the file): no notifications.
    pub url: Option<String>,
    /// Channel, a template over `{type}`, `{source_type}`, `{source_id}`.
    pub channel: String,
    /// One notification per event.
    pub mode: NotifyMode,
    /// Most notifications waiting for Redis; beyond it the oldest are dropped and counted.
    pub queue: u32,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self { url: None, channel: "events:{source_type}:{source_id}".into(), mode: NotifyMode::Each, queue: 100_000 }
    }
}

/// `[ops]`
#[derive(Clone, Debug, PartialEq)]
pub struct OpsConfig {
    /// Address of status and metrics for people; loopback only. `None` (empty in the file): off.
    pub listen: Option<SocketAddr>,
    /// Unix socket of the same. `None` (empty in the file): off.
    pub socket: Option<PathBuf>,
    /// Address that serves only probes and metrics, for Kubernetes. `None` (empty in the file): off.
    pub probe_listen: Option<SocketAddr>,
    /// No ack for this long while there is backlog: degraded.
    pub stall_after: Duration,
}

impl Default for OpsConfig {
    fn default() -> Self {
        Self {
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 7411))),
            socket: None,
            probe_listen: None,
            stall_after: Duration::from_secs(30),
        }
    }
}

/// `[shutdown]`
#[derive(Clone, Debug, PartialEq)]
pub struct ShutdownConfig {
    /// Everything must be over after this long; what is not sent stays on disk.
    pub grace: Duration,
    /// Keep accepting for this long after the signal: the application stops later than we hear of it.
    pub linger: Duration,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self { grace: Duration::from_secs(25), linger: Duration::ZERO }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a `tracing` filter such as `info,dualstream::drain=debug`.
    pub level: String,
    /// Text or JSON.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Auto }
    }
}
