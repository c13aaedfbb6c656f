//! The kinds of values a key can have: how one is read, judged, written and described. Pure.

mod address;
mod choice;
mod collection;
mod number;
mod secret;
mod text;
mod wrap;

use super::given::Given;

pub(super) use address::Address;
pub(super) use choice::{OneOf, Switch};
pub(super) use collection::{Headers, Properties, UserIds};
pub(super) use number::{Count, Mode, Size, Time};
pub(super) use secret::RedisUrl;
pub use secret::redact_url;
pub(super) use text::{FilePath, SocketPath, brokers, channel, free_text, log_filter, topic, topic_name};
pub(super) use wrap::{OrAuto, OrNone};

/// A kind of value, with its limits.
///
/// Every message about a value and the reference page are made from here, so that they cannot disagree with what is accepted.
pub(super) trait Kind {
    /// What the key's field holds.
    type Value;

    /// Reads and judges a value.
    ///
    /// # Errors
    /// What it is instead, to stand after "`key` is "; never a secret.
    fn read(&self, given: &Given) -> Result<Self::Value, String>;

    /// Writes a value as it would stand in the file; a secret is blanked out.
    fn show(&self, value: &Self::Value) -> String;

    /// What is allowed, as a noun phrase with its limits.
    fn allowed(&self) -> String;

    /// Puts a value over what a lower layer gave. Replaces it, unless the kind says otherwise.
    fn put(&self, place: &mut Self::Value, value: Self::Value) {
        *place = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::given::Value;

    /// Reads loose text, as from a flag.
    pub(super) fn loose<K: Kind>(kind: &K, text: &str) -> Result<K::Value, String> {
        kind.read(&Given::Loose(text.to_owned()))
    }

    /// Reads a TOML value, as from the file.
    pub(super) fn typed<K: Kind>(kind: &K, toml: &str) -> Result<K::Value, String> {
        kind.read(&Given::Typed(Value::from_toml(toml::de::DeValue::parse(toml).unwrap().get_ref())))
    }

    // Goal: a value of the wrong TOML type is refused in words, for every kind.
    #[test]
    fn wrong_types_are_named() {
        let size = Size { min: 1, max: 1 << 40 };
        assert_eq!(typed(&size, "true").unwrap_err(), "true, which is not a size");
        assert_eq!(typed(&size, "1.5").unwrap_err(), "1.5, which is not a size");
        assert_eq!(typed(&Time { min_ms: 0, max_ms: 1 }, "5").unwrap_err(), "5, which has no unit of time");
        assert_eq!(typed(&FilePath, "5").unwrap_err(), "5, which is not a string in quotes");
        assert_eq!(typed(&Switch, "\"yes\"").unwrap_err(), "\"yes\", which is neither true nor false");
        assert_eq!(typed(&UserIds, "7").unwrap_err(), "7, which is not a list of user ids");
        assert_eq!(typed(&Properties, "7").unwrap_err(), "not a table");
    }
}
