//! `[buffer]`

use super::super::kind::{Count, FilePath, OrAuto, OrNone, Size, Switch};
use super::section;
use std::path::PathBuf;

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
