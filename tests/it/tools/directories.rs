//! Every tool on every kind of directory: always a clear sentence and the right exit code.

use std::{collections::BTreeSet, path::Path};

use serde_json::json;

use super::{
    SOON,
    fixtures::{self, EVENTS, Fixture, IN_A_REQUEST, event},
};
use crate::support::{
    command::{Ended, dualstream},
    load::{Load, Plan},
    ports,
};

/// The tools; those from [`CHANGES`] on change the directory.
const TOOLS: [&[&str]; 9] = [
    &["buffer", "info"],
    &["buffer", "peek"],
    &["buffer", "export"],
    &["buffer", "verify"],
    &["buffer", "repair"],
    &["buffer", "purge", "--all"],
    &["buffer", "repair", "--yes"],
    &["buffer", "purge", "--all", "--yes"],
    &["drain-only", "--timeout", "500ms", "--topic", "events"],
];
const CHANGES: usize = 6;

/// What a tool must end with, and say on either stream.
type Expected = [(i32, &'static str); 9];

fn run(tool: &[&str], dir: &Path) -> Ended {
    let mut words = [tool, &["--dir", dir.to_str().unwrap()]].concat();
    let kafka = ports::address(ports::free());
    if tool[0] == "drain-only" {
        words.extend(["--brokers", &kafka]);
    }
    dualstream(words).run()
}

#[track_caller]
fn check(name: &str, tool: &[&str], ended: &Ended, (code, says): (i32, &str)) {
    assert_eq!(ended.code, code, "{tool:?} on a directory that is {name}: {ended:#?}");
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(said.contains(says), "{tool:?} on a directory that is {name} does not say {says:?}: {ended:#?}");
    assert!(!said.contains("panicked"), "{ended:#?}");
}

/// Every tool on a directory, and what is left of it afterwards.
fn try_all(name: &str, fixture: &Fixture, expected: Expected) {
    let before = contents(fixture.path());
    for (tool, expected) in TOOLS[..CHANGES].iter().zip(expected) {
        check(name, tool, &run(tool, fixture.path()), expected);
        assert!(contents(fixture.path()) == before, "{tool:?} only looks, and changed something in a directory that is {name}");
    }
    for (tool, expected) in TOOLS.iter().zip(expected).skip(CHANGES) {
        let copy = fixture.copy();
        check(name, tool, &run(tool, copy.path()), expected);
        if ![1, 2].contains(&expected.0) && !contents(copy.path()).is_empty() && copy.path().join("cursor").exists() {
            let after = dualstream(["buffer", "verify", "--json", "--dir", copy.path().to_str().unwrap()]).run();
            let books = after.json()["ledger"].clone();
            assert_eq!(books["error"], 0, "{tool:?} on a directory that is {name}: {after:#?}");
            assert!(after.code == 0 || tool[0] == "drain-only", "{tool:?} on a directory that is {name} leaves damage: {after:#?}");
        } else if [1, 2].contains(&expected.0) {
            assert!(contents(copy.path()) == before, "{tool:?} was refused and changed something in a directory that is {name}");
        }
    }
}

/// Names and bytes of all files.
fn contents(dir: &Path) -> BTreeSet<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).unwrap_or_default())).collect()
}

// Goal: pointed at the wrong place, no tool invents a buffer, makes one, or touches what is there.
#[test]
fn what_is_no_buffer() {
    try_all("absent", &fixtures::absent(), [(1, "cannot list"); 9]);
    let mut none = [(2, "no relay has made a buffer there"); 9];
    none[8] = (0, "nothing to send");
    try_all("empty", &fixtures::empty(), none);
    try_all("not a buffer", &fixtures::no_buffer(), [(2, "photo.jpg"); 9]);
    try_all("of a later version", &fixtures::foreign(), [(1, "buffer format version 9"); 9]);
}

