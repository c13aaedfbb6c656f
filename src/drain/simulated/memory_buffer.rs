//! A buffer in memory that checks what is booked.

use super::super::source::Source;
use super::{Shared, key_of, look, partition_of};
use crate::buffer::{DeadLetter, DeadLetterError, Leased, ReadError};
use crate::event::{BatchBuilder, EventParts, Field, Seq};
use std::sync::Arc;
use std::time::Duration;

pub(super) struct MemoryBuffer {
    world: Shared,
    frames: Vec<Leased>,
    next: usize,
}

impl MemoryBuffer {
    /// Frames of one to five events, here and there with a hole where the disk rotted.
    pub(super) fn new(world: &Shared, events: usize) -> Self {
        let mut rng = look(world).rng.clone();
        let (mut frames, mut seq, mut made) = (Vec::new(), 1, 0);
        while made < events {
            let count = rng.usize(1..=5).min(events - made);
            frames.push(frame(seq, count as u32));
            made += count;
            seq += count as u64 + u64::from(rng.u8(0..8) == 0) * 3;
        }
        Self { world: Arc::clone(world), frames, next: 0 }
    }

    pub(super) fn seqs(&self) -> Vec<u64> {
        self.frames.iter().flat_map(|frame| frame.first_seq.0..frame.first_seq.0 + u64::from(frame.count)).collect()
    }
}

fn frame(first: u64, count: u32) -> Leased {
    let mut batch = BatchBuilder::default();
    for seq in first..first + u64::from(count) {
        let (id, key) = (format!("id-{seq}"), format!("k{}", key_of(seq)));
        batch.push(&EventParts {
            value: id.as_bytes(),
            id: Field::Span { offset: 0, len: id.len() },
            kind: Field::Text("made"),
            source_type: Field::Text("user"),
            source_id: Field::Text(&key),
            traceparent: Field::Absent,
        });
    }
    Leased { first_seq: Seq(first), count, accepted_ms: 1_000, payload: batch.finish().into_payload().into() }
}

impl Source for MemoryBuffer {
    fn next(&mut self) -> Result<Option<Leased>, ReadError> {
        let mut world = look(&self.world);
        if world.faults.bad_reads > 0 {
            world.faults.bad_reads -= 1;
            return Err(ReadError::Io { path: "segment".into(), source: std::io::ErrorKind::PermissionDenied.into() });
        }
        let frame = self.frames.get(self.next).cloned();
        self.next += usize::from(frame.is_some());
        Ok(frame)
    }

    fn is_acked(&self, seq: Seq) -> bool {
        look(&self.world).booked.contains(&seq.0)
    }

    fn wait(&self, timeout: Duration) {
        look(&self.world).now += timeout;
    }

    fn ack(&mut self, seqs: &[Seq]) -> usize {
        let mut world = look(&self.world);
        for seq in seqs {
            assert!(world.is_in_kafka(seq.0), "event {seq} was booked without a report");
        }
        seqs.iter().filter(|seq| world.booked.insert(seq.0)).count()
    }

    fn dead_letter(&mut self, letter: &DeadLetter) -> Result<(), DeadLetterError> {
        let mut world = look(&self.world);
        if world.faults.letters_full > 0 {
            world.faults.letters_full -= 1;
            return Err(DeadLetterError::Full { need: 4096, bytes: 65_536, max_bytes: 65_536 });
        }
        let event = letter.event().unwrap();
        assert_eq!((event.id, letter.accepted_ms), (&*format!("id-{}", letter.seq), 1_000));
        assert!(world.booked.insert(letter.seq), "event {} was at its end", letter.seq);
        world.dead.push(letter.clone());
        Ok(())
    }

    fn rewind(&mut self) {
        let world = look(&self.world);
        let waits = |frame: &Leased| (0..frame.count).any(|n| !world.booked.contains(&frame.first_seq.plus(u64::from(n)).0));
        self.next = self.frames.iter().position(waits).unwrap_or(self.frames.len());
    }

    fn acked(&self) -> Seq {
        let world = look(&self.world);
        let first_waiting = self.seqs().into_iter().find(|seq| !world.booked.contains(seq));
        first_waiting.map_or_else(|| self.durable(), |seq| Seq(seq - 1))
    }

    fn durable(&self) -> Seq {
        Seq(self.seqs().last().copied().unwrap_or(0))
    }

    fn mark_partition(&mut self, topic: &Arc<str>, partition: i32, seq: Seq, _offset: i64) {
        let world = look(&self.world);
        if &**topic == "cursors" {
            let cursor = world.coordinator.as_ref().and_then(|coordinator| coordinator.cursor.as_ref());
            assert!(cursor.is_some_and(|cursor| cursor.seq >= seq), "a cursor was booked that is not committed");
            return;
        }
        assert_eq!((&**topic, partition_of(seq.0)), ("events", usize::try_from(partition).unwrap()));
        assert!(world.booked.contains(&seq.0));
    }
}
