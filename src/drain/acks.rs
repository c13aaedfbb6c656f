//! Books what Kafka reports: the buffer's marks, waiting requests, the hand-over to notify, the counters.
//!
//! Order of things per batch of reports: first the buffer (so that space is freed), then requests that wait for `ack=kafka`, then
//! notify, each in the order of the reports. Kafka reports a partition in the order of its log, so notifications of a source are in
//! seq order. Nothing is booked without a report.

use super::classify::{Class, Whereabouts, whereabouts};
use super::inflight::{InFlight, Sent};
use super::parking::is_about_one_topic;
use super::sink::{Refusal, Report};
use super::source::Source;
use super::stats::DrainStats;
use crate::error::Disposition;
use crate::event::{EventRef, Place, Seq};
use crate::lifecycle::{AckWaiters, Receipt};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// Told of every event that Kafka has acknowledged. Must not block.
pub type OnAcked = Box<dyn FnMut(Seq, &EventRef<'_>) + Send>;

/// The books, with the scratch space that makes a batch cost no allocation.
pub(super) struct Acks {
    stats: Arc<DrainStats>,
    waiters: Arc<AckWaiters>,
    on_acked: Option<OnAcked>,
    seqs: Vec<Seq>,
    delivered: Vec<(Seq, Place, Sent)>,
}

/// What a batch of reports amounted to.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// Events acknowledged.
    pub(super) acked: usize,
    /// The failure that tells most about why, if any event came back.
    pub(super) failure: Option<Refusal>,
    /// Events that came back refused for what they, or their batch, are.
    pub(super) refused: Vec<(Seq, Class)>,
    /// Events came back of which nobody can tell whether Kafka has them,
    pub(super) in_doubt: bool,
    /// and events that were not on their way.
    pub(super) waited: bool,
}

impl Acks {
    pub(super) fn new(stats: Arc<DrainStats>, waiters: Arc<AckWaiters>, on_acked: Option<OnAcked>) -> Self {
        Self { stats, waiters, on_acked, seqs: Vec::new(), delivered: Vec::new() }
    }

    /// Books a batch of reports and empties it. `blocked` is told of the events that came back because their topic takes none.
    pub(super) fn settle<S: Source>(
        &mut self,
        reports: &mut Vec<Report>,
        inflight: &mut InFlight,
        source: &mut S,
        blocked: &mut dyn FnMut(&EventRef<'_>),
        now: Instant,
        unix_ms: u64,
    ) -> Settled {
        let mut failure: Option<Refusal> = None;
        let mut failed_len = 0;
        let mut refused = Vec::new();
        let (mut in_doubt, mut waited) = (false, false);
        for Report { seq, result } in reports.drain(..) {
            match result {
                Ok(place) => {
                    if let Some(sent) = inflight.ack(seq) {
                        self.seqs.push(seq);
                        self.delivered.push((seq, place, sent));
                    }
                }
                Err(code) => {
                    let Some(sent) = inflight.fail(seq) else { continue };
                    let class = super::classify::classify(code);
                    in_doubt |= whereabouts(code) == Whereabouts::InDoubt;
                    waited |= whereabouts(code) == Whereabouts::Waited;
                    if class.disposition == Disposition::DeadLetter {
                        refused.push((seq, class));
                    }
                    if is_about_one_topic(class)
                        && let Some(event) = sent.event()
                    {
                        blocked(&event);
                    }
                    if failure.as_ref().is_none_or(|worst| tells_more((class, sent.len()), (worst.class, failed_len))) {
                        failed_len = sent.len();
                        failure = Some(Refusal { class, detail: describe(seq, sent.event().as_ref(), &code) });
                    }
                }
            }
        }
        let acked = self.delivered.len();
        if acked > 0 {
            self.stats.acked.add(source.ack(&self.seqs) as u64);
            self.stats.last_ack_ms.set(unix_ms);
            self.mark_partitions(source);
            self.waiters.history().acked(self.delivered.iter().map(|(seq, place, _)| (*seq, place)), unix_ms);
            self.tell(now);
            self.seqs.clear();
        }
        Settled { acked, failure, refused, in_doubt, waited }
    }

    /// Tells of an event that was found in Kafka, once the buffer has booked it: as an acknowledgement, but for the time that it took.
    pub(super) fn found(&mut self, seq: Seq, place: &Place, event: &EventRef<'_>, unix_ms: u64) {
        self.stats.last_ack_ms.set(unix_ms);
        self.waiters.history().acked(std::iter::once((seq, place)), unix_ms);
        self.waiters.acked(Receipt { seq, place: place.clone() });
        if let Some(notify) = &mut self.on_acked {
            notify(seq, event);
        }
    }

    /// One mark per run of reports of one partition: within it, the last report is the newest.
    fn mark_partitions<S: Source>(&self, source: &mut S) {
        let mut rest = self.delivered.iter().peekable();
        while let Some((seq, place, _)) = rest.next() {
            let run_goes_on = rest.peek().is_some_and(|(_, next, _)| next.partition == place.partition && next.topic == place.topic);
            if !run_goes_on {
                source.mark_partition(&place.topic, place.partition, *seq, place.offset);
            }
        }
    }

    fn tell(&mut self, now: Instant) {
        let somebody_waits = self.waiters.any();
        for (seq, place, sent) in self.delivered.drain(..) {
            self.stats.ack_seconds.observe(now.saturating_duration_since(sent.at));
            if somebody_waits {
                self.waiters.acked(Receipt { seq, place });
            }
            if let (Some(notify), Some(event)) = (&mut self.on_acked, sent.event()) {
                notify(seq, &event);
            }
        }
    }
}

impl fmt::Debug for Acks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acks").field("notifies", &self.on_acked.is_some()).finish_non_exhaustive()
    }
}

/// Whether one failed event explains the stop better than another, by what was said about each and how large it is. Kafka refuses a
/// batch as a whole: of the events that come back refused together, the largest is the likeliest cause.
fn tells_more((class, len): (Class, usize), (other, other_len): (Class, usize)) -> bool {
    let refused_together = class == other && class.disposition == Disposition::DeadLetter;
    class.rank() > other.rank() || (refused_together && len > other_len)
}

/// Which event it is and what was said about it. The payload is nobody's business in a log.
pub(super) fn describe(seq: Seq, event: Option<&EventRef<'_>>, said: &dyn fmt::Display) -> String {
    match event {
        Some(event) => format!("event {seq} (id {:?}, {}:{}): {said}", event.id, event.source_type, event.source_id),
        None => format!("event {seq}: {said}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::classify::classify;
    use super::*;
    use rdkafka::error::RDKafkaErrorCode as Code;

    // Goal: the event that an operator is pointed to is the cause of the stop, not one that was only in the same batch.
    #[test]
    fn the_likeliest_cause_is_named() {
        let (large, neighbour, gone) =
            (classify(Code::MessageSizeTooLarge), classify(Code::InvalidDifferentRecord), classify(Code::AllBrokersDown));
        assert!(tells_more((large, 9), (large, 8)), "the largest of a refused batch");
        assert!(!tells_more((large, 8), (large, 8)), "the first of equals");
        assert!(tells_more((large, 1), (neighbour, 9)));
        assert!(!tells_more((neighbour, 9), (large, 1)));
        assert!(!tells_more((gone, 9), (gone, 1)), "size is no reason for an outage");
    }
}
