//! `dualstream buffer info`

use super::super::exit::{Exit, Failure};
use super::super::human::{count, plain, size, time};
use super::super::look::Look;
use super::super::output::Output;
use super::super::status::{get, parse};
use super::super::target::{self, Door, TargetArgs, block_on};
use super::{WhereArgs, directory};
use crate::buffer::inspect::DirectoryInfo;
use clap::Args;
use serde_json::Value;
use std::time::Duration;

/// Show size, fill, marks and the ledger of the buffer
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  dualstream buffer info
  dualstream buffer info --dir /var/lib/dualstream
  dualstream buffer info --json | jq .ledger.backlog")]
pub(super) struct InfoArgs {
    /// Print it as JSON
    #[arg(long)]
    json: bool,

    /// Wait this long for the relay's answer
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = target::time)]
    timeout: Duration,

    #[command(flatten)]
    place: WhereArgs,

    #[command(flatten)]
    target: TargetArgs,
}

/// Looks and prints.
pub(super) fn run(args: &InfoArgs, out: &mut Output) -> Result<Exit, Failure> {
    let (snapshot, lines) = if let Some(dir) = &args.place.dir {
        let info = directory::info(dir)?;
        let json = serde_json::to_value(&info).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        (json, directory_lines(&info))
    } else {
        let snapshot = of_relay(args)?;
        let lines = relay_lines(Look(&snapshot));
        (snapshot, lines)
    };
    if args.json {
        out.line(&snapshot)?;
    } else {
        lines.iter().try_for_each(|line| out.line(line))?;
    }
    Ok(Exit::Done)
}

fn of_relay(args: &InfoArgs) -> Result<Value, Failure> {
    let client = args.target.client(Door::Ops, args.timeout)?;
    let mut status: Value = parse(&client, &block_on(get(&client, "/v1/status"))?)?;
    match status.get_mut("buffer").map(Value::take) {
        Some(Value::Null) | None => Err(Failure::new(Exit::Failed, "the relay has not recovered its buffer yet; try again")),
        Some(buffer) => Ok(buffer),
    }
}

