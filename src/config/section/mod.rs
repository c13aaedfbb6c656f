//! One file per section of the configuration: the struct its stage reads, and the definition of each of its keys.

mod buffer;
mod ingest;
mod kafka;
mod log;
mod ops;
mod redis;
mod shutdown;

use super::key::{Key, section};

pub use buffer::{BufferConfig, WhenFull};
pub use ingest::{AckLevel, IngestConfig};
pub use kafka::{Compression, Delivery, KafkaConfig, OnBlocked, OnRejected, RecordFormat, Recovery, SaslMechanism};
pub use log::{LogConfig, LogFormat};
pub use ops::OpsConfig;
pub use redis::{NotifyMode, RedisConfig};
pub use shutdown::ShutdownConfig;

/// A section: its name, what it is about, its keys.
pub(super) struct Section {
    pub(super) name: &'static str,
    pub(super) about: &'static [&'static str],
    pub(super) keys: Vec<Key>,
}

/// All sections, in the order of the reference: the way an event goes.
pub(super) fn sections() -> Vec<Section> {
    vec![
        Section { name: "ingest", about: IngestConfig::ABOUT, keys: IngestConfig::keys() },
        Section { name: "buffer", about: BufferConfig::ABOUT, keys: BufferConfig::keys() },
        Section { name: "kafka", about: KafkaConfig::ABOUT, keys: KafkaConfig::keys() },
        Section { name: "redis", about: RedisConfig::ABOUT, keys: RedisConfig::keys() },
        Section { name: "ops", about: OpsConfig::ABOUT, keys: OpsConfig::keys() },
        Section { name: "shutdown", about: ShutdownConfig::ABOUT, keys: ShutdownConfig::keys() },
        Section { name: "log", about: LogConfig::ABOUT, keys: LogConfig::keys() },
    ]
}
