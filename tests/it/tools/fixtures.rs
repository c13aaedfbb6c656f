//! Directories of every kind, made by the real relay with Kafka away, then damaged by hand.

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::SOON;
use crate::support::{command::dualstream, ports, relay::Relay, relay_builder::Builder, scratch, wait};

/// Events of a filled fixture, in requests of [`IN_A_REQUEST`].
pub const EVENTS: u64 = 60;
pub const IN_A_REQUEST: u64 = 5;

/// A directory, and what keeps it.
pub struct Fixture {
    dir: PathBuf,
    _keeper: TempDir,
}

impl Fixture {
    fn of(keeper: TempDir) -> Self {
        Self { dir: keeper.path().join("buffer"), _keeper: keeper }
    }

    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// A copy to change.
    pub fn copy(&self) -> Self {
        let copy = Self::of(scratch::dir("copy"));
        copy_folder(&self.dir, &copy.dir);
        copy
    }
}

/// A relay whose Kafka nobody has ever seen, with small segments.
pub fn nowhere() -> Builder {
    let builder = Relay::builder().kafka(&ports::address(ports::free()), "events").set("shutdown.grace", "300ms");
    builder.set("buffer.max_bytes", "2MiB").set("buffer.segment_bytes", "64KiB")
}

/// An event that can be found in a file by its text.
pub fn event(n: u64) -> Value {
    json!({"id": format!("e{n}"), "type": "t", "source_type": "user", "source_id": (n % 2).to_string(), "payload": mark(n) + &"x".repeat(3000)})
}

fn mark(n: u64) -> String {
    format!("<{n:06}>")
}

/// Sends events 1 to [`EVENTS`]; their seqs are their numbers.
pub fn fill(relay: &Relay) {
    let events: Vec<Value> = (1..=EVENTS).map(event).collect();
    for request in events.chunks(usize::try_from(IN_A_REQUEST).unwrap()) {
        relay.client().post_json("/v1/events", &json!(request)).expect(202);
    }
}

/// Nothing in it, as a volume that was just mounted.
pub fn empty() -> Fixture {
    let keeper = scratch::dir("empty");
    fs::create_dir_all(keeper.path().join("buffer/lost+found")).unwrap();
    Fixture::of(keeper)
}

/// Somebody's photographs.
pub fn no_buffer() -> Fixture {
    let fixture = empty();
    fs::write(fixture.path().join("photo.jpg"), [0xFF, 0xD8]).unwrap();
    fixture
}

/// Nothing at all.
pub fn absent() -> Fixture {
    Fixture::of(scratch::dir("absent"))
}

/// A relay was here, and no event.
pub fn unused() -> Fixture {
    let relay = nowhere().start();
    assert_eq!(relay.stop(SOON), 0);
    keep(&relay)
}

/// Stopped cleanly with events left.
pub fn healthy() -> Fixture {
    let relay = nowhere().start();
    fill(&relay);
    assert_eq!(relay.stop(SOON), 5);
    keep(&relay)
}

/// Killed when nothing more went in.
pub fn full() -> Fixture {
    let builder = nowhere().set("buffer.max_bytes", "1MiB").set("ingest.full_timeout", "0s");
    // The same events, again and again.
    let relay = builder.set("ingest.dedup_window_events", 0).start();
    while relay.client().post_json("/v1/events", &json!((1..=5).map(event).collect::<Vec<_>>())).status == 202 {}
    relay.kill9();
    keep(&relay)
}

/// Killed, and the disk has the beginning of a write that was answered to nobody.
pub fn torn() -> Fixture {
    let fixture = killed();
    let (file, end) = data_end(fixture.path());
    let garbage: Vec<u8> = (0..3000_u32).map(|n| u8::try_from(n * 7 % 251).unwrap() | 1).collect();
    patch(&file, end, &garbage);
    fixture
}

/// Killed, and the disk has lost the end of what was answered for.
pub fn truncated() -> Fixture {
    let fixture = killed();
    let (file, end) = data_end(fixture.path());
    fs::OpenOptions::new().write(true).open(file).unwrap().set_len(end - 2000).unwrap();
    fixture
}

/// Stopped cleanly, and one bit of the payload of event 33 has turned.
pub fn rotten() -> Fixture {
    let fixture = healthy();
    let (file, at) = find(fixture.path(), &mark(33));
    patch(&file, at + 1, b"1");
    fixture
}

/// Written by a program of the future.
pub fn foreign() -> Fixture {
    let fixture = healthy();
    let (file, _) = find(fixture.path(), &mark(33));
    let mut header = fs::read(&file).unwrap()[..92].to_vec();
    header[8] = 9;
    let crc = crc32c::crc32c(&header[..88]);
    header[88..].copy_from_slice(&crc.to_le_bytes());
    patch(&file, 0, &header);
    fixture
}

/// A buffer with events that was killed when all of them were answered for and proven by a mark and a cursor.
fn killed() -> Fixture {
    let relay = nowhere().start();
    fill(&relay);
    wait::until_eq("every event in the cursor", SOON, &EVENTS, || accepted(relay.buffer_dir()));
    relay.kill9();
    keep(&relay)
}

/// What the cursor alone knows to be durable: a directory without segments has only that.
fn accepted(dir: &Path) -> u64 {
    let only_cursor = Fixture::of(scratch::dir("cursor"));
    fs::create_dir_all(only_cursor.path()).unwrap();
    fs::copy(dir.join("cursor"), only_cursor.path().join("cursor")).unwrap();
    let report = dualstream(["buffer", "verify", "--json", "--dir", only_cursor.path().to_str().unwrap()]).run();
    report.json()["ledger"]["accepted"].as_u64().unwrap()
}

fn keep(relay: &Relay) -> Fixture {
    let fixture = Fixture::of(scratch::dir("fixture"));
    copy_folder(relay.buffer_dir(), fixture.path());
    fixture
}

fn copy_folder(from: &Path, to: &Path) {
    if !from.is_dir() {
        return;
    }
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else if entry.file_name() == "LOCK" {
            // As if the directory had been moved: a copy is refused.
            fs::write(to, "").unwrap();
        } else {
            let _ = fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// The unfinished segment with the newest events, and where its data ends.
fn data_end(dir: &Path) -> (PathBuf, u64) {
    let info = dualstream(["buffer", "info", "--json", "--dir", dir.to_str().unwrap()]).run().expect(0).json();
    let segments = info["segments"].as_array().unwrap();
    let open = segments.iter().rev().find(|segment| segment["events"] != 0 && segment["sealed"] == false).expect("an open segment");
    let file = dir.join(open["file"].as_str().unwrap());
    // The end mark: the first 56 bytes of zeros on a multiple of 8 behind the last event.
    let bytes = fs::read(&file).unwrap();
    let last = find_in(&bytes, mark(EVENTS).as_bytes()).unwrap();
    let end = (last.next_multiple_of(8)..).step_by(8).find(|at| bytes[*at..*at + 56].iter().all(|byte| *byte == 0)).unwrap();
    (file, end as u64)
}

fn find(dir: &Path, text: &str) -> (PathBuf, u64) {
    let found = fs::read_dir(dir).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        let at = find_in(&fs::read(&path).ok()?, text.as_bytes())?;
        Some((path, at as u64))
    });
    found.unwrap_or_else(|| panic!("no {text} in {}", dir.display()))
}

fn find_in(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)
}

fn patch(file: &Path, at: u64, bytes: &[u8]) {
    fs::OpenOptions::new().write(true).open(file).unwrap().write_all_at(bytes, at).unwrap();
}