fn table(rows: impl IntoIterator<Item = (&'static str, Option<String>)>) -> Vec<String> {
    rows.into_iter().filter_map(|(name, value)| Some(format!("{name:<12} {}", value?))).collect()
}

fn bytes(bytes: u64) -> String {
    format!("{} ({} bytes)", size(bytes), count(bytes))
}

fn directory_lines(info: &DirectoryInfo) -> Vec<String> {
    let state = match (info.in_use, info.clean) {
        (true, _) => "in use by a relay; figures as of its last checkpoint",
        (false, Some(true)) => "stopped cleanly",
        (false, Some(false)) => "not stopped cleanly; the next start sends again what may not have been confirmed",
        (false, None) => "stopped; the cursor cannot be read",
    };
    let now_ms = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default();
    let age = |then_ms: u64| time(Duration::from_millis(now_ms.saturating_sub(then_ms)).as_secs_f64());
    let nonzero = |number: u64| (number > 0).then(|| count(number));
    let sealed = info.segments.iter().filter(|segment| segment.sealed).count();
    let mut lines = table([
        ("relay-id", info.relay_id.clone()),
        ("state", Some(state.to_owned())),
        ("allocated", Some(bytes(info.bytes))),
        ("segments", Some(format!("{} ({sealed} finished)", info.segments.len()))),
        ("acked", Some(count(info.ends.acked))),
        ("purged", nonzero(info.ends.purged)),
        ("dead letters", nonzero(info.dead_letters)),
        ("lost", nonzero(info.ends.lost)),
        ("waiting", Some(count(info.backlog))),
        ("oldest", info.oldest_ms.map(|then_ms| format!("{} ago", age(then_ms)))),
        ("acked seq", Some(count(info.acked_seq))),
        ("last seq", Some(count(info.last_seq))),
        ("quarantined", nonzero(info.quarantined)),
    ]);
    lines.extend(
        info.parked
            .iter()
            .map(|topic| format!("{:<12} {} of {}, {}", "parked", count(topic.events), plain(&topic.topic), bytes(topic.bytes))),
    );
    lines.extend(info.problems.iter().map(|problem| format!("{:<12} {}", "problem", plain(problem))));
    lines
}

fn relay_lines(buffer: Look<'_>) -> Vec<String> {
    let number = |path: &str| buffer.count(path).map(count);
    let fill = buffer.number("fill").map(|fill| format!("{:.1}%", fill * 100.0));
    let durable = buffer.text("filesystem").map(|filesystem| {
        let verdict = if buffer.is("durable") { "a sync makes data durable" } else { "a sync does NOT make data durable" };
        format!("{}: {verdict}", plain(filesystem))
    });
    let nonzero = |path: &str| buffer.count(path).filter(|number| *number > 0).map(count);
    table([
        ("relay-id", buffer.text("relay_id").map(plain)),
        ("allocated", buffer.count("bytes").map(bytes)),
        ("bound", buffer.count("max_bytes").map(bytes)),
        ("fill", fill),
        ("segments", number("segments")),
        ("volume", durable),
        ("accepted", number("ledger.accepted")),
        ("acked", number("ledger.acked")),
        ("purged", nonzero("ledger.purged")),
        ("lost", nonzero("ledger.lost")),
        ("waiting", number("ledger.backlog")),
        ("oldest", buffer.number("oldest_age_seconds").filter(|age| *age > 0.0).map(|age| format!("{} ago", time(age)))),
        ("durable seq", number("durable_seq")),
        ("acked seq", number("acked_seq")),
        ("torn bytes", nonzero("torn_bytes")),
        ("quarantined", nonzero("quarantined")),
        ("failed", buffer.text("failed").map(plain)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::{BufferSnapshot, ParkedTopic};
    use crate::lifecycle::{Ends, Ledger};

    // Goal: the figures of a running relay's buffer are all there, and only true alarms are shown.
    #[test]
    fn of_a_relay() {
        let snapshot = BufferSnapshot {
            relay_id: "0198-aa".into(),
            ledger: Ledger { accepted: 1_005, ends: Ends { acked: 1_000, ..Ends::default() }, backlog: 5 },
            durable_seq: 1_005,
            acked_seq: 1_000,
            bytes: 4 << 20,
            max_bytes: 1 << 30,
            fill: 0.0039,
            segments: 1,
            durable: true,
            filesystem: "ext4".into(),
            quarantined: 2,
            ..BufferSnapshot::default()
        };
        let expect = [
            "relay-id     0198-aa",
            "allocated    4.0 MiB (4,194,304 bytes)",
            "bound        1.0 GiB (1,073,741,824 bytes)",
            "fill         0.4%",
            "segments     1",
            "volume       ext4: a sync makes data durable",
            "accepted     1,005",
            "acked        1,000",
            "waiting      5",
            "durable seq  1,005",
            "acked seq    1,000",
            "quarantined  2",
        ];
        assert_eq!(relay_lines(Look(&serde_json::to_value(snapshot).unwrap())), expect);
    }

    // Goal: the figures that decide what to do with an orphaned directory are all there, and so is what could not be read.
    #[test]
    fn of_a_directory() {
        let info = DirectoryInfo {
            relay_id: Some("0198-aa".into()),
            in_use: false,
            clean: Some(false),
            acked_seq: 1_000,
            last_seq: 1_005,
            backlog: 5,
            oldest_ms: None,
            ends: Ends { acked: 1_000, ..Ends::default() },
            bytes: 4 << 20,
            quarantined: 0,
            dead_letters: 0,
            parked: vec![ParkedTopic { topic: "orders".into(), events: 3, bytes: 4096, oldest_ms: None }],
            segments: Vec::new(),
            problems: vec!["00000001.seg: bad\theader".into()],
        };
        let expect = [
            "relay-id     0198-aa",
            "state        not stopped cleanly; the next start sends again what may not have been confirmed",
            "allocated    4.0 MiB (4,194,304 bytes)",
            "segments     0 (0 finished)",
            "acked        1,000",
            "waiting      5",
            "acked seq    1,000",
            "last seq     1,005",
            "parked       3 of orders, 4.0 KiB (4,096 bytes)",
            "problem      00000001.seg: bad\\theader",
        ];
        assert_eq!(directory_lines(&info), expect);
    }
}
