//! The directories that are kept: how each comes to be. The same code writes the same bytes at every run.

use super::super::life::{Life, Shared};
use super::super::memory::{Image, Memory};
use crate::event::{Batch, BatchBuilder, EventParts, Field, Seq};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// 2026-01-01T00:00:00Z.
pub(super) const BORN_MS: u64 = 1_767_225_600_000;

/// The name of a case, which is its folder's, and what makes it.
type Case = (&'static str, fn() -> Image);

/// Every case.
pub(super) const CASES: [Case; 8] = [
    ("empty", empty),
    ("unsealed", unsealed),
    ("sealed", sealed),
    ("marks", marks),
    ("torn", torn),
    ("rotted", rotted),
    ("recycled", recycled),
    ("no-cursor", no_cursor),
];

/// An event of many kinds of text.
struct Sample {
    id: &'static str,
    source_id: &'static str,
    traceparent: Option<&'static str>,
    padding: usize,
}

const PLAIN: Sample = Sample { id: "e-1", source_id: "42", traceparent: None, padding: 0 };
const TRACED: Sample = Sample {
    id: "e-2",
    source_id: "Zürich 東京",
    traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    padding: 3,
};
/// Its id does not stand verbatim in its JSON.
const ESCAPED: Sample = Sample { id: "e\"3\"", source_id: "owner/repo", traceparent: None, padding: 1 };

fn padded(padding: usize) -> Sample {
    Sample { id: "large", source_id: "42", traceparent: None, padding }
}

fn batch(samples: &[Sample]) -> Batch {
    let mut builder = BatchBuilder::default();
    for Sample { id, source_id, traceparent, padding } in samples {
        let json = |text: &str| serde_json::Value::from(text).to_string();
        let value = format!(
            r#"{{"id":{},"type":"order.created","source_type":"user","source_id":{},"payload":{{"pad":"{}"}}}}"#,
            json(id),
            json(source_id),
            "x".repeat(*padding)
        );
        let field = |text: &'static str| match value.find(&format!("\"{text}\"")) {
            Some(at) => Field::Span { offset: at + 1, len: text.len() },
            None => Field::Text(text),
        };
        builder.push(&EventParts {
            value: value.as_bytes(),
            id: field(id),
            kind: field("order.created"),
            source_type: field("user"),
            source_id: field(source_id),
            traceparent: traceparent.map_or(Field::Absent, Field::Text),
        });
    }
    builder.finish()
}

fn begin() -> (Arc<Memory>, Shared) {
    let memory = Memory::new(BORN_MS);
    let life = Life::open(&memory).share();
    (memory, life)
}

/// Where a step puts what kill -9 would leave at that moment.
#[derive(Clone, Default)]
struct Crash(Arc<Mutex<Image>>);

impl Crash {
    /// Takes the image and ends the life.
    fn now(&self, life: &Life) {
        *self.0.lock().unwrap() = life.memory.image();
        life.close();
    }

