//! `dualstream check`: is it set up right? Everything that can be known before events flow.
//!
//! A check is a name, a verdict, a sentence and, when something is wrong, a cure. The stages find the facts; what they mean for the
//! user is said here.

mod advice;
mod disk;
mod kafka;
mod redis;

use super::exit::{Exit, Failure};
use super::human::plain;
use super::output::{Output, Paint};
use super::settings::RelaySettingsArgs;
use crate::config::{Config, Problem, Problems, load_leniently};
use clap::Args;
use serde::Serialize;
use serde_json::json;

/// Check the settings, all problems at once, and with --connect Kafka, Redis and the disk
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  dualstream check --config relay.toml
  dualstream check -c relay.toml --connect         also Kafka, Redis and the disk
  dualstream check -c relay.toml --connect --json | jq '.checks[] | select(.verdict != \"ok\")'

Exit code 0: nothing is wrong (there may be warnings); 1: the disk will not do; 2: wrong settings; 3: Kafka or Redis cannot be used.")]
pub(super) struct CheckArgs {
    /// Also try Kafka, Redis and the disk
    #[arg(long)]
    connect: bool,

    /// Print the checks as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    settings: RelaySettingsArgs,
}

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but somebody should look.
    Warn,
    /// It will not work.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at: `settings`, `kafka`, `redis`, `disk`, …
    pub name: &'static str,
    /// What was found.
    pub verdict: Verdict,
    /// The same as a sentence, with the figures.
    pub text: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
    /// How the command ends when this fails.
    #[serde(skip)]
    pub exit_on_fail: Exit,
}

impl Check {
    /// A check that found nothing wrong.
    pub fn ok(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, text: text.into(), cure: None, exit_on_fail: Exit::Failed }
    }

    /// A check that found something to look at.
    pub fn warn(name: &'static str, text: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warn, text: text.into(), cure: Some(cure.into()), exit_on_fail: Exit::Failed }
    }

    /// A check that found what will not work; `exit` says of which sort.
    pub fn fail(name: &'static str, exit: Exit, text: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Fail, text: text.into(), cure: Some(cure.into()), exit_on_fail: exit }
    }
}

/// Looks at a peer, or at the disk. Blocking, bounded in time.
type Probe = fn(&Config) -> Vec<Check>;

/// What `--connect` tries, in the order of the report.
const PROBES: &[Probe] = &[kafka::checks, redis::checks, disk::checks];

/// Checks and prints.
pub(super) fn run(args: &CheckArgs, out: &mut Output) -> Result<Exit, Failure> {
    let checks = match load_leniently(&args.settings.sources()) {
        // Kafka's client judges its properties itself; it is asked here too, so that the problems come all at once.
        (config, Some(problems)) => problems_as_checks(&problems).into_iter().chain(kafka::properties(&config)).collect(),
        (config, None) => look(&config, args),
    };
    if args.json {
        let ok = checks.iter().all(|check| check.verdict != Verdict::Fail);
        out.line(json!({ "ok": ok, "checks": checks }))?;
    } else {
        print(&checks, out)?;
    }
    Ok(exit_of(&checks))
}

fn look(config: &Config, args: &CheckArgs) -> Vec<Check> {
    let from = args.settings.file().map_or_else(|| "no file".to_owned(), |path| path.display().to_string());
    let mut checks = vec![Check::ok("settings", format!("the settings are valid ({from}, environment and flags)"))];
    checks.extend(kafka::properties(config));
    checks.extend(advice::about(config));
    // Peers that are asked with wrong settings only repeat what is wrong with them.
    if args.connect && exit_of(&checks) == Exit::Done {
        checks.extend(PROBES.iter().flat_map(|probe| probe(config)));
    }
    checks
}

/// Without cures: each problem says itself what is allowed.
fn problems_as_checks(problems: &Problems) -> Vec<Check> {
    let check = |problem: &Problem| Check { cure: None, ..Check::fail("settings", Exit::Usage, problem.to_string(), "") };
    problems.0.iter().map(check).collect()
}

fn print(checks: &[Check], out: &mut Output) -> Result<(), Failure> {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or_default();
    for check in checks {
        let verdict = match check.verdict {
            Verdict::Ok => out.paint(Paint::Good, "ok  "),
            Verdict::Warn => out.paint(Paint::Doubtful, "warn"),
            Verdict::Fail => out.paint(Paint::Bad, "FAIL"),
        };
        out.line(format_args!("{verdict} {:<width$} {}", check.name, plain(&check.text)))?;
        if let Some(cure) = &check.cure {
            out.line(format_args!("     {:<width$} → {}", "", plain(cure)))?;
        }
    }
    Ok(())
}

/// Wrong settings before all: the other checks may only follow from them.
fn exit_of(checks: &[Check]) -> Exit {
    let failed: Vec<_> = checks.iter().filter(|check| check.verdict == Verdict::Fail).map(|check| check.exit_on_fail).collect();
    let first_of = [Exit::Usage, Exit::Unreachable];
    let known = first_of.into_iter().find(|exit| failed.contains(exit));
    known.or_else(|| failed.first().copied()).unwrap_or(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::super::output::tests::captured;
    use super::*;

    // Goal: a script can tell wrong settings, an unreachable peer and a bad disk apart by the exit code; warnings do not fail.
    #[test]
    fn exits() {
        let fail = |exit| Check::fail("x", exit, "t", "c");
        let warn = Check::warn("x", "t", "c");
        for (checks, expect) in [
            (vec![], Exit::Done),
            (vec![Check::ok("x", "t"), warn.clone()], Exit::Done),
            (vec![warn.clone(), fail(Exit::Failed)], Exit::Failed),
            (vec![fail(Exit::Failed), fail(Exit::Unreachable)], Exit::Unreachable),
            (vec![fail(Exit::Unreachable), fail(Exit::Usage)], Exit::Usage),
        ] {
            assert_eq!(exit_of(&checks), expect, "{checks:?}");
        }
    }

    // Goal: each finding is one line, with what to do about it below.
    #[test]
    fn printed() {
        let (mut out, stdout, _) = captured();
        let checks = [Check::ok("settings", "valid"), Check::warn("disk", "on tmpfs", "mount a volume")];
        print(&checks, &mut out).unwrap();
        assert_eq!(stdout.text(), "ok   settings valid\nwarn disk     on tmpfs\n              → mount a volume\n");
    }

    // Goal: the JSON has stable names and no empty fields.
    #[test]
    fn json_shape() {
        let json = serde_json::to_string(&[Check::ok("kafka", "t"), Check::fail("redis", Exit::Unreachable, "t", "c")]).unwrap();
        let expect = r#"[{"name":"kafka","verdict":"ok","text":"t"},{"name":"redis","verdict":"fail","text":"t","cure":"c"}]"#;
        assert_eq!(json, expect);
    }
}
