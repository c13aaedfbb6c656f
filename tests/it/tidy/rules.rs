//! What may be named where, and what nowhere.

use std::{fs, path::PathBuf};

use super::source::{SourceFile, files_below, root, sources};

/// Lines of product code in a file, tests at its end included; the median is far lower.
const LINES_MAX: usize = 500;

// Goal: Kafka's client can be replaced in one folder, and so can Redis'; the demo brings its own engines, and the bench its own
// yardstick.
#[test]
fn each_client_is_named_in_its_stage_only() {
    assert_named_only_in("rdkafka", &["drain/", "cli/demo/", "cli/bench/"]);
    assert_named_only_in("redis", &["notify/", "cli/demo/"]);
}

// Goal: the buffer can be tried on a disk that fails, because all of it goes through one file; other files touch the disk only for
// what they are there for.
#[test]
fn the_disk_is_touched_in_few_places() {
    let allowed = ["buffer/log/storage.rs", "ingest/socket.rs", "ops/server/listener.rs", "ops/server/authority.rs", "config/", "cli/"];
    let ways = ["std::fs", "tokio::fs", "std::{fs", "File::open", "File::create", "OpenOptions"];
    let mut wrong = Vec::new();
    for file in product().iter().filter(|file| !allowed.iter().any(|place| file.is_in(place))) {
        wrong.extend(ways.iter().filter(|way| names(&file.code, way)).map(|way| format!("{}: {way}", file.path)));
        let grouped = file.code.split("use std::{").skip(1).filter_map(|group| group.split(';').next());
        wrong.extend(grouped.filter(|group| names(group, "fs")).map(|_| format!("{}: fs in a group", file.path)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

// Goal: nothing that is shipped is unfinished.
#[test]
fn nothing_is_unfinished() {
    // Put together, so that this file does not hold them.
    let marks = [concat!("to", "do!("), concat!("unimple", "mented!("), concat!("FIX", "ME")];
    let mut wrong = Vec::new();
    for (path, text) in all_texts() {
        wrong.extend(marks.iter().filter(|mark| text.contains(**mark)).map(|mark| format!("{path}: {mark}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

// Goal: a file fits into a head.
#[test]
fn no_file_is_long() {
    let long: Vec<_> =
        product().iter().map(|file| (file.text.lines().count(), file.path.clone())).filter(|(lines, _)| *lines > LINES_MAX).collect();
    assert!(long.is_empty(), "{long:?}");
}

// Goal: the repository works on any machine: nothing in it names a place on the one where it was written.
#[test]
fn no_path_of_a_machine_is_named() {
    let places = [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/"), concat!("/wo", "rk/")];
    let mut wrong = Vec::new();
    for (path, text) in all_texts() {
        for place in places {
            // Within a longer path it is another place: `/var/lib/home/`, `docs/home/`.
            let named =
                text.match_indices(place).any(|(at, _)| !text[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}*/".contains(c)));
            wrong.extend(named.then(|| format!("{path}: {place}")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

// Goal: every integration test says, before anything else, what it proves to whom.
#[test]
fn every_test_states_its_goal() {
    let mut wrong = Vec::new();
    for file in files_below(&root().join("tests/it")).iter().filter(|path| !path.ends_with("support_check.rs")) {
        let text = fs::read_to_string(file).expect("source is text");
        let lines: Vec<_> = text.lines().collect();
        for (at, _) in lines.iter().enumerate().filter(|(_, line)| line.trim() == "#[test]") {
            let comment: Vec<_> = lines[..at].iter().rev().take_while(|line| line.trim_start().starts_with("//")).collect();
            if !comment.last().is_some_and(|first| first.trim_start().starts_with("// Goal: ")) {
                wrong.push(format!("{}:{}", file.display(), at + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn product() -> Vec<SourceFile> {
    sources().into_iter().filter(|file| !file.is_test).collect()
}

#[track_caller]
fn assert_named_only_in(client: &str, places: &[&str]) {
    let product = product();
    let naming: Vec<_> = product.iter().filter(|file| names_crate(file, client)).collect();
    assert!(!naming.is_empty(), "the rule finds where {client} is named at all");
    let wrong: Vec<_> = naming.iter().filter(|file| !places.iter().any(|place| file.is_in(place))).map(|file| &file.path).collect();
    assert!(wrong.is_empty(), "{client} is named in {wrong:#?}");
}

/// Whether a path begins with the crate's name. Where a module of the same name is declared, only `::name::` means the crate.
fn names_crate(file: &SourceFile, name: &str) -> bool {
    let declares = [format!("mod {name};"), format!("mod {name} {{")].iter().any(|declaration| file.code.contains(declaration.as_str()));
    let begins = |path: &str| names(&file.code, path);
    begins(&format!("::{name}::"))
        || !declares && (begins(&format!("{name}::")) || begins(&format!("use {name};")) || begins(&format!("use {name} as")))
}

/// Whether `path` stands in `code` with nothing before it that makes it part of another path or name.
fn names(code: &str, path: &str) -> bool {
    code.match_indices(path).any(|(at, _)| {
        let is_alone = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
        is_alone && !code[at + path.len()..].starts_with(|c: char| c.is_alphanumeric() && !path.ends_with(':') || c == '_')
    })
}

/// Every text that is written by hand, with its path.
fn all_texts() -> Vec<(String, String)> {
    let folders = ["src", "tests", "docs", "scripts", "examples", "benches", "helm", "fuzz", ".ci"].map(|name| root().join(name));
    let below = folders.iter().filter(|folder| folder.is_dir()).flat_map(|folder| files_below(folder));
    let top = fs::read_dir(root()).expect("the repository").map(|entry| entry.expect("an entry").path());
    // A worktree's `.git` is a file.
    let top = top.filter(|path| path.is_file() && !path.ends_with(".git"));
    let is_built = |path: &PathBuf| path.components().any(|part| part.as_os_str() == "target");
    let texts = below.chain(top).filter(|path| !is_built(path)).filter_map(|path| {
        // What is no text was not written by hand.
        let text = fs::read_to_string(&path).ok()?;
        Some((path.strip_prefix(root()).unwrap().display().to_string(), text))
    });
    texts.collect()
}
