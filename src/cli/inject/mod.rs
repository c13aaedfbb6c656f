//! `dualstream inject`: manifests in, manifests with the relay out.
//!
//! A pure function from text to text, so that it fits into any pipeline: it asks no cluster, and writes nothing when something is
//! wrong. The container is the chart's (`sidecar`); documents that nothing happens to come out byte for byte (`yaml`). Injecting twice
//! is injecting once. Deliberately absent: claims of a StatefulSet's own and secrets, which are the chart's; what was injected is kept
//! when it is injected again, so that a patch may add them.

mod error;
mod plan;
mod pod;
mod relay_toml;
mod sidecar;
mod stream;
mod workload;
mod yaml;

use super::exit::{Exit, Failure};
use super::output::Output;
use crate::error::chain;
use clap::{Args, ValueEnum};
use plan::Plan;
use sha2::{Digest, Sha256};
use sidecar::Sidecar;
use std::io::Read;
use std::path::PathBuf;
use stream::{Input, Request};

/// Give the relay to the pods of Kubernetes manifests
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  dualstream inject --brokers kafka:9092 shop.yaml | kubectl apply -f -
  dualstream inject --config relay.toml --image registry.example/dualstream:0.1.0 < shop.yaml
  dualstream inject --brokers kafka:9092 --only Deployment/shop --container shop k8s/*.yaml
  dualstream inject --brokers kafka:9092 --max-bytes 20GiB --storage ephemeral --storage-class fast shop.yaml
  dualstream inject --config relay.toml --no-config-map shop.yaml

Deployments, StatefulSets, DaemonSets, ReplicaSets, Jobs, CronJobs and Pods get the relay as a native sidecar, its volumes, the socket
and the variables DUALSTREAM_SOCKET and DUALSTREAM_URL. Everything else comes out as it went in. Comments inside a changed document go;
the order of its keys stays. Injecting again brings up to date: what the relay needs is written anew, what others added stays.
With settings (--config, --brokers and the like) their ConfigMap is written, too; without, NAME-config has to exist, with the key
relay.toml and no more than 1 GiB of buffer. docs/kubernetes.md tells what volumes protect from and how long pods take to stop.
Exit code 0: done; 2: wrong usage, settings or manifests, and nothing was written.")]
pub(super) struct InjectArgs {
    /// Manifests: YAML or JSON, any number of documents; without, or with -, standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Only these objects, such as Deployment/shop; repeatable
    #[arg(long, value_name = "KIND/NAME", value_parser = kind_and_name)]
    only: Vec<String>,

    /// The container that publishes; repeatable; without, all get the socket and the variables
    #[arg(long, value_name = "NAME")]
    container: Vec<String>,

    /// Image of the relay
    #[arg(long, value_name = "IMAGE", default_value = concat!("dualstream:", env!("CARGO_PKG_VERSION")))]
    image: String,

    /// Value of the pods' label dualstream/relay; the ConfigMap is NAME-config
    #[arg(long, value_name = "NAME", default_value = "dualstream", value_parser = object_name)]
    name: String,

    /// Where the buffer lives
    #[arg(long, value_enum, default_value_t = Storage::EmptyDir, requires_if("existingClaim", "claim"))]
    storage: Storage,

    /// Size of its volume; without, what the bound on the buffer needs
    #[arg(long, value_name = "QUANTITY")]
    storage_size: Option<String>,

    /// Storage class, for --storage ephemeral
    #[arg(long, value_name = "NAME")]
    storage_class: Option<String>,

    /// Name of the claim, for --storage existingClaim
    #[arg(long, value_name = "NAME")]
    claim: Option<String>,

    /// Port of probes and metrics on the pod's address
    #[arg(long, value_name = "PORT", default_value_t = 7412, value_parser = clap::value_parser!(u16).range(1024..))]
    probe_port: u16,

    /// No Unix socket, only loopback
    #[arg(long)]
    no_socket: bool,

    /// How long the application itself needs to stop, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(..=3600))]
    app_seconds: u64,

    /// For clusters before 1.29: an ordinary container, which stops later than it would have to
    #[arg(long)]
    fallback: bool,

    /// Do not write the ConfigMap; the settings only give sizes and times
    #[arg(long)]
    no_config_map: bool,

    /// The relay's settings, a TOML file, without the keys that the pod decides
    #[arg(short, long, value_name = "FILE", help_heading = "Settings")]
    config: Option<PathBuf>,

    /// Kafka bootstrap servers (kafka.brokers)
    #[arg(long, value_name = "HOST:PORT,…", help_heading = "Settings")]
    brokers: Option<String>,

    /// Kafka topic, or a template for it (kafka.topic)
    #[arg(long, value_name = "TOPIC", help_heading = "Settings")]
    topic: Option<String>,

    /// Redis for notifications (redis.url), without a password
    #[arg(long, value_name = "URL", help_heading = "Settings")]
    redis_url: Option<String>,

    /// Bound on the buffer, such as 2GiB; the volume's size follows
    #[arg(long, value_name = "SIZE", help_heading = "Settings")]
    max_bytes: Option<String>,

    /// How long the relay may drain when the pod stops (shutdown.grace); the pod's grace period follows
    #[arg(long, value_name = "TIME", help_heading = "Settings")]
    drain_time: Option<String>,
}

/// Where the buffer lives, in the chart's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "camelCase")]
enum Storage {
    /// On the node; survives a crash of the container, not the pod
    EmptyDir,
    /// On a claim that comes and goes with the pod
    Ephemeral,
    /// On a claim that is there, for one pod at a time
    ExistingClaim,
}

/// Most bytes of manifests.
const INPUT_MAX_BYTES: u64 = 256 << 20;

/// Reads, injects, prints.
pub(super) fn run(args: &InjectArgs, out: &mut Output) -> Result<Exit, Failure> {
    let has_settings = judge(args)?;
    let config = relay_toml::load(args)?;
    let text = if has_settings && !args.no_config_map { Some(relay_toml::text(args, &config)?) } else { None };
    let checksum = text.as_ref().map(|text| hex(&Sha256::digest(text)));
    let sidecar = Sidecar::new(&Plan::new(args, &config, checksum)?).map_err(|error| Failure::new(Exit::Failed, chain(&error)))?;
    let request =
        Request { sidecar: &sidecar, only: &args.only, containers: &args.container, name: &args.name, relay_toml: text.as_deref() };
    let done = stream::inject(&inputs(&args.files)?, &request).map_err(|error| Failure::new(Exit::Usage, chain(&error)))?;
    out.bytes(done.text.as_bytes())?;
    out.note(format_args!("given to {}; {} other objects as they were", done.given.join(", "), done.others));
    if text.is_none() {
        out.note(format_args!("the pods need the ConfigMap {} with the key relay.toml", sidecar::config_map(&args.name)));
    }
    Ok(Exit::Done)
}

/// Flags that do not go together; whether there are settings.
fn judge(args: &InjectArgs) -> Result<bool, Failure> {
    let usage = |message: &str| Err(Failure::new(Exit::Usage, message));
    let named = [&args.brokers, &args.topic, &args.redis_url, &args.max_bytes, &args.drain_time];
    let has_settings = args.config.is_some() || named.iter().any(|value| value.is_some());
    if args.storage_class.is_some() && args.storage != Storage::Ephemeral {
        return usage("--storage-class is for --storage ephemeral; the other kinds of storage have none");
    }
    if args.claim.is_some() && args.storage != Storage::ExistingClaim {
        return usage("--claim is for --storage existingClaim");
    }
    if args.fallback && (!has_settings || args.no_config_map) {
        return usage(
            "--fallback changes the relay's settings (shutdown.linger), so that it has to write their ConfigMap; give --config or --brokers, and no --no-config-map",
        );
    }
    Ok(has_settings)
}

fn inputs(files: &[PathBuf]) -> Result<Vec<Input>, Failure> {
    let stdin = [PathBuf::from("-")];
    let files = if files.is_empty() { &stdin } else { files };
    let mut left = INPUT_MAX_BYTES;
    let read = |file: &PathBuf| {
        let is_stdin = file.as_os_str() == "-";
        let name = if is_stdin { "standard input".to_owned() } else { file.display().to_string() };
        let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Usage, format!("{name}: {error}"));
        let mut text = String::new();
        let size = if is_stdin {
            std::io::stdin().lock().take(left + 1).read_to_string(&mut text)
        } else {
            std::fs::File::open(file).and_then(|file| file.take(left + 1).read_to_string(&mut text))
        };
        let size = size.map_err(|error| failed(&error))? as u64;
        left = left.checked_sub(size).ok_or_else(|| failed(&"more than 256 MiB of manifests"))?;
        Ok(Input { name, text })
    };
    files.iter().map(read).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

fn kind_and_name(text: &str) -> Result<String, String> {
    match text.split_once('/') {
        Some((kind, name)) if !kind.is_empty() && !name.is_empty() => Ok(text.to_owned()),
        _ => Err("write KIND/NAME, such as Deployment/shop".to_owned()),
    }
}

/// What can be a label's value and, with `-config` behind it, the name of a ConfigMap.
fn object_name(text: &str) -> Result<String, String> {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_good = (1..=53).contains(&text.len()) && text.chars().all(is_inner) && !text.starts_with('-') && !text.ends_with('-');
    if is_good { Ok(text.to_owned()) } else { Err("write 1 to 53 of a-z, 0-9 and -, not - at an end".to_owned()) }
}

#[cfg(test)]
mod tests;
