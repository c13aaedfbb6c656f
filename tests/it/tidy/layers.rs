//! Events flow one way, and so does knowledge: a stage names no later one.

use std::collections::BTreeSet;

use super::source::{SourceFile, sources};

/// What a part of the crate may name besides itself. Ingest appends to the buffer and the drain reads from it through handles that
/// the assembly gives them; ops shows what all stages tell about themselves; only the assembly knows all.
const MAY_NAME: [(&str, &[&str]); 13] = [
    ("error", &[]),
    ("sync", &[]),
    ("backoff", &[]),
    ("event", &["error", "config"]),
    ("config", &["error", "event"]),
    ("lifecycle", &["error", "sync", "event"]),
    ("shutdown", &["error", "config"]),
    ("buffer", &["error", "sync", "event", "config", "lifecycle"]),
    ("ingest", &["error", "event", "config", "lifecycle", "buffer"]),
    ("drain", &["error", "backoff", "event", "config", "lifecycle", "buffer"]),
    ("notify", &["error", "backoff", "event", "config", "lifecycle"]),
    ("ops", &["error", "event", "config", "lifecycle", "ingest", "buffer", "drain", "notify"]),
    ("app", &["error", "event", "config", "lifecycle", "shutdown", "ingest", "buffer", "drain", "notify", "ops"]),
];

// Goal: I can read, test and replace a stage without the ones behind it.
#[test]
fn a_stage_names_no_later_stage() {
    let sources = sources();
    let known: BTreeSet<&str> = MAY_NAME.iter().map(|(part, _)| *part).chain(["cli", ""]).collect();
    let mut wrong = Vec::new();
    for file in sources.iter().filter(|file| !file.is_test) {
        assert!(known.contains(file.part()), "{}: a new part of the crate; say in MAY_NAME what it may name", file.path);
        let Some((part, allowed)) = MAY_NAME.iter().find(|(part, _)| *part == file.part()) else {
            // The command line and main.rs are the end of the line: they may name all.
            continue;
        };
        let named = parts_named(file).into_iter().filter(|name| known.contains(name.as_str()));
        wrong.extend(
            named.filter(|name| name != part && !allowed.contains(&name.as_str())).map(|name| format!("{} names {name}", file.path)),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

// Goal: the rule above sees every way to name a part of the crate.
#[test]
fn every_way_to_name_a_part_is_seen() {
    let file = |path: &str, code: &str| SourceFile {
        path: path.to_owned(),
        module: path.trim_end_matches(".rs").split('/').map(str::to_owned).collect(),
        is_test: false,
        text: String::new(),
        code: code.to_owned(),
    };
    for (code, named) in [
        ("use crate::drain::Drain;", &["drain"][..]),
        ("fn f(x: &crate::ops::Ops) {}", &["ops"]),
        ("use crate::{buffer::{Appender, log::frame}, drain, event as e};", &["buffer", "drain", "event"]),
        ("use crate::{\n    app::App,\n    config,\n};", &["app", "config"]),
        ("use super::super::notify::Notify;", &["notify"]),
        ("use super::super::{cli, notify::Notify};", &["cli", "notify"]),
        ("use super::notify;", &[]),
        ("pub(crate) fn f() { self::drain::x() }", &[]),
    ] {
        let found: Vec<_> = parts_named(&file("ingest/http.rs", code)).into_iter().collect();
        assert_eq!(found, named, "{code}");
    }
    let found = parts_named(&file("ingest.rs", "use super::drain::X;"));
    assert!(found.contains("drain"), "{found:?}");
}

/// The first names of all paths that start at the crate's root.
fn parts_named(file: &SourceFile) -> BTreeSet<String> {
    let to_root = "super::".repeat(file.module.len());
    let mut names = BTreeSet::new();
    for prefix in ["crate::", to_root.as_str()].into_iter().filter(|prefix| !prefix.is_empty()) {
        for (at, _) in file.code.match_indices(prefix) {
            let before = file.code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            names.extend(first_names(&file.code[at + prefix.len()..]));
        }
    }
    names
}

/// `drain` of `drain::Drain…`, `buffer` and `drain` of `{buffer::{a, b}, drain}…`.
fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let mut names = vec![name(group)];
    let mut depth = 1;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => break,
            '}' => depth -= 1,
            ',' if depth == 1 => names.push(name(&group[at + 1..])),
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}
