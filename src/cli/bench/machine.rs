//! What was measured on: figures without their machine say nothing.

use super::error::BenchError;
use crate::buffer::log::storage::{DiskStorage, Storage};
use serde::Serialize;
use std::fs;
use std::path::Path;

/// The machine and the moment.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Machine {
    /// When the measurement began, RFC 3339.
    pub(super) date: String,
    /// Version of the program.
    pub(super) version: &'static str,
    /// Whether the program is optimised; figures of one that is not mean nothing.
    pub(super) optimised: bool,
    /// Cores that this process may use.
    pub(super) cores: usize,
    /// The processor's name; empty where the system does not tell.
    pub(super) processor: String,
    /// The kernel's release.
    pub(super) kernel: String,
    /// File system of the directory that was measured in.
    pub(super) filesystem: String,
    /// Whether that volume keeps what is synced.
    pub(super) durable: bool,
    /// Load average of the last minute before the measurement: others were at work when it is not near 0.
    pub(super) load_before: f64,
}

impl Machine {
    /// Looks at this machine and the volume of `dir`.
    pub(super) fn look(dir: &Path) -> Result<Self, BenchError> {
        let volume = DiskStorage::new(dir).volume().map_err(BenchError::io(format!("examine the volume of {}", dir.display())))?;
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Ok(Self {
            date: format!("{:.0}", jiff::Timestamp::now()),
            version: env!("CARGO_PKG_VERSION"),
            optimised: !cfg!(debug_assertions),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            processor: processor(&read("/proc/cpuinfo")),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            filesystem: volume.filesystem,
            durable: volume.durable,
            load_before: read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
        })
    }
}

fn processor(cpuinfo: &str) -> String {
    let line = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    line.and_then(|line| line.split_once(':')).map(|(_, name)| name.trim().to_owned()).unwrap_or_default()
}
