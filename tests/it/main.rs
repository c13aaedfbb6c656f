//! The integration tests: the real binary against a real Kafka and a real Redis, one file per stage and per guarantee.
//!
//! One binary, so that librdkafka is linked once and the Kafka that the tests share starts once. `make deps` fetches
//! what they run; [`support`] starts it.
#![allow(unreachable_pub, missing_docs, reason = "a test binary has no outside: `pub` only says which helpers are meant for the tests")]
#![allow(clippy::float_cmp, reason = "a scrape gives every number as a float; counters are compared with whole numbers")]
#![allow(clippy::print_stdout, reason = "a test that skips a part says so where its reader looks")]
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a panic is how a test fails")]

mod support;

mod bench;
mod cli;
mod config;
mod crash;
mod demo;
mod exactly_once;
mod fire;
mod flow;
mod full;
mod input;
mod kernel;
mod once;
mod ops;
mod outage;
mod reconcile;
mod redis_trouble;
#[cfg(feature = "kafka-tls")]
mod secure;
mod shutdown;
mod socket;
mod support_check;
mod tidy;
mod tools;
