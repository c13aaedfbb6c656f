//! Stage 3: events go to Kafka.

mod stats;

pub use stats::{DrainState, DrainStats, RETRY_REASONS};
