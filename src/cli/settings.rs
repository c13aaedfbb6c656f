//! The flags that give settings, shared by the commands that read the configuration.

use super::exit::Failure;
use crate::config::{Config, FlagValue, Sources, load};
use clap::Args;
use std::path::PathBuf;

/// Where the settings come from: a file and single keys.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Settings")]
pub(super) struct SettingsArgs {
    /// TOML file with the settings
    #[arg(short, long, value_name = "FILE", env = "DUALSTREAM_CONFIG")]
    config: Option<PathBuf>,

    /// Set one key, over file and environment; repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// The settings of what sends a buffer to Kafka: as [`SettingsArgs`], with names of their own for those that users expect to find.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Settings")]
pub(super) struct DrainSettingsArgs {
    #[command(flatten)]
    settings: SettingsArgs,

    /// Kafka bootstrap servers (kafka.brokers)
    #[arg(long, value_name = "HOST:PORT,…")]
    brokers: Option<String>,

    /// Kafka topic, or a template for it (kafka.topic)
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,

    /// Redis for notifications (redis.url); not for a password, which others could see in the process list
    #[arg(long, value_name = "URL")]
    redis_url: Option<String>,

    /// Directory of the buffer (buffer.dir)
    #[arg(long, value_name = "DIR")]
    dir: Option<String>,
}

/// The settings of a relay.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Settings")]
pub(super) struct RelaySettingsArgs {
    #[command(flatten)]
    drain: DrainSettingsArgs,

    /// Address for events (ingest.listen)
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<String>,
}

/// A flag with a name of its own: as it is spelled, its key, its value.
type Named<'a> = (&'static str, &'static str, &'a Option<String>);

fn with_flags<'a>(mut sources: Sources, named: impl IntoIterator<Item = Named<'a>>) -> Sources {
    let named = named.into_iter();
    sources.flags.extend(named.filter_map(|(spelled, key, value)| Some(FlagValue::Named { spelled, key, value: value.clone()? })));
    sources
}

impl SettingsArgs {
    /// Loads and judges the settings, with the process's environment.
    pub(super) fn load(&self) -> Result<Config, Failure> {
        Ok(load(&self.sources())?)
    }

    /// The file, when one was named.
    pub(super) fn file(&self) -> Option<&PathBuf> {
        self.config.as_ref()
    }

    fn sources(&self) -> Sources {
        // An empty DUALSTREAM_CONFIG, as charts like to leave it, names no file.
        let file = self.config.clone().filter(|path| !path.as_os_str().is_empty());
        Sources { file, environment: std::env::vars_os().collect(), flags: self.set.iter().cloned().map(FlagValue::Set).collect() }
    }
}

impl DrainSettingsArgs {
    /// Loads and judges the settings, with the process's environment.
    pub(super) fn load(&self) -> Result<Config, Failure> {
        Ok(load(&self.sources())?)
    }

    fn sources(&self) -> Sources {
        let named = [
            ("--brokers", "kafka.brokers", &self.brokers),
            ("--topic", "kafka.topic", &self.topic),
            ("--redis-url", "redis.url", &self.redis_url),
            ("--dir", "buffer.dir", &self.dir),
        ];
        with_flags(self.settings.sources(), named)
    }
}

impl RelaySettingsArgs {
    /// What there is to load.
    pub(super) fn sources(&self) -> Sources {
        with_flags(self.drain.sources(), [("--listen", "ingest.listen", &self.listen)])
    }

    /// Loads and judges the settings, with the process's environment.
    pub(super) fn load(&self) -> Result<Config, Failure> {
        Ok(load(&self.sources())?)
    }

    /// The file, when one was named.
    pub(super) fn file(&self) -> Option<&PathBuf> {
        self.drain.settings.file()
    }
}