// Goal: a sound buffer is shown, exported and given up as it is, whether it was ever used, holds events, or holds as many as it can.
#[test]
fn sound_buffers() {
    let unused: Expected = [
        (0, "waiting      0"),
        (0, ""),
        (0, "exported nothing"),
        (0, "sound"),
        (0, "nothing to repair"),
        (0, "Would purge no event"),
        (0, "Done: 0 events"),
        (0, "Purged no event"),
        (0, "the buffer is empty"),
    ];
    try_all("unused", &fixtures::unused(), unused);
    let healthy: Expected = [
        (0, "waiting      60"),
        (0, "user/1  e1"),
        (0, "exported 60 events, seq 1 to 60"),
        (0, "accepted 60 = acked 0 + waiting 60: balanced"),
        (0, "nothing to repair"),
        (0, "Would purge 60 events, seq 1 to 60"),
        (0, "Done: 0 events"),
        (0, "Purged 60 events, seq 1 to 60."),
        (5, r#""left":60"#),
    ];
    let fixture = fixtures::healthy();
    try_all("healthy", &fixture, healthy);
    export_is_exact(&fixture);
    let full: Expected = [
        (0, "not stopped cleanly"),
        (0, "e1"),
        (0, "exported"),
        (0, "sound"),
        (0, "Nothing was changed"),
        (0, "Would purge"),
        (0, "Done: 0 events"),
        (0, "Purged"),
        (5, "stopped at the deadline"),
    ];
    try_all("full", &fixtures::full(), full);
}

// Goal: what a crash or a failing disk did is said in plain words with the exact events it costs, and a repair leaves a sound buffer
// that has every other event.
#[test]
fn damaged_buffers() {
    let torn: Expected = [
        (0, "waiting      60"),
        (0, "e1"),
        (0, "exported 60 events"),
        (0, "nobody was told that it was stored"),
        (0, "unfinished"),
        (0, "Would purge 60 events"),
        (0, "0 events reported lost, "),
        (0, "Purged 60 events"),
        (5, r#""left":60"#),
    ];
    let fixture = fixtures::torn();
    try_all("torn", &fixture, torn);
    let report = dualstream(["buffer", "verify", "--json", "--dir", fixture.path().to_str().unwrap()]).run().expect(0).json();
    assert_eq!((&report["verdict"], &report["lost_seqs"]), (&json!("torn"), &json!([])), "{report:#}");

    let last = EVENTS - IN_A_REQUEST + 1;
    let rotten: Expected = [
        (0, "waiting      60"),
        (0, "e1"),
        (0, "exported 55 events"),
        (4, "5 events: seq 31 to 35"),
        (0, "quarantine/"),
        (0, "Would purge 60 events"),
        (0, "Done: 5 events reported lost"),
        (0, "Purged 60 events"),
        (5, "stopped at the deadline"),
    ];
    let fixture = fixtures::rotten();
    try_all("rotten", &fixture, rotten);
    costs(&fixture, 31, 35);
    let truncated: Expected = [
        (0, "waiting"),
        (0, "e1"),
        (0, "exported 55 events"),
        (4, "5 events: seq 56 to 60"),
        (0, "quarantine/"),
        (0, "Would purge"),
        (0, "Done: 5 events reported lost"),
        (0, "Purged"),
        (5, "stopped at the deadline"),
    ];
    let fixture = fixtures::truncated();
    try_all("truncated", &fixture, truncated);
    costs(&fixture, last, EVENTS);
}

/// Verify names exactly these events; a repair keeps their bytes with a note, deletes nothing unless told to, and the rest can be read.
#[track_caller]
fn costs(fixture: &Fixture, from: u64, to: u64) {
    let copy = fixture.copy();
    let dir = copy.path().to_str().unwrap();
    let report = dualstream(["buffer", "verify", "--json", "--dir", dir]).run().expect(4).json();
    assert_eq!((&report["verdict"], &report["lost_seqs"]), (&json!("damaged"), &json!([[from, to]])), "{report:#}");
    let outcome = dualstream(["buffer", "repair", "--yes", "--json", "--dir", dir]).run().expect(0).json();
    assert_eq!(outcome["repaired"]["lost_events"], to - from + 1, "{outcome:#}");
    assert_eq!(
        (&outcome["after"]["verdict"], &outcome["after"]["ledger"]["lost"]),
        (&json!("sound"), &json!(to - from + 1)),
        "{outcome:#}"
    );
    let notes = std::fs::read_dir(copy.path().join("quarantine")).unwrap().map(|entry| entry.unwrap().path());
    let notes: Vec<String> =
        notes.filter(|path| path.extension().is_some_and(|e| e == "json")).map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let lost = notes.iter().filter(|note| serde_json::from_str::<serde_json::Value>(note).unwrap()["lost_seqs"] == json!([from, to]));
    assert_eq!(lost.count(), 1, "{notes:#?}");
    let left: Vec<u64> = exported(copy.path()).iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert_eq!(left, (1..=EVENTS).filter(|seq| !(from..=to).contains(seq)).collect::<Vec<_>>());

    let asked = dualstream(["buffer", "repair", "--delete", "--dir", dir]).run().expect(0);
    assert!(asked.stdout.contains("would be removed for good"), "{asked:#?}");
    assert!(std::fs::read_dir(copy.path().join("quarantine")).unwrap().next().is_some(), "not without --yes");
    let _ = dualstream(["buffer", "repair", "--delete", "--yes", "--dir", dir]).run().expect(0);
    assert!(std::fs::read_dir(copy.path().join("quarantine")).unwrap().next().is_none());
}

fn exported(dir: &Path) -> Vec<serde_json::Value> {
    dualstream(["buffer", "export", "--dir", dir.to_str().unwrap()]).run().expect(0).json_lines()
}

/// Everything that was sent comes out as it was sent, whole or in pieces, to standard output or to a file.
#[track_caller]
fn export_is_exact(fixture: &Fixture) {
    let dir = fixture.path().to_str().unwrap();
    let all = exported(fixture.path());
    for (n, line) in (1..).zip(&all) {
        assert_eq!((&line["seq"], &line["id"], &line["type"]), (&json!(n), &json!(format!("e{n}")), &json!("t")));
        assert_eq!((&line["source"], &line["value"]["payload"]), (&json!(format!("/user/{}", n % 2)), &event(n)["payload"]), "{n}");
        assert!(line["headers"]["dualstream"].as_str().unwrap().ends_with(&format!("/{n}")), "{line}");
        assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
    }
    let file = fixture.path().with_file_name("export.ndjson");
    let (mut pieces, mut from) = (Vec::new(), 1);
    while from <= EVENTS {
        let words = ["buffer", "export", "--dir", dir, "--limit", "25", "--from-seq", &from.to_string(), "-o", file.to_str().unwrap()];
        let ended = dualstream(words).run().expect(0);
        assert_eq!(ended.stdout, "");
        let piece = std::fs::read_to_string(&file).unwrap();
        pieces.extend(piece.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()));
        let next = ended.stderr.split("--from-seq ").nth(1).map_or(EVENTS + 1, |seq| seq.trim().parse().unwrap());
        assert!(next > from, "{ended:#?}");
        from = next;
    }
    assert_eq!(pieces, all);
    let odd = dualstream(["buffer", "export", "--dir", dir, "--source", "user/1", "--to-seq", "9"]).run().expect(0).json_lines();
    assert_eq!(odd.iter().map(|line| line["seq"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 3, 5, 7, 9]);
}

// Goal: under full load the tools that look need nothing from the relay and raise no false alarm; those that change something are refused
// with what to do, and the relay does not notice any of them.
#[test]
fn a_busy_buffer() {
    let relay = fixtures::nowhere().set("buffer.max_bytes", "256MiB").set("buffer.segment_bytes", "1MiB").start();
    let load = Load::start(relay.ingest(), &Plan { writers: 2, batch: 20, padding: 300, ..Plan::default() });
    load.wait_accepted(2_000, SOON);
    let dir = relay.buffer_dir();
    let busy: Expected = [
        (0, "in use by a relay"),
        (0, "writer/"),
        (0, "exported"),
        (0, "in use: figures move while they are read"),
        (0, "Stop the relay first"),
        (0, "Would purge"),
        (1, "is in use by another relay (its LOCK file is held); stop that relay first"),
        (1, "leave out --dir to ask that relay, or stop it first"),
        (1, "is in use by another relay"),
    ];
    for (tool, expected) in TOOLS.iter().zip(busy) {
        check("busy", tool, &run(tool, dir), expected);
    }
    for _ in 0..5 {
        let report = run(&["buffer", "verify", "--json"], dir).expect(0).json();
        assert_eq!((&report["verdict"], &report["ledger"]["error"]), (&json!("sound"), &json!(0)), "{report:#}");
    }
    let report = load.stop();
    assert_eq!((report.refused(), report.unknown()), (0, 0));
    assert_eq!(relay.status()["buffer"]["ledger"]["backlog"], report.accepted());
}
