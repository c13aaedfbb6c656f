//! `dualstream buffer verify`

use super::super::exit::{Exit, Failure};
use super::super::human::{count, plain, size};
use super::super::output::{Output, Paint};
use super::place::failure;
use super::words::{events, seqs};
use super::{DirArgs, json};
use crate::buffer::log::storage::DiskStorage;
use crate::buffer::verify::{Finding, OfflineLedger, Report, Severity, Verdict, verify};
use clap::Args;
use std::path::Path;

/// Check every byte and the books of a buffer directory
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  dualstream buffer verify --dir /var/lib/dualstream
  dualstream buffer verify --config relay.toml --json | jq .lost_seqs

Takes no lock and changes nothing; a relay may be running on the directory.
Exit code 0: sound (also after a crash in the middle of a write); 4: damaged; 2: not a buffer; 1: cannot be read, or written by a
later version.")]
pub(super) struct VerifyArgs {
    /// Print it as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    place: DirArgs,
}

/// Checks and prints.
pub(super) fn run(args: &VerifyArgs, out: &mut Output) -> Result<Exit, Failure> {
    let dir = args.place.dir()?;
    let report = check(&dir)?;
    if args.json {
        out.line(json(&report)?)?;
    } else {
        print(&dir, &report, out)?;
    }
    Ok(exit_of(report.verdict))
}

/// Checks a directory.
pub(super) fn check(dir: &Path) -> Result<Report, Failure> {
    verify(&DiskStorage::new(dir)).map_err(|error| failure(&error))
}

/// What a verdict means to a script.
pub(super) fn exit_of(verdict: Verdict) -> Exit {
    match verdict {
        Verdict::Sound | Verdict::Torn => Exit::Done,
        Verdict::Damaged => Exit::Damaged,
    }
}

/// Prints a report for people.
pub(super) fn print(dir: &Path, report: &Report, out: &mut Output) -> Result<(), Failure> {
    let (paint, word) = match report.verdict {
        Verdict::Sound => (Paint::Good, "sound: every event that was answered for is there"),
        Verdict::Torn => (Paint::Good, "sound, but for the unfinished write of a crash: every event that was answered for is there"),
        Verdict::Damaged => (Paint::Bad, "DAMAGED"),
    };
    out.line(format_args!("{}: {}", dir.display(), out.paint(paint, word)))?;
    for (name, value) in figures(report) {
        out.line(format_args!("  {name:<12} {value}"))?;
    }
    for finding in &report.findings {
        print_finding(finding, out)?;
    }
    Ok(())
}

fn figures(report: &Report) -> Vec<(&'static str, String)> {
    let Report { segments, frames, events, checked_bytes, .. } = report;
    let state = match (report.in_use, report.clean) {
        (true, _) => "in use: figures move while they are read",
        (false, Some(true)) => "stopped cleanly",
        (false, Some(false)) => "not stopped cleanly",
        (false, None) => "stopped; the cursor cannot be read",
    };
    let checked =
        format!("{} in {} segments: {} frames, {} events", size(*checked_bytes), count(*segments), count(*frames), count(*events));
    let mut figures = vec![("state", state.to_owned()), ("checked", checked), ("books", books(&report.ledger))];
    if let Some(relay_id) = &report.relay_id {
        figures.insert(0, ("relay-id", plain(relay_id)));
    }
    if !report.lost_seqs.is_empty() {
        figures.push(("unreadable", format!("{}: seq {}", self::events(report.ledger.unreadable), seqs(&report.lost_seqs))));
    }
    if let Some((from, to)) = report.possibly_lost {
        figures.push(("possibly lost", format!("up to {}: seq {}", self::events(to - from + 1), seqs(&[(from, to)]))));
    }
    if report.quarantined > 0 {
        figures.push(("quarantine", format!("{} entries", count(report.quarantined))));
    }
    figures
}

