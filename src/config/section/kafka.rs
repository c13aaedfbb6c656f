//! `[kafka]`

use super::super::kind::{OneOf, Properties, brokers, topic};
use super::section;
use std::collections::BTreeMap;

/// What to do with an event that Kafka refuses for what it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRejected {
    /// Keep it as a dead letter and go on.
    #[default]
    DeadLetter,
    /// Wait, and try it again.
    Block,
}

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

        /// What becomes of an event that Kafka will never take. `"dead-letter"`: it is set aside with the reason, and the rest goes on;
        /// `"block"`: everything waits behind it.
        on_rejected: OnRejected = OnRejected::DeadLetter, OneOf(&[("dead-letter", OnRejected::DeadLetter), ("block", OnRejected::Block)]);
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
