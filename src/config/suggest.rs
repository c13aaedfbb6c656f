//! "Did you mean": the nearest known name to an unknown one. Pure.

use super::key::Key;
use super::origin::Origin;
use super::section::Section;

/// How alike two names must be to be suggested, from 0 to 1: one or two slips in a short word, not another word.
const ALIKE: f64 = 0.6;

/// The sentence about a key that does not exist.
pub(super) fn unknown_key(name: &str, origin: &Origin, sections: &[Section]) -> String {
    let (section_name, key_name) = name.split_once('.').unwrap_or((name, ""));
    let Some(section) = sections.iter().find(|section| section.name == section_name) else {
        return match guess_other_section(section_name, key_name, sections) {
            Some(key) => format!("there is no key {name}; did you mean {}?", spell(key, origin)),
            None => format!("there is no key {name}; the sections are {}", section_names(sections)),
        };
    };
    let within = nearest(key_name, section.keys.iter().map(|key| (key.short_name(), key)));
    match within.or_else(|| same_name_elsewhere(key_name, sections)) {
        Some(key) => format!("there is no key {name}; did you mean {}?", spell(key, origin)),
        None => format!("there is no key {name}; the keys of [{section_name}] are {}", key_names(section)),
    }
}

/// The sentence about a section, or a key above all sections, that does not exist.
pub(super) fn unknown_section(name: &str, is_table: bool, sections: &[Section]) -> String {
    if !is_table && let Some(key) = same_name_elsewhere(name, sections) {
        return format!("there is no key {name} outside the sections; did you mean {} in [{}]?", key.short_name(), key.section());
    }
    match nearest(name, sections.iter().map(|section| (section.name, section.name))) {
        Some(section) => format!("there is no section [{name}]; did you mean [{section}]?"),
        None => format!("there is no section [{name}]; the sections are {}", section_names(sections)),
    }
}

/// As the user would write it in the place where the mistake is.
fn spell(key: &Key, origin: &Origin) -> String {
    if matches!(origin, Origin::Environment(_)) { key.variable() } else { key.name().to_owned() }
}

fn guess_other_section<'a>(section_name: &str, key_name: &str, sections: &'a [Section]) -> Option<&'a Key> {
    let section = nearest(section_name, sections.iter().map(|section| (section.name, section)));
    let within = section.and_then(|section| nearest(key_name, section.keys.iter().map(|key| (key.short_name(), key))));
    within.or_else(|| same_name_elsewhere(if key_name.is_empty() { section_name } else { key_name }, sections))
}

fn same_name_elsewhere<'a>(key_name: &str, sections: &'a [Section]) -> Option<&'a Key> {
    sections.iter().flat_map(|section| &section.keys).find(|key| key.short_name() == key_name)
}

fn nearest<'a, T>(name: &str, candidates: impl Iterator<Item = (&'a str, T)>) -> Option<T> {
    let likeness = |candidate: &str| strsim::normalized_damerau_levenshtein(name, candidate);
    let alike = candidates.map(|(candidate, found)| (likeness(candidate), found)).filter(|(likeness, _)| *likeness >= ALIKE);
    alike.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, found)| found)
}

fn section_names(sections: &[Section]) -> String {
    sections.iter().map(|section| section.name).collect::<Vec<_>>().join(", ")
}

fn key_names(section: &Section) -> String {
    section.keys.iter().map(Key::short_name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::section::sections;

    // Goal: a slip of the hand gets the right name back, spelled as it belongs there; nonsense gets the list instead.
    #[test]
    fn keys() {
        let flag = Origin::Flag("--set".into());
        let env = Origin::Environment("X".into());
        for (name, origin, expect) in [
            ("buffer.maxbytes", &flag, "there is no key buffer.maxbytes; did you mean buffer.max_bytes?"),
            ("buffer.max_byte", &env, "there is no key buffer.max_byte; did you mean DUALSTREAM__BUFFER__MAX_BYTES?"),
            ("kafka.broker", &flag, "there is no key kafka.broker; did you mean kafka.brokers?"),
            ("bufer.max_bytes", &flag, "there is no key bufer.max_bytes; did you mean buffer.max_bytes?"),
            ("buffer.brokers", &flag, "there is no key buffer.brokers; did you mean kafka.brokers?"),
            ("max_bytes", &flag, "there is no key max_bytes; did you mean buffer.max_bytes?"),
            ("server.brokers", &flag, "there is no key server.brokers; did you mean kafka.brokers?"),
            ("log.zzz", &flag, "there is no key log.zzz; the keys of [log] are level, format"),
            ("zzz.zzz", &flag, "there is no key zzz.zzz; the sections are ingest, buffer, kafka, redis, ops, shutdown, log"),
        ] {
            assert_eq!(unknown_key(name, origin, &sections()), expect);
        }
    }

    // Goal: a wrong section is one problem with one hint, not one per key.
    #[test]
    fn section_names() {
        for (name, is_table, expect) in [
            ("kafak", true, "there is no section [kafak]; did you mean [kafka]?"),
            ("gateway", true, "there is no section [gateway]; the sections are ingest, buffer, kafka, redis, ops, shutdown, log"),
            ("brokers", false, "there is no key brokers outside the sections; did you mean brokers in [kafka]?"),
        ] {
            assert_eq!(unknown_section(name, is_table, &sections()), expect);
        }
    }
}