fn books(ledger: &OfflineLedger) -> String {
    let ends = &ledger.ends;
    let parts = [
        ("acked", ends.acked),
        ("dead letters", ends.dead_lettered),
        ("purged", ends.purged),
        ("lost", ends.lost),
        ("waiting", ledger.waiting),
        ("unreadable", ledger.unreadable),
    ];
    let shown = parts.iter().filter(|(name, number)| *number > 0 || ["acked", "waiting"].contains(name));
    let sum = shown.map(|(name, number)| format!("{name} {}", count(*number))).collect::<Vec<_>>().join(" + ");
    let verdict = match ledger.error {
        Some(0) => "balanced".to_owned(),
        Some(error) => format!("OUT OF BALANCE by {error}"),
        None => "cannot be balanced without the cursor".to_owned(),
    };
    format!("accepted {} = {sum}: {verdict}", count(ledger.accepted))
}

fn print_finding(finding: &Finding, out: &mut Output) -> Result<(), Failure> {
    let (paint, word) = match finding.severity {
        Severity::Note => (Paint::Faint, "note"),
        Severity::Torn => (Paint::Doubtful, "torn"),
        Severity::Damage => (Paint::Bad, "damage"),
    };
    let at = finding.offset.map(|offset| format!(" at {}", count(offset))).unwrap_or_default();
    let file = format!("{}{at}", plain(&finding.file));
    let bytes = finding.bytes.map(|bytes| format!("{} bytes", count(bytes)));
    let seqs = finding.seqs.map(|range| format!("seq {}", seqs(&[range])));
    let place = [Some(file).filter(|file| !file.is_empty()), bytes, seqs].into_iter().flatten().collect::<Vec<_>>().join(", ");
    let place = if place.is_empty() { place } else { place + ": " };
    out.line(format_args!("  {} {place}{}", out.paint(paint, word), finding.what))?;
    out.line(format_args!("         then: {}", finding.then))
}

#[cfg(test)]
mod tests {
    use super::super::super::output::tests::captured;
    use super::*;
    use crate::lifecycle::Ends;

    // Goal: at a glance: sound or not, how much was looked at, whether the books balance, what is wrong, where, and which events it costs.
    #[test]
    fn a_report_for_people() {
        let finding = Finding {
            severity: Severity::Damage,
            what: "a payload fails its checksum".into(),
            file: "seg-1.log".into(),
            offset: Some(8192),
            bytes: Some(4096),
            seqs: Some((31, 35)),
            then: "set aside",
        };
        let report = Report {
            verdict: Verdict::Damaged,
            relay_id: Some("r".into()),
            in_use: false,
            clean: Some(true),
            segments: 6,
            frames: 12,
            events: 60,
            checked_bytes: 1 << 20,
            quarantined: 0,
            ledger: OfflineLedger { accepted: 60, ends: Ends { acked: 13, ..Ends::default() }, waiting: 42, unreadable: 5, error: Some(0) },
            lost_seqs: vec![(31, 35)],
            possibly_lost: Some((61, 70)),
            findings: vec![finding],
        };
        let (mut out, stdout, _) = captured();
        print(Path::new("/d"), &report, &mut out).unwrap();
        let expect = "\
/d: DAMAGED
  relay-id     r
  state        stopped cleanly
  checked      1.0 MiB in 6 segments: 12 frames, 60 events
  books        accepted 60 = acked 13 + waiting 42 + unreadable 5: balanced
  unreadable   5 events: seq 31 to 35
  possibly lost up to 10 events: seq 61 to 70
  damage seg-1.log at 8,192, 4,096 bytes, seq 31 to 35: a payload fails its checksum
         then: set aside
";
        assert_eq!(stdout.text(), expect);
        assert_eq!([Verdict::Sound, Verdict::Torn, Verdict::Damaged].map(exit_of), [Exit::Done, Exit::Done, Exit::Damaged]);
    }
}
