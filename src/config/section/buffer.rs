//! `[buffer]`

use super::super::kind::{Count, FilePath, OneOf, OrAuto, OrNone, Size, Switch};
use super::section;
use std::path::PathBuf;

/// What to do when there is no room for another dead letter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// Wait.
    #[default]
    Block,
    /// Remove the oldest.
    DropOldest,
}

section! {
    /// The disk buffer between the application and Kafka.
    pub struct BufferConfig in buffer {
        /// The directory; created when absent. One relay at a time.
        dir: PathBuf = PathBuf::from("./dualstream-data"), FilePath;

        /// Bound on allocated disk, everything included. A full buffer refuses new events and loses none.
        max_bytes: u64 = 1 << 30, Size { min: 1 << 20, max: 1 << 50 };

        /// Bound on the backlog in events. 0: no bound but the bytes.
        max_events: u64 = 0, Count::u64(0, 1 << 48);

        /// Size of one segment file; a request is never split over two. At most a quarter of `max_bytes`, so that space comes free in
        /// steps. `"auto"`: chosen from `max_bytes`.
        segment_bytes: Option<u64> = None, OrAuto(Size { min: 64 << 10, max: 1 << 30 });

        /// Bytes of `max_bytes` set apart for dead letters. `"auto"`: a thirty-second of it, from 64 KiB to 256 MiB.
        dead_letter_bytes: Option<u64> = None, OrAuto(Size { min: 64 << 10, max: 1 << 40 });

        /// What happens when they are full. `"block"`: the drain waits until some are retried or purged; `"drop-oldest"`: the oldest are
        /// removed for good, and counted.
        dead_letters_full: WhenFull = WhenFull::Block, OneOf(&[("block", WhenFull::Block), ("drop-oldest", WhenFull::DropOldest)]);

        /// Bytes of `max_bytes` set apart for parked events (`kafka.on_blocked = "park"`). `"auto"`: a quarter of it with `"park"`, none
        /// otherwise. When they are full, the backlog waits behind the topic that is blocked.
        parked_bytes: Option<u64> = None, OrAuto(Size { min: 64 << 10, max: 1 << 40 });

        /// Free space to leave on the volume for everybody else.
        min_free_bytes: u64 = 64 << 20, Size { min: 0, max: 1 << 50 };

        /// Refuse to start where a sync does not make data durable, or nobody can tell (tmpfs, overlay, NFS and other network file systems,
        /// FUSE), instead of saying so in every reply.
        require_durable: bool = false, Switch;

        /// File with the keys for encryption at rest (AES-256-GCM): 64 hexadecimal digits a line, the key for new events first, older
        /// ones behind it until their events have drained. Empty: not encrypted.
        encryption_key_file: Option<PathBuf> = None, OrNone(FilePath);
    }
}
