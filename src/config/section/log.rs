//! `[log]`

use super::super::kind::{OneOf, log_filter};
use super::section;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Text,
    /// For machines.
    Json,
}

section! {
    /// Log lines, on standard error.
    pub struct LogConfig in log {
        /// How much is logged.
        level: String = "info".into(), log_filter();

        /// `auto`: text on a terminal, JSON elsewhere.
        format: LogFormat = LogFormat::Auto, OneOf(&[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)]);
    }
}
