//! A tree to a document's text.

use super::Node;

/// Writes a document, without a separator.
pub(in crate::cli::inject) fn emit(node: &Node) -> String {
    let mut out = String::new();
    match node {
        Node::Map(entries) if !entries.is_empty() => map(entries, 0, false, &mut out),
        Node::List(items) if !items.is_empty() => list(items, 0, &mut out),
        other => {
            out.push_str(inline(other, 0).trim_start());
            out.push('\n');
        }
    }
    out
}

/// Entries, each on lines of its own. The first one's indentation may be there already, behind a dash.
fn map(entries: &[(Node, Node)], indent: usize, first_is_indented: bool, out: &mut String) {
    for (number, (key, value)) in entries.iter().enumerate() {
        if number > 0 || !first_is_indented {
            push_spaces(indent, out);
        }
        out.push_str(&key_text(key));
        out.push(':');
        match value {
            Node::Map(entries) if !entries.is_empty() => {
                out.push('\n');
                map(entries, indent + 2, false, out);
            }
            Node::List(items) if !items.is_empty() => {
                out.push('\n');
                list(items, indent, out);
            }
            other => {
                out.push_str(&inline(other, indent + 2));
                out.push('\n');
            }
        }
    }
}

fn list(items: &[Node], indent: usize, out: &mut String) {
    for item in items {
        push_spaces(indent, out);
        out.push('-');
        match item {
            Node::Map(entries) if !entries.is_empty() => {
                out.push(' ');
                map(entries, indent + 2, true, out);
            }
            Node::List(items) if !items.is_empty() => {
                out.push('\n');
                list(items, indent + 2, out);
            }
            other => {
                out.push_str(&inline(other, indent + 2));
                out.push('\n');
            }
        }
    }
}

fn push_spaces(count: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', count));
}

/// What stands behind a key or a dash, its space included.
fn inline(node: &Node, indent: usize) -> String {
    match node {
        Node::List(_) => " []".to_owned(),
        Node::Map(_) => " {}".to_owned(),
        Node::Scalar { text, is_plain: true } if text.is_empty() => String::new(),
        Node::Scalar { text, is_plain: true } if !text.contains('\n') => format!(" {text}"),
        Node::Scalar { text, .. } if can_be_literal(text) => literal(text, indent),
        Node::Scalar { text, .. } => format!(" {}", quoted(text)),
    }
}

fn key_text(key: &Node) -> String {
    match key {
        Node::Scalar { text, is_plain: true } if text.is_empty() => "~".to_owned(),
        Node::Scalar { text, is_plain: true } if !text.contains('\n') => text.clone(),
        other => quoted(other.text().unwrap_or_default()),
    }
}

/// Characters that only an escape carries safely.
fn needs_escape(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

fn quoted(text: &str) -> String {
    if !text.chars().any(needs_escape) {
        return format!("'{}'", text.replace('\'', "''"));
    }
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if needs_escape(c) => out.extend(format!("\\u{:04X}", u32::from(c)).chars()),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Whether a block scalar says exactly this, without an indentation indicator.
fn can_be_literal(text: &str) -> bool {
    let lines_say_something = |line: &str| line.is_empty() || !line.trim().is_empty();
    text.contains('\n')
        && !text.starts_with([' ', '\t', '\n'])
        && text.split('\n').all(lines_say_something)
        && !text.chars().any(|c| needs_escape(c) && c != '\n' && c != '\t')
}

fn literal(text: &str, indent: usize) -> String {
    let content = text.trim_end_matches('\n');
    let ends = text.len() - content.len();
    let mut out = String::from(match ends {
        0 => " |-",
        1 => " |",
        _ => " |+",
    });
    for line in content.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            push_spaces(indent, &mut out);
            out.push_str(line);
        }
    }
    out.extend(std::iter::repeat_n('\n', ends.saturating_sub(1)));
    out
}
