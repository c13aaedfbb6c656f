//! The mechanism under the buffer: segments, frames, the cursor, recovery. Stores, and decides nothing.
//!
//! On disk (format version 1; byte diagrams in `docs/buffer-format.md`):
//! ```text
//! LOCK                    flock: one writer process
//! cursor                  two slots written in turn: marks, ledger, relay-id
//! seg-<id:016x>.log       4 KiB header · 4 KiB seal · frames … · zeros or stale bytes
//! spare-<n:016x>.log      a segment waiting to be reused: its blocks are written, so overwriting needs no journal commit
//! quarantine/             damaged bytes set aside, with the reason
//! ```
//! Everything is little-endian and checksummed with CRC-32C; a segment's random salt is in every checksum seed, so the stale
//! bytes of a reused file can never be taken for data.
//!
//! Deliberately absent: mmap (a full disk would be a SIGBUS), `io_uring` (outside the default seccomp profiles), any decoding of events.

pub mod cipher;
pub(super) mod cursor;
pub(super) mod frame;
#[cfg(test)]
mod fuzz;
pub(super) mod names;
pub(super) mod quarantine;
pub(super) mod recovery;
pub(super) mod scan;
pub(super) mod sealed;
pub(super) mod segment;
pub mod storage;
pub(super) mod unseen;
pub(super) mod whole;
