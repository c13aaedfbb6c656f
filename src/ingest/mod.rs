//! Stage 1: applications hand events in.

pub mod decode;
mod stats;

pub use stats::{CODES, IngestStats, RESULTS};
