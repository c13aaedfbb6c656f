//! The bytes of a file: as ever, and whatever becomes of them.

use super::super::golden::text;
use super::super::log::cipher::Keyring;
use super::super::log::sealed::Problem;
use super::ParkedEvent;
use super::format::{Content, Head, Header, Place, decode, decode_mark, decode_table, encode, encode_mark, max_len};
use crate::event::{BatchBuilder, EventParts, Field};
use crate::fuzzing::{Dice, fuzz};
use bytes::Bytes;
use std::fs;
use std::path::Path;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";

fn record(id: &str) -> Bytes {
    let mut batch = BatchBuilder::default();
    let text = Field::Text("t");
    let (value, id) = (id.as_bytes(), Field::Text(id));
    batch.push(&EventParts { value, id, kind: text, source_type: text, source_id: text, traceparent: Field::Absent });
    batch.finish().into_payload().into()
}

fn events() -> Vec<ParkedEvent> {
    let event = |seq, accepted_ms, id| ParkedEvent { seq, accepted_ms, record: record(id) };
    // The clock went back in between.
    vec![event(7, 1_767_225_600_000, "first"), event(8, 1_767_225_600_000, "second"), event(500, 1_767_225_599_000, "third")]
}

fn head() -> Head {
    Head { topic: "orders.eu".into(), template: "orders.{source_id}".into() }
}

fn place() -> Place {
    Place { queue: 0x1234, template: 0x5678, relay_id: [3; 16], salt: [9; 16] }
}

// Goal: a file written by any release is read by this one, and nobody changes the bytes without noticing.
#[test]
fn the_same_events_give_the_same_bytes_as_ever() {
    for (name, keyring) in [("parked-v1.txt", Keyring::default()), ("parked-encrypted-v1.txt", Keyring::parse(KEY).unwrap())] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        let mut made = encode(&head(), &events(), &place(), &keyring);
        let header = Header::decode(&made).unwrap();
        made[128..144].copy_from_slice(&encode_mark(&header, 7));
        if std::env::var_os("DUALSTREAM_GOLDEN").is_some_and(|value| value == "write") {
            fs::write(&path, text::encode(&made)).unwrap();
        }
        let kept = text::decode(&fs::read_to_string(&path).unwrap());
        assert!(made == kept, "{name} differs; see docs/buffer-format.md, Versions");
        let content = decode(&kept, &keyring).unwrap();
        assert_eq!((content.head.clone(), content.events().collect::<Vec<_>>()), (head(), events()));
        assert_eq!(decode_mark(&kept, &header), 7);
        let without_key = decode(&kept, &Keyring::default());
        assert_eq!(without_key.is_ok(), header.key_id == 0, "{without_key:?}");
    }
}

// Goal: a file is what was written, or none; never a panic, whatever is in it.
#[test]
fn parked() {
    fuzz("parked", target);
}

fn target(input: &[u8]) {
    let mut dice = Dice::new(input);
    let keyring = if dice.one_in(3) { Keyring::parse(KEY).unwrap() } else { Keyring::default() };
    let mut seq = 0;
    let events: Vec<ParkedEvent> = (0..=dice.below(6))
        .map(|_| {
            seq += 1 + dice.number() % (1 << 40);
            ParkedEvent { seq, accepted_ms: dice.number(), record: vec![dice.u8(); usize::from(dice.u8())].into() }
        })
        .collect();
    let written = encode(&head(), &events, &place(), &keyring);
    let records = events.iter().map(|event| event.record.len() as u64).sum();
    assert!(written.len() as u64 <= max_len(events.len(), records, &head()), "room is asked for before it is written");
    let read = decode(&written, &keyring).map(|content: Content| content.events().collect::<Vec<_>>());
    assert_eq!(read.as_ref(), Ok(&events));
    let mut damaged = written.clone();
    for _ in 0..=dice.below(3) {
        dice.damage(&mut damaged);
    }
    for bytes in [damaged.as_slice(), dice.rest()] {
        match decode(bytes, &keyring) {
            Ok(content) => assert!(content.events().eq(events.iter().cloned()), "what was damaged came out"),
            Err(Problem::Damaged(_) | Problem::Locked(_)) => {}
        }
    }
    // A table of which somebody made the checksum right: it decodes to what fits, or not at all.
    if let Ok(mut header) = Header::decode(&written) {
        let end = header.body_at().min(damaged.len());
        let mut front = written[..160].to_vec();
        front.extend_from_slice(damaged.get(160..end).unwrap_or_default());
        front.resize(header.body_at(), 0);
        header.trust_table(&front[160..]);
        if let Ok(entries) = decode_table(&front, &header) {
            assert!(entries.len() == events.len() && entries.is_sorted_by(|a, b| a.seq < b.seq));
        }
    }
}
