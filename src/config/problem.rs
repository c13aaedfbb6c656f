//! What is wrong with the settings: every problem at once, each a sentence.

use super::origin::Origin;
use std::fmt;

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key, `section.name`; `None` when no single key is meant (bad TOML, an unreadable file).
    pub key: Option<String>,
    /// Where the value came from.
    pub origin: Origin,
    /// The sentence: what is wrong and what is allowed. Names the key; carries no secret.
    pub text: String,
}

impl Problem {
    /// A problem of one key.
    pub(super) fn of(key: &str, origin: Origin, text: String) -> Self {
        Self { key: Some(key.to_owned()), origin, text }
    }

    /// A problem that no single key has.
    pub(super) fn general(origin: Origin, text: String) -> Self {
        Self { key: None, origin, text }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Default => f.write_str(&self.text),
            origin => write!(f, "{origin}: {}", self.text),
        }
    }
}

/// All problems of one load; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("the configuration has a problem:")?,
            n => write!(f, "the configuration has {n} problems:")?,
        }
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}
