//! Flags of the command line.

use super::given::Given;
use super::load::{Entry, Gathered};
use super::origin::Origin;
use super::problem::Problem;

/// A value from the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlagValue {
    /// A flag of its own.
    Named {
        /// As the user spells it: `--topic`.
        spelled: &'static str,
        /// The key it sets.
        key: &'static str,
        /// The value.
        value: String,
    },
    /// `--set KEY=VALUE`, unparsed.
    Set(String),
}

/// Takes the entries out of the flags, in their order.
pub(super) fn gather(flags: &[FlagValue], gathered: &mut Gathered) {
    for flag in flags {
        let (spelled, name, value) = match flag {
            FlagValue::Named { spelled, key, value } => ((*spelled).to_owned(), *key, value.as_str()),
            FlagValue::Set(text) => {
                let Some((key, value)) = text.split_once('=') else {
                    let text = format!("{text:?} has no value; write --set KEY=VALUE, such as --set buffer.max_bytes=2GiB");
                    gathered.problems.push(Problem::general(Origin::Flag("--set".to_owned()), text));
                    continue;
                };
                (format!("--set {}", key.trim()), key.trim(), value)
            }
        };
        let origin = Origin::Flag(spelled);
        gathered.entries.push(Entry { name: name.to_owned(), given: Given::Loose(value.to_owned()), key_origin: origin.clone(), origin });
    }
}
