//! Texts: paths, and names with rules of their own.

use super::super::given::Given;
use super::super::template::{Placeholder, Template, topic_name_problem};
use super::Kind;
use std::path::PathBuf;

/// A text that a function judges.
#[derive(Clone, Copy)]
pub(in crate::config) struct Checked {
    /// What is allowed, as a noun phrase.
    allowed: &'static str,
    /// Says what is wrong, to stand after the quoted text and ", which ".
    problem: fn(&str) -> Option<String>,
}

impl Kind for Checked {
    type Value = String;

    fn read(&self, given: &Given) -> Result<String, String> {
        let text = given.text()?;
        (self.problem)(text).map_or_else(|| Ok(text.to_owned()), |problem| Err(format!("{text:?}, which {problem}")))
    }

    fn show(&self, value: &String) -> String {
        format!("{value:?}")
    }

    fn allowed(&self) -> String {
        self.allowed.to_owned()
    }
}

/// `kafka.topic`
pub(in crate::config) const fn topic() -> Checked {
    Checked {
        allowed: "a Kafka topic name, or a template over {type} and {source_type}",
        problem: |text| match Template::parse(text, &[Placeholder::Type, Placeholder::SourceType]) {
            Ok(template) => template.constant().and_then(topic_name_problem).map(str::to_owned),
            Err(error) => Some(error.to_string()),
        },
    }
}

/// `kafka.cursor_topic`
pub(in crate::config) const fn topic_name() -> Checked {
    Checked { allowed: "a Kafka topic name", problem: |text| topic_name_problem(text).map(str::to_owned) }
}

/// `redis.channel`
pub(in crate::config) const fn channel() -> Checked {
    Checked {
        allowed: "a channel name, or a template over {type}, {source_type} and {source_id}",
        problem: |text| {
            Template::parse(text, &[Placeholder::Type, Placeholder::SourceType, Placeholder::SourceId]).err().map(|error| error.to_string())
        },
    }
}

/// `kafka.brokers`
pub(in crate::config) const fn brokers() -> Checked {
    Checked { allowed: "host:port, several separated by commas, such as \"kafka-0:9092,kafka-1:9092\"", problem: brokers_problem }
}

/// Any text, such as a name that somebody else gave.
pub(in crate::config) const fn free_text() -> Checked {
    Checked { allowed: "a text", problem: |text| text.contains('\0').then(|| "has a NUL in it".to_owned()) }
}

/// `log.level`
pub(in crate::config) const fn log_filter() -> Checked {
    Checked {
        allowed: "off, error, warn, info, debug or trace, or a filter such as \"info,dualstream::drain=debug\"",
        problem: log_filter_problem,
    }
}

fn brokers_problem(text: &str) -> Option<String> {
    text.split(',').find_map(|item| {
        let item = item.trim();
        if item.is_empty() {
            return Some("has an empty entry".to_owned());
        }
        let (host, port) = item.rsplit_once(':').unwrap_or((item, ""));
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '/') {
            return Some(format!("has the entry {item:?} without a plain host"));
        }
        let bad = !port.parse::<u16>().is_ok_and(|port| port != 0);
        bad.then(|| format!("has the entry {item:?} without a port from 1 to 65535"))
    })
}

fn log_filter_problem(text: &str) -> Option<String> {
    // A word that is no level would be taken for a module's name, and a typing error would silence the log.
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    let typo = text.split(',').map(str::trim).find(|part| !part.contains(['=', '[', ':']) && !levels.contains(part));
    if let Some(part) = typo {
        return Some(if part == text { "is not a level".to_owned() } else { format!("has {part:?}, which is not a level") });
    }
    tracing_subscriber::EnvFilter::builder().parse(text).err().map(|error| format!("is not a log filter ({error})"))
}

/// A file or directory name.
#[derive(Clone, Copy)]
pub(in crate::config) struct FilePath;

impl Kind for FilePath {
    type Value = PathBuf;

    fn read(&self, given: &Given) -> Result<PathBuf, String> {
        match given.text()? {
            "" => Err("empty".to_owned()),
            text if text.contains('\0') => Err(format!("{text:?}, which has a NUL in it")),
            text => Ok(PathBuf::from(text)),
        }
    }

