//! `dualstream bench` as a user runs it. No figure is asserted: machines are noisy.

use std::{fs, process::Command, time::Duration};

use serde_json::Value;

use super::support::{process::Process, scratch};

const DEADLINE: Duration = Duration::from_secs(120);

// Goal: a script can measure a machine and read the figures, and nothing is left on the disk.
#[test]
fn measures_and_cleans_up() {
    let dir = scratch::dir("bench");
    let mut command = Command::new(env!("CARGO_BIN_EXE_dualstream"));
    command.args(["bench", "--quick", "--json", "--only", "disk,ingest", "--dir"]).arg(dir.path());
    let process = Process::spawn("bench", &command);
    let status = process.wait_exit(DEADLINE);
    assert!(status.success(), "{status}:\n{}", process.tail(50));

    let lines = process.lines();
    let json = lines.iter().find(|line| line.starts_with('{'));
    let report: Value = serde_json::from_str(json.expect("a line of JSON")).unwrap();
    for field in ["date", "cores", "kernel", "filesystem", "optimised"] {
        assert!(!report["machine"][field].is_null(), "{field} in {report}");
    }
    let figures = report["figures"].as_array().unwrap();
    for figure in figures {
        for field in ["ours", "ceiling", "ratio"] {
            assert!(figure[field].as_f64().is_some_and(|value| value > 0.0), "{field} of {figure}");
        }
        assert_eq!((&figure["unit"], figure["rounds"].as_array().unwrap().len()), (&Value::from("events/s"), 1), "{figure}");
        assert!(figure["latency"]["p99_ms"].is_number() && figure["ceiling_is"].is_string(), "{figure}");
    }
    let targets: Vec<_> = figures.iter().filter(|figure| !figure["target"].is_null()).map(|figure| &figure["section"]).collect();
    assert_eq!(targets, ["disk", "ingest"]);
    assert!(figures.iter().filter(|figure| !figure["target"].is_null()).all(|figure| figure["met"].is_boolean()));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "something is left in the directory");
}

// Goal: anybody can measure what opening a buffer takes, after a kill and after a stop, and nothing is left on the disk.
#[test]
fn measures_opening() {
    let dir = scratch::dir("bench-start");
    let mut command = Command::new(env!("CARGO_BIN_EXE_dualstream"));
    command.args(["bench", "--quick", "--json", "--only", "start", "--dir"]).arg(dir.path());
    let process = Process::spawn("bench-start", &command);
    let status = process.wait_exit(DEADLINE);
    assert!(status.success(), "{status}:\n{}", process.tail(50));

    let lines = process.lines();
    let json = lines.iter().find(|line| line.starts_with('{'));
    let report: Value = serde_json::from_str(json.expect("a line of JSON")).unwrap();
    let figures = report["figures"].as_array().unwrap();
    let named = |text: &str| figures.iter().filter(|figure| figure["what"].as_str().is_some_and(|what| what.contains(text))).count();
    assert_eq!(
        [figures.len(), named("after a kill"), named("after a stop in good order"), named("16.0 MiB in")],
        [12, 6, 6, 6],
        "{report}"
    );
    for figure in figures {
        let is_of_cpu = figure["unit"] == "ms";
        assert!(figure["ours"].as_f64().is_some_and(|value| value >= 0.0) && figure["met"].is_boolean() == is_of_cpu, "{figure}");
        // The tail, at least, is read.
        assert!(!figure["what"].as_str().unwrap().starts_with("bytes read") || figure["ours"].as_f64().unwrap() > 1.0, "{figure}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "something is left in the directory");
}
