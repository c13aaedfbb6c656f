//! Where a command looks: a directory, or the running relay.

use super::super::exit::{Exit, Failure};
use super::super::settings::SettingsArgs;
use crate::buffer::OpenError;
use crate::error::chain;
use clap::Args;
use std::path::PathBuf;

/// A directory instead of a running relay.
#[derive(Args, Clone, Debug)]
pub(in crate::cli) struct WhereArgs {
    /// Read this buffer directory instead of asking the relay; nothing in it is changed
    #[arg(long, value_name = "DIR", conflicts_with_all = ["url", "socket"])]
    pub(in crate::cli) dir: Option<PathBuf>,
}

/// A directory, named or by the settings of its relay.
#[derive(Args, Clone, Debug)]
pub(super) struct DirArgs {
    /// The buffer directory [default: buffer.dir of the settings]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    #[command(flatten)]
    settings: SettingsArgs,
}

impl DirArgs {
    /// The directory.
    pub(super) fn dir(&self) -> Result<PathBuf, Failure> {
        match &self.dir {
            Some(dir) => Ok(dir.clone()),
            None => Ok(self.settings.load()?.buffer.dir),
        }
    }
}

/// A directory that cannot be used: the wrong one is the caller's to mend, the rest is a failure.
pub(in crate::cli) fn failure(error: &OpenError) -> Failure {
    let exit = match error {
        OpenError::NotABuffer { .. } | OpenError::NoBuffer { .. } => Exit::Usage,
        _ => Exit::Failed,
    };
    let hint = if matches!(error, OpenError::Locked { .. }) { "; stop that relay first" } else { "" };
    Failure::new(exit, format!("{}{hint}", chain(error)))
}
