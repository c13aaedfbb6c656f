//! `[redis]`

use super::super::kind::{Count, FilePath, OneOf, OrNone, RedisUrl, channel};
use super::section;
use std::path::PathBuf;

/// How events become notifications.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NotifyMode {
    /// One `PUBLISH` per event.
    #[default]
    Each,
}

section! {
    /// Redis Pub/Sub, for what must be seen now.
    pub struct RedisConfig in redis {
        /// Where Redis is. Empty: no notifications. The password is never printed; to keep it out of files and process lists that
        /// others read, use `url_file`.
        url: Option<String> = None, OrNone(RedisUrl);

        /// A file that holds the URL, such as a mounted Kubernetes secret; read once, at start. Instead of `url`.
        url_file: Option<PathBuf> = None, OrNone(FilePath);

        /// Channel of an event's notification: one per source by default, fewer where sources are many
        /// (`events:{source_type}`).
        channel: String = "events:{source_type}:{source_id}".into(), channel();

        /// `each`: one notification per event.
        mode: NotifyMode = NotifyMode::Each, OneOf(&[("each", NotifyMode::Each)]);

        /// Most notifications waiting for Redis; beyond it the oldest are dropped and counted.
        queue: u32 = 100_000, Count::u32(1, 10_000_000);
    }
}
