//! Environment variables: `DUALSTREAM__BUFFER__MAX_BYTES=1GiB`.

use super::given::Given;
use super::key::PREFIX;
use super::load::{Entry, Gathered};
use super::origin::Origin;
use super::problem::Problem;
use super::section::Section;
use std::ffi::OsString;

/// Takes the entries out of the environment.
pub(super) fn gather(environment: &[(OsString, OsString)], sections: &[Section], gathered: &mut Gathered) {
    let mut variables: Vec<_> = environment.iter().filter_map(|(name, value)| Some((name.to_str()?, value))).collect();
    // Problems come in the same order on every start.
    variables.sort_unstable_by_key(|(name, _)| *name);
    for (name, value) in variables {
        let origin = Origin::Environment(name.to_owned());
        let Some(rest) = name.strip_prefix(PREFIX) else {
            gathered.problems.extend(one_underscore(name, sections).map(|text| Problem::general(origin, text)));
            continue;
        };
        match value.to_str() {
            Some(value) => gathered.entries.push(Entry {
                name: key_name(rest),
                given: Given::Loose(value.to_owned()),
                key_origin: origin.clone(),
                origin,
            }),
            None => gathered.problems.push(Problem::of(&key_name(rest), origin, format!("{} is not UTF-8", key_name(rest)))),
        }
    }
}

/// `BUFFER__MAX_BYTES` is `buffer.max_bytes`. Other cases than upper are kept, so that they are unknown: one way to write it.
fn key_name(rest: &str) -> String {
    let dotted = rest.replacen("__", ".", 1);
    if rest.bytes().any(|b| b.is_ascii_lowercase()) { dotted } else { dotted.to_ascii_lowercase() }
}

/// `DUALSTREAM_BUFFER_MAX_BYTES` would be ignored without a word. Names that Kubernetes makes for a service (`DUALSTREAM_PORT`)
/// are no key's.
fn one_underscore(name: &str, sections: &[Section]) -> Option<String> {
    let single = |text: &str| text.replace("__", "_");
    let meant = sections.iter().flat_map(|section| &section.keys).find(|key| single(&key.variable()) == single(name))?;
    Some(format!("it sets nothing: sections and keys are set off by two underscores; did you mean {}?", meant.variable()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::section::sections;

    // Goal: a variable names a key in one way, and near misses are not ignored.
    #[test]
    fn names() {
        for (rest, expect) in [
            ("BUFFER__MAX_BYTES", "buffer.max_bytes"),
            ("INGEST__ALLOW_UIDS", "ingest.allow_uids"),
            ("BUFFER", "buffer"),
            ("buffer__max_bytes", "buffer.max_bytes"),
            ("KAFKA__PROPERTIES__LINGER_MS", "kafka.properties__linger_ms"),
        ] {
            assert_eq!(key_name(rest), expect);
        }
        let sections = sections();
        let hint = one_underscore("DUALSTREAM_BUFFER_MAX_BYTES", &sections).unwrap();
        assert!(hint.ends_with("did you mean DUALSTREAM__BUFFER__MAX_BYTES?"), "{hint}");
        for fine in ["DUALSTREAM_SERVICE_HOST", "DUALSTREAM_PORT_7410_TCP", "DUALSTREAM_CONFIG", "PATH"] {
            assert_eq!(one_underscore(fine, &sections), None, "{fine}");
        }
    }
}
