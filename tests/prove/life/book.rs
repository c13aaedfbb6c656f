//! What the world outside knows of a buffer: what was sent, what was answered when, what was delivered and acknowledged when.

use crate::chance::Chance;
use bytes::Bytes;
use dualstream::buffer::{AppendError, Appended, Leased};
use dualstream::event::{Batch, BatchBuilder, EventParts, Field, Records};
use std::collections::{BTreeMap, BTreeSet};

/// An answer to an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Stored, from this seq on.
    Stored(u64),
    /// Not stored.
    Refused(Refusal),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Full,
    Failed,
    Closing,
    TooLarge,
}

#[derive(Clone, Debug)]
pub struct Sent {
    pub payload: Bytes,
    pub count: u32,
    /// After which call it was sent.
    pub at: u64,
    pub answer: Option<(u64, Answer)>,
    /// Bytes of each event.
    pub bytes: usize,
}

#[derive(Clone, Debug, Default)]
pub struct Book {
    seed: u64,
    pub sent: Vec<Sent>,
    /// Batch by first seq, with the call after which it came out: what the drain has seen.
    pub leased: Vec<(u64, u64, usize)>,
    /// Leased or stored batches by first seq.
    pub known: BTreeMap<u64, usize>,
    /// `(after which call, seq)`.
    pub acks: Vec<(u64, u64)>,
    /// After which call the cursor had how many of the acks.
    pub checkpoints: Vec<(u64, usize)>,
    /// Leased and neither acknowledged nor reported: may be acknowledged.
    pub outstanding: BTreeSet<u64>,
    ended: BTreeSet<u64>,
}

impl Book {
    pub fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// The batch of this number: always the same.
    pub fn batch(&self, number: usize, count: u32, bytes: usize) -> Batch {
        let mut builder = BatchBuilder::with_capacity(bytes * 2);
        let mut chance = Chance::new(self.seed).fork(number as u64);
        for n in 0..count {
            let id = format!("{number}.{n}");
            // Bytes that look like nothing in particular, so that no sector is like another.
            let value: Vec<u8> = std::iter::repeat_with(|| chance.next().to_le_bytes()).take(bytes / 8 + 1).flatten().collect();
            builder.push(&EventParts {
                value: &value[..bytes],
                id: Field::Text(&id),
                kind: Field::Text("t"),
                source_type: Field::Text("t"),
                source_id: Field::Text("s"),
                traceparent: Field::Absent,
            });
        }
        builder.finish()
    }

    pub fn send(&mut self, number: usize, batch: &Batch, bytes: usize, at: u64) {
        assert_eq!(number, self.sent.len());
        self.sent.push(Sent { payload: Bytes::copy_from_slice(batch.payload()), count: batch.count(), at, answer: None, bytes });
    }

    pub fn answer(&mut self, number: usize, at: u64, answer: &Result<Appended, AppendError>) {
        let answer = match answer {
            Ok(appended) => {
                assert_eq!(appended.count, self.sent[number].count, "the answer counts the batch's events");
                let before = self.known.insert(appended.first_seq.0, number);
                assert!(before.is_none_or(|before| before == number), "seq {} was given to two batches", appended.first_seq.0);
                Answer::Stored(appended.first_seq.0)
            }
            Err(AppendError::Full(_)) => Answer::Refused(Refusal::Full),
            Err(AppendError::StorageFailed { .. }) => Answer::Refused(Refusal::Failed),
            Err(AppendError::ShuttingDown) => Answer::Refused(Refusal::Closing),
            Err(AppendError::TooLarge { .. }) => Answer::Refused(Refusal::TooLarge),
            Err(AppendError::Conflict(conflicts)) => panic!("no id is used twice here: {conflicts:?}"),
        };
        self.sent[number].answer = Some((at, answer));
    }

    /// The batch whose bytes these are.
    pub fn recognise(&self, frame: &Leased) -> Result<usize, String> {
        let first = frame.first_seq.0;
        let record = Records::new(&frame.payload).next().ok_or_else(|| format!("the frame at seq {first} is empty"))?;
        let record = record.map_err(|error| format!("the frame at seq {first} does not decode: {error}"))?;
        let number = record.id.split_once('.').and_then(|(number, _)| number.parse::<usize>().ok());
        let sent = number.and_then(|number| Some((number, self.sent.get(number)?)));
        match sent {
            Some((number, sent)) if sent.payload == frame.payload && sent.count == frame.count => Ok(number),
            _ => Err(format!("the frame at seq {first} holds something that nobody sent")),
        }
    }

