//! Lists and tables.

use super::super::given::{Given, Value};
use super::Kind;
use std::collections::BTreeMap;

/// Most user ids in a list: each connection is compared with all.
const MAX_USER_IDS: usize = 64;

/// Numeric user ids.
#[derive(Clone, Copy)]
pub(in crate::config) struct UserIds;

impl Kind for UserIds {
    type Value = Vec<u32>;

    fn read(&self, given: &Given) -> Result<Vec<u32>, String> {
        let items = match (given, given.value()) {
            (_, Value::List(items)) => items,
            // `1000,1001` and a single `1000` need no brackets where everything is text.
            (Given::Loose(text), _) => loose_items(text)?,
            (_, other) => return Err(format!("{}, which is not a list of user ids", other.show())),
        };
        if items.len() > MAX_USER_IDS {
            return Err(format!("a list of {} user ids", items.len()));
        }
        items.iter().map(user_id).collect()
    }

    fn show(&self, value: &Vec<u32>) -> String {
        format!("{value:?}")
    }

    fn allowed(&self) -> String {
        format!("a list of at most {MAX_USER_IDS} numeric user ids, such as [1000, 1001]")
    }
}

fn loose_items(text: &str) -> Result<Vec<Value>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let number = |item: &str| item.trim().parse().map(Value::Integer).map_err(|_| format!("{text:?}, which is not a list of user ids"));
    text.split(',').map(number).collect()
}

fn user_id(item: &Value) -> Result<u32, String> {
    match item {
        Value::Integer(id) => u32::try_from(*id).map_err(|_| format!("a list with {id}, which is not a user id")),
        other => Err(format!("a list with {}, which is not a user id", other.show())),
    }
}

/// Named text values, handed through to a client library. May hold secrets.
///
/// Layers are merged entry by entry, so that an environment variable can add a password to what the file says.
#[derive(Clone, Copy)]
pub(in crate::config) struct Properties;

impl Kind for Properties {
    type Value = BTreeMap<String, String>;

    fn read(&self, given: &Given) -> Result<BTreeMap<String, String>, String> {
        let mut properties = BTreeMap::new();
        match given.value() {
            Value::Table(table) => flatten("", table, &mut properties)?,
            // The text is not repeated: a password may be in it.
            _ => return Err("not a table".to_owned()),
        }
        Ok(properties)
    }

    fn show(&self, value: &BTreeMap<String, String>) -> String {
        let text = |name, text| if is_secret(name) { "***".to_owned() } else { String::clone(text) };
        let entries: Vec<_> = value.iter().map(|(name, value)| format!("{name:?} = {:?}", text(name, value))).collect();
        if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
    }

    fn allowed(&self) -> String {
        "a table of names and values, such as { \"compression.type\" = \"lz4\" }".to_owned()
    }

    fn put(&self, place: &mut BTreeMap<String, String>, value: BTreeMap<String, String>) {
        place.extend(value);
    }
}

/// Most headers that a record gets from the settings: each is sent with every record.
const MAX_HEADERS: usize = 16;

/// Headers for every record. Names that the relay writes itself are refused.
#[derive(Clone, Copy)]
pub(in crate::config) struct Headers;

impl Kind for Headers {
    type Value = BTreeMap<String, String>;

    fn read(&self, given: &Given) -> Result<BTreeMap<String, String>, String> {
        let headers = Properties.read(given)?;
        if headers.len() > MAX_HEADERS {
            return Err(format!("a table of {} headers", headers.len()));
        }
        let own = |name: &&String| {
            ["", "content-type", "traceparent"].contains(&name.as_str()) || ["dualstream", "ce_"].iter().any(|own| name.starts_with(own))
        };
        match headers.keys().find(own) {
            Some(name) => Err(format!("a table with {name:?}, a name that the relay uses itself")),
            None => Ok(headers),
        }
    }

