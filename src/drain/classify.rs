//! What each of librdkafka's error codes means for the event that met it. Pure.
//!
//! Only codes that speak about one record are [`Disposition::DeadLetter`]: an allow-list, because librdkafka calls every code it does
//! not retry by itself "permanent", transient ones included. Missing topics and refused rights are outages ([`Disposition::Block`]):
//! an operator can end them. A code that is not in the table is retried for ever.

use crate::error::Disposition;
use rdkafka::error::RDKafkaErrorCode;

/// What a code means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// What to do.
    pub disposition: Disposition,
    /// A short label from a closed set: [`BLOCK_REASONS`], [`DEAD_REASONS`] and [`PASSING_REASONS`].
    pub reason: &'static str,
    /// What it means and, where somebody must act, what would help; one clause.
    pub meaning: &'static str,
}

/// The reasons that may need somebody to act: the closed set of `drain_blocked{reason}`.
pub const BLOCK_REASONS: [&str; 14] = [
    "unknown_topic",
    "invalid_topic",
    "authorization",
    "authentication",
    "incompatible",
    REJECTED,
    "unreadable",
    "malformed",
    "dead_letters_full",
    "dead_letters_failed",
    "another_relay",
    "parked_full",
    "parked_failed",
    "parked_first",
];

/// What blocks when an event that Kafka will never take must not become a dead letter (`kafka.on_rejected = "block"`).
pub(super) const REJECTED: &str = "rejected";

/// The reasons for which Kafka will never take an event: the closed set of `dead_letters_total{reason}`.
pub const DEAD_REASONS: [&str; 5] = [TOO_LARGE, "invalid_record", "invalid_timestamp", "policy", "unsupported_format"];

/// Larger than the topic takes: of a batch, or of an event.
pub(super) const TOO_LARGE: &str = "too_large";

/// The reasons that pass by themselves or with a new handle.
pub const PASSING_REASONS: [&str; 8] = ["unreachable", "cluster", "corrupt", "neighbour", "set_aside", "fatal", "rotated", "unclassified"];

/// Kafka has stopped acknowledging although a broker answers; the drain's own finding, not a code.
pub(super) const STALLED: Class =
    Class { disposition: Disposition::Retry, reason: "cluster", meaning: "a broker is connected but no longer acknowledges" };

/// There is no room for one more dead letter.
pub(super) const DEAD_LETTERS_FULL: Class = Class {
    disposition: Disposition::Block,
    reason: "dead_letters_full",
    meaning: "Kafka will never take this event, and there is no room for one more dead letter; retry or purge some",
};

/// A dead letter cannot be stored.
pub(super) const DEAD_LETTERS_FAILED: Class = Class {
    disposition: Disposition::Block,
    reason: "dead_letters_failed",
    meaning: "Kafka will never take this event, and it cannot be kept as a dead letter; check the buffer's volume",
};

/// The buffer's files cannot be read.
pub(super) const UNREADABLE: Class =
    Class { disposition: Disposition::Block, reason: "unreadable", meaning: "the buffer cannot be read; check its volume" };

/// Kafka's cursor under our relay-id is of events that we do not have.
pub(super) const ANOTHER_RELAY: Class = Class {
    disposition: Disposition::Block,
    reason: "another_relay",
    meaning: "somebody else has delivered other events under this relay's id: a relay on a copy of this buffer directory, or this directory was \
              restored from a backup; nothing is sent until that is put right (docs/runbook.md, Another relay) and this relay is restarted",
};

/// There is no room for more parked events.
pub(super) const PARKED_FULL: Class = Class {
    disposition: Disposition::Block,
    reason: "parked_full",
    meaning: "a topic is blocked, and there is no room to park more of its events; mend the topic, or raise buffer.parked_bytes",
};

/// Events cannot be parked.
pub(super) const PARKED_FAILED: Class = Class {
    disposition: Disposition::Block,
    reason: "parked_failed",
    meaning: "a topic is blocked, and its events cannot be parked; check the buffer's volume",
};

/// What is parked was parked under another `kafka.topic`.
pub(super) const PARKED_FIRST: Class = Class {
    disposition: Disposition::Block,
    reason: "parked_first",
    meaning: "kafka.topic was changed while events were parked: they are sent before all others, so that order is kept; mend their topics, or purge them",
};

/// A stored record does not decode although its checksum is right.
pub(super) const MALFORMED: Class = Class {
    disposition: Disposition::Block,
    reason: "malformed",
    meaning: "a stored event does not decode; this is a defect, please report it",
};

impl Class {
    /// How much it tells about why the line stopped: consequences rank below causes.
    pub(super) fn rank(self) -> u8 {
        match self.disposition {
            Disposition::Block | Disposition::DeadLetter => 3,
            Disposition::Fatal => 2,
            Disposition::Retry if self.reason == "set_aside" => 0,
            Disposition::Retry => 1,
        }
    }
}

