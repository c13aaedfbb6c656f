//! The source as the rules look at it: files, with what belongs to tests and to comments taken out.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A file of the product.
pub struct SourceFile {
    /// Below `src/`: `drain/kafka/mod.rs`.
    pub path: String,
    /// Its module, from the crate's root: `["drain", "kafka"]`. Empty for `lib.rs` and `main.rs`.
    pub module: Vec<String>,
    /// Compiled for tests only.
    pub is_test: bool,
    /// The whole text.
    pub text: String,
    /// The text that is no comment and comes before the tests at the file's end.
    pub code: String,
}

impl SourceFile {
    /// The stage or other part that it belongs to: the first name of its module.
    pub fn part(&self) -> &str {
        self.module.first().map_or("", String::as_str)
    }

    /// Whether it is this file, or below this folder (which ends with `/`).
    pub fn is_in(&self, place: &str) -> bool {
        self.path == place || place.ends_with('/') && self.path.starts_with(place)
    }
}

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `src/`.
pub fn sources() -> Vec<SourceFile> {
    let base = root().join("src");
    let texts: Vec<(String, String)> = files_below(&base)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| {
            let text = fs::read_to_string(&path).expect("source is text");
            (path.strip_prefix(&base).unwrap().to_str().expect("a plain name").to_owned(), text)
        })
        .collect();
    let test_modules: BTreeSet<Vec<String>> = texts.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
    let read = |(path, text): (String, String)| {
        let module = module(&path);
        let is_test = (1..=module.len()).any(|length| test_modules.contains(&module[..length]));
        let code = code(&text);
        SourceFile { path, module, is_test, text, code }
    };
    texts.into_iter().map(read).collect()
}

/// The files of a folder and of those in it.
pub fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// `drain/kafka/mod.rs` is `drain::kafka`.
fn module(path: &str) -> Vec<String> {
    let name = path.strip_suffix(".rs").unwrap();
    let name = name.strip_suffix("/mod").unwrap_or(name);
    if matches!(name, "lib" | "main") { Vec::new() } else { name.split('/').map(str::to_owned).collect() }
}

/// The modules in files of their own that are declared `#[cfg(test)]` in a file, as [`module`] has them.
fn test_modules(path: &str, text: &str) -> Vec<Vec<String>> {
    let declared = text.split("#[cfg(test)]\n").skip(1).filter_map(|after| {
        let (attributes, rest) = after.split_once("mod ")?;
        let (name, _) = rest.split_once(';').filter(|(name, _)| !name.contains(char::is_whitespace))?;
        let Some((_, file)) = attributes.split_once("#[path = \"") else {
            return Some([module(path), vec![name.to_owned()]].concat());
        };
        // Relative to the folder of the file that declares it.
        let folder = path.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
        Some(module(&format!("{folder}{}", file.split_once('"')?.0)))
    });
    declared.collect()
}

/// Without comments, and without the test module that ends a file.
fn code(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests {").or_else(|| text.find("#[cfg(test)]\npub(super) mod tests {")).unwrap_or(text.len());
    let lines = text[..end].lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

// Goal: the rules below look at the product's code, all of it, and at nothing else.
#[test]
fn code_is_told_from_tests_and_comments() {
    let sources = sources();
    let of = |path: &str| sources.iter().find(|file| file.path == path).unwrap_or_else(|| panic!("no {path}"));
    assert_eq!(of("drain/kafka/mod.rs").module, ["drain", "kafka"]);
    assert_eq!(of("main.rs").part(), "");
    for tests in ["drain/kafka/tests.rs", "drain/simulated/mod.rs", "ingest/tests/mod.rs", "ingest/tests/replies.rs", "ops/health_tests.rs"]
    {
        assert!(of(tests).is_test, "{tests}");
    }
    let product: Vec<_> = sources.iter().filter(|file| !file.is_test).collect();
    assert!(product.len() > 120, "{} files", product.len());
    for file in product {
        let left: Vec<_> = ["#[test]", "#[tokio::test", "//!", "proptest!"].into_iter().filter(|mark| file.code.contains(mark)).collect();
        assert!(left.is_empty(), "{}: {left:?}", file.path);
    }
}
