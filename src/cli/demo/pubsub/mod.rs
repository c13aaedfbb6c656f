//! A small Redis-protocol Pub/Sub server, so that the demo shows notifications without Redis. For the demo and tests only.
//!
//! Speaks RESP2 on loopback, to `redis-cli` and client libraries alike: PING, ECHO, AUTH, SELECT, CLIENT, INFO, COMMAND, PUBLISH,
//! SPUBLISH, (P)SUBSCRIBE, (P)UNSUBSCRIBE, RESET, QUIT. HELLO is an unknown command, as before Redis 6, which makes clients fall
//! back to RESP2.
//!
//! Bounded like the real one: command size, connections, subscriptions, and the output a subscriber has not yet read; one that
//! reads too slowly is cut off.
//!
//! Deliberately absent: keys, passwords (any is accepted), sharding, RESP3, persistence.

mod broker;
mod command;
mod glob;
mod outbox;
mod resp;
mod server;

pub(crate) use server::PubSubServer;

#[cfg(test)]
mod tests;
