//! Stage 5: people and Kubernetes look in.
//!
//! Takes counters, gauges and pulses from the stages; gives status, probes, metrics and a look at waiting events; promises to answer
//! while the data path is stuck. Lets whom may ask purge waiting events, retry or purge dead letters, and pause the drain.
//!
//! ```text
//!  stages' counters ─┐                      ┌─▶ GET /v1/status (and the command line)
//!  buffer's gauges  ─┼─▶ StatusSource ──▶ StatusSnapshot ─▶ GET /metrics
//!  loops' pulses    ─┘   (health, trackers) └─▶ probes, transitions in the log
//! ```
//!
//! Invariants: one snapshot is behind every view, so no two views disagree; probes depend on nothing outside the process; every
//! response, connection count and wait is bounded.
//!
//! A change needs the Unix socket, whose file mode says who may, or the token of `ops.token_file`; it is logged with who and what.
//!
//! Deliberately absent: the status page.

mod dead_letters;
pub mod health;
pub mod metrics;
mod peek;
mod process;
mod purge;
mod server;
mod source;
pub mod status;
mod trackers;
mod watch;

#[cfg(test)]
mod testing;

pub use dead_letters::KeepDeadLetters;
pub use peek::{PEEK_MAX_EVENTS, PEEK_MAX_VALUE_BYTES, Peek};
pub use purge::Purge;
pub use server::{BindError, Ops, OpsAddresses};
pub use source::{BufferView, Handles, StatusSource};
pub use status::StatusSnapshot;
