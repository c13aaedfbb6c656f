//! `dualstream run`: the relay.

use super::assembly;
use super::exit::{Exit, Failure};
use super::logging;
use super::settings::RelaySettingsArgs;
use clap::Args;

/// Run the relay
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  dualstream run --config relay.toml
  dualstream run --brokers kafka-0:9092,kafka-1:9092 --topic events --dir /var/lib/dualstream
  dualstream run -c relay.toml --set buffer.max_bytes=4GiB --set ingest.ack=kafka
  DUALSTREAM__BUFFER__MAX_BYTES=4GiB dualstream run

SIGTERM or SIGINT stops it in order; a second one at once. Events that are not sent stay on disk for the next start.
Exit code 0: stopped and empty; 1: failed; 2: wrong settings; 5: the deadline passed with events still on disk.")]
pub(super) struct RunArgs {
    #[command(flatten)]
    settings: RelaySettingsArgs,
}

/// Runs until it is told to stop.
pub(super) fn run(args: &RunArgs) -> Result<Exit, Failure> {
    let config = args.settings.load()?;
    logging::init(&config.log)?;
    assembly::run_relay(config).map_err(assembly::logged)
}
