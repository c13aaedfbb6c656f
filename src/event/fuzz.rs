//! Fuzz target of the record codec.

use super::{Batch, BatchBuilder, EventParts, EventRef, Field, Records};
use crate::fuzzing::{Dice, fuzz};

const TEXTS: [&str; 6] = ["", "a", "order.created", "Zürich 東京", "a\"b\\c", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"];

// Goal: bytes that are no batch are refused, never a panic; what is read was written, and is written again as it was.
#[test]
fn records() {
    fuzz("records", target);
}

fn target(input: &[u8]) {
    let mut dice = Dice::new(input);
    if dice.one_in(2) {
        any_bytes(dice.rest());
    } else {
        written(&mut dice);
    }
}

/// Reading stops at the end or at the first error, and gives nothing that is not in the bytes.
fn any_bytes(bytes: &[u8]) {
    let read: Vec<_> = Records::new(bytes).collect();
    assert!(read.len() <= bytes.len());
    assert!(read.iter().rev().skip(1).all(Result::is_ok), "an error ends the reading");
    let events: Vec<EventRef<'_>> = read.into_iter().flatten().collect();
    let again = rewritten(&events);
    assert!(Records::new(again.payload()).map(Result::unwrap).eq(events), "what was read can be stored");
}

fn rewritten(events: &[EventRef<'_>]) -> Batch {
    let mut builder = BatchBuilder::default();
    for event in events {
        let traceparent = event.traceparent.map_or(Field::Absent, Field::Text);
        let (id, kind, source_type, source_id) =
            (Field::Text(event.id), Field::Text(event.kind), Field::Text(event.source_type), Field::Text(event.source_id));
        builder.push(&EventParts { value: event.value, id, kind, source_type, source_id, traceparent });
    }
    builder.finish()
}

/// Fields in the value and beside it.
fn written(dice: &mut Dice<'_>) {
    let mut values = Vec::new();
    for _ in 0..=dice.below(6) {
        let texts: [&str; 5] = [(); 5].map(|()| dice.pick(&TEXTS));
        let padding = "p".repeat(dice.below(300));
        let spans: [bool; 5] = [(); 5].map(|()| dice.one_in(2));
        values.push((texts, format!("{padding}{}", texts.concat()), padding.len(), spans));
    }
    let mut builder = BatchBuilder::default();
    for (texts, value, before, spans) in &values {
        let mut offset = *before;
        let mut fields = [Field::Absent; 5];
        for (i, text) in texts.iter().enumerate() {
            fields[i] = if spans[i] { Field::Span { offset, len: text.len() } } else { Field::Text(text) };
            offset += text.len();
        }
        let [id, kind, source_type, source_id, traceparent] = fields;
        builder.push(&EventParts { value: value.as_bytes(), id, kind, source_type, source_id, traceparent });
    }
    let batch = builder.finish();
    assert_eq!(batch.count() as usize, values.len());
    let mut read = Records::new(batch.payload());
    for (texts, value, ..) in &values {
        let event = read.next().unwrap().unwrap();
        assert_eq!([event.id, event.kind, event.source_type, event.source_id, event.traceparent.unwrap_or_default()], *texts);
        assert_eq!(event.value, value.as_bytes());
    }
    assert!(read.next().is_none());
    let mut damaged = batch.payload().to_vec();
    dice.damage(&mut damaged);
    any_bytes(&damaged);
}
