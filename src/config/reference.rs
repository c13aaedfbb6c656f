//! Renders the reference of all keys from their definitions: `docs/config.md`, and a TOML file with every default.

use super::Config;
use super::key::Key;
use super::section::{Section, sections};

const INTRODUCTION: &str = "\
<!-- Generated from src/config/section/: `cargo run -- config-reference > docs/config.md`. A test compares. -->
# Configuration

Settings come from, each over the one before: the built-in defaults, a TOML file (`--config FILE`), environment variables, flags.

| where | how |
|---|---|
| file | `[buffer]` on a line, then `max_bytes = \"1GiB\"` |
| environment | `DUALSTREAM__BUFFER__MAX_BYTES=1GiB`: section and key in capitals, set off by two underscores; lists and tables as TOML values, such as `DUALSTREAM__KAFKA__PROPERTIES='{\"compression.type\"=\"lz4\"}'` |
| flag | `--set buffer.max_bytes=1GiB`, repeatable, also `--set kafka.properties.compression.type=lz4`; and `--brokers`, `--topic`, `--redis-url`, `--dir`, `--listen` |

Sizes are bytes (`1048576`) or have a unit: `512MiB` is 2^29 bytes, `512MB` is 512 million. Times always have a unit: `250ms`, `2s`,
`1m 30s`. Everything is checked at start, and with `dualstream check` before it: all problems at once, each with its place. An
unknown key is an error.
";

/// The reference as Markdown.
pub fn reference_markdown() -> String {
    let sections = sections();
    [INTRODUCTION.to_owned()].into_iter().chain(sections.iter().map(page_section)).collect()
}

/// A TOML file that holds every key with its default, commented out, and its meaning.
pub fn reference_toml() -> String {
    let head = "# Every key with its default. Remove the '#' before a key to change it.\n".to_owned();
    let sections = sections();
    [head].into_iter().chain(sections.iter().map(file_section)).collect()
}

fn page_section(section: &Section) -> String {
    let about = section.about.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
    let row = |key: &Key| {
        let default = key.show(&Config::default());
        format!("| `{}` | `{default}` | {} | {} |\n", key.short_name(), cell(&key.allowed()), cell(key.doc()))
    };
    let rows: String = section.keys.iter().map(row).collect();
    format!("\n## [{}]\n{about}\n\n| key | default | allowed | meaning |\n|---|---|---|---|\n{rows}", section.name)
}

fn file_section(section: &Section) -> String {
    let entry = |key: &Key| {
        let default = key.show(&Config::default());
        format!("# {}\n# Allowed: {}.\n#{} = {default}\n", key.doc(), key.allowed(), key.short_name())
    };
    let entries: String = section.keys.iter().map(entry).collect();
    format!("\n[{}]\n{entries}", section.name)
}

/// Markdown would take a bar for the end of the cell and `<word>` for a tag.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};

    // Goal: the reference in docs/ is what the program says of itself.
    #[test]
    fn the_page_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/config.md");
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            stored == reference_markdown(),
            "docs/config.md differs from the definitions in src/config/section/; write it anew with\n    \
             cargo run -- config-reference > docs/config.md"
        );
    }

    // Goal: every default that the reference names is accepted as it is printed, and changes nothing.
    #[test]
    fn defaults_read_back() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let uncommented = |line: &str| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line).to_owned();
        let keys = reference_toml().lines().map(uncommented).collect::<Vec<_>>().join("\n");
        std::fs::write(file.path(), &keys).unwrap();
        let config = load(&Sources { file: Some(file.path().to_owned()), ..Sources::default() });
        assert_eq!(config.unwrap(), Config::default());
        assert_eq!(keys.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')).count(), total_keys());
    }

    fn total_keys() -> usize {
        sections().iter().map(|section| section.keys.len()).sum()
    }
}
