//! The settings of every stage, one section per stage.
//!
//! Order of precedence: built-in default < TOML file < environment < flags. Every value given anywhere is judged, also one that is
//! overridden, and all problems are reported at once; unknown keys are errors.
//!
//! A key is defined once, in its section's file: name, type, default, limits and doc text. Parsing, judging, `docs/config.md` and
//! printing are made from that definition, so that they cannot disagree. What no single key can judge is in `relation`.
//!
//! Deliberately absent: anything that needs a later stage or the network (librdkafka's opinion on properties, whether Redis takes
//! the URL): `dualstream check` asks those.

mod env;
mod file;
mod flag;
mod given;
mod key;
mod kind;
mod load;
mod origin;
mod problem;
mod reference;
mod relation;
mod relation_kafka;
mod secret_file;
mod section;
mod suggest;
mod template;
#[cfg(test)]
mod tests;
pub mod units;

pub use flag::FlagValue;
pub use key::Key;
pub use kind::redact_url;
pub use load::{Sources, load, load_leniently};
pub use origin::Origin;
pub use problem::{Problem, Problems};
pub use reference::{reference_markdown, reference_toml};
pub use secret_file::{file_fingerprint, read_secret_file};
pub use section::{
    AckLevel, BufferConfig, Compression, Delivery, IngestConfig, KafkaConfig, LogConfig, LogFormat, NotifyMode, OnBlocked, OnRejected,
    OpsConfig, RecordFormat, Recovery, RedisConfig, SaslMechanism, ShutdownConfig, WhenFull,
};
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
