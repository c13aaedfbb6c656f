//! How a command ends: exit codes with meanings, and failures that say what to do.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// How a command ended. The numbers are an interface: scripts depend on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed while running.
    Failed = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// Cannot reach the relay or a peer.
    Unreachable = 3,
    /// Data is damaged.
    Damaged = 4,
    /// The deadline passed with events still on disk; they stay there.
    LeftOnDisk = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// For people, on standard error; empty: nothing to say.
    pub message: String,
}

impl Failure {
    /// A failure with its message.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<crate::config::Problems> for Failure {
    fn from(problems: crate::config::Problems) -> Self {
        Self::new(Exit::Usage, problems.to_string())
    }
}

/// What `write` to standard output can fail with. A reader that has seen enough (`dualstream … | head`) is no failure.
pub(super) fn write_failure(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::new(Exit::Done, ""),
        _ => Failure::new(Exit::Failed, format!("cannot write the output: {error}")),
    }
}
