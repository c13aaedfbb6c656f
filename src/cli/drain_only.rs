//! `dualstream drain-only`: sends what is in an orphaned buffer, takes nothing in.

use super::assembly;
use super::exit::{Exit, Failure};
use super::logging;
use super::output::Output;
use super::settings::DrainSettingsArgs;
use super::target::time;
use crate::buffer::OpenError;
use crate::buffer::inspect::inspect;
use crate::buffer::log::storage::DiskStorage;
use crate::error::chain;
use clap::Args;
use std::time::Duration;

/// Send what is in an orphaned buffer to Kafka, then end
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  dualstream drain-only --dir /orphan/dualstream --brokers kafka-0:9092 --topic events
  dualstream drain-only --config relay.toml --dir /orphan/dualstream --timeout 10m
  dualstream drain-only --config relay.toml --ops

As `dualstream run` with the same settings, but without ingest: notifications go to Redis if the settings name one, and Kafka is
waited for until --timeout. With kafka.dead_letter_topic, dead letters are copied there as far as time allows; those that are not
change nothing about the exit code, and stay on disk. Status, metrics and probes are served with --ops only, since a relay may have those addresses.
Exit code 0: the buffer is empty; 1: failed; 2: wrong settings, or not a buffer; 5: stopped, or out of time, with events still on
disk, where they stay.")]
pub(super) struct DrainOnlyArgs {
    /// Give up after this long; without it, wait for Kafka as long as it takes
    #[arg(long, value_name = "TIME", value_parser = time)]
    timeout: Option<Duration>,

    /// Serve status, metrics and probes where the settings say
    #[arg(long)]
    ops: bool,

    #[command(flatten)]
    settings: DrainSettingsArgs,
}

/// Runs until the buffer is empty.
pub(super) fn run(args: &DrainOnlyArgs, out: &mut Output) -> Result<Exit, Failure> {
    let mut config = args.settings.load()?;
    let dir = &config.buffer.dir;
    match inspect(&DiskStorage::new(dir)) {
        Ok(_) => {}
        // A new volume: no relay was ever here. Nothing is made in it.
        Err(OpenError::NoBuffer { .. }) => {
            out.note(format_args!("{} holds no buffer: there is nothing to send", dir.display()));
            return Ok(Exit::Done);
        }
        Err(error @ OpenError::NotABuffer { .. }) => return Err(Failure::new(Exit::Usage, chain(&error))),
        Err(error) => return Err(Failure::new(Exit::Failed, chain(&error))),
    }
    if !args.ops {
        (config.ops.listen, config.ops.socket, config.ops.probe_listen) = (None, None, None);
    }
    logging::init(&config.log)?;
    assembly::drain_only(config, args.timeout).map_err(assembly::logged)
}
