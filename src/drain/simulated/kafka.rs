//! A Kafka that misbehaves from a seed, behind handles that keep the promises of a gapless producer.

use super::super::sink::{Purge, Refusal, Report, SendOutcome, Sink, SinkFactory};
use super::{PARTITIONS, Shared, key_of, look, partition_of};
use crate::event::{EventRef, Seq};
use rdkafka::error::RDKafkaErrorCode as Code;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

pub(super) struct FaultyKafka {
    pub(super) world: Shared,
}

impl SinkFactory for FaultyKafka {
    type Sink = Handle;

    fn connect(&mut self) -> Result<Handle, Refusal> {
        let mut world = look(&self.world);
        if world.happens() {
            return Err(Refusal::new(Code::CriticalSystemResource, "no threads"));
        }
        world.handles += 1;
        let deaf = world.handles <= world.faults.deaf_handles;
        let queues = std::array::from_fn(|_| VecDeque::new());
        let number = world.handles;
        Ok(Handle { world: Arc::clone(&self.world), number, queues, ready: Vec::new(), dead: None, purged: false, last_sent: 0, deaf })
    }

    fn halve_batches(&mut self) -> u64 {
        let mut world = look(&self.world);
        world.batch_events = (world.batch_events / 2).max(1);
        world.batch_events as u64
    }
}

/// Keeps the promises of a gapless handle: after a batch of a partition failed, nothing later of that partition gets in.
pub(super) struct Handle {
    pub(super) world: Shared,
    /// Which one it is.
    pub(super) number: usize,
    pub(super) queues: [VecDeque<u64>; PARTITIONS],
    pub(super) ready: Vec<Report>,
    dead: Option<Code>,
    purged: bool,
    last_sent: u64,
    deaf: bool,
}

impl Handle {
    fn bounce(&mut self, partition: usize, count: usize, code: Code) {
        let failed = self.queues[partition].drain(..count);
        self.ready.extend(failed.map(|seq| Report { seq: Seq(seq), result: Err(code) }));
    }

    /// One batch of a partition is answered, or not.
    fn answer(&mut self, partition: usize) {
        let world = Arc::clone(&self.world);
        let mut world = look(&world);
        let waiting = self.queues[partition].len();
        if waiting == 0 || self.deaf {
            return;
        }
        let most = waiting.min(world.batch_events);
        let count = world.rng.usize(1..=most);
        let (fails, vanishes) = (world.happens(), world.happens());
        let batch: Vec<u64> = self.queues[partition].iter().take(count).copied().collect();
        if batch.len() > world.faults.batch_limit.unwrap_or(usize::MAX) {
            self.bounce(partition, count, Code::MessageSizeTooLarge);
            self.die(partition, Code::GaplessGuarantee);
            return;
        }
        let culprits: Vec<u64> = batch.iter().copied().filter(|seq| world.faults.poison.contains(seq)).collect();
        if !culprits.is_empty() {
            if let [culprit] = batch[..] {
                *world.refused_alone.entry(culprit).or_default() += 1;
            }
            // Since KIP-467 a broker may name the culprits; before it, all of the batch come back alike.
            let named = world.rng.bool();
            for seq in self.queues[partition].drain(..count) {
                let code = if named && !culprits.contains(&seq) { Code::InvalidDifferentRecord } else { Code::InvalidRecord };
                self.ready.push(Report { seq: Seq(seq), result: Err(code) });
            }
            self.die(partition, Code::GaplessGuarantee);
            return;
        }
        if let Some((seq, times, code)) = world.faults.bounce
            && times > 0
            && self.queues[partition].iter().take(count).any(|waiting| *waiting == seq)
        {
            world.faults.bounce = Some((seq, times - 1, code));
            self.bounce(partition, count, code);
            self.die(partition, Code::GaplessGuarantee);
        } else if fails {
            let codes = [Code::InvalidRecord, Code::Unknown, Code::TopicAuthorizationFailed, Code::OutOfOrderSequenceNumber];
            let code = codes[world.rng.usize(0..codes.len())];
            // Half of the time the batch got in, and only the answer was lost.
            if world.rng.bool() {
                for seq in batch {
                    world.append(partition, seq);
                }
            }
            self.bounce(partition, count, code);
            self.die(partition, Code::GaplessGuarantee);
        } else if vanishes {
            // The topic is gone, as far as the client knows: everything of the partition comes back, the handle lives.
            self.bounce(partition, waiting, Code::UnknownTopic);
        } else {
            for seq in self.queues[partition].drain(..count).collect::<Vec<_>>() {
                self.ready.push(world.deliver(partition, seq));
            }
        }
    }

    /// The handle is finished: other partitions may still get answers for a batch each, the rest comes back unsent.
    fn die(&mut self, partition: usize, code: Code) {
        self.dead = Some(code);
        let all = self.queues[partition].len();
        self.bounce(partition, all, Code::PurgeQueue);
        self.purge(Purge::Queued);
    }
}

impl Sink for Handle {
    fn send(&mut self, event: &EventRef<'_>, seq: Seq, accepted_ms: u64) -> SendOutcome {
        let mut world = look(&self.world);
        assert_eq!((event.id, event.source_id, accepted_ms), (&*format!("id-{seq}"), &*format!("k{}", key_of(seq.0)), 1_000));
        assert!(!self.purged || self.dead.is_some(), "event {seq} was sent with a handle that gave up events");
        assert!(seq.0 > self.last_sent, "event {seq} was sent after {}", self.last_sent);
        assert!(!world.booked.contains(&seq.0), "event {seq} was sent although Kafka has it");
        if let Some(code) = self.dead {
            return SendOutcome::Refused(Refusal::new(code, "dead"));
        }
        if let Some((refused, times, code)) = world.faults.refuse
            && refused == seq.0
            && times > 0
        {
            world.faults.refuse = Some((refused, times - 1, code));
            return SendOutcome::Refused(Refusal::new(code, format!("said {code:?}")));
        }
        if world.happens() {
            let code = if world.rng.bool() { Code::MessageSizeTooLarge } else { Code::Unknown };
            return SendOutcome::Refused(Refusal::new(code, "for now"));
        }
        if world.happens() || world.happens() {
            return SendOutcome::Full;
        }
        self.last_sent = seq.0;
        self.queues[partition_of(seq.0)].push_back(seq.0);
        SendOutcome::Sent
    }

    fn poll(&mut self, timeout: Duration, reports: &mut Vec<Report>) {
        look(&self.world).now += timeout;
        for partition in 0..PARTITIONS {
            if look(&self.world).rng.bool() {
                self.answer(partition);
            }
        }
        reports.append(&mut self.ready);
    }

    fn connected(&self) -> bool {
        true
    }

    fn fatal(&self) -> Option<Refusal> {
        self.dead.map(|code| Refusal::new(code, "dead"))
    }

    fn take_trouble(&mut self) -> Option<Refusal> {
        None
    }

    fn purge(&mut self, scope: Purge) {
        self.purged = true;
        for queue in &mut self.queues {
            let on_their_way = if scope == Purge::All { 0 } else { queue.len().min(2) };
            let code = if scope == Purge::All { Code::PurgeInflight } else { Code::PurgeQueue };
            self.ready.extend(queue.drain(on_their_way..).map(|seq| Report { seq: Seq(seq), result: Err(code) }));
        }
    }

    fn discard(self) {}
}