    fn show(&self, value: &PathBuf) -> String {
        format!("{:?}", value.display().to_string())
    }

    fn allowed(&self) -> String {
        "a path".to_owned()
    }
}

/// Longest path of a Unix socket on Linux, in bytes, without its closing NUL.
const SOCKET_PATH_BYTES: usize = 107;

/// The path of a Unix socket.
#[derive(Clone, Copy)]
pub(in crate::config) struct SocketPath;

impl Kind for SocketPath {
    type Value = PathBuf;

    fn read(&self, given: &Given) -> Result<PathBuf, String> {
        let path = FilePath.read(given)?;
        let bytes = path.as_os_str().len();
        if bytes > SOCKET_PATH_BYTES { Err(format!("{bytes} bytes long, too long for a socket")) } else { Ok(path) }
    }

    fn show(&self, value: &PathBuf) -> String {
        FilePath.show(value)
    }

    fn allowed(&self) -> String {
        format!("a path of at most {SOCKET_PATH_BYTES} bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::loose;
    use super::*;

    fn check(kind: &Checked, text: &str, expect: Option<&str>) {
        match (loose(kind, text), expect) {
            (Ok(read), None) => assert_eq!(read, text),
            (Err(problem), Some(expect)) => assert!(problem.contains(expect), "{text:?}: {problem}"),
            (got, _) => panic!("{text:?}: {got:?}, expected {expect:?}"),
        }
    }

    // Goal: a topic that Kafka would refuse, or one per event, is refused at start.
    #[test]
    fn topics() {
        for (text, expect) in [
            ("events", None),
            ("events.{type}", None),
            ("{source_type}-x", None),
            ("", Some("is empty")),
            ("bad topic", Some("may hold only")),
            ("..", Some("must not be")),
            ("events.{id}", Some("one name per event")),
            ("events.{source_id}", Some("not one of {type}, {source_type}")),
            ("events.{type", Some("unbalanced brace")),
        ] {
            check(&topic(), text, expect);
        }
    }

    // Goal: channels aggregate as the user likes, but never one per event.
    #[test]
    fn channels() {
        for (text, expect) in [
            ("events:{source_type}:{source_id}", None),
            ("all", None),
            ("events:{id}", Some("one name per event")),
            ("events:{sourceid}", Some("{source_id}")),
            ("", Some("is empty")),
        ] {
            check(&channel(), text, expect);
        }
    }

    // Goal: a broker list that cannot work is named entry by entry.
    #[test]
    fn broker_lists() {
        for (text, expect) in [
            ("127.0.0.1:9092", None),
            ("a:9092, b:9092", None),
            ("[::1]:9092", None),
            ("", Some("empty entry")),
            ("a:9092,", Some("empty entry")),
            ("kafka", Some("without a port")),
            ("kafka:port", Some("without a port")),
            (":9092", Some("without a plain host")),
            ("kafka://a:9092", Some("without a plain host")),
        ] {
            check(&brokers(), text, expect);
        }
    }

    // Goal: a typing error in the log level does not silence the log.
    #[test]
    fn log_levels() {
        for (text, expect) in [
            ("info", None),
            ("warn,dualstream::drain=debug", None),
            ("off", None),
            ("inof", Some("\"inof\", which is not a level")),
            ("inof,dualstream=debug", Some("has \"inof\", which is not a level")),
            ("", Some("\"\", which is not a level")),
            ("info,dualstream::drain=loud", Some("is not a log filter")),
        ] {
            check(&log_filter(), text, expect);
        }
    }

    // Goal: a socket path that the system cannot bind is refused with its length.
    #[test]
    fn socket_paths() {
        assert_eq!(loose(&SocketPath, "/run/d.sock"), Ok(PathBuf::from("/run/d.sock")));
        assert_eq!(loose(&SocketPath, &"x".repeat(108)).unwrap_err(), "108 bytes long, too long for a socket");
        assert_eq!(loose(&FilePath, "").unwrap_err(), "empty");
    }
}
