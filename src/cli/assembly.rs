//! Where `dualstream run` meets the assembled relay.

use super::exit::{Exit, Failure};
use crate::app::{App, AppError, Outcome};
use crate::buffer::OpenError;
use crate::config::Config;
use crate::drain::check_properties;
use crate::error::chain;
use crate::shutdown::Trigger;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::time::Duration;

/// Runs the relay until it has stopped.
pub(super) fn run_relay(config: Config) -> Result<Exit, Failure> {
    run(config, App::build)
}

/// Sends what is in the buffer until it is empty or time is up.
pub(super) fn drain_only(config: Config, timeout: Option<Duration>) -> Result<Exit, Failure> {
    run(config, |config, trigger| App::build_drain_only(config, trigger, timeout))
}

/// As a log line, which is JSON where log lines are; nothing is left to print.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn logged(failure: Failure) -> Failure {
    tracing::error!("cannot run: {failure}");
    Failure::new(failure.exit, "")
}

fn run(config: Config, build: impl FnOnce(Config, Trigger) -> Result<App, AppError>) -> Result<Exit, Failure> {
    let refused: Vec<_> = check_properties(&config.kafka).into_iter().map(|wrong| format!("{}; {}", wrong.text, wrong.cure)).collect();
    if !refused.is_empty() {
        return Err(Failure::new(Exit::Usage, refused.join("\n")));
    }
    raise_file_limit();
    let trigger = Trigger::default();
    let app = build(config, trigger).map_err(|error| Failure::new(exit_for(&error), chain(&error)))?;
    app.listen_to_signals();
    Ok(exit_of(&app.run()))
}

/// Every connection is a file: the soft limit (often 1024) is raised to what the system allows, as the Go and Java runtimes do.
fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the limit on open files: many connections may not be accepted");
    }
}

/// Settings that can never work are the caller's to mend; everything else may work later.
fn exit_for(error: &AppError) -> Exit {
    match error {
        AppError::Topic(_)
        | AppError::Drain(_)
        | AppError::Notify(_)
        | AppError::Buffer(OpenError::Settings(_) | OpenError::NotABuffer { .. } | OpenError::NotDurable { .. }) => Exit::Usage,
        _ => Exit::Failed,
    }
}

fn exit_of(outcome: &Outcome) -> Exit {
    match (&outcome.failed, outcome.left) {
        (Some(_), _) => Exit::Failed,
        (None, 0) => Exit::Done,
        (None, _) => Exit::LeftOnDisk,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: a script can tell from the exit code whether events are still on disk.
    #[test]
    fn exit_codes() {
        let outcome = |left, failed: Option<&str>| Outcome { left, failed: failed.map(ToOwned::to_owned), ..Outcome::default() };
        assert_eq!(exit_of(&outcome(0, None)), Exit::Done);
        assert_eq!(exit_of(&outcome(3, None)), Exit::LeftOnDisk);
        assert_eq!(exit_of(&outcome(3, Some("the disk failed"))), Exit::Failed);
    }
}
