//! `dualstream config-reference`: every key, from the definitions that also judge it.

use super::exit::{Exit, Failure};
use super::output::Output;
use crate::config::{reference_markdown, reference_toml};
use clap::{Args, ValueEnum};

/// Print every setting with its default, limits and meaning
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  dualstream config-reference                         the page docs/config.md
  dualstream config-reference --format toml > relay.toml")]
pub(super) struct ConfigReferenceArgs {
    /// A page to read, or a file to edit
    #[arg(long, value_enum, default_value_t = Format::Markdown)]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// A page to read
    Markdown,
    /// A settings file with every key commented out
    Toml,
}

/// Prints it.
pub(super) fn run(args: &ConfigReferenceArgs, out: &mut Output) -> Result<Exit, Failure> {
    let text = match args.format {
        Format::Markdown => reference_markdown(),
        Format::Toml => reference_toml(),
    };
    out.bytes(text.as_bytes())?;
    Ok(Exit::Done)
}
