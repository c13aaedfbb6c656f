//! Finds the events in a body: one object, an array of objects, or one object per line.
//!
//! Each event is scanned once, where it stands, by whatever `T` reads from it; the text of the event comes along as a slice of the
//! body. Malformed JSON ends the walk, since what follows it cannot be told apart.

use super::error::{DecodeError, Malformed};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// An event where it stands in the body.
pub(super) struct Located<'a, T> {
    /// Which event of the request, from 0.
    pub index: u32,
    /// Its JSON, without space around it.
    pub json: &'a str,
    /// What was read from it; `None` when it is JSON but no object.
    pub item: Option<T>,
}

/// How many events a JSON body may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// An object or an array of objects.
    OneOrMany,
    /// An object.
    One,
    /// An array of objects.
    Many,
}

/// Calls `on_event` for each event of a JSON body, in order.
pub(super) fn each_in_json<'a, T: Deserialize<'a>>(
    body: &'a str,
    shape: Shape,
    mut on_event: impl FnMut(Located<'a, T>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let start = skip_space(body, 0);
    let is_array = body.as_bytes().get(start) == Some(&b'[');
    let after = match (is_array, shape) {
        (true, Shape::OneOrMany | Shape::Many) => each_in_array(body, start + 1, &mut on_event)?,
        (false, Shape::Many) => {
            return Err(malformed(start, None, "expected an array of events"));
        }
        _ => {
            let (event, after) = scan(body, start, body.len(), 0, None)?;
            on_event(event)?;
            after
        }
    };
    let rest = skip_space(body, after);
    if rest < body.len() {
        let reason = "more follows after the end; send one object, one array, or application/x-ndjson with an event per line";
        return Err(malformed(rest, None, reason));
    }
    Ok(())
}

fn each_in_array<'a, T: Deserialize<'a>>(
    body: &'a str,
    after_bracket: usize,
    on_event: &mut impl FnMut(Located<'a, T>) -> Result<(), DecodeError>,
) -> Result<usize, DecodeError> {
    let mut at = skip_space(body, after_bracket);
    if body.as_bytes().get(at) == Some(&b']') {
        return Ok(at + 1);
    }
    for index in 0.. {
        let (event, after) = scan(body, at, body.len(), index, Some(index))?;
        on_event(event)?;
        at = skip_space(body, after);
        match body.as_bytes().get(at) {
            Some(b',') => at = skip_space(body, at + 1),
            Some(b']') => break,
            Some(_) => return Err(malformed(at, Some(index), "expected `,` or `]` after the event")),
            None => return Err(malformed(at, Some(index), "the array is not closed")),
        }
    }
    Ok(at + 1)
}

/// Calls `on_event` for each line that is not blank, in order. Lines end with LF or CRLF, the last one also with the body.
pub(super) fn each_line<'a, T: Deserialize<'a>>(
    body: &'a str,
    mut on_event: impl FnMut(Located<'a, T>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let (mut at, mut index) = (skip_space(body, 0), 0);
    while at < body.len() {
        let end = memchr::memchr(b'\n', &body.as_bytes()[at..]).map_or(body.len(), |length| at + length);
        let (event, after) = scan(body, at, end, index, Some(index))?;
        on_event(event)?;
        // Blank lines are skipped along with the end of this one.
        at = skip_space(body, after);
        if at < end {
            return Err(malformed(at, Some(index), "more follows on the line; each event is a line of its own"));
        }
        index += 1;
    }
    Ok(())
}

/// Reads the one value that starts at `start` and ends before `limit`; gives it and the offset after it.
fn scan<'a, T: Deserialize<'a>>(
    body: &'a str,
    start: usize,
    limit: usize,
    index: u32,
    named: Option<u32>,
) -> Result<(Located<'a, T>, usize), DecodeError> {
    let text = &body[start..limit];
    let (item, length) = if text.starts_with('{') {
        let (item, length) = first_value::<T>(text, start, named)?;
        (Some(item), length)
    } else {
        let (_, length) = first_value::<IgnoredAny>(text, start, named)?;
        (None, length)
    };
    Ok((Located { index, json: &text[..length], item }, start + length))
}

fn first_value<'a, T: Deserialize<'a>>(text: &'a str, start: usize, named: Option<u32>) -> Result<(T, usize), DecodeError> {
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<T>();
    match stream.next() {
        Some(Ok(value)) => Ok((value, stream.byte_offset())),
        Some(Err(error)) => Err(DecodeError::Malformed(explain(&error, text, start, named))),
        None => Err(malformed(start, named, "expected an event, found the end")),
    }
}

/// Offset of the first byte at or after `at` that is no JSON white space.
fn skip_space(body: &str, at: usize) -> usize {
    let space = body.as_bytes()[at..].iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).count();
    at + space
}

fn malformed(at: usize, index: Option<u32>, reason: &str) -> DecodeError {
    DecodeError::Malformed(Malformed { at, index, reason: reason.to_owned() })
}

/// Puts a parser's error, which knows only line and column of `text`, in terms of the body in which `text` starts at `start`.
pub(super) fn explain(error: &serde_json::Error, text: &str, start: usize, index: Option<u32>) -> Malformed {
    let full = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let reason = full.strip_suffix(&place).unwrap_or(&full).to_owned();
    let mut within = if error.is_eof() { text.len() } else { offset_of(text.as_bytes(), error.line(), error.column()) };
    // The parser points at the byte before a control character in strings that it skips, at the character in those that it reads.
    let is_control = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_control);
    if reason.starts_with("control character") && !is_control(within) && is_control(within + 1) {
        within += 1;
    }
    Malformed { at: start + within, index, reason }
}

/// The offset of a parser's line (from 1) and column (bytes of the line consumed, the offending one included).
fn offset_of(text: &[u8], line: usize, column: usize) -> usize {
    let line_start = match line.checked_sub(2) {
        Some(nth) => memchr::memchr_iter(b'\n', text).nth(nth).map_or(text.len(), |newline| newline + 1),
        None => 0,
    };
    (line_start + column).saturating_sub(1).min(text.len())
}
