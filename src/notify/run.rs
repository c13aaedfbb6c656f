//! The stage: built from its config (which can fail), then run (which cannot).

use super::message::Composer;
use super::queue::{NotifyQueue, Waiting, queue};
use super::redis::{RedisTarget, UrlError};
use super::stats::{DropReason, NotifyStats};
use super::stop::Stop;
use super::worker::Worker;
use crate::config::{NotifyMode, Placeholder, RedisConfig, Template, TemplateError};
use crate::lifecycle::AckWaiters;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long the last notifications may take after the drain has ended, when nobody says otherwise.
pub const LAST_WORDS: Duration = Duration::from_millis(500);

/// The placeholders that `redis.channel` may hold.
const CHANNEL_FIELDS: [Placeholder; 3] = [Placeholder::Type, Placeholder::SourceType, Placeholder::SourceId];

/// Why the stage cannot be built. No text here repeats the URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// `redis.url`
    #[error("redis.url {0}")]
    Url(UrlError),
    /// `redis.channel`
    #[error("redis.channel {0}")]
    Channel(TemplateError),
}

/// The stage, ready to run.
#[derive(Debug)]
pub struct Notify {
    /// `None`: notifications are off.
    on: Option<On>,
}

#[derive(Debug)]
struct On {
    target: RedisTarget,
    waiting: Waiting,
    stats: Arc<NotifyStats>,
    /// Told what Redis took.
    acks: Option<Arc<AckWaiters>>,
}

/// What the stage did, for the log line of the shutdown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NotifyReport {
    /// Notifications that Redis took in the life of this process.
    pub published: u64,
    /// Those that it never got, for whatever reason.
    pub dropped: u64,
    /// Of these, the ones that the shutdown cut off.
    pub dropped_at_shutdown: u64,
}

impl Notify {
    /// The stage and the drain's end of its queue. Does not connect: Redis may be away, now as at any time.
    ///
    /// # Errors
    /// [`BuildError`] for a URL or a channel template that can never work.
    pub fn build(config: &RedisConfig) -> Result<(Self, NotifyQueue), BuildError> {
        // One command per event is what everything here does; another mode must be a compile error until it is built.
        let NotifyMode::Each = config.mode;
        let Some(url) = &config.url else { return Ok((Self { on: None }, NotifyQueue::disabled())) };
        let target = RedisTarget::parse(url).map_err(BuildError::Url)?;
        let stats = Arc::new(NotifyStats::default());
        let (queue, waiting) = queue(Composer::new(channel(config)?), config.queue as usize, Arc::clone(&stats));
        Ok((Self { on: Some(On { target, waiting, stats, acks: None }) }, queue))
    }

    /// Tells the history of the newest events what Redis took.
    #[must_use]
    pub fn telling(mut self, acks: Arc<AckWaiters>) -> Self {
        if let Some(on) = &mut self.on {
            on.acks = Some(acks);
        }
        self
    }

    /// The stage's counters; `None` when notifications are off.
    pub fn stats(&self) -> Option<Arc<NotifyStats>> {
        self.on.as_ref().map(|on| Arc::clone(&on.stats))
    }

    /// Publishes until `stop` resolves, then what still waits until the deadline that `stop` gave (see [`LAST_WORDS`]); the rest is
    /// counted as dropped. Ends by the deadline whatever Redis does, and at once when there is nothing left.
    pub async fn run(self, stop: impl Future<Output = Instant> + Send) -> NotifyReport {
        let Some(On { target, waiting, stats, acks }) = self.on else {
            let _deadline = stop.await;
            return NotifyReport::default();
        };
        tracing::info!(redis = target.address(), "notifications are on");
        Worker::new(target, waiting, Arc::clone(&stats), fastrand::u64(..)).telling(acks).run(Stop::new(stop)).await;
        NotifyReport {
            published: stats.published.get(),
            dropped: stats.dropped_total(),
            dropped_at_shutdown: stats.dropped(DropReason::Shutdown).get(),
        }
    }
}

/// The parsed `redis.channel`.
pub(super) fn channel(config: &RedisConfig) -> Result<Template, BuildError> {
    Template::parse(&config.channel, &CHANNEL_FIELDS).map_err(BuildError::Channel)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str, channel: &str) -> RedisConfig {
        RedisConfig { url: Some(url.into()), channel: channel.into(), ..RedisConfig::default() }
    }

    fn refusal(url: &str, channel: &str) -> String {
        Notify::build(&config(url, channel)).map_or_else(|error| error.to_string(), |_| "accepted".into())
    }

    // Goal: an empty redis.url means no notifications, no counters, and a stage that just waits for the stop.
    #[tokio::test(start_paused = true)]
    async fn off_without_a_url() {
        let built = Notify::build(&RedisConfig::default());
        let Ok((notify, _queue)) = built else { panic!("{built:?}") };
        assert!(notify.stats().is_none());
        assert_eq!(notify.run(async { Instant::now() }).await, NotifyReport::default());
    }

    // Goal: a channel per event, or a typo in it, is refused with the reason and the name of the setting.
    #[test]
    fn a_bad_channel_is_refused() {
        let url = "redis://127.0.0.1:6379/";
        assert_eq!(refusal(url, "events:{source_type}"), "accepted");
        assert!(refusal(url, "events:{id}").starts_with("redis.channel contains {id}: that would make one name per event"));
        assert!(refusal(url, "events:{sourcetype}").contains("not one of {type}, {source_type}, {source_id}"));
        assert_eq!(refusal(url, ""), "redis.channel is empty");
    }

    // Goal: a bad URL is refused in words, and a password in it is never repeated.
    #[test]
    fn a_bad_url_is_refused_without_its_password() {
        for (url, words) in [
            ("http://u:sesame@h/", "is not a Redis URL"),
            ("redis://u:sesame@h:notaport/", "is not a Redis URL"),
            ("redis://u:sesame@h/notadb", "Invalid database number"),
            ("redis://u:sesame@h/?protocol=9", "Invalid protocol version"),
            ("rediss://u:sesame@h/", "asks for TLS"),
            ("redis://u:sesame@0.0.0.0/", "wildcard"),
            ("sesame", "is not a Redis URL"),
        ] {
            let said = refusal(url, "c");
            assert!(said.starts_with("redis.url ") && said.contains(words) && !said.contains("sesame"), "{url}: {said}");
        }
    }

    // Goal: neither does the debug form of what holds the URL.
    #[test]
    fn debug_forms_hold_no_password() {
        let built = Notify::build(&config("redis://u:sesame@localhost:1/", "c"));
        let shown = format!("{built:?}");
        assert!(shown.contains("localhost") && !shown.contains("sesame"), "{shown}");
    }
}
