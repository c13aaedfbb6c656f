//! Log lines on standard error: text on a terminal, JSON elsewhere.

use super::exit::{Exit, Failure};
use crate::config::{LogConfig, LogFormat};
use std::io::{self, IsTerminal};
use tracing_subscriber::EnvFilter;

/// Sets up logging for the rest of the process.
pub(super) fn init(config: &LogConfig) -> Result<(), Failure> {
    let filter = EnvFilter::builder().parse(&config.level);
    let filter = filter.map_err(|error| Failure::new(Exit::Usage, format!("log.level is {:?}: {error}", config.level)))?;
    let terminal = io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = if as_json(config.format, terminal) {
        log.json().flatten_event(true).with_span_list(false).try_init()
    } else {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        log.with_ansi(terminal && !plain).try_init()
    };
    started.map_err(|error| Failure::new(Exit::Failed, format!("cannot set up logging: {error}")))
}

fn as_json(format: LogFormat, terminal: bool) -> bool {
    match format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: a log collector gets JSON and a person gets text, unless told otherwise.
    #[test]
    fn formats() {
        for (format, terminal, expect) in
            [(LogFormat::Auto, true, false), (LogFormat::Auto, false, true), (LogFormat::Text, false, false), (LogFormat::Json, true, true)]
        {
            assert_eq!(as_json(format, terminal), expect, "{format:?} {terminal}");
        }
    }
}
