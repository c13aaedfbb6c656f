//! `[kafka]`

use super::super::kind::{Properties, brokers, topic};
use super::section;
use std::collections::BTreeMap;

section! {
    /// Kafka, for what must not be lost.
    pub struct KafkaConfig in kafka {
        /// Bootstrap servers.
        brokers: String = "127.0.0.1:9092".into(), brokers();

        /// Topic, or a template for it, such as `events.{source_type}`; an event whose topic name Kafka would refuse is refused.
        topic: String = "events".into(), topic();

        /// librdkafka producer properties: any but those that the guarantees rest on. File, environment and flags add up, entry by
        /// entry. Values of passwords and keys are never printed.
        properties: BTreeMap<String, String> = BTreeMap::new(), Properties;
    }
    only {
        /// What a consumer can see: every event at least once, and a repeated one is recognisable.
        delivery = "at-least-once";

        /// How the place to go on from is found after a crash: from the checkpoint beside the buffer.
        recovery = "checkpoint";

        /// What happens while Kafka refuses what waiting alone may not cure (a missing topic, a revoked right): nothing is
        /// skipped, the backlog waits.
        on_blocked = "wait";
    }
}
