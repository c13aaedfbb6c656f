//! Checks the fields of one event, noting each problem under the field's name.

use super::depth::{DEPTH_MAX, TOO_DEEP, is_too_deep};
use super::error::FieldErrors;
use super::fields::{name_problem, time_problem};
use super::text::Slot;
use std::borrow::Cow;

/// Notes what is wrong with the fields of one event.
pub(super) struct Checker<'e> {
    errors: &'e mut FieldErrors,
    index: u32,
    noted_before: u64,
}

impl<'e> Checker<'e> {
    /// For the event `index` of the request.
    pub(super) fn new(errors: &'e mut FieldErrors, index: u32) -> Self {
        Self { noted_before: errors.total, errors, index }
    }

    /// Notes a problem.
    pub(super) fn note(&mut self, field: &'static str, problem: impl Into<Cow<'static, str>>) {
        self.errors.push(self.index, field, problem);
    }

    /// Whether nothing was wrong so far with this event.
    pub(super) fn is_clean(&self) -> bool {
        self.errors.total == self.noted_before
    }

    /// What was read of the event, unless its JSON is no object, or nested too deep.
    pub(super) fn object<T>(&mut self, json: &str, item: Option<T>) -> Option<T> {
        if item.is_none() {
            self.note("event", "must be a JSON object");
        } else if is_too_deep(json, DEPTH_MAX) {
            self.note("event", TOO_DEEP);
            return None;
        }
        item
    }

    /// A name that must be there.
    pub(super) fn name<'a>(&mut self, field: &'static str, slot: Slot<'a>) -> Option<Cow<'a, str>> {
        if slot == Slot::Absent {
            self.note(field, "is required");
        }
        self.optional_name(field, slot)
    }

    /// A name that may be absent.
    pub(super) fn optional_name<'a>(&mut self, field: &'static str, slot: Slot<'a>) -> Option<Cow<'a, str>> {
        let text = self.text(field, slot)?;
        if let Some(problem) = name_problem(&text) {
            self.note(field, problem);
            return None;
        }
        Some(text)
    }

    /// A time that may be absent.
    pub(super) fn time<'a>(&mut self, field: &'static str, slot: Slot<'a>) -> Option<Cow<'a, str>> {
        let text = self.text(field, slot)?;
        if let Some(problem) = time_problem(&text) {
            self.note(field, problem);
            return None;
        }
        Some(text)
    }

    /// A text that may be absent.
    pub(super) fn text<'a>(&mut self, field: &'static str, slot: Slot<'a>) -> Option<Cow<'a, str>> {
        match slot.into_text()? {
            Ok(text) => Some(text),
            Err(problem) => {
                self.note(field, problem);
                None
            }
        }
    }
}
