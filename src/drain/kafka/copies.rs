//! Copies of dead letters as records of the dead-letter topic: a [`Courier`] over one producer handle at a time.
//!
//! The record is what the event's own would be, its value always the event as it was posted (a conversion may be what failed), and headers that say
//! what became of it. Handles are plain and idempotent whatever `kafka.delivery` is, with the drain's settings, files and patience.

use super::super::copy::{Courier, Heard};
use super::super::sink::{Refusal, Report, SendOutcome, Sink};
use super::record::{Recorder, Topic};
use super::{BuildError, KafkaFactory, KafkaSink, hand_over, settings};
use crate::buffer::DeadLetter;
use crate::buffer::dead_letters::Copied;
use crate::config::{Delivery, KafkaConfig, RecordFormat, Recovery};
use crate::drain::classify::MALFORMED;
use crate::event::{EventRef, Seq};
use crate::lifecycle::TopicLimit;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Headers that a copy has besides those of a normal record.
const HEADERS: usize = 7;

/// Brings dead letters to their topic.
pub struct KafkaCourier {
    factory: KafkaFactory,
    /// Where the events were meant to go.
    meant_for: Topic,
    sink: Option<KafkaSink>,
    reports: Vec<Report>,
}

impl KafkaCourier {
    /// Checks the settings. Makes no handle.
    pub(in crate::drain) fn build(config: &KafkaConfig, topic: &str, relay_id: &str) -> Result<Self, BuildError> {
        let meant_for = settings::topic(config)?;
        let config = KafkaConfig {
            topic: topic.to_owned(),
            format: RecordFormat::Event,
            delivery: Delivery::AtLeastOnce,
            recovery: Recovery::Checkpoint,
            ..config.clone()
        };
        // Its limit is not looked up: what it does not take is found out when it is sent.
        let factory = KafkaFactory::unopened(&config, relay_id, Arc::new(TopicLimit::default()))?;
        Ok(Self { factory, meant_for, sink: None, reports: Vec::new() })
    }
}

impl Courier for KafkaCourier {
    fn send(&mut self, letter: &DeadLetter, how: Copied) -> Result<(), Refusal> {
        let event = letter.event().ok_or_else(|| Refusal { class: MALFORMED, detail: format!("dead letter {}", letter.seq) })?;
        if self.sink.as_ref().is_some_and(|sink| sink.fatal().is_some()) {
            self.close();
        }
        let sink = match &mut self.sink {
            Some(sink) => sink,
            none => none.insert(self.factory.sink()?),
        };
        let record = record(&mut sink.recorder, letter, &event, &self.meant_for.name_for(&event), how)?;
        match hand_over(&sink.producer, record) {
            SendOutcome::Sent => Ok(()),
            SendOutcome::Full => Err(Refusal::new(RDKafkaErrorCode::QueueFull, "the handle takes no record")),
            SendOutcome::Refused(refusal) => Err(refusal),
        }
    }

    fn poll(&mut self, timeout: Duration) -> Heard {
        let Some(sink) = &mut self.sink else { return Heard::Nothing };
        sink.poll(timeout, &mut self.reports);
        if let Some(Report { result, .. }) = self.reports.pop() {
            return result.map_or_else(|code| Heard::Refused(Refusal::new(code, code.to_string())), |_| Heard::Taken);
        }
        match sink.fatal() {
            Some(refusal) => Heard::Refused(refusal),
            None => sink.take_trouble().map_or(Heard::Nothing, Heard::Trouble),
        }
    }

    fn close(&mut self) {
        self.reports.clear();
        if let Some(sink) = self.sink.take() {
            sink.discard();
        }
    }
}

impl fmt::Debug for KafkaCourier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaCourier").field("factory", &self.factory).field("open", &self.sink.is_some()).finish_non_exhaustive()
    }
}

/// The record of a dead letter.
fn record<'a>(
    recorder: &'a mut Recorder,
    letter: &DeadLetter,
    event: &EventRef<'a>,
    meant_for: &str,
    how: Copied,
) -> Result<BaseRecord<'a, str, [u8], usize>, Refusal> {
    let mut record = recorder.record(event, Seq(letter.seq), letter.accepted_ms)?;
    let cause = &letter.cause;
    let told = [
        ("dualstream-error", cause.reason.clone()),
        ("dualstream-error-text", cause.text.clone()),
        ("dualstream-error-attempts", cause.attempts.to_string()),
        ("dualstream-topic", meant_for.to_owned()),
        ("dualstream-first-refused", rfc3339(cause.first_refused_ms)),
        ("dualstream-dead", rfc3339(cause.dead_ms)),
    ];
    let left_out = (how == Copied::WithoutValue).then(|| ("dualstream-error-value", format!("left out: {} bytes", event.value.len())));
    if left_out.is_some() {
        record.payload = None;
    }
    let headers = record.headers.take().unwrap_or_else(|| OwnedHeaders::new_with_capacity(HEADERS));
    record.headers = Some(
        told.into_iter().chain(left_out).fold(headers, |headers, (key, value)| headers.insert(Header { key, value: Some(value.as_str()) })),
    );
    Ok(record)
}

