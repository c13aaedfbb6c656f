//! Puts the layers over each other and judges the result.

use super::Config;
use super::env;
use super::file;
use super::flag::{self, FlagValue};
use super::given::{Given, Value};
use super::key::Key;
use super::origin::Origin;
use super::problem::{Problem, Problems};
use super::relation;
use super::section::{Section, sections};
use super::suggest::unknown_key;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;

/// Everything that settings can come from. Not read by itself: tests and commands say what there is.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The TOML file; `None`: defaults, environment and flags only.
    pub file: Option<PathBuf>,
    /// All environment variables; those of other programs are passed over.
    pub environment: Vec<(OsString, OsString)>,
    /// Flags in the order given.
    pub flags: Vec<FlagValue>,
}

/// Loads and judges the settings.
///
/// # Errors
/// All problems there are.
pub fn load(sources: &Sources) -> Result<Config, Problems> {
    let (config, problems) = load_leniently(sources);
    problems.map_or(Ok(config), Err)
}

/// Loads and judges the settings: what of them could be understood, defaults in the other places, and all problems there are.
///
/// For looking on where one problem shall not hide the next; nothing must run with settings that have any.
pub fn load_leniently(sources: &Sources) -> (Config, Option<Problems>) {
    let sections = sections();
    let mut gathered = Gathered::default();
    if let Some(path) = &sources.file {
        file::gather(path, &sections, &mut gathered);
    }
    env::gather(&sources.environment, &sections, &mut gathered);
    flag::gather(&sources.flags, &mut gathered);
    judge(gathered, &sections)
}

/// What the layers hold, lowest first, and what was wrong with their form.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) entries: Vec<Entry>,
    pub(super) problems: Vec<Problem>,
}

/// One key given somewhere.
#[derive(Debug)]
pub(super) struct Entry {
    /// `section.name`, not yet known to exist.
    pub(super) name: String,
    pub(super) given: Given,
    /// Where the name stands.
    pub(super) key_origin: Origin,
    /// Where the value stands.
    pub(super) origin: Origin,
}

/// The settings so far, for rules over several keys.
pub(super) struct Loaded {
    pub(super) config: Config,
    /// Where each key that was given came from last.
    pub(super) origins: BTreeMap<&'static str, Origin>,
    /// Keys with a problem: their place in `config` is not what the user meant.
    pub(super) broken: BTreeSet<&'static str>,
}

fn judge(gathered: Gathered, sections: &[Section]) -> (Config, Option<Problems>) {
    let Gathered { entries, mut problems } = gathered;
    let mut loaded = Loaded { config: Config::default(), origins: BTreeMap::new(), broken: BTreeSet::new() };
    for entry in entries {
        let Some((key, given)) = find(&entry, sections) else {
            let text = unknown_key(&entry.name, &entry.key_origin, sections);
            problems.push(Problem::of(&entry.name, entry.key_origin, text));
            continue;
        };
        if let Err(text) = key.set(&given, &mut loaded.config) {
            problems.push(Problem::of(key.name(), entry.origin, text));
            let _ = loaded.broken.insert(key.name());
        } else {
            let _ = loaded.origins.insert(key.name(), entry.origin);
        }
    }
    problems.extend(take_url_file(&mut loaded, sections));
    problems.extend(relation::check(&loaded, sections));
    problems.sort_by_key(|problem| problem.origin.order());
    (loaded.config, (!problems.is_empty()).then_some(Problems(problems)))
}

/// The key an entry means. `kafka.properties.linger.ms` is an entry of the table `kafka.properties`.
fn find<'a>(entry: &Entry, sections: &'a [Section]) -> Option<(&'a Key, Given)> {
    let mut keys = sections.iter().flat_map(|section| &section.keys);
    if let Some(key) = keys.find(|key| key.name() == entry.name) {
        return Some((key, entry.given.clone()));
    }
    let property = entry.name.strip_prefix("kafka.properties.").filter(|property| !property.is_empty())?;
    let Given::Loose(text) = &entry.given else { return None };
    let table = BTreeMap::from([(property.to_owned(), Value::Text(text.clone()))]);
    let key = sections.iter().flat_map(|section| &section.keys).find(|key| key.name() == "kafka.properties")?;
    Some((key, Given::Typed(Value::Table(table))))
}

/// Puts the content of `redis.url_file` where `redis.url` is, when it is the one that counts.
fn take_url_file(loaded: &mut Loaded, sections: &[Section]) -> Option<Problem> {
    let path = loaded.config.redis.url_file.clone()?;
    let layer = |key| loaded.origins.get(key).map_or(0, Origin::layer);
    let (url_layer, file_layer) = (layer("redis.url"), layer("redis.url_file"));
    let origin = loaded.origins.get("redis.url_file").cloned().unwrap_or(Origin::Default);
    if url_layer > file_layer {
        return None;
    }
    if url_layer == file_layer && loaded.config.redis.url.is_some() {
        let text = "redis.url_file is given beside redis.url; allowed: one of them".to_owned();
        return Some(Problem::of("redis.url_file", origin, text));
    }
    let key = sections.iter().flat_map(|section| &section.keys).find(|key| key.name() == "redis.url")?;
    let name = path.display();
    let problem = match file::read(&path) {
        Err(problem) => format!("redis.url_file is {name}, which cannot be read: {problem}"),
        Ok(text) if text.trim().is_empty() => format!("redis.url_file is {name}, which is empty"),
        Ok(text) => match key.set(&Given::Loose(text.trim().to_owned()), &mut loaded.config) {
            Ok(()) => return None,
            Err(problem) => format!("the content of redis.url_file, {name}, is wrong: {problem}"),
        },
    };
    Some(Problem::of("redis.url_file", origin, problem))
}
