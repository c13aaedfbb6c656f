//! A stream's documents, byte for byte, so that those that nothing happens to can be passed on as they were.

/// One document with all around it: its `---` line and the comments before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli::inject) struct Document<'a> {
    /// All of it.
    pub(in crate::cli::inject) text: &'a str,
    /// The number of its first line in the stream, from 1.
    pub(in crate::cli::inject) line: usize,
}

/// Cuts a stream before every separator. No scalar can hold a line that looks like one.
pub(in crate::cli::inject) fn split(stream: &str) -> Vec<Document<'_>> {
    let mut found = Vec::new();
    let (mut start, mut at, mut first_line) = (0, 0, 1);
    for (number, line) in stream.split_inclusive('\n').enumerate() {
        if is_separator(line) && at > start {
            found.push(Document { text: &stream[start..at], line: first_line });
            (start, first_line) = (at, number + 1);
        }
        at += line.len();
    }
    if at > start {
        found.push(Document { text: &stream[start..at], line: first_line });
    }
    found
}

fn is_separator(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
}

fn is_remark(line: &str) -> bool {
    line.trim().is_empty() || line.trim_start().starts_with('#')
}

impl<'a> Document<'a> {
    /// Whether it begins with its separator.
    pub(in crate::cli::inject) fn has_separator(&self) -> bool {
        self.text.split_inclusive('\n').next().is_some_and(is_separator)
    }

    /// Whether there is nothing in it but its separator, comments and directives.
    pub(in crate::cli::inject) fn is_empty(&self) -> bool {
        self.text.lines().all(|line| is_remark(line) || line.starts_with('%') || is_remark(line.strip_prefix("---").unwrap_or(line)))
    }

    /// Whether it is what may stand before the first separator: directives such as `%YAML`.
    pub(in crate::cli::inject) fn is_only_directives(&self) -> bool {
        self.is_empty() && self.text.lines().any(|line| line.starts_with('%'))
    }

    /// The lines before its content: the separator and comments.
    pub(in crate::cli::inject) fn head(&self) -> &'a str {
        let mut lines = self.text.split_inclusive('\n').enumerate();
        let is_head = |number: usize, line: &str| {
            is_remark(line) || number == 0 && is_separator(line) && is_remark(line.strip_prefix("---").unwrap_or(line))
        };
        let length = lines.by_ref().take_while(|(number, line)| is_head(*number, line)).map(|(_, line)| line.len()).sum();
        &self.text[..length]
    }
}
