//! Where a value came from.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where a value came from, as the person who must change it would look for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// The TOML file; lines and columns count from 1.
    File {
        /// As it was named.
        path: Arc<Path>,
        /// Line and column; `None` when the file as a whole is meant.
        place: Option<(usize, usize)>,
    },
    /// An environment variable.
    Environment(String),
    /// A flag, as it was spelled.
    Flag(String),
}

impl Origin {
    /// The rank in the order of precedence: a higher one wins.
    pub(super) fn layer(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::File { .. } => 1,
            Self::Environment(_) => 2,
            Self::Flag(_) => 3,
        }
    }

    /// Sorts problems as somebody would work through them: layer by layer, the file from its top.
    pub(super) fn order(&self) -> (u8, Option<(usize, usize)>) {
        let place = if let Self::File { place, .. } = self { *place } else { None };
        (self.layer(), place)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::File { path, place: Some((line, column)) } => write!(f, "{}:{line}:{column}", path.display()),
            Self::File { path, place: None } => path.display().fmt(f),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(spelled) => write!(f, "flag {spelled}"),
        }
    }
}

/// Line and column of a byte offset, both from 1; the column counts characters.
pub(super) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let mut end = offset.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = &text[..end];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: the place that a message names is the one the editor shows, also after characters of several bytes.
    #[test]
    fn places() {
        let text = "a = 1\n# grüße\nb = 2";
        for (needle, expect) in [("a", (1, 1)), ("1", (1, 5)), ("# ", (2, 1)), ("e\n", (2, 7)), ("2", (3, 5))] {
            assert_eq!(line_and_column(text, text.find(needle).unwrap()), expect, "{needle:?}");
        }
        assert_eq!(line_and_column(text, 999), (3, 6));
    }
}
