//! The TOML file: its text becomes entries with places.

use super::given::{Given, Value};
use super::load::{Entry, Gathered};
use super::origin::{Origin, line_and_column};
use super::problem::Problem;
use super::section::Section;
use super::suggest::unknown_section;
use std::collections::BTreeSet;
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use toml::de::{DeTable, DeValue};

/// Longest file that is read, in bytes: a wrong name should not load a disk image.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Reads the file.
pub(super) fn gather(path: &Path, sections: &[Section], gathered: &mut Gathered) {
    match read(path) {
        Ok(text) => parse(path, &text, sections, gathered),
        Err(problem) => {
            let origin = Origin::File { path: path.into(), place: None };
            gathered.problems.push(Problem::general(origin, format!("the file cannot be read: {problem}")));
        }
    }
}

/// Reads a small text file.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    let length = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if length as u64 > MAX_FILE_BYTES { Err(format!("it is longer than {MAX_FILE_BYTES} bytes")) } else { Ok(text) }
}

/// Takes the entries out of a file's text.
pub(super) fn parse(path: &Path, text: &str, sections: &[Section], gathered: &mut Gathered) {
    let source = Source { path: path.into(), text };
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut broken_lines = BTreeSet::new();
    for error in errors {
        let place = line_and_column(text, error.span().map_or(0, |span| span.start));
        // A line that is not TOML is one problem, whatever else the parser makes of it.
        if broken_lines.insert(place.0) {
            let origin = Origin::File { path: Arc::clone(&source.path), place: Some(place) };
            gathered.problems.push(Problem::general(origin, format!("this is not valid TOML: {}", error.message())));
        }
    }
    broken_lines.extend(lines_under_broken_headers(text, &broken_lines));
    let sound = |span: Range<usize>| !broken_lines.contains(&line_and_column(text, span.start).0);
    for (name, value) in table.get_ref() {
        match (sections.iter().find(|section| section.name == name.get_ref()), value.get_ref()) {
            (Some(section), DeValue::Table(keys)) => {
                let keys = keys.iter().filter(|(name, value)| sound(name.span()) && sound(value.span()));
                gathered.entries.extend(keys.map(|(key, value)| Entry {
                    name: format!("{}.{}", section.name, key.get_ref()),
                    given: Given::Typed(Value::from_toml(value.get_ref())),
                    key_origin: source.origin(key.span()),
                    origin: source.origin(value.span()),
                }));
            }
            _ if !sound(name.span()) => {}
            (Some(section), _) => {
                let text = format!("{0} is a section, not a key; write [{0}] on a line of its own and its keys below", section.name);
                gathered.problems.push(Problem::general(source.origin(name.span()), text));
            }
            (None, value) => {
                let text = unknown_section(name.get_ref(), value.is_table(), sections);
                gathered.problems.push(Problem::general(source.origin(name.span()), text));
            }
        }
    }
}

/// Lines whose section is not known, because its header is broken: nothing can be said about their keys.
fn lines_under_broken_headers(text: &str, broken_lines: &BTreeSet<usize>) -> Vec<usize> {
    let mut under_broken_header = false;
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with('[') {
            under_broken_header = broken_lines.contains(&number);
        }
        if under_broken_header {
            lines.push(number);
        }
    }
    lines
}

struct Source<'a> {
    path: Arc<Path>,
    text: &'a str,
}

impl Source<'_> {
    fn origin(&self, span: Range<usize>) -> Origin {
        Origin::File { path: Arc::clone(&self.path), place: Some(line_and_column(self.text, span.start)) }
    }
}
