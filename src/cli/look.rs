//! A tolerant look into a relay's JSON: what is not there is not shown, so that older and newer relays can be asked.

use serde_json::Value;

/// A place in a JSON document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look<'a>(pub(super) &'a Value);

impl<'a> Look<'a> {
    /// What is at a dotted path; null when it is not there.
    pub(super) fn at(self, path: &str) -> Look<'a> {
        path.split('.').fold(self, |look, name| Look(look.0.get(name).unwrap_or(&Value::Null)))
    }

    /// Whether something other than null is there.
    pub(super) fn is_there(self) -> bool {
        !self.0.is_null()
    }

    /// A text.
    pub(super) fn text(self, path: &str) -> Option<&'a str> {
        self.at(path).0.as_str()
    }

    /// A whole number.
    pub(super) fn count(self, path: &str) -> Option<u64> {
        self.at(path).0.as_u64()
    }

    /// A number.
    pub(super) fn number(self, path: &str) -> Option<f64> {
        self.at(path).0.as_f64()
    }

    /// A truth; false when it is not there.
    pub(super) fn is(self, path: &str) -> bool {
        self.at(path).0.as_bool().unwrap_or(false)
    }

    /// The items of a list.
    pub(super) fn items(self, path: &str) -> impl Iterator<Item = Look<'a>> {
        self.at(path).0.as_array().into_iter().flatten().map(Look)
    }

    /// The sum of the counts of an object, such as events by reason.
    pub(super) fn sum(self, path: &str) -> u64 {
        self.at(path).0.as_object().into_iter().flat_map(|object| object.values()).filter_map(Value::as_u64).sum()
    }
}
