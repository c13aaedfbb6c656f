//! The drain under fire: what Kafka refuses, loses, delays or forbids, and what an operator does about it.

use std::time::Duration;

use crate::support::{command::dualstream, relay::Relay, relay_builder::Builder, scratch, wait};

mod copies;
mod fatal;
mod network;
mod parking;
mod poison;
mod rest;
mod rights;
mod topics;
mod zombie;

const SOON: Duration = Duration::from_secs(120);

/// A relay that listens for operators on a socket, and that socket.
fn with_socket(builder: Builder) -> (Relay, String) {
    let socket = scratch::socket_path(builder.dir(), "ops.sock").display().to_string();
    (builder.set("ops.socket", socket.as_str()).start(), socket)
}

/// Runs a subcommand on the relay of this socket; its output.
#[track_caller]
fn operate(socket: &str, words: &[&str]) -> String {
    dualstream([words, &["--socket", socket]].concat()).run().expect(0).stdout
}

/// Waits until everything is at its end and the books balance.
#[track_caller]
pub fn drained(relay: &Relay) {
    wait::until_ok("an empty buffer", SOON, || {
        let status = relay.status();
        if status["buffer"]["ledger"]["backlog"] == 0 { Ok(()) } else { Err(status["drain"].to_string()) }
    });
    assert_eq!(relay.status()["health"]["conservation_error"], 0);
}