    fn image(self) -> Image {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn submit_at(life: &mut Life, seconds: u64, samples: &[Sample]) {
    life.memory.set_clock(BORN_MS + seconds * 1000);
    life.submit(batch(samples));
}

/// Opened and closed again.
fn empty() -> Image {
    let (memory, life) = begin();
    life.lock().close();
    life.commit([]);
    life.take().stop_keeper();
    memory.image()
}

/// Two groups, killed before anything else happened.
fn unsealed() -> Image {
    let (_memory, life) = begin();
    submit_at(&mut life.lock(), 1, &[PLAIN, TRACED]);
    let crash = Crash::default();
    let at_last = crash.clone();
    life.commit([
        life.step(|life| {
            submit_at(life, 2, &[ESCAPED]);
            submit_at(life, 3, &[TRACED, PLAIN, ESCAPED]);
        }),
        life.step(move |life| at_last.now(life)),
    ]);
    crash.image()
}

/// Five large batches in three sealed segments; acknowledged out of order; stopped in good order.
fn sealed() -> Image {
    let (memory, life) = begin();
    for n in 1..=4 {
        submit_at(&mut life.lock(), n, &[padded(20_000 + usize::try_from(n).unwrap()), PLAIN]);
    }
    life.commit([life.step(|life| {
        // Two segments were prepared, both are taken.
        life.keeper.tick(Instant::now());
        submit_at(life, 5, &[padded(20_005), ESCAPED]);
        life.close();
    })]);
    let mut life = life.take();
    while life.reader.next_frame().unwrap().is_some() {}
    let acked = [1, 3, 4, 6, 9].map(Seq);
    assert_eq!(life.reader.ack(&acked), acked.len());
    life.reader.mark_partition(&Arc::from("events"), 0, Seq(9), 1_234);
    life.reader.mark_partition(&Arc::from("events"), 5, Seq(6), -1);
    life.stop_keeper();
    memory.image()
}

/// Marks between and after the groups.
fn marks() -> Image {
    let (_memory, life) = begin();
    submit_at(&mut life.lock(), 1, &[PLAIN, TRACED, ESCAPED]);
    let crash = Crash::default();
    let at_last = crash.clone();
    let nothing = || life.step(|_| {});
    life.commit([
        nothing(),
        // During the sync of the mark that ended the quiet spell.
        life.step(|life| submit_at(life, 2, &[ESCAPED])),
        nothing(),
        life.step(move |life| at_last.now(life)),
    ]);
    crash.image()
}

/// The second half of the last frame never reached the disk.
fn torn() -> Image {
    let mut image = unsealed();
    let segment = image.values_mut().find(|bytes| frames(bytes).count() > 1).unwrap();
    let last = frames(segment).last().unwrap();
    let end = segment.iter().rposition(|byte| *byte != 0).unwrap();
    segment[last + (end - last) / 2..].fill(0);
    image
}

/// A bit of the first event rotted; a later frame proves that it had been synced.
fn rotted() -> Image {
    let mut image = marks();
    let segment = image.values_mut().find(|bytes| frames(bytes).count() > 1).unwrap();
    let first = frames(segment).next().unwrap();
    segment[first + 100] ^= 0x10;
    image
}

/// A segment in its second life: behind its only frame lie whole frames of its first.
fn recycled() -> Image {
    let (_memory, life) = begin();
    submit_at(&mut life.lock(), 1, &[padded(40_000)]);
    submit_at(&mut life.lock(), 2, &[PLAIN, TRACED]);
    submit_at(&mut life.lock(), 3, &[padded(40_000)]);
    let crash = Crash::default();
    let at_last = crash.clone();
    let nothing = || life.step(|_| {});
    life.commit([
        // The first segment, and its seal.
        nothing(),
        nothing(),
        // The second: by now all that is in the first is durable. Kafka has it, and its file is the next segment.
        life.step(|life| {
            while life.reader.next_frame().unwrap().is_some() {}
            assert_eq!(life.reader.ack(&[1, 2, 3].map(Seq)), 3);
            life.keeper.tick(Instant::now());
            submit_at(life, 4, &[padded(20_000)]);
        }),
        // The second's seal.
        nothing(),
        life.step(move |life| at_last.now(life)),
    ]);
    let image = crash.image();
    let reused = image.values().any(|bytes| frames(bytes).count() == 2 && bytes[24] == 3);
    assert!(reused, "the third segment has a frame of the first behind its own");
    image
}

/// The cursor is gone; an operator may have deleted it.
fn no_cursor() -> Image {
    let mut image = sealed();
    assert!(image.remove("cursor").is_some());
    image
}

/// Where the frames of a segment begin, stale ones included.
fn frames(bytes: &[u8]) -> impl Iterator<Item = usize> {
    bytes.windows(4).enumerate().filter(|(_, window)| window == b"DSF1").map(|(at, _)| at)
}
