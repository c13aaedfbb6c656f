//! The relay's settings in the pod: the user's file and flags, and what the pod's shape decides; as a ConfigMap.

use super::InjectArgs;
use super::plan::drain_seconds;
use super::sidecar::{BUFFER_DIRECTORY, config_map, socket_path};
use super::yaml::Node;
use crate::cli::exit::{Exit, Failure};
use crate::config::{Config, FlagValue, Sources, load_leniently};
use std::path::Path;
use toml::{Table, Value};

/// Keys whose files are mounted in the pod, and not here.
const FILES_OF_THE_POD: [&str; 2] = ["redis.url_file", "buffer.encryption_key_file"];

/// Properties of librdkafka that a ConfigMap must not hold.
const SECRET_PROPERTIES: [&str; 5] =
    ["sasl.password", "ssl.key.pem", "ssl.key.password", "ssl.keystore.password", "sasl.oauthbearer.client.secret"];

/// Judges the settings as the relay in the pod will. The environment of this process has no say.
pub(super) fn load(args: &InjectArgs) -> Result<Config, Failure> {
    let named = |(spelled, key, value): (&'static str, &'static str, &Option<String>)| {
        Some(FlagValue::Named { spelled, key, value: value.clone()? })
    };
    let sources =
        Sources { file: args.config.clone(), environment: Vec::new(), flags: flags(args).into_iter().filter_map(named).collect() };
    let (config, problems) = load_leniently(&sources);
    let Some(mut problems) = problems else { return Ok(config) };
    problems.0.retain(|problem| !problem.key.as_deref().is_some_and(|key| FILES_OF_THE_POD.contains(&key)));
    if problems.0.is_empty() { Ok(config) } else { Err(problems.into()) }
}

/// Flags, the keys that they set, and their values.
fn flags(args: &InjectArgs) -> [(&'static str, &'static str, &Option<String>); 5] {
    [
        ("--brokers", "kafka.brokers", &args.brokers),
        ("--topic", "kafka.topic", &args.topic),
        ("--redis-url", "redis.url", &args.redis_url),
        ("--max-bytes", "buffer.max_bytes", &args.max_bytes),
        ("--drain-time", "shutdown.grace", &args.drain_time),
    ]
}

/// The text of `relay.toml`, after [`load`] has found the settings good.
pub(super) fn text(args: &InjectArgs, config: &Config) -> Result<String, Failure> {
    let usage = |message: String| Failure::new(Exit::Usage, message);
    let mut table = match &args.config {
        Some(path) => read(path)?,
        None => Table::new(),
    };
    for (_, key, value) in flags(args) {
        if let Some(value) = value {
            drop(section(&mut table, key).insert(name(key).to_owned(), Value::from(value.as_str())));
        }
    }
    if !section(&mut table, "kafka.brokers").contains_key("brokers") {
        return Err(usage("kafka.brokers is not set; name the bootstrap servers, such as --brokers kafka:9092".to_owned()));
    }
    refuse_secrets(config).map_err(usage)?;
    for (key, value) in of_the_pod(args, config) {
        let section = section(&mut table, key);
        match section.get(name(key)) {
            Some(given) if *given != value => {
                return Err(usage(format!("the settings say {key} = {given}, but in the pod it is {value}; take the key out")));
            }
            _ => drop(section.insert(name(key).to_owned(), value)),
        }
    }
    if args.fallback {
        let seconds = |seconds: u64| Value::from(format!("{seconds}s"));
        let shutdown = section(&mut table, "shutdown.grace");
        drop(shutdown.insert("linger".to_owned(), seconds(args.app_seconds)));
        drop(shutdown.insert("grace".to_owned(), seconds(args.app_seconds + drain_seconds(config))));
    }
    table.retain(|_, section| section.as_table().is_none_or(|section| !section.is_empty()));
    toml::to_string(&table).map_err(|error| Failure::new(Exit::Failed, format!("cannot write the settings as TOML: {error}")))
}

/// The keys that the pod's shape decides.
fn of_the_pod(args: &InjectArgs, config: &Config) -> Vec<(&'static str, Value)> {
    let mut keys =
        vec![("buffer.dir", Value::from(BUFFER_DIRECTORY)), ("ops.probe_listen", Value::from(format!("0.0.0.0:{}", args.probe_port)))];
    if !args.no_socket {
        keys.push(("ingest.socket", Value::from(socket_path())));
    }
    if args.fallback && !config.shutdown.linger.is_zero() {
        // Said twice, and differently: which one is meant?
        keys.push(("shutdown.linger", Value::from(format!("{}s", args.app_seconds))));
    }
    keys
}

fn read(path: &Path) -> Result<Table, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(Exit::Usage, format!("{}: {error}", path.display()));
    std::fs::read_to_string(path).map_err(|error| failed(&error))?.parse().map_err(|error: toml::de::Error| failed(&error))
}

/// The section that a key is in.
fn section<'a>(table: &'a mut Table, key: &str) -> &'a mut Table {
    let section = key.split_once('.').map_or(key, |(section, _)| section);
    let entry = table.entry(section.to_owned()).or_insert_with(|| Value::Table(Table::new()));
    if !entry.is_table() {
        *entry = Value::Table(Table::new());
    }
    match entry {
        Value::Table(section) => section,
        _ => unreachable!("it was made a table"),
    }
}

fn name(key: &str) -> &str {
    key.split_once('.').map_or(key, |(_, name)| name)
}

fn refuse_secrets(config: &Config) -> Result<(), String> {
    if let Some(property) = SECRET_PROPERTIES.iter().find(|property| config.kafka.properties.contains_key(**property)) {
        return Err(format!(
            "kafka.properties has {property}, and a ConfigMap is no place for a secret; give the container DUALSTREAM__KAFKA__PROPERTIES from a Secret"
        ));
    }
    let has_password = config.redis.url.as_deref().and_then(|url| url.split_once("://")).is_some_and(|(_, rest)| {
        let authority = rest.split('/').next().unwrap_or_default();
        authority.rsplit_once('@').is_some_and(|(user, _)| user.split_once(':').is_some_and(|(_, password)| !password.is_empty()))
    });
    if has_password {
        return Err(
            "redis.url has a password, and a ConfigMap is no place for one; mount the URL from a Secret and name it in redis.url_file"
                .to_owned(),
        );
    }
    Ok(())
}

/// The ConfigMap of a namespace.
pub(super) fn object(name: &str, namespace: Option<&str>, text: &str) -> Node {
    let mut metadata = Node::map([("name", Node::string(config_map(name)))]);
    if let Some(namespace) = namespace {
        metadata.set("namespace", Node::string(namespace));
    }
    Node::map([
        ("apiVersion", Node::plain("v1")),
        ("kind", Node::plain("ConfigMap")),
        ("metadata", metadata),
        ("data", Node::map([("relay.toml", Node::string(text))])),
    ])
}

/// Whether an object is that ConfigMap.
pub(super) fn is_it(object: &Node, name: &str, namespace: Option<&str>) -> bool {
    object.text_at(&["apiVersion"]) == Some("v1")
        && object.text_at(&["kind"]) == Some("ConfigMap")
        && object.text_at(&["metadata", "name"]) == Some(&config_map(name))
        && object.text_at(&["metadata", "namespace"]) == namespace
}
