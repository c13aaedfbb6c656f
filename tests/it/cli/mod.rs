//! The commands that people and scripts use on a relay: what they print, and what their exit codes mean.
#![allow(clippy::cast_precision_loss, clippy::float_cmp, reason = "metrics are small whole numbers")]

mod buffer;
mod look;
mod metrics;
mod send;

use std::time::Duration;

use crate::support::{ports, relay::Relay};

const SOON: Duration = Duration::from_secs(30);

/// An address on which nobody listens.
fn nowhere() -> String {
    ports::address(ports::free())
}

/// `--url` of one of a relay's listeners, as its log says: `ingest`, `ops` or `probe`.
#[track_caller]
fn url(relay: &Relay, listener: &str) -> String {
    let logs = relay.json_logs();
    let ready = logs.iter().rev().find(|line| line["message"] == "ready").expect("it is ready");
    format!("http://{}", ready[listener].as_str().unwrap_or_else(|| panic!("no {listener} in {ready}")))
}
