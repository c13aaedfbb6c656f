//! Stage 1: applications hand events in.

mod stats;

pub use stats::{CODES, IngestStats, RESULTS};