    /// The drain got a frame.
    pub fn lease(&mut self, frame: &Leased, at: u64, is_ended: impl Fn(u64) -> bool) -> Result<(), String> {
        let number = self.recognise(frame)?;
        let first = frame.first_seq.0;
        if let Some(before) = self.known.insert(first, number).filter(|before| *before != number) {
            return Err(format!("seq {first} was batch {before} and is now batch {number}"));
        }
        self.leased.push((at, first, number));
        let seqs = first..first + u64::from(frame.count);
        self.outstanding.extend(seqs.filter(|seq| !self.ended.contains(seq) && !is_ended(*seq)));
        Ok(())
    }

    pub fn ack(&mut self, seqs: &[u64], at: u64) {
        for seq in seqs {
            let _ = self.outstanding.remove(seq);
            let _ = self.ended.insert(*seq);
            self.acks.push((at, *seq));
        }
    }

    /// What must hold after a crash that came after call `at` and before the next.
    pub fn expect(&self, at: u64) -> Expect {
        let mut must = BTreeMap::new();
        let mut may = BTreeSet::new();
        for (number, sent) in self.sent.iter().enumerate().filter(|(_, sent)| sent.at <= at) {
            match &sent.answer {
                Some((then, Answer::Stored(first))) if *then <= at => {
                    let _ = must.insert(*first, number);
                }
                Some((then, Answer::Refused(_))) if *then <= at => {}
                _ => {
                    let _ = may.insert(number);
                }
            }
        }
        must.extend(self.leased.iter().filter(|(then, ..)| *then <= at).map(|(_, first, number)| (*first, *number)));
        for number in must.values() {
            let _ = may.remove(number);
        }
        let ended: BTreeSet<u64> = self.acks.iter().take_while(|(then, _)| *then <= at).map(|(_, seq)| *seq).collect();
        let checkpoint = self.checkpoints.iter().take_while(|(then, _)| *then <= at).map(|(_, acks)| *acks).max().unwrap_or(0);
        let checkpointed = self.acks[..checkpoint].iter().map(|(_, seq)| *seq).collect();
        Expect { must, may, ended, checkpointed }
    }

    /// Goes on after a restart that delivered these frames: they are known from now on.
    pub fn after_restart(&mut self) {
        self.outstanding.clear();
    }
}

/// The last seq of what has ended in one piece from the beginning.
pub fn frontier(ended: &BTreeSet<u64>) -> u64 {
    ended.iter().zip(1..).take_while(|(seq, expected)| *seq == expected).count() as u64
}

/// What a reopened buffer owes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expect {
    /// First seq and number of the batches that were answered or delivered.
    pub must: BTreeMap<u64, usize>,
    /// Numbers of those that may be there or not: never answered.
    pub may: BTreeSet<usize>,
    /// Acknowledged by then.
    pub ended: BTreeSet<u64>,
    /// Acknowledged, and the cursor had it by then: never to be sent again.
    pub checkpointed: BTreeSet<u64>,
}

impl Expect {
    /// The contiguous frontier of what was acknowledged.
    pub fn frontier(&self) -> u64 {
        frontier(&self.ended)
    }

    /// The highest seq that anybody has seen.
    pub fn highest(&self, book: &Book) -> u64 {
        self.must.last_key_value().map_or(0, |(first, number)| first + u64::from(book.sent[*number].count) - 1)
    }

    /// Each batch that must be delivered, in part or whole: first seq, count, number, and whether each event is still owed.
    pub fn owed<'a>(&'a self, book: &'a Book) -> impl Iterator<Item = (u64, usize)> + 'a {
        self.must.iter().flat_map(|(first, number)| {
            let seqs = *first..*first + u64::from(book.sent[*number].count);
            seqs.filter(|seq| !self.ended.contains(seq)).map(|seq| (seq, *number))
        })
    }
}