/// What is known of an event that came back with a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whereabouts {
    /// It is not in Kafka.
    NotThere,
    /// It was not on its way when it came back; it may have been before, and its answer was lost.
    Waited,
    /// Nobody can tell.
    InDoubt,
}

/// Whether Kafka may have an event that came back with a code.
pub(super) fn whereabouts(code: RDKafkaErrorCode) -> Whereabouts {
    use RDKafkaErrorCode as Code;
    match code {
        Code::InvalidDifferentRecord | Code::UnknownTopic | Code::UnknownPartition | Code::InvalidTopic => Whereabouts::NotThere,
        Code::PurgeQueue => Whereabouts::Waited,
        code if record_level(code).is_some() => Whereabouts::NotThere,
        _ => Whereabouts::InDoubt,
    }
}

/// The meaning of a code.
pub(super) fn classify(code: RDKafkaErrorCode) -> Class {
    record_level(code).or_else(|| outage(code)).or_else(|| handle_finished(code)).unwrap_or_else(|| passing(code))
}

/// Kafka took a look at this record and will never take it.
fn record_level(code: RDKafkaErrorCode) -> Option<Class> {
    use RDKafkaErrorCode as Code;
    let (reason, meaning) = match code {
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize => {
            (TOO_LARGE, "larger than the topic takes; raise the topic's max.message.bytes, or lower ingest.max_event_bytes for the future")
        }
        Code::InvalidRecord => (
            "invalid_record",
            "the broker found the record invalid for this topic (a compacted topic needs keys, a schema may be enforced)",
        ),
        Code::InvalidTimestamp => {
            ("invalid_timestamp", "the accept time is outside what the topic takes (message.timestamp.before.max.ms and after.max.ms)")
        }
        Code::PolicyViolation => ("policy", "a policy of the cluster refuses the record"),
        Code::UnsupportedForMessageFormat => ("unsupported_format", "the topic's message format is too old for headers or idempotence"),
        _ => return None,
    };
    Some(Class { disposition: Disposition::DeadLetter, reason, meaning })
}

/// Not the record's fault, and waiting alone may not cure it.
fn outage(code: RDKafkaErrorCode) -> Option<Class> {
    use RDKafkaErrorCode as Code;
    let (reason, meaning) = match code {
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownTopicId | Code::UnknownPartition => {
            ("unknown_topic", "the topic does not exist; create it, or correct kafka.topic")
        }
        Code::InvalidTopic => ("invalid_topic", "the topic's name is not one that Kafka takes; correct kafka.topic"),
        Code::TopicAuthorizationFailed => ("authorization", "this user may not write to the topic; grant WRITE and DESCRIBE"),
        Code::ClusterAuthorizationFailed => {
            ("authorization", "this user may not produce idempotently; brokers older than 2.8 need IDEMPOTENT_WRITE on the cluster")
        }
        Code::TransactionalIdAuthorizationFailed => (
            "authorization",
            "this user may not run transactions; grant WRITE and DESCRIBE on transactional ids with the prefix dualstream-",
        ),
        Code::DelegationTokenAuthorizationFailed | Code::GroupAuthorizationFailed => ("authorization", "this user lacks a right"),
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState
        | Code::SecurityDisabled
        | Code::DelegationTokenAuthDisabled
        | Code::DelegationTokenNotFound
        | Code::DelegationTokenOwnerMismatch
        | Code::DelegationTokenRequestNotAllowed
        | Code::DelegationTokenExpired => ("authentication", "the broker does not accept the credentials; check the sasl.* properties"),
        Code::SSL => ("authentication", "no TLS connection comes about; check security.protocol and the ssl.* properties"),
        Code::UnsupportedCompressionType
        | Code::UnsupportedVersion
        | Code::UnsupportedFeature
        | Code::NotImplemented
        | Code::NotConfigured
        | Code::InvalidRequiredAcks
        | Code::InvalidArgument
        | Code::InvalidConfig => {
            ("incompatible", "the cluster does not support what is asked of it; check kafka.properties and its version")
        }
        _ => return None,
    };
    Some(Class { disposition: Disposition::Block, reason, meaning })
}

