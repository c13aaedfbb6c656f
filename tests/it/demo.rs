//! `dualstream demo`: the first thing a newcomer runs. Needs no Kafka and no Redis: it brings its own.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output},
    time::Duration,
};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::support::{http::Client, process::Process, socket::Address, spawner};

/// The demo has deadlines of its own; this one is for a demo without them.
const DEADLINE: Duration = Duration::from_secs(120);

/// The demo with its temporary directory in `tmp`.
fn demo(tmp: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dualstream"));
    command.arg("demo").args(args).env("TMPDIR", tmp);
    command
}

/// Lets it run to its end, its two streams apart.
fn finish(tmp: &Path, args: &[&str]) -> Output {
    let demo = demo(tmp, args);
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", &DEADLINE.as_secs().to_string()]).arg(demo.get_program()).args(demo.get_args()).env("TMPDIR", tmp);
    spawner::spawn(&command).and_then(Child::wait_with_output).expect("the demo starts")
}

/// Short, because a Unix socket is made in it.
fn tmp() -> tempfile::TempDir {
    tempfile::tempdir().expect("the system's temporary directory takes a folder")
}

fn left_behind(tmp: &Path) -> Vec<PathBuf> {
    tmp.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect()
}

// Goal: a script that runs the demo learns from one line of JSON that nothing was lost in an outage, and nothing is left behind.
#[test]
fn the_tally_adds_up() {
    let tmp = tmp();
    let Output { status, stdout, stderr } = finish(tmp.path(), &["--json", "--events", "2000", "--outage", "2s"]);
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert!(status.success(), "{status}: {stdout}{stderr}");
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    let tally: Value = serde_json::from_str(&stdout).unwrap();
    let (count, seconds) = (|name: &str| tally[name].as_u64().unwrap(), tally["outage_seconds"].as_f64().unwrap());
    assert_eq!([count("sent"), count("consumed"), count("notified")], [2000; 3]);
    assert!((2.0..20.0).contains(&seconds), "{stdout}");
    assert!((1..=2000).contains(&count("max_depth")), "{stdout}");
    let expect = format!(
        "{{\"sent\":2000,\"consumed\":2000,\"notified\":2000,\"outage_seconds\":{seconds},\"max_depth\":{}}}\n",
        count("max_depth")
    );
    assert_eq!(stdout, expect, "exactly these keys, compact");
    assert_eq!(left_behind(tmp.path()), Vec::<PathBuf>::new());
}

// Goal: with --keep a newcomer posts an event by hand, sees it come out on both sides, and ends it with Ctrl-C.
#[test]
fn stays_up_for_requests_by_hand() {
    let tmp = tmp();
    let process = Process::spawn("demo", &demo(tmp.path(), &["--keep", "--events", "200", "--outage", "300ms"]));
    process.wait_line("last hint", DEADLINE, |line| line.contains("Ctrl-C ends it").then_some(()));
    let ingest = process.wait_line("curl line", DEADLINE, |line| {
        let (_, rest) = line.split_once("curl -s http://")?;
        rest.split_once("/v1/events").map(|(address, _)| address.to_owned())
    });
    let event = json!({"id": "by-hand", "type": "order.created", "source_type": "user", "source_id": "42"});
    Client::new(Address::Tcp(ingest)).post_json("/v1/events", &event).expect(202);
    for side in ["Kafka  events/", "Redis  events:user:42 "] {
        process.wait_line(side, DEADLINE, |line| (line.starts_with(side) && line.contains("by-hand")).then_some(()));
    }
    process.signal(Signal::INT);
    assert!(process.wait_exit(DEADLINE).success(), "{}", process.tail(20));
    assert_eq!(left_behind(tmp.path()), Vec::<PathBuf>::new());
}

// Goal: Ctrl-C in the middle of the outage ends the demo in order, and it does not claim to have proven anything.
#[test]
fn ctrl_c_in_the_outage() {
    let tmp = tmp();
    let process = Process::spawn("demo", &demo(tmp.path(), &["--events", "2000", "--outage", "60s"]));
    process.wait_line("row of the outage", DEADLINE, |line| line.contains(" AWAY ").then_some(()));
    process.signal(Signal::INT);
    let status = process.wait_exit(Duration::from_secs(20));
    assert_eq!(status.code(), Some(1), "{}", process.tail(20));
    let said = process.tail(1);
    assert!(said.contains("stopped by a signal"), "{said}");
    assert_eq!(left_behind(tmp.path()), Vec::<PathBuf>::new());
}

// Goal: what the flags do is seen from examples.
#[test]
fn help_shows_examples() {
    let help = finish(tmp().path(), &["--help"]);
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(help.status.success());
    for expect in ["Examples:\n", "  dualstream demo --keep ", "  dualstream demo --json ", "--outage <TIME>"] {
        assert!(text.contains(expect), "{expect}\n{text}");
    }
}
