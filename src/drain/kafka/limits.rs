//! The topic's limit on the size of a batch, asked for now and then on a thread of its own: the drain must not wait for it.
//!
//! Only of a topic that does not depend on the event. Without the right to read it (`DESCRIBE_CONFIGS`), or with OAUTHBEARER, for which the
//! client library's admin part gets no token, it stays unknown and nothing changes.

use super::super::classify::Class;
use super::security::Security;
use crate::error::Disposition;
use crate::lifecycle::TopicLimit;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

/// How often Kafka is asked; sooner while it has not answered yet, but less and less often.
const LOOK_EVERY: Duration = Duration::from_secs(30);
const ASK_AGAIN: Duration = Duration::from_secs(5);
const ASK_AGAIN_MAX: Duration = Duration::from_secs(60);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most that librdkafka puts into a batch of its own accord.
const BATCH_BYTES_MAX: u64 = 1_000_000;
/// What a batch may be larger than librdkafka's count of its messages.
const HEADROOM_BYTES: u64 = 512;

/// Handles build batches that the topic does not take any more: nothing is wrong, the handle is made anew.
pub(super) const SHRUNK: Class =
    Class { disposition: Disposition::Retry, reason: "rotated", meaning: "the topic takes less than before; making smaller batches" };

/// The largest batch for a topic: one that it refuses would come back whole, small events included.
pub(super) fn batch_bytes(client: &ClientConfig, limit: Option<u64>) -> u64 {
    let wanted = client.get("batch.size").and_then(|bytes| bytes.parse().ok()).unwrap_or(BATCH_BYTES_MAX);
    limit.map_or(wanted, |limit| wanted.min(limit.saturating_sub(HEADROOM_BYTES).max(1)))
}

/// Ends the thread when it is dropped.
pub(super) type Watching = Sender<Infallible>;

/// Asks from now on.
pub(super) fn watch(client: ClientConfig, security: Security, topic: String, limit: Arc<TopicLimit>) -> Option<Watching> {
    let (stop, stopped) = channel();
    let looks = Looks { client, security, topic, limit, told_unknown: OnceLock::new() };
    let spawned = std::thread::Builder::new().name("kafka-limit".into()).spawn(move || looks.run(&stopped));
    match spawned {
        Ok(_) => Some(stop),
        Err(error) => {
            tracing::warn!(%error, "cannot watch the topic's max.message.bytes: no thread");
            None
        }
    }
}

struct Looks {
    client: ClientConfig,
    security: Security,
    topic: String,
    limit: Arc<TopicLimit>,
    told_unknown: OnceLock<()>,
}

impl Looks {
    fn run(&self, stopped: &Receiver<Infallible>) {
        let mut again = ASK_AGAIN;
        loop {
            let pause = match self.ask() {
                Ok(bytes) => {
                    self.learn(bytes);
                    again = ASK_AGAIN;
                    LOOK_EVERY
                }
                // What was known before stays: an outage changes no limit.
                Err(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed) => {
                    self.tell_unknown("no right to read it; grant DESCRIBE_CONFIGS on the topic");
                    let _ = self.limit.set(None);
                    LOOK_EVERY
                }
                Err(_) if self.limit.get().is_some() => LOOK_EVERY,
                Err(_) => {
                    let pause = again;
                    again = (again * 2).min(ASK_AGAIN_MAX);
                    pause
                }
            };
            // Relays that were started together do not ask together for ever.
            if stopped.recv_timeout(pause.mul_f64(0.8 + 0.2 * fastrand::f64())) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    fn ask(&self) -> Result<u64, RDKafkaErrorCode> {
        let client = self.security.with_secrets(&self.client).map_err(|_| RDKafkaErrorCode::Authentication)?;
        max_message_bytes(&client, &self.topic, PATIENCE)
    }

    fn learn(&self, bytes: u64) {
        let before = self.limit.set(Some(bytes));
        if before != Some(bytes) {
            tracing::info!(topic = self.topic, max_message_bytes = bytes, before, "the topic's limit on a record is known");
        }
    }

    fn tell_unknown(&self, why: &'static str) {
        self.told_unknown.get_or_init(|| {
            tracing::info!(
                topic = self.topic,
                why,
                "the topic's max.message.bytes is not known; what it refuses is found out when it is sent"
            );
        });
    }
}

/// The topic's `max.message.bytes`. Reading it needs the right `DESCRIBE_CONFIGS`, which a producer need not have.
pub(super) fn max_message_bytes(client: &ClientConfig, topic: &str, timeout: Duration) -> Result<u64, RDKafkaErrorCode> {
    topic_setting(client, topic, "max.message.bytes", timeout)?.parse().map_err(|_| RDKafkaErrorCode::Unknown)
}

/// What a topic is set to.
pub(super) fn topic_setting(client: &ClientConfig, topic: &str, name: &str, timeout: Duration) -> Result<String, RDKafkaErrorCode> {
    let mut client = client.clone();
    // Who only asks has no business with anybody's transactions.
    let _ = client.remove("transactional.id");
    let code = |error: KafkaError| error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
    let admin: AdminClient<DefaultClientContext> = client.create().map_err(code)?;
    let options = AdminOptions::new().request_timeout(Some(timeout));
    let answer = block_on(admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options)).map_err(code)?;
    let resource = answer.into_iter().next().ok_or(RDKafkaErrorCode::Unknown)??;
    resource.get(name).and_then(|entry| entry.value.clone()).ok_or(RDKafkaErrorCode::Unknown)
}

/// Waits for a future on this thread. The one future here ends by its own timeout, so no runtime is needed for it.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: librdkafka never builds a batch that the topic refuses, and what I set smaller stays smaller.
    #[test]
    fn batches_fit_the_topic() {
        let mut client = ClientConfig::new();
        assert_eq!(batch_bytes(&client, None), 1_000_000);
        assert_eq!(batch_bytes(&client, Some(1_048_588)), 1_000_000);
        assert_eq!(batch_bytes(&client, Some(65_536)), 65_024);
        assert_eq!(batch_bytes(&client, Some(100)), 1);
        let _ = client.set("batch.size", "5000");
        assert_eq!(batch_bytes(&client, Some(65_536)), 5_000);
        assert_eq!(batch_bytes(&client, None), 5_000);
    }
}
