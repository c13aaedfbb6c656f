//! Will events arrive? Settings that the guarantees forbid, and what the cluster says.

use super::super::exit::Exit;
use super::Check;
use crate::config::Config;
use crate::drain::{CursorFacts, DeadLetterTopic, KafkaFacts, check_properties, probe};
use crate::error::chain;
use std::time::Duration;

/// How long the cluster may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Properties that would break a guarantee; each sentence says which and why.
pub(super) fn properties(config: &Config) -> Vec<Check> {
    let refused = check_properties(&config.kafka).into_iter();
    refused.map(|wrong| Check::fail("kafka settings", Exit::Usage, wrong.text, wrong.cure)).collect()
}

/// Looks at the cluster and the topic.
pub(super) fn checks(config: &Config) -> Vec<Check> {
    match probe(&config.kafka, PATIENCE) {
        Ok(facts) => judge(&facts, config),
        Err(error) => {
            let cure = "correct kafka.brokers or kafka.topic, or start Kafka; until then events wait in the buffer";
            vec![Check::fail("kafka", Exit::Unreachable, chain(&error), cure)]
        }
    }
}

fn judge(facts: &KafkaFacts, config: &Config) -> Vec<Check> {
    let topic = match &facts.topic {
        Some((topic, partitions)) => format!("topic {topic} has {partitions} partitions"),
        None => "the topic depends on the event and is not looked at".to_owned(),
    };
    let mut checks = vec![Check::ok("kafka", format!("{} answers; {topic}", facts.brokers.join(", ")))];
    if let Some(most) = facts.max_message_bytes
        && config.ingest.max_event_bytes > most
    {
        let text =
            format!("ingest.max_event_bytes is {} but the topic takes {most} at most (max.message.bytes)", config.ingest.max_event_bytes);
        checks.push(Check::warn(
            "kafka",
            text,
            format!("lower ingest.max_event_bytes below {most}, or raise the topic's max.message.bytes"),
        ));
    }
    if let (Some(false), Some((topic, _))) = (facts.may_read, &facts.topic) {
        let text = format!(
            "this user may not read topic {topic}: kafka.recovery = \"reconcile\" cannot see what is there, and events may come twice"
        );
        checks.push(Check::warn("kafka", text, "grant READ on the topic, or set kafka.recovery = \"checkpoint\""));
    }
    checks.extend(facts.cursors.and_then(|facts| cursors(facts, &config.kafka.cursor_topic)));
    if let (Some(found), Some(topic)) = (&facts.dead_letters, &config.kafka.dead_letter_topic) {
        checks.push(dead_letters(found, topic));
    }
    checks
}

/// What the topic of the dead letters is like. A warning at most: nothing else waits for it, and the letters stay on disk.
fn dead_letters(found: &DeadLetterTopic, topic: &str) -> Check {
    let name = format!("topic {topic} (kafka.dead_letter_topic)");
    match found {
        DeadLetterTopic::There => Check::ok("kafka", format!("{name} is there")),
        DeadLetterTopic::Missing => Check::warn(
            "kafka",
            format!("{name} does not exist: dead letters stay on disk until it does"),
            "create it, and grant WRITE and DESCRIBE on it",
        ),
        DeadLetterTopic::NotAuthorized => Check::warn("kafka", format!("this user may not use {name}"), "grant WRITE and DESCRIBE on it"),
        DeadLetterTopic::Unknown(said) => {
            Check::warn("kafka", format!("cannot look at {name}: {said}"), "look at the brokers' log, and try again")
        }
    }
}

/// What is wrong with the topic of the cursors.
fn cursors(facts: CursorFacts, topic: &str) -> Option<Check> {
    let create = "create it with cleanup.policy=compact, and grant READ, WRITE and DESCRIBE on it";
    match facts {
        CursorFacts { exists: false, .. } => {
            let text = format!("topic {topic} (kafka.cursor_topic) does not exist, or this user may not see it");
            Some(Check::fail("kafka", Exit::Unreachable, text, create))
        }
        CursorFacts { may_read: Some(false), .. } => Some(Check::fail(
            "kafka",
            Exit::Unreachable,
            format!("this user may not read topic {topic} (kafka.cursor_topic)"),
            "grant READ on it",
        )),
        CursorFacts { compacted: Some(false), .. } => {
            let text =
                format!("topic {topic} (kafka.cursor_topic) forgets old records: the cursor of a relay that was away for long is gone");
            Some(Check::warn("kafka", text, "set its cleanup.policy to compact, without delete"))
        }
        _ => None,
    }
}
