//! The list of mutants (`make mutants`) is about the code as it is.

use std::{collections::BTreeSet, fs};

use super::source::{files_below, root};

/// What `scripts/mutants.py` reads.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    mutant: Vec<Mutant>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutant {
    name: String,
    file: String,
    find: String,
    replace: String,
    #[serde(default)]
    more: Vec<(String, String)>,
    why: String,
    proof: String,
}

// Goal: whoever changes code that a mutant is about is told so, so that the check does not silently shrink.
#[test]
fn every_mutant_still_applies() {
    let tables = files_below(&root().join("tests/mutants"));
    let texts = tables.iter().map(|path| fs::read_to_string(path).expect("a table is text"));
    let mutants: Vec<Mutant> = texts.flat_map(|text| toml::from_str::<Table>(&text).unwrap_or_else(|e| panic!("{e}")).mutant).collect();
    let names: BTreeSet<&str> = mutants.iter().map(|mutant| mutant.name.as_str()).collect();
    assert!(names.len() == mutants.len() && mutants.len() >= 40, "{} names for {} mutants", names.len(), mutants.len());
    let mut wrong = Vec::new();
    for Mutant { name, file, find, replace, more, why, proof } in &mutants {
        let text = fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{name}: {file}: {e}"));
        for (find, replace) in [(find, replace)].into_iter().chain(more.iter().map(|(find, replace)| (find, replace))) {
            let count = text.matches(find.as_str()).count();
            if count != 1 || find == replace {
                wrong.push(format!("{name}: its text stands {count} times in {file}, not once"));
            }
        }
        if why.is_empty() || !(proof.starts_with("--lib ") || proof.starts_with("--test ")) {
            wrong.push(format!("{name}: no reason, or no proof"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
