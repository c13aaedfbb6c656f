//! What it takes to open a buffer that holds a huge backlog: after a kill, and after a stop in good order.
//!
//! A relay whose Kafka is away fills the buffer and is killed. Then a fresh process opens it and says what that took it; it ends in order,
//! and the next one opens what it left. The page cache is told to forget the files before each, so that what is read comes from the disk. A
//! tenth of the backlog first: what opening takes must not grow with it.

use super::super::exit::{Exit, Failure};
use super::super::human::size;
use super::super::output::Output;
use super::child::{NO_KAFKA, Process, Server, Settings, cpu_seconds, peak_memory};
use super::error::BenchError;
use super::figure::{Figure, Target};
use super::memory::fill;
use super::plan::{self, Plan};
use super::rig::Rig;
use super::rounds::Side;
use super::server::{Kind, announce, when_input_ends};
use crate::config::Config;
use rustix::fs::{Advice, fadvise};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::path::Path;
use std::sync::mpsc;

/// What opening must stay below, in milliseconds of processor time.
const LIMIT_MS: f64 = 1000.0;

/// What opening took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
pub(super) struct Cost {
    /// Processor time, user and system, in milliseconds; the kernel counts in tens.
    cpu_ms: f64,
    read_bytes: u64,
    /// What the peak of the process's memory rose by.
    grown_bytes: u64,
    /// Segments that hold events.
    segments: u64,
    backlog: u64,
}

/// Measures both backlogs.
pub(super) fn measure(plan: &Plan, figures: &mut Vec<Figure>, out: &mut Output) -> Result<(), BenchError> {
    for bytes in [plan.start_backlog_bytes / 10, plan.start_backlog_bytes] {
        let buffer = plan.path("start");
        let done = measure_one(plan, &buffer, bytes, figures, out);
        plan::remove(&buffer);
        done?;
    }
    Ok(())
}

fn measure_one(plan: &Plan, buffer: &Path, bytes: u64, figures: &mut Vec<Figure>, out: &mut Output) -> Result<(), BenchError> {
    let backlog = size(bytes);
    let settings = Settings { buffer, max_bytes: 2 * bytes + (256 << 20), brokers: NO_KAFKA, topic: "start", redis_url: None };
    out.note(format_args!("start: a backlog of {backlog}"));
    let server = Server::start(Kind::Relay, plan, &settings)?;
    fill(plan, &server, bytes)?;
    // Killed.
    drop(server);
    for left in ["a kill", "a stop in good order"] {
        plan.go_on()?;
        forget(buffer)?;
        out.note(format_args!("start: opening {backlog} after {left}"));
        let (process, line) = Process::start(Kind::Open, plan, &settings)?;
        let cost: Cost = serde_json::from_str(&line).map_err(|_| BenchError::Child("did not open the buffer".to_owned()))?;
        process.end()?;
        if cost.backlog == 0 {
            return Err(BenchError::Child("found no backlog".to_owned()));
        }
        figures.extend(cost.figures(&format!("{backlog} in {} segments, after {left}", cost.segments)));
    }
    Ok(())
}

/// Tells the kernel to drop what it keeps of the files in memory.
fn forget(dir: &Path) -> Result<(), BenchError> {
    let fail = || BenchError::io(format!("forget the files in {}", dir.display()));
    for entry in fs::read_dir(dir).map_err(fail())? {
        let path = entry.map_err(fail())?.path();
        if path.is_file() {
            let file = File::open(&path).map_err(fail())?;
            // What is not on the disk yet cannot be dropped.
            file.sync_all().map_err(fail())?;
            fadvise(&file, 0, None, Advice::DontNeed).map_err(|error| fail()(error.into()))?;
        }
    }
    Ok(())
}

/// The child: opens, says what it took, and closes in order when it is told to end.
pub(super) fn open(config: &Config, out: &mut Output) -> Result<Exit, Failure> {
    let before = Usage::now()?;
    let rig = Rig::open(&config.buffer.dir, config.buffer.max_bytes)?;
    let after = Usage::now()?;
    let snapshot = rig.gauges.snapshot();
    announce(&after.since(before, snapshot.segments, snapshot.ledger.backlog), out)?;
    let (tell, told) = mpsc::channel::<()>();
    when_input_ends(move || drop(tell))?;
    // A dropped sender is the end: nothing is ever sent.
    while told.recv().is_ok() {}
    rig.close()?;
    Ok(Exit::Done)
}

/// What this process has used so far.
#[derive(Clone, Copy, Debug)]
struct Usage {
    cpu_seconds: f64,
    read_bytes: u64,
    peak_bytes: u64,
}

impl Usage {
    fn now() -> Result<Self, BenchError> {
        let text = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).map_err(BenchError::io(format!("read /proc/self/{name}")));
        let (stat, io, status) = (text("stat")?, text("io")?, text("status")?);
        let used = || Some(Self { cpu_seconds: cpu_seconds(&stat)?, read_bytes: read_bytes(&io)?, peak_bytes: peak_memory(&status)? });
        used().ok_or_else(|| BenchError::Child("does not show what it uses".to_owned()))
    }

    fn since(self, before: Self, segments: u64, backlog: u64) -> Cost {
        Cost {
            cpu_ms: (self.cpu_seconds - before.cpu_seconds) * 1000.0,
            read_bytes: self.read_bytes - before.read_bytes,
            grown_bytes: self.peak_bytes - before.peak_bytes,
            segments,
            backlog,
        }
    }
}

/// What was read by calls, from a disk or not.
fn read_bytes(io: &str) -> Option<u64> {
    io.lines().find_map(|line| line.strip_prefix("rchar:"))?.trim().parse().ok()
}

impl Cost {
    fn figures(&self, of: &str) -> [Figure; 3] {
        #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let figure = |what: &str, unit, value| {
            let side = Side { rates: vec![value], ..Side::default() };
            Figure { unit, ..Figure::alone("start", format!("{what} to open {of}"), &side) }
        };
        [
            figure("CPU", "ms", self.cpu_ms).beside(LIMIT_MS, "the limit").should_be(Target::Below(1.0)),
            figure("bytes read", "MiB", mib(self.read_bytes)),
            figure("memory added", "MiB", mib(self.grown_bytes)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: what is shown is what opening took, not what the process had used before.
    #[test]
    fn only_the_opening_counts() {
        let before = Usage { cpu_seconds: 1.5, read_bytes: 100, peak_bytes: 1 << 20 };
        let after = Usage { cpu_seconds: 1.75, read_bytes: 300, peak_bytes: 3 << 20 };
        let expect = Cost { cpu_ms: 250.0, read_bytes: 200, grown_bytes: 2 << 20, segments: 7, backlog: 9 };
        assert_eq!(after.since(before, 7, 9), expect);
        assert_eq!((read_bytes("rchar: 12\nwchar: 3\n"), read_bytes("wchar: 3\n")), (Some(12), None));
    }
}
