//! A text field as it stands in the JSON: absent, a text, another type, or given twice.
//!
//! A wrong type does not end the scan, so that one reply names every wrong field of every event.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// What stands at the key of a text field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Slot<'a> {
    /// The key is not there.
    #[default]
    Absent,
    /// A string; borrowed when it stands in the body verbatim, owned when escapes were resolved.
    Text(Cow<'a, str>),
    /// Another type, in words.
    Not(&'static str),
    /// The key is there more than once: readers would disagree on which one counts.
    Twice,
}

impl<'a> Slot<'a> {
    /// Takes what stands at one more occurrence of the key.
    pub(super) fn fill(&mut self, found: Self) {
        *self = if *self == Self::Absent { found } else { Self::Twice };
    }

    /// The same, `null` meaning absent as `CloudEvents` has it.
    pub(super) fn null_is_absent(self) -> Self {
        if self == Self::Not(NULL) { Self::Absent } else { self }
    }

    /// The text, or what is wrong; `None` when absent.
    pub(super) fn into_text(self) -> Option<Result<Cow<'a, str>, Cow<'static, str>>> {
        match self {
            Self::Absent => None,
            Self::Text(text) => Some(Ok(text)),
            Self::Not(what) => Some(Err(format!("must be a string, not {what}").into())),
            Self::Twice => Some(Err(TWICE.into())),
        }
    }
}

const NULL: &str = "null";

/// The problem of a key that occurs more than once.
pub(super) const TWICE: &str = "is given more than once";

/// Reads any JSON value into a [`Slot`].
pub(super) struct SlotSeed;

impl<'de> DeserializeSeed<'de> for SlotSeed {
    type Value = Slot<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Slot<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for SlotSeed {
    type Value = Slot<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Slot<'de>, E> {
        Ok(Slot::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Slot<'de>, E> {
        Ok(Slot::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Slot<'de>, E> {
        Ok(Slot::Not("a boolean"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Slot<'de>, E> {
        Ok(Slot::Not("a number"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Slot<'de>, E> {
        Ok(Slot::Not("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Slot<'de>, E> {
        Ok(Slot::Not("a number"))
    }

    fn visit_unit<E>(self) -> Result<Slot<'de>, E> {
        Ok(Slot::Not(NULL))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Slot<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Slot::Not("an array"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Slot<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Slot::Not("an object"))
    }
}
