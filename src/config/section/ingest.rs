//! `[ingest]`

use super::super::kind::{Address, Count, Mode, OneOf, OrNone, Size, SocketPath, Time, UserIds};
use super::section;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Which confirmation a request waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AckLevel {
    /// On disk, synced.
    #[default]
    Buffered,
    /// Acknowledged by Kafka with acks=all.
    Kafka,
}

section! {
    /// Where applications hand events in.
    pub struct IngestConfig in ingest {
        /// TCP address. Loopback only: there is neither a token nor TLS yet. Empty: no TCP.
        listen: Option<SocketAddr> = Some(SocketAddr::from(([127, 0, 0, 1], 7410))), OrNone(Address::Loopback);

        /// Path of the Unix socket. Empty: no socket.
        socket: Option<PathBuf> = None, OrNone(SocketPath);

        /// Permission bits of the socket.
        socket_mode: u32 = 0o660, Mode;

        /// User ids allowed on the socket. Empty: all whom the mode lets in.
        allow_uids: Vec<u32> = Vec::new(), UserIds;

        /// How long a request waits for room in a full buffer before it is refused with 503, when it does not say so itself
        /// (`timeout=`). 0: refuse at once.
        full_timeout: Duration = Duration::from_secs(2), Time { min_ms: 0, max_ms: 300_000 };

        /// What a request waits for when it does not say so itself (`ack=`): `buffered`, the event is on disk and synced, or
        /// `kafka`, Kafka has acknowledged it.
        ack: AckLevel = AckLevel::Buffered, OneOf(&[("buffered", AckLevel::Buffered), ("kafka", AckLevel::Kafka)]);

        /// Largest single event, as JSON. Not more than `max_body_bytes`.
        max_event_bytes: u64 = 1 << 20, Size { min: 1 << 10, max: 64 << 20 };

        /// Largest request body.
        max_body_bytes: u64 = 16 << 20, Size { min: 1 << 10, max: 256 << 20 };

        /// Most events in one request.
        max_batch_events: u32 = 10_000, Count::u32(1, 1_000_000);

        /// So many of the newest events are remembered by their id: a repeat of one is answered with its first seq and not stored again,
        /// and `GET /v1/events/{id}` tells what became of it. Survives crashes. About 64 bytes of memory and 24 of disk an event; the disk
        /// is taken from `buffer.max_bytes`, at most a sixteenth of it: a smaller buffer remembers fewer, and says so. 0: off.
        dedup_window_events: u32 = 100_000, Count::u32(0, 10_000_000);

        /// Most connections open at once, over all listeners.
        max_connections: u32 = 16_384, Count::u32(1, 1_000_000);

        /// How long a client may take to send a whole request; slow clients are cut off with 408.
        request_timeout: Duration = Duration::from_secs(30), Time { min_ms: 100, max_ms: 600_000 };
    }
}
