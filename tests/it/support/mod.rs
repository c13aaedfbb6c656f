//! What every integration test stands on: real engines as child processes, and the means to drive and to watch them.
//!
//! From the bottom up: waiting, chance and cleaning up ([`wait`], [`seed`], [`scratch`], [`ports`], [`process`]); the engines
//! ([`kafka`], [`redis`]) and what arrives in them ([`consume`], [`order`], [`subscriber`]); the relay ([`relay`]) and
//! the ways to talk to it ([`http`], [`raw`], [`command`]); many writers at once and what became of their events ([`load`],
//! [`mixed`], [`report`]), and what they take on the disk ([`disk_watch`]).
//!
//! Helpers panic with a sentence that says what was expected and what was seen. None sleeps for a fixed time: each
//! polls a condition until a deadline. Whatever a test starts is gone when the test ends, also when it is killed.
#![allow(dead_code, reason = "a toolbox: some tools wait for the tests that will use them")]

pub mod seed;
pub mod wait;

pub mod ports;
pub mod process;
pub mod proxy;
pub mod scratch;
pub mod spawner;

pub mod broker;
pub mod consume;
pub mod kafka;
pub mod order;
pub mod redis;
pub mod subscriber;

pub mod command;
pub mod http;
pub mod metrics;
pub mod raw;
pub mod relay;
pub mod relay_builder;
pub mod socket;

pub mod dense;
pub mod disk_watch;
pub mod load;
pub mod mixed;
pub mod report;
