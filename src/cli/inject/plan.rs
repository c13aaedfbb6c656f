//! What the pods get, from flags and settings: sizes, times, names. The same sums as the chart's, and the same refusals.

use super::{InjectArgs, Storage};
use crate::cli::exit::{Exit, Failure};
use crate::config::Config;
use std::net::SocketAddr;

/// What the file system itself takes, over `buffer.max_bytes` and a quarter.
const VOLUME_EXTRA_MIB: u64 = 64;

/// Ephemeral storage for the relay's own log.
const LOG_MIB: u64 = 32;

/// Kept over at the end of the grace period.
const MARGIN_SECONDS: u64 = 5;

const MIB: u64 = 1 << 20;

/// Values of the sidecar.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) image: String,
    pub(super) storage: Storage,
    /// Size of the volume, as a quantity.
    pub(super) volume_size: String,
    pub(super) storage_class: Option<String>,
    pub(super) claim: Option<String>,
    /// Request for ephemeral storage, as a quantity.
    pub(super) ephemeral_storage: String,
    pub(super) probe_port: u16,
    pub(super) has_socket: bool,
    /// Where the relay listens for events.
    pub(super) listen: Option<SocketAddr>,
    pub(super) grace_seconds: u64,
    pub(super) is_native: bool,
    /// Of the configuration, when it is known.
    pub(super) checksum: Option<String>,
}

impl Plan {
    /// The plan of these flags and settings.
    pub(super) fn new(args: &InjectArgs, config: &Config, checksum: Option<String>) -> Result<Self, Failure> {
        let volume_mib = volume_mib(args, config)?;
        let on_node = if args.storage == Storage::EmptyDir { volume_mib.1 } else { 0 };
        Ok(Self {
            name: args.name.clone(),
            image: args.image.clone(),
            storage: args.storage,
            volume_size: volume_mib.0,
            storage_class: args.storage_class.clone(),
            claim: args.claim.clone(),
            ephemeral_storage: format!("{}Mi", on_node + LOG_MIB),
            probe_port: args.probe_port,
            has_socket: !args.no_socket,
            listen: config.ingest.listen,
            grace_seconds: args.app_seconds + drain_seconds(config) + MARGIN_SECONDS,
            is_native: !args.fallback,
            checksum,
        })
    }
}

/// Seconds that the relay may drain: `shutdown.grace`, rounded up.
pub(super) fn drain_seconds(config: &Config) -> u64 {
    config.shutdown.grace.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
}

/// The volume's size as a quantity, and in MiB, rounded up.
fn volume_mib(args: &InjectArgs, config: &Config) -> Result<(String, u64), Failure> {
    let bytes = config.buffer.max_bytes;
    // A volume of the relay's own needs room for what the relay leaves free, too.
    let free = if args.storage == Storage::EmptyDir { 0 } else { config.buffer.min_free_bytes };
    let needed = bytes.saturating_add(bytes / 4).saturating_add(free).div_ceil(MIB) + VOLUME_EXTRA_MIB;
    let Some(given) = &args.storage_size else { return Ok((format!("{needed}Mi"), needed)) };
    let refused = |why: String| Failure::new(Exit::Usage, format!("--storage-size is {given}, {why}"));
    let Some(given_bytes) = quantity_bytes(given) else {
        return Err(refused("which is no size; write a whole number with Ki, Mi, Gi, Ti, k, M, G or T".to_owned()));
    };
    if given_bytes < needed * MIB {
        let outcome = match args.storage {
            Storage::EmptyDir => "the pod would be evicted when the buffer fills, and the buffer deleted with it",
            _ => "the relay would be full before its buffer is",
        };
        return Err(refused(format!(
            "but buffer.max_bytes ({bytes} bytes) needs {needed}Mi: {outcome}; raise it, leave it out, or lower buffer.max_bytes"
        )));
    }
    Ok((given.clone(), given_bytes.div_ceil(MIB)))
}

/// Bytes of a Kubernetes quantity with a whole number.
fn quantity_bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" => 1,
        "k" => 1000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => MIB,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return None,
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse::<u64>().ok().filter(|_| is_number)?.checked_mul(factor)
}
