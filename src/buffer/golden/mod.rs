//! Buffer directories of every format version, kept as they were written: each must open for ever, and today's code must still write
//! the newest byte for byte. Nobody changes the format without noticing.
//!
//! They lie in `tests/golden/v{version}/{case}/`: a text per file ([`text`]), and `expected.json`, what opening makes of it.
//! `DUALSTREAM_GOLDEN=write cargo test --lib golden` writes those of today's version anew: for a new version, never for a released one.

mod cases;
pub(in crate::buffer) mod text;

use super::life::Life;
use super::log::cursor::{self, CURSOR_NAME, Found};
use super::log::segment::FORMAT_VERSION;
use super::log::storage::{OpenMode, Storage};
use super::memory::{Image, Memory};
use crate::event::{Records, Seq};
use cases::{BORN_MS, CASES};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const SUFFIX: &str = ".txt";
const EXPECTED: &str = "expected.json";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Folders of a folder, by name.
fn folders(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

fn read(dir: &Path) -> Image {
    let texts = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter_map(|path| {
        let name = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?.to_owned();
        Some((name, text::decode(&fs::read_to_string(&path).unwrap())))
    });
    texts.collect()
}

fn write(dir: &Path, image: &Image) {
    drop(fs::remove_dir_all(dir));
    fs::create_dir_all(dir).unwrap();
    for (name, bytes) in image {
        fs::write(dir.join(format!("{name}{SUFFIX}")), text::encode(bytes)).unwrap();
    }
    fs::write(dir.join(EXPECTED), meaning(image)).unwrap();
}

/// What the directory means, as text: the cursor as it stands there, then all that opening and reading give.
fn meaning(image: &Image) -> String {
    let memory = Memory::with(image, BORN_MS + 60_000);
    let cursor = cursor_of(&memory);
    let mut life = Life::open(&memory);
    let events = events(&mut life);
    let snapshot = life.gauges.snapshot();
    let meaning = json!({
        "cursor": cursor,
        "opened": {
            "relay_id": snapshot.relay_id,
            "ledger": snapshot.ledger,
            "conservation_error": snapshot.ledger.conservation_error(),
            "durable_seq": snapshot.durable_seq,
            "acked_seq": snapshot.acked_seq,
            "torn_bytes": snapshot.torn_bytes,
            "damage_set_aside": snapshot.quarantined > 0,
            "failed": snapshot.failed,
        },
        "events": events,
    });
    serde_json::to_string_pretty(&meaning).unwrap() + "\n"
}

fn cursor_of(memory: &Memory) -> Value {
    let Ok(file) = memory.open(CURSOR_NAME, OpenMode::Read) else { return Value::Null };
    match cursor::read(&*file) {
        Found::Marks(marks, generation) => json!({"generation": generation, "marks": marks}),
        Found::Nothing => "damaged".into(),
        Found::Foreign(version) => json!({"foreign": version}),
    }
}

/// Everything that the drain would see: the record's key, value, header and timestamp come from here.
fn events(life: &mut Life) -> Vec<Value> {
    let mut events = Vec::new();
    while let Some(frame) = life.reader.next_frame().unwrap() {
        let mut seq = frame.first_seq.0;
        for record in Records::new(&frame.payload) {
            let record = record.unwrap();
            events.push(json!({
                "seq": seq,
                "accepted_ms": frame.accepted_ms,
                "ended": life.reader.is_acked(Seq(seq)),
                "id": record.id,
                "type": record.kind,
                "source_type": record.source_type,
                "source_id": record.source_id,
                "traceparent": record.traceparent,
                "value": shortened(std::str::from_utf8(record.value).unwrap()),
            }));
            seq += 1;
        }
        assert_eq!(seq, frame.first_seq.0 + u64::from(frame.count));
    }
    events
}

/// With the padding as its length, so that the file stays readable; nothing else in a golden value is an `x`.
fn shortened(value: &str) -> String {
    let count = value.matches('x').count();
    if count < 32 { value.to_owned() } else { value.replacen(&"x".repeat(count), &format!("<{count} times x>"), 1) }
}

// Goal: a buffer directory written by any release opens with this one, every event, mark and counter as it was.
#[test]
fn every_version_opens_and_means_what_it_meant() {
    write_if_asked();
    let mut seen = 0;
    for dir in folders(&root()).iter().flat_map(|version| folders(version)) {
        let image = read(&dir);
        let expected = fs::read_to_string(dir.join(EXPECTED)).unwrap();
        let found = meaning(&image);
        assert!(found == expected, "{} does not mean what it meant:\n{found}\ninstead of\n{expected}", dir.display());
        seen += 1;
    }
    assert!(seen >= CASES.len(), "only {seen} directories are kept");
}

// Goal: nobody changes the bytes on disk without a new format version.
#[test]
fn the_same_events_give_the_same_bytes_as_ever() {
    write_if_asked();
    let version = root().join(format!("v{FORMAT_VERSION}"));
    for (name, make) in CASES {
        let (kept, made) = (read(&version.join(name)), make());
        let names = |image: &Image| image.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&made), names(&kept), "{name}: the files");
        for (file, bytes) in &made {
            let differs = bytes.iter().zip(&kept[file]).position(|(new, old)| new != old);
            assert_eq!(
                (differs, bytes.len()),
                (None, kept[file].len()),
                "{name}/{file}: first difference; see docs/buffer-format.md, Versions"
            );
        }
    }
}

/// Once per run, whichever test is first.
fn write_if_asked() {
    static WRITTEN: std::sync::Once = std::sync::Once::new();
    WRITTEN.call_once(|| {
        if std::env::var_os("DUALSTREAM_GOLDEN").is_some_and(|value| value == "write") {
            for (name, make) in CASES {
                write(&root().join(format!("v{FORMAT_VERSION}")).join(name), &make());
            }
        }
    });
}
