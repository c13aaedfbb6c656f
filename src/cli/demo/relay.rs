//! The relay itself, as `dualstream run` would run it, on a thread of this process.

use crate::app::{Addresses, App, Outcome};
use crate::buffer::BufferSnapshot;
use crate::cli::exit::{Exit, Failure};
use crate::config::{BufferConfig, Config, IngestConfig, KafkaConfig, OpsConfig, RedisConfig, ShutdownConfig};
use crate::error::chain;
use crate::ops::StatusSource;
use crate::shutdown::{Trigger, Urgency};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The topic of the demo.
pub(super) const TOPIC: &str = "events";

/// More than the largest run can leave in the buffer.
const BUFFER_MAX_BYTES: u64 = 64 << 20;

/// The relay's own deadline for stopping.
const GRACE: Duration = Duration::from_secs(10);

/// A running relay. Dropped, it is stopped in order.
pub(super) struct Relay {
    trigger: Trigger,
    addresses: Addresses,
    status: Arc<StatusSource>,
    thread: Option<JoinHandle<Outcome>>,
}

impl Relay {
    /// Starts a relay on free ports and a socket, with its buffer in `directory`.
    pub(super) fn start(directory: &Path, brokers: String, redis: SocketAddr) -> Result<Self, Failure> {
        let trigger = Trigger::default();
        let app = App::build(config(directory, brokers, redis), trigger.clone())
            .map_err(|error| Failure::new(Exit::Failed, format!("the relay did not start: {}", chain(&error))))?;
        let (addresses, status) = (app.addresses().clone(), app.status());
        let thread = thread::Builder::new().name("relay".into()).spawn(move || app.run());
        let thread = thread.map_err(|error| Failure::new(Exit::Failed, format!("cannot start a thread: {error}")))?;
        Ok(Self { trigger, addresses, status, thread: Some(thread) })
    }

    /// Where it listens.
    pub(super) fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The buffer now.
    pub(super) fn buffer(&self) -> BufferSnapshot {
        self.status.snapshot().buffer.unwrap_or_default()
    }

    /// Whether it has ended by itself.
    pub(super) fn ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// A handle that asks it to stop.
    pub(super) fn trigger(&self) -> Trigger {
        self.trigger.clone()
    }

    /// Stops it in order and waits for its end; `None` after a panic.
    pub(super) fn stop(&mut self) -> Option<Outcome> {
        self.trigger.ask(Urgency::Stop);
        self.thread.take()?.join().ok()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.stop());
    }
}

fn config(directory: &Path, brokers: String, redis: SocketAddr) -> Config {
    let any_port = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    Config {
        ingest: IngestConfig { listen: any_port, socket: Some(directory.join("relay.sock")), ..IngestConfig::default() },
        buffer: BufferConfig { dir: directory.join("buffer"), max_bytes: BUFFER_MAX_BYTES, ..BufferConfig::default() },
        kafka: KafkaConfig { brokers, topic: TOPIC.into(), ..KafkaConfig::default() },
        redis: RedisConfig { url: Some(format!("redis://{redis}/")), ..RedisConfig::default() },
        ops: OpsConfig { listen: any_port, ..OpsConfig::default() },
        shutdown: ShutdownConfig { grace: GRACE, ..ShutdownConfig::default() },
        ..Config::default()
    }
}
