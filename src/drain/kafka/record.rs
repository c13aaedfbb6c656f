//! An event as a Kafka record: key `source_id`, value the event's JSON, headers that name it.

use super::super::sink::Refusal;
use crate::config::{Template, topic_name_problem};
use crate::event::{EventRef, Seq};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;

/// Which relay and which of its events: `{relay-id}/{seq}`. A consumer drops what is not above the last it saw of a relay.
pub(super) const IDENTITY_HEADER: &str = "dualstream";

const _: () = assert!(usize::BITS >= u64::BITS, "a seq travels through librdkafka as a pointer");

/// Makes records; its buffers are used again for each.
#[derive(Clone, Debug)]
pub(super) struct Recorder {
    topic: Topic,
    /// `{relay-id}/`, then the seq of the newest record.
    identity: Vec<u8>,
    prefix_len: usize,
}

/// Where events go.
#[derive(Clone, Debug)]
pub(super) enum Topic {
    /// Always the same; checked when the drain was built.
    Constant(String),
    /// By type or source type.
    PerEvent {
        /// How the name is made.
        template: Template,
        /// The newest name.
        name: String,
    },
}

impl Topic {
    fn of(&mut self, event: &EventRef<'_>) -> Result<&str, Refusal> {
        match self {
            Self::Constant(name) => Ok(name),
            Self::PerEvent { template, name } => {
                name.clear();
                template.render_into(event, name);
                match topic_name_problem(name) {
                    None => Ok(name),
                    Some(problem) => {
                        Err(Refusal::new(RDKafkaErrorCode::InvalidTopic, format!("the topic name {name:?} made for it {problem}")))
                    }
                }
            }
        }
    }
}

impl Recorder {
    pub(super) fn new(topic: Topic, relay_id: &str) -> Self {
        let identity = format!("{relay_id}/").into_bytes();
        Self { topic, prefix_len: identity.len(), identity }
    }

    /// The record of an event. `accepted_ms` is never 0: to librdkafka that would mean "now", and a repeat would differ.
    pub(super) fn record<'a>(
        &'a mut self,
        event: &EventRef<'a>,
        seq: Seq,
        accepted_ms: u64,
    ) -> Result<BaseRecord<'a, str, [u8], usize>, Refusal> {
        self.identity.truncate(self.prefix_len);
        push_decimal(&mut self.identity, seq.0);
        let mut headers = OwnedHeaders::new_with_capacity(3)
            .insert(Header { key: IDENTITY_HEADER, value: Some(self.identity.as_slice()) })
            .insert(Header { key: "content-type", value: Some("application/json") });
        if let Some(traceparent) = event.traceparent {
            headers = headers.insert(Header { key: "traceparent", value: Some(traceparent) });
        }
        #[expect(clippy::cast_possible_truncation, reason = "asserted above")]
        let opaque = seq.0 as usize;
        let timestamp = i64::try_from(accepted_ms).unwrap_or(i64::MAX);
        Ok(BaseRecord::with_opaque_to(self.topic.of(event)?, opaque)
            .key(event.source_id)
            .payload(event.value)
            .timestamp(timestamp)
            .headers(headers))
    }
}

/// Appends a number in decimal, without an allocation.
fn push_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        let digit = (number % 10) as u8;
        digits[at] = b'0' + digit;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Placeholder;

    // Goal: the identity in the header is the seq exactly, up to the largest.
    #[test]
    fn numbers_are_written_as_they_are() {
        for number in [0, 7, 10, 99, 100, 12_345_678_901, u64::MAX] {
            let mut out = b"relay/".to_vec();
            push_decimal(&mut out, number);
            assert_eq!(out, format!("relay/{number}").into_bytes());
        }
    }

    // Goal: an event whose type cannot be a topic name is named as the problem, instead of being sent somewhere else.
    #[test]
    fn names_that_kafka_does_not_take_are_refused() {
        let template = Template::parse("events.{type}", &[Placeholder::Type]).unwrap();
        let mut recorder = Recorder::new(Topic::PerEvent { template, name: String::new() }, "r");
        let mut event = EventRef { id: "1", kind: "order", source_type: "user", source_id: "7", traceparent: None, value: b"{}" };
        assert_eq!(recorder.record(&event, Seq(1), 1).unwrap().topic, "events.order");
        event.kind = "order/made";
        let refusal = recorder.record(&event, Seq(2), 1).unwrap_err();
        assert_eq!(refusal.class.reason, "invalid_topic");
        assert!(refusal.detail.contains("events.order/made"), "{}", refusal.detail);
    }
}
