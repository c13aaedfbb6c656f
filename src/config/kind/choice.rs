//! Choices between named values.

use super::super::given::{Given, Value};
use super::Kind;

/// One of a closed set of words.
#[derive(Clone, Copy)]
pub(in crate::config) struct OneOf<T: 'static>(pub(in crate::config) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq> OneOf<T> {
    /// The word for a value; `None` when it has none.
    pub(in crate::config) fn name(&self, value: T) -> Option<&'static str> {
        self.0.iter().find(|(_, listed)| *listed == value).map(|(word, _)| *word)
    }
}

impl<T: Copy + PartialEq> Kind for OneOf<T> {
    type Value = T;

    fn read(&self, given: &Given) -> Result<T, String> {
        let text = given.text()?;
        let found = self.0.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or_else(|| format!("{}, which is not supported", Value::Text(text.to_owned()).show()))
    }

    fn show(&self, value: &T) -> String {
        self.name(*value).map_or_else(String::new, |word| format!("{word:?}"))
    }

    fn allowed(&self) -> String {
        words(&self.0.iter().map(|(word, _)| *word).collect::<Vec<_>>())
    }
}

/// `true` or `false`.
#[derive(Clone, Copy)]
pub(in crate::config) struct Switch;

impl Kind for Switch {
    type Value = bool;

    fn read(&self, given: &Given) -> Result<bool, String> {
        match given.value() {
            Value::Boolean(yes) => Ok(yes),
            other => Err(format!("{}, which is neither true nor false", other.show())),
        }
    }

    fn show(&self, value: &bool) -> String {
        value.to_string()
    }

    fn allowed(&self) -> String {
        "true or false".to_owned()
    }
}

fn words(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("{word:?}")).collect();
    match quoted.as_slice() {
        [only] => format!("{only} (the only value of this version)"),
        [head @ .., last] => format!("{} or {last}", head.join(", ")),
        [] => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::loose;
    use super::*;

    // Goal: a value that only another version has is refused with the values that this one has.
    #[test]
    fn words_are_closed_sets() {
        let kind = OneOf(&[("auto", 0), ("text", 1), ("json", 2)]);
        assert_eq!(loose(&kind, "json"), Ok(2));
        assert_eq!(loose(&kind, "JSON").unwrap_err(), "\"JSON\", which is not supported");
        assert_eq!(kind.allowed(), "\"auto\", \"text\" or \"json\"");
        assert_eq!(kind.show(&1), "\"text\"");
    }
}
