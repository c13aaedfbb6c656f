//! Stage 4: Redis is told, only after Kafka's ack. Takes acknowledged events from the drain, gives notifications to Redis, promises
//! never to slow the drain.
//!
//! ```text
//! drain ──acked()──▶ NotifyQueue (bounded, drops the oldest) ──≤512 at a time──▶ Worker ──one pipeline──▶ Redis
//! ```
//! Invariants:
//! - The drain pays one short lock and never waits: Redis down, slow, frozen or full changes nothing for it (guarantee G6).
//! - Memory is bounded by a count and by bytes, whatever Redis does.
//! - Notifications leave in the order they came in, one pipeline at a time, so the order per source is Kafka's.
//! - Each one is tried at most once, and ends in exactly one counter: `published`, or `dropped` with a reason. A pipeline whose
//!   outcome is unknown is not sent again: a subscriber may miss a notification, but is never told twice by this stage.
//! - No text that leaves this stage (log, error, status) holds the password.
//!
//! Deliberately absent: persistence (Kafka has the event; Pub/Sub is at-most-once anyway), and a client that reconnects by itself
//! (its hidden retries would hold commands for seconds; the worker's own loop decides what waits and what is dropped).

mod message;
mod notifier;
mod probe;
mod queue;
mod redis;
mod run;
mod stats;
mod stop;
mod trouble;
mod worker;

pub use notifier::ConnectError;
pub use probe::{ProbeError, RedisFacts, probe};
pub use queue::NotifyQueue;
pub use redis::UrlError;
pub use run::{BuildError, LAST_WORDS, Notify, NotifyReport};
pub use stats::{DROP_REASONS, DropReason, NotifyStats};