fn rfc3339(unix_ms: u64) -> String {
    let time = i64::try_from(unix_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    format!("{:.3}", time.unwrap_or(jiff::Timestamp::UNIX_EPOCH))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::dead_letters::Cause;
    use crate::event::{BatchBuilder, EventParts, Field};
    use rdkafka::message::Headers;

    fn letter() -> DeadLetter {
        let mut batch = BatchBuilder::default();
        batch.push(&EventParts {
            value: br#"{"id":"e1","n":1.10}"#,
            id: Field::Text("e1"),
            kind: Field::Text("made"),
            source_type: Field::Text("user"),
            source_id: Field::Text("42"),
            traceparent: Field::Absent,
        });
        let (first_refused_ms, dead_ms) = (1_700_000_000_000, 1_700_000_000_123);
        let cause =
            Cause { reason: "too_large".into(), text: "larger than the topic takes".into(), attempts: 3, first_refused_ms, dead_ms };
        DeadLetter { seq: 7, accepted_ms: 1_699_999_999_999, cause, record: batch.finish().into_payload().into() }
    }

    fn headers(record: &BaseRecord<'_, str, [u8], usize>) -> Vec<(String, String)> {
        let headers = record.headers.as_ref().unwrap();
        headers.iter().map(|header| (header.key.to_owned(), String::from_utf8(header.value.unwrap().to_vec()).unwrap())).collect()
    }

    // Goal: whoever reads the dead-letter topic has the event as it was posted, who sent it, where it was meant to go, and why it did not get there;
    // also where the format of normal records is another.
    #[test]
    fn a_copy_tells_all_about_the_event() {
        let config = KafkaConfig {
            topic: "events.{type}".into(),
            format: RecordFormat::CloudEventsBinary,
            headers: [("environment".to_owned(), "test".to_owned())].into(),
            ..KafkaConfig::default()
        };
        let mut courier = KafkaCourier::build(&config, "dead", "relay").unwrap();
        let letter = letter();
        let event = letter.event().unwrap();
        let name = courier.meant_for.name_for(&event);
        let whole = record(&mut courier.factory.recorder, &letter, &event, &name, Copied::Whole).unwrap();
        assert_eq!(
            (whole.topic, whole.key, whole.payload, whole.timestamp),
            ("dead", Some("42"), Some(event.value), Some(1_699_999_999_999))
        );
        let told = [
            ("dualstream", "relay/7"),
            ("content-type", "application/json"),
            ("environment", "test"),
            ("dualstream-error", "too_large"),
            ("dualstream-error-text", "larger than the topic takes"),
            ("dualstream-error-attempts", "3"),
            ("dualstream-topic", "events.made"),
            ("dualstream-first-refused", "2023-11-14T22:13:20.000Z"),
            ("dualstream-dead", "2023-11-14T22:13:20.123Z"),
        ];
        let told = told.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(headers(&whole), told);
        let without = record(&mut courier.factory.recorder, &letter, &event, &name, Copied::WithoutValue).unwrap();
        assert_eq!((without.payload, without.key), (None, Some("42")));
        let left_out = ("dualstream-error-value".to_owned(), "left out: 20 bytes".to_owned());
        assert_eq!(headers(&without), [told.as_slice(), &[left_out]].concat());
    }

    // Goal: copies do not go through transactions, and do not fence the drain's, also with exactly once.
    #[test]
    fn copies_are_plain() {
        let config = KafkaConfig { delivery: Delivery::ExactlyOnce, ..KafkaConfig::default() };
        let courier = KafkaCourier::build(&config, "dead", "relay").unwrap();
        let client = &courier.factory.client;
        assert_eq!((client.get("transactional.id"), client.get("message.timeout.ms")), (None, Some("0")));
        assert_eq!((client.get("enable.idempotence"), courier.factory.exactly_once.is_none()), (Some("true"), true));
    }
}
