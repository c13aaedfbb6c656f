//! The only place where the command line meets the stages; everything else in `cli` talks to them over HTTP.

use super::buffer::StoppedBuffer;
use super::check::Check;
use super::exit::{Exit, Failure};
use crate::config::Config;
use std::path::Path;

/// Runs the relay until it has stopped.
pub(super) fn run_relay(config: Config) -> Result<Exit, Failure> {
    // MERGE: crate::app::run(config), its error through crate::error::chain, events left on disk as Exit::LeftOnDisk.
    drop(config);
    Err(Failure::new(Exit::Failed, "this build has no relay"))
}

/// Opens a buffer directory for reading, without its lock.
pub(super) fn open_buffer(dir: &Path) -> Result<Box<dyn StoppedBuffer>, Failure> {
    // MERGE: crate::buffer::inspect behind StoppedBuffer.
    Err(Failure::new(Exit::Failed, format!("this build cannot read {}", dir.display())))
}

/// Checks of the settings that only a stage can make.
pub(super) fn setting_checks(config: &Config) -> Vec<Check> {
    // MERGE: crate::drain::check_properties(&config.kafka.properties), each sentence a Check::fail("kafka.properties", Exit::Usage, …).
    // `run_relay` must refuse the same.
    let _ = config;
    Vec::new()
}

/// Looks at one peer, or at the disk. Blocking, bounded in time.
pub(super) type Probe = fn(&Config) -> Vec<Check>;

/// Everything that `check --connect` tries, in the order of the report.
pub(super) fn connection_checks() -> &'static [Probe] {
    // MERGE: the buffer's disk probe, drain::probe, notify::probe (each turned into Checks).
    &[]
}
