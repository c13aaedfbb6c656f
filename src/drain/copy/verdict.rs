//! What a refusal means for a copy, and what to do about it. Pure.

use crate::buffer::dead_letters::Copied;
use crate::drain::classify::{Class, TOO_LARGE};
use crate::error::Disposition;

/// What to do next about a letter that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Try it again with another handle: nothing is wrong.
    Again,
    /// The same after a while.
    WaitFirst,
    /// Send what is known about it, at once.
    WithoutValue,
}

/// A handle that says nothing.
pub(super) const NO_ANSWER: Class = Class { disposition: Disposition::Retry, reason: "unreachable", meaning: "Kafka does not answer" };

/// The letter's file cannot be read.
pub(super) const UNREAD: Class =
    Class { disposition: Disposition::Block, reason: "unreadable", meaning: "a dead letter cannot be read; check the buffer's volume" };

/// The letter's file cannot be written.
pub(super) const UNMARKED: Class = Class {
    disposition: Disposition::Block,
    reason: "dead_letters_failed",
    meaning: "the topic has a dead letter and the buffer cannot note it: after a restart now, it is copied again; check the buffer's volume",
};

/// Only what Kafka refuses for what it is can be helped by sending less of it.
pub(super) fn next(class: Class, tried: Copied) -> Next {
    match (class.disposition, tried) {
        (Disposition::DeadLetter, Copied::Whole) => Next::WithoutValue,
        (Disposition::Retry, _) if class.reason == "rotated" => Next::Again,
        _ => Next::WaitFirst,
    }
}

/// What it means, where the drain's own words would name the wrong setting.
pub(super) fn meaning(class: Class) -> &'static str {
    match class.reason {
        "unknown_topic" => "the dead-letter topic does not exist; create it, or correct kafka.dead_letter_topic",
        TOO_LARGE => "the dead-letter topic does not take the event's headers either; raise its max.message.bytes",
        _ => class.meaning,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::sink::Refusal;
    use rdkafka::error::RDKafkaErrorCode as Code;

    // Goal: an event loses its value on the way to the dead-letter topic only when that topic refuses the event itself, and a topic that is away, or forbidden,
    // is waited for.
    #[test]
    fn only_a_refused_event_is_sent_without_its_value() {
        let class = |code| Refusal::new(code, "").class;
        for (code, expect) in [
            (Code::MessageSizeTooLarge, Next::WithoutValue),
            (Code::InvalidRecord, Next::WithoutValue),
            (Code::UnknownTopic, Next::WaitFirst),
            (Code::TopicAuthorizationFailed, Next::WaitFirst),
            (Code::GaplessGuarantee, Next::WaitFirst),
            (Code::MessageTimedOut, Next::WaitFirst),
            (Code::Unknown, Next::WaitFirst),
        ] {
            assert_eq!(next(class(code), Copied::Whole), expect, "{code:?}");
            assert_eq!(next(class(code), Copied::WithoutValue), Next::WaitFirst, "{code:?}");
        }
        let rotated = Class { disposition: Disposition::Retry, reason: "rotated", meaning: "" };
        assert_eq!(next(rotated, Copied::Whole), Next::Again);
    }

    // Goal: the sentence names the setting that is wrong, not the other topic's.
    #[test]
    fn a_missing_topic_is_called_by_its_setting() {
        let text = meaning(Refusal::new(Code::UnknownTopicOrPartition, "").class);
        assert!(text.contains("kafka.dead_letter_topic") && !text.contains("kafka.topic"), "{text}");
    }
}
