//! `dualstream buffer info`

use super::super::assembly;
use super::super::exit::{Exit, Failure};
use super::super::human::{count, plain, size, time};
use super::super::look::Look;
use super::super::output::Output;
use super::super::status::get_json;
use super::super::target::{self, Door, TargetArgs, block_on};
use super::WhereArgs;
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
    let snapshot = snapshot(args)?;
    if args.json {
        out.line(&snapshot)?;
    } else {
        for line in lines(Look(&snapshot)) {
            out.line(line)?;
        }
    }
    Ok(Exit::Done)
}

fn snapshot(args: &InfoArgs) -> Result<Value, Failure> {
    let failed = |message: String| Failure::new(Exit::Failed, message);
    if let Some(dir) = &args.place.dir {
        let snapshot = assembly::open_buffer(dir)?.snapshot().map_err(failed)?;
        return serde_json::to_value(snapshot).map_err(|error| failed(error.to_string()));
    }
    let client = args.target.client(Door::Ops, args.timeout)?;
    let mut status = block_on(get_json(&client, "/v1/status"))?;
    match status.get_mut("buffer").map(Value::take) {
        Some(Value::Null) | None => Err(failed("the relay has not recovered its buffer yet; try again".to_owned())),
        Some(buffer) => Ok(buffer),
    }
}

fn lines(buffer: Look<'_>) -> Vec<String> {
    let number = |path: &str| buffer.count(path).map(count);
    let bytes = |path: &str| buffer.count(path).map(|bytes| format!("{} ({} bytes)", size(bytes), count(bytes)));
    let fill = buffer.number("fill").map(|fill| format!("{:.1}%", fill * 100.0));
    let durable = buffer.text("filesystem").map(|filesystem| {
        let verdict = if buffer.is("durable") { "a sync makes data durable" } else { "a sync does NOT make data durable" };
        format!("{}: {verdict}", plain(filesystem))
    });
    let nonzero = |path: &str| buffer.count(path).filter(|number| *number > 0).map(count);
    let rows = [
        ("relay-id", buffer.text("relay_id").map(plain)),
        ("allocated", bytes("bytes")),
        ("bound", bytes("max_bytes")),
        ("fill", fill),
        ("segments", number("segments")),
        ("volume", durable),
        ("accepted", number("ledger.accepted")),
        ("acked", number("ledger.acked")),
        ("lost", nonzero("ledger.lost")),
        ("waiting", number("ledger.backlog")),
        ("oldest", buffer.number("oldest_age_seconds").filter(|age| *age > 0.0).map(|age| format!("{} ago", time(age)))),
        ("durable seq", number("durable_seq")),
        ("acked seq", number("acked_seq")),
        ("torn bytes", nonzero("torn_bytes")),
        ("quarantined", nonzero("quarantined")),
        ("failed", buffer.text("failed").map(plain)),
    ];
    rows.into_iter().filter_map(|(name, value)| Some(format!("{name:<12} {}", value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::BufferSnapshot;
    use crate::lifecycle::{Ends, Ledger};

    // Goal: the figures that decide what to do with an orphaned directory are all there, and only true alarms are shown.
    #[test]
    fn a_directory() {
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
        assert_eq!(lines(Look(&serde_json::to_value(snapshot).unwrap())), expect);
    }
}