/// The handle's sequence at the brokers is broken; a new handle starts a new one.
fn handle_finished(code: RDKafkaErrorCode) -> Option<Class> {
    use RDKafkaErrorCode as Code;
    let meaning = match code {
        Code::Fatal | Code::GaplessGuarantee => "the handle stopped itself rather than let a later event overtake a failed one",
        Code::OutOfOrderSequenceNumber
        | Code::DuplicateSequenceNumber
        | Code::UnknownProducerId
        | Code::InvalidProducerEpoch
        | Code::InvalidProducerIdMapping
        | Code::Inconsistent => "the broker lost track of this handle's sequence (a leader that was lost, or data that expired)",
        Code::Fenced | Code::ProducerFenced => {
            "the transaction took too long, or another relay runs under this relay's id (a copy of this buffer directory?)"
        }
        _ => return None,
    };
    Some(Class { disposition: Disposition::Fatal, reason: "fatal", meaning })
}

fn passing(code: RDKafkaErrorCode) -> Class {
    use RDKafkaErrorCode as Code;
    let (reason, meaning) = match code {
        Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::Resolve
        | Code::NetworkException
        | Code::BrokerNotAvailable
        | Code::OperationTimedOut
        | Code::MessageTimedOut
        | Code::TimedOutQueue
        | Code::RequestTimedOut
        | Code::BrokerDestroy
        | Code::DestroyBroker => ("unreachable", "Kafka is not reachable"),
        Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::ReplicaNotAvailable
        | Code::NotEnoughReplicas
        | Code::NotEnoughReplicasAfterAppend
        | Code::ISRInsufficient
        | Code::KafkaStorageError
        | Code::FencedLeaderEpoch
        | Code::UnknownLeaderEpoch
        | Code::StaleBrokerEpoch
        | Code::ReassignmentInProgress
        | Code::PreferredLeaderNotAvailable
        | Code::EligibleLeadersNotAvailable
        | Code::CoordinatorLoadInProgress
        | Code::CoordinatorNotAvailable
        | Code::NotCoordinator
        | Code::ConcurrentTransactions
        | Code::ThrottlingQuotaExceeded
        | Code::RebootstrapRequired => ("cluster", "the cluster cannot take the event right now"),
        Code::InvalidMessage | Code::BadMessage | Code::BadCompression => ("corrupt", "bytes were damaged on the way"),
        Code::InvalidDifferentRecord => ("neighbour", "another record of the same batch was refused"),
        Code::PurgeQueue | Code::PurgeInflight => ("set_aside", "set aside when the line stopped"),
        _ => ("unclassified", "Kafka gave an error that this version does not know"),
    };
    Class { disposition: Disposition::Retry, reason, meaning }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RDKafkaErrorCode as Code;

    // Goal: a missing topic or a revoked right is an outage that somebody can end, never an event to give up.
    #[test]
    fn outages_are_not_poison() {
        for code in [Code::UnknownTopic, Code::UnknownTopicOrPartition, Code::TopicAuthorizationFailed, Code::Authentication] {
            assert_eq!(classify(code).disposition, Disposition::Block, "{code:?}");
        }
    }

    // Goal: only errors that speak about one record may ever lead to a dead letter.
    #[test]
    fn poison_is_an_allow_list() {
        let poison: Vec<i32> =
            (-200..=130).filter(|n| code(*n).is_some_and(|code| classify(code).disposition == Disposition::DeadLetter)).collect();
        assert_eq!(poison, [4, 10, 18, 32, 43, 44, 87]);
    }

    // Goal: every reason that reaches a metric is from the closed sets that its documentation names.
    #[test]
    fn reasons_are_a_closed_set() {
        let own = [
            STALLED,
            UNREADABLE,
            MALFORMED,
            DEAD_LETTERS_FULL,
            DEAD_LETTERS_FAILED,
            ANOTHER_RELAY,
            PARKED_FULL,
            PARKED_FAILED,
            PARKED_FIRST,
        ];
        for class in (-200..=130).filter_map(code).map(classify).chain(own) {
            let set: &[&str] = match class.disposition {
                Disposition::Block => &BLOCK_REASONS,
                Disposition::DeadLetter => &DEAD_REASONS,
                Disposition::Retry | Disposition::Fatal => &PASSING_REASONS,
            };
            assert!(set.contains(&class.reason), "{class:?}");
        }
    }

    // Goal: an error nobody has heard of stops the line and is retried; it never loses an event.
    #[test]
    fn unknown_errors_are_retried() {
        assert_eq!(classify(Code::Unknown).disposition, Disposition::Retry);
        assert_eq!(classify(Code::Unknown).reason, "unclassified");
    }

    // Goal: when a batch fails and the rest is set aside, the operator is told of the cause, not of its consequences.
    #[test]
    fn causes_rank_above_consequences() {
        assert!(classify(Code::InvalidRecord).rank() > classify(Code::GaplessGuarantee).rank());
        assert!(classify(Code::GaplessGuarantee).rank() > classify(Code::PurgeQueue).rank());
    }

    fn code(number: i32) -> Option<Code> {
        rdkafka::types::RDKafkaRespErr::try_from(number).ok().map(Code::from)
    }
}
