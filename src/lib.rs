//! # dualstream
//!
//! A sidecar that gives any application dual-stream publishing: **Kafka for what must not be lost, Redis Pub/Sub for what must
//! be seen now**.
//!
//! ```text
//!  app ──HTTP/UDS──▶ ingest ──▶ buffer (disk, bounded) ──▶ drain ──▶ Kafka ──▶ event processors
//!                                    │                       │ ack
//!                                    ▼                       ▼
//!                                   ops ◀──────────────── notify ──▶ Redis Pub/Sub
//!                         (CLI, metrics, health)
//! ```
//!
//! Data flows one way and the modules below are listed in that order. A stage uses [`event`], [`lifecycle`], [`error`],
//! [`config`], the jittered `backoff`, and the handles it is given, never a later stage; only [`app`] knows them all.
//!
//! ## Words
//! - **event**: `{id, type, source_type, source_id, payload}`; `source_id` is the Kafka key, so order is kept per source.
//! - **notification**: `{id, type, source_id}`, never the payload. **channel**: `events:{source_type}:{source_id}`.
//! - **seq**: a `u64` given by the buffer, strictly rising, never reused. **relay-id**: a UUID born with the buffer directory.
//! - marks: `appended >= durable >= leased`, and `acked` (the contiguous frontier) `<= durable`.
//! - **backlog**: durable − acked, in events; what is **parked** (set aside because Kafka refuses its topic for now) is part of it.

pub mod event;
pub mod lifecycle;

pub mod ingest;

pub mod buffer;

pub mod drain;

pub mod notify;

pub mod ops;

pub mod app;
mod backoff;
pub mod cli;
pub mod config;
pub mod error;
#[cfg(test)]
mod fuzzing;
pub mod shutdown;
mod sync;
