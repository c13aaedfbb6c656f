//! A value as it was given, before any key has judged it.

use std::collections::BTreeMap;
use toml::de::DeValue;

/// Longest piece of a wrong value that a message repeats, in characters.
const QUOTED_CHARS: usize = 60;

/// A TOML value, without its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// A string.
    Text(String),
    /// A whole number.
    Integer(i128),
    /// `true` or `false`.
    Boolean(bool),
    /// A float or a date, as written: no key takes one, so only messages and properties need it.
    Other(String),
    /// A list.
    List(Vec<Value>),
    /// A table.
    Table(BTreeMap<String, Value>),
}

/// A value as it was given.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Given {
    /// In a TOML file, where a string has quotes.
    Typed(Value),
    /// In an environment variable or a flag, where everything is text.
    Loose(String),
}

impl Given {
    /// The text, for keys that are strings in TOML.
    pub(super) fn text(&self) -> Result<&str, String> {
        match self {
            Self::Typed(Value::Text(text)) | Self::Loose(text) => Ok(text),
            Self::Typed(other) => Err(format!("{}, which is not a string in quotes", other.show())),
        }
    }

    /// The TOML value, for keys that are something else than strings in TOML: loose text is read as a TOML value.
    pub(super) fn value(&self) -> Value {
        match self {
            Self::Typed(value) => value.clone(),
            Self::Loose(text) => match DeValue::parse(text.trim()) {
                Ok(value) => Value::from_toml(value.get_ref()),
                Err(_) => Value::Text(text.clone()),
            },
        }
    }
}

impl Value {
    /// Takes over a parsed TOML value.
    pub(super) fn from_toml(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.to_string()),
            DeValue::Integer(number) => {
                i128::from_str_radix(number.as_str(), number.radix()).map_or_else(|_| Self::Other(number.to_string()), Self::Integer)
            }
            DeValue::Boolean(yes) => Self::Boolean(*yes),
            DeValue::Float(number) => Self::Other(number.to_string()),
            DeValue::Datetime(time) => Self::Other(time.to_string()),
            DeValue::Array(items) => Self::List(items.iter().map(|item| Self::from_toml(item.get_ref())).collect()),
            DeValue::Table(table) => {
                Self::Table(table.iter().map(|(name, item)| (name.get_ref().to_string(), Self::from_toml(item.get_ref()))).collect())
            }
        }
    }

    /// For messages: the value as written, shortened; only the shape of what has parts.
    pub(super) fn show(&self) -> String {
        match self {
            Self::Text(text) if text.chars().count() > QUOTED_CHARS => {
                let start: String = text.chars().take(QUOTED_CHARS).collect();
                format!("{:?} (shortened)", start + "…")
            }
            Self::Text(text) => format!("{text:?}"),
            Self::Integer(number) => number.to_string(),
            Self::Boolean(yes) => yes.to_string(),
            Self::Other(text) => text.clone(),
            Self::List(_) => "a list".to_owned(),
            Self::Table(_) => "a table".to_owned(),
        }
    }
}