    fn show(&self, value: &BTreeMap<String, String>) -> String {
        Properties.show(value)
    }

    fn allowed(&self) -> String {
        format!("a table of at most {MAX_HEADERS} names and texts, such as {{ \"environment\" = \"production\" }}")
    }
}

/// Takes `linger.ms = 5`, which TOML reads as a table in a table, for the property it is meant to be.
fn flatten(prefix: &str, table: BTreeMap<String, Value>, out: &mut BTreeMap<String, String>) -> Result<(), String> {
    for (name, value) in table {
        let name = format!("{prefix}{name}");
        let text = match value {
            Value::Table(inner) => {
                flatten(&format!("{name}."), inner, out)?;
                continue;
            }
            Value::Text(text) | Value::Other(text) => text,
            Value::Integer(number) => number.to_string(),
            Value::Boolean(yes) => yes.to_string(),
            Value::List(_) => return Err(format!("a table in which {name:?} is a list")),
        };
        let _ = out.insert(name, text);
    }
    Ok(())
}

/// Whether a property is one that must not be printed.
fn is_secret(name: &str) -> bool {
    ["password", "secret", "key.pem", "token", "sasl.oauthbearer.config", "jaas"].iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{loose, typed};
    use super::*;

    // Goal: user ids can be given as a TOML list, and in the environment without brackets.
    #[test]
    fn user_ids() {
        for (got, expect) in [
            (typed(&UserIds, "[1000, 1001]"), vec![1000, 1001]),
            (loose(&UserIds, "[1000]"), vec![1000]),
            (loose(&UserIds, "1000, 1001"), vec![1000, 1001]),
            (loose(&UserIds, "1000"), vec![1000]),
            (loose(&UserIds, ""), vec![]),
        ] {
            assert_eq!(got, Ok(expect));
        }
        assert_eq!(typed(&UserIds, "[-1]").unwrap_err(), "a list with -1, which is not a user id");
        assert_eq!(loose(&UserIds, "root").unwrap_err(), "\"root\", which is not a list of user ids");
        assert!(loose(&UserIds, &"1,".repeat(64).replace(",1,1", ",1")).is_err());
    }

    // Goal: librdkafka properties can be written with or without quotes and as numbers.
    #[test]
    fn properties_are_flattened() {
        let got = loose(&Properties, r#"{"compression.type"="lz4", linger.ms=5, socket.keepalive.enable=true}"#).unwrap();
        let expect = [("compression.type", "lz4"), ("linger.ms", "5"), ("socket.keepalive.enable", "true")];
        assert_eq!(got, expect.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        assert_eq!(typed(&Properties, "{ a = [1] }").unwrap_err(), "a table in which \"a\" is a list");
    }

    // Goal: a header of mine cannot take the place of one that consumers rely on.
    #[test]
    fn headers() {
        let got = loose(&Headers, r#"{"environment"="test", team="a"}"#).unwrap();
        assert_eq!(got, [("environment", "test"), ("team", "a")].map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        for own in ["", "dualstream", "dualstream-error", "content-type", "traceparent", "ce_id"] {
            assert!(loose(&Headers, &format!("{{{own:?} = \"x\"}}")).unwrap_err().contains("uses itself"), "{own}");
        }
        let many: Vec<_> = (0..17).map(|n| format!("h{n} = \"x\"")).collect();
        assert_eq!(loose(&Headers, &format!("{{{}}}", many.join(","))).unwrap_err(), "a table of 17 headers");
    }

    // Goal: a password given for Kafka never shows up, neither in the reference of values nor in an error.
    #[test]
    fn secrets_stay_secret() {
        let got = loose(&Properties, r#"{"sasl.password"="hunter2", "ssl.key.password"="hunter2"}"#).unwrap();
        assert!(!Properties.show(&got).contains("hunter2"));
        assert!(!loose(&Properties, "sasl.password=hunter2").unwrap_err().contains("hunter2"));
    }
}
