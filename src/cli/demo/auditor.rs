//! Asks Kafka about every notification whose event was not read yet: where does your log end now?
//!
//! What the answer means is for the witness to say. On a thread and a client of its own, so that the reader is not held up.

use super::kafka::client;
use super::relay::TOPIC;
use super::shared::{Consumer, Shared};
use super::witness::{Ends, PARTITIONS};
use crate::cli::exit::{Exit, Failure};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaResult;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// Time between two questions.
const PAUSE: Duration = Duration::from_millis(2);

/// Longest wait for an answer.
const ASK: Duration = Duration::from_millis(300);

/// Starts asking.
pub(super) fn start(brokers: &str, shared: &Arc<Shared>) -> Result<Consumer, Failure> {
    let failed = |error: &dyn std::error::Error| Failure::new(Exit::Failed, format!("cannot ask Kafka: {error}"));
    let client = client(brokers).map_err(|error| failed(&error))?;
    Consumer::spawn("auditor", shared, move |shared| audit(&client, shared)).map_err(|error| failed(&error))
}

fn audit(client: &BaseConsumer, shared: &Shared) {
    while !shared.stopping() {
        let open = shared.witness().open_questions();
        // No answer, because Kafka is away: the question stays open and is asked again.
        if !open.is_empty()
            && let Ok(ends) = ends(client)
        {
            shared.witness().answer(&open, ends);
        }
        thread::sleep(PAUSE);
    }
}

fn ends(client: &BaseConsumer) -> KafkaResult<Ends> {
    let mut ends = Ends::new();
    for partition in 0..PARTITIONS {
        let (_low, high) = client.fetch_watermarks(TOPIC, partition, ASK)?;
        let _before = ends.insert(partition, high);
    }
    Ok(ends)
}
