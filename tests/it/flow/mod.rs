//! The way of an event: in through any door and in any format, out of Kafka as it was, and a word of it to Redis.

mod ack;
mod cloudevents;
mod doors;
mod formats;
mod kafka_first;
mod limit;
mod partition;

use std::time::Duration;

use crate::support::{
    kafka::Kafka,
    redis::Redis,
    relay::Relay,
    subscriber::{Message, Subscriber},
};

const SOON: Duration = Duration::from_secs(30);

/// A relay between the shared Kafka and a Redis of its own, and somebody who listens.
struct Stream {
    kafka: &'static Kafka,
    topic: String,
    relay: Relay,
    subscriber: Subscriber,
    _redis: Redis,
}

impl Stream {
    fn start(name: &str, partitions: usize) -> Self {
        let kafka = Kafka::shared();
        let topic = kafka.topic(name, partitions);
        let redis = Redis::start();
        let subscriber = Subscriber::start(&redis.url(), "*");
        let relay = Relay::builder().kafka(&kafka.bootstrap(), &topic).redis(&redis.url()).start();
        Self { kafka, topic, relay, subscriber, _redis: redis }
    }

    /// All notifications once `count` have come; panics when there are more.
    #[track_caller]
    fn notifications(&self, count: usize) -> Vec<Message> {
        let messages = self.subscriber.wait_for(count, SOON);
        assert_eq!(messages.len(), count, "{messages:#?}");
        messages
    }
}

/// The relay-id, as the `dualstream` header has it.
#[track_caller]
fn relay_id(relay: &Relay) -> String {
    let status = relay.status();
    status["relay"]["relay_id"].as_str().expect("the buffer is open").to_owned()
}
