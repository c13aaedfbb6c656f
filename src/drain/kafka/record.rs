//! An event as a Kafka record: key `source_id`, value the event's JSON (or a `CloudEvents` record of it), headers that name it.

use super::super::classify::MALFORMED;
use super::super::sink::Refusal;
use super::cloudevents::{CloudEvent, STRUCTURED};
use crate::config::{KafkaConfig, RecordFormat, Template, topic_name_problem};
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
    format: RecordFormat,
    /// Headers of every record, from the settings.
    extra: Vec<(String, String)>,
    /// The newest value, where it is not the event's own bytes.
    value: Vec<u8>,
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
    /// The name made for an event, also one that Kafka does not take.
    pub(super) fn name_for(&self, event: &EventRef<'_>) -> String {
        let mut made = String::new();
        match self {
            Self::Constant(name) => made.push_str(name),
            Self::PerEvent { template, .. } => template.render_into(event, &mut made),
        }
        made
    }

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

    fn write(&self, event: &EventRef<'_>, into: &mut String) {
        into.clear();
        match self {
            Self::Constant(name) => into.push_str(name),
            Self::PerEvent { template, .. } => template.render_into(event, into),
        }
    }
}

impl Recorder {
    pub(super) fn new(topic: Topic, config: &KafkaConfig, relay_id: &str) -> Self {
        let identity = format!("{relay_id}/").into_bytes();
        let extra = config.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        Self { topic, prefix_len: identity.len(), identity, format: config.format, extra, value: Vec::new() }
    }

    /// The topic, when it does not depend on the event.
    pub(super) fn constant_topic(&self) -> Option<&str> {
        match &self.topic {
            Topic::Constant(name) => Some(name),
            Topic::PerEvent { .. } => None,
        }
    }

    /// Writes the name of an event's topic, whether or not Kafka takes such a name.
    pub(super) fn write_topic(&self, event: &EventRef<'_>, into: &mut String) {
        self.topic.write(event, into);
    }

    /// `{relay-id}/`
    pub(super) fn identity_prefix(&self) -> &[u8] {
        &self.identity[..self.prefix_len]
    }

    /// What a record alone in its batch needs beside its key and value, at most.
    pub(super) fn overhead_bytes(&self) -> u64 {
        const BATCH: usize = 61;
        /// Length, attributes, differences of time and offset, lengths of key and value, number of headers.
        const RECORD: usize = 5 + 1 + 10 + 5 + 5 + 5 + 2;
        const SEQ_DIGITS: usize = 20;
        let header = |name: &str, value_len: usize| name.len() + value_len + 6;
        let own =
            header(IDENTITY_HEADER, self.prefix_len + SEQ_DIGITS) + header("content-type", STRUCTURED.len()) + header("traceparent", 55);
        let extra: usize = self.extra.iter().map(|(name, value)| header(name, value.len())).sum();
        (BATCH + RECORD + own + extra) as u64
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
        let headers = OwnedHeaders::new_with_capacity(3 + self.extra.len());
        let headers = headers.insert(Header { key: IDENTITY_HEADER, value: Some(self.identity.as_slice()) });
        let (mut headers, payload) = match self.format {
            RecordFormat::Event => (with(headers, "content-type", "application/json"), Some(event.value)),
            format => {
                let cloud = CloudEvent::scan(event.value).map_err(|error| Refusal { class: MALFORMED, detail: error.to_string() })?;
                let (headers, has_value) = cloud_record(&cloud, format, event, headers, &mut self.value);
                (headers, has_value.then_some(self.value.as_slice()))
            }
        };
        if let Some(traceparent) = event.traceparent {
            headers = with(headers, "traceparent", traceparent);
        }
        for (name, value) in &self.extra {
            headers = with(headers, name, value);
        }
        #[expect(clippy::cast_possible_truncation, reason = "asserted above")]
        let opaque = seq.0 as usize;
        let timestamp = i64::try_from(accepted_ms).unwrap_or(i64::MAX);
        let record = BaseRecord::with_opaque_to(self.topic.of(event)?, opaque).key(event.source_id).timestamp(timestamp).headers(headers);
        Ok(match payload {
            Some(payload) => record.payload(payload),
            None => record,
        })
    }
}

fn with(headers: OwnedHeaders, key: &str, value: &str) -> OwnedHeaders {
    headers.insert(Header { key, value: Some(value) })
}

/// The headers of a `CloudEvents` record, and whether `value` holds its value: an event without data has none.
fn cloud_record(
    cloud: &CloudEvent<'_>,
    format: RecordFormat,
    event: &EventRef<'_>,
    headers: OwnedHeaders,
    value: &mut Vec<u8>,
) -> (OwnedHeaders, bool) {
    if format == RecordFormat::CloudEventsStructured {
        cloud.structured(event, value);
        return (with(headers, "content-type", STRUCTURED), true);
    }
    let mut attributes = Vec::new();
    let (has_data, content_type) = cloud.binary(event, value, |name, text| attributes.push((name.to_owned(), text.to_owned())));
    // Without data there is nothing whose type could be told.
    let headers = if has_data { with(headers, "content-type", content_type) } else { headers };
    (attributes.iter().fold(headers, |headers, (name, text)| with(headers, name, text)), has_data)
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
        let mut recorder = Recorder::new(Topic::PerEvent { template, name: String::new() }, &KafkaConfig::default(), "r");
        let mut event = EventRef { id: "1", kind: "order", source_type: "user", source_id: "7", traceparent: None, value: b"{}" };
        assert_eq!(recorder.record(&event, Seq(1), 1).unwrap().topic, "events.order");
        event.kind = "order/made";
        let refusal = recorder.record(&event, Seq(2), 1).unwrap_err();
        assert_eq!(refusal.class.reason, "invalid_topic");
        assert!(refusal.detail.contains("events.order/made"), "{}", refusal.detail);
    }
}
