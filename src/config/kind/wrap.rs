//! Kinds made from other kinds: what may be left empty, what may be left to the program.

use super::super::given::Given;
use super::Kind;

/// Empty text means none.
#[derive(Clone, Copy)]
pub(in crate::config) struct OrNone<K>(pub(in crate::config) K);

impl<K: Kind> Kind for OrNone<K> {
    type Value = Option<K::Value>;

    fn read(&self, given: &Given) -> Result<Self::Value, String> {
        if given.text()?.trim().is_empty() { Ok(None) } else { self.0.read(given).map(Some) }
    }

    fn show(&self, value: &Self::Value) -> String {
        value.as_ref().map_or_else(|| "\"\"".to_owned(), |value| self.0.show(value))
    }

    fn allowed(&self) -> String {
        format!("{}, or \"\" for none", self.0.allowed())
    }
}

/// `"auto"` leaves it to the program.
#[derive(Clone, Copy)]
pub(in crate::config) struct OrAuto<K>(pub(in crate::config) K);

impl<K: Kind> Kind for OrAuto<K> {
    type Value = Option<K::Value>;

    fn read(&self, given: &Given) -> Result<Self::Value, String> {
        if given.text() == Ok("auto") { Ok(None) } else { self.0.read(given).map(Some) }
    }

    fn show(&self, value: &Self::Value) -> String {
        value.as_ref().map_or_else(|| "\"auto\"".to_owned(), |value| self.0.show(value))
    }

    fn allowed(&self) -> String {
        format!("{}, or \"auto\"", self.0.allowed())
    }
}
