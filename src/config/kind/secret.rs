//! The Redis address, which may carry a password.
//!
//! Only the shape is checked here: the client library of the notify stage has the last word. No message repeats the text.

use super::super::given::Given;
use super::Kind;

/// Schemes of a TCP connection and of a Unix socket.
const TCP_SCHEMES: [&str; 2] = ["redis", "valkey"];
const SOCKET_SCHEMES: [&str; 3] = ["redis+unix", "valkey+unix", "unix"];
const TLS_SCHEMES: [&str; 2] = ["rediss", "valkeys"];

/// `redis://user:password@host:port/db`
#[derive(Clone, Copy)]
pub(in crate::config) struct RedisUrl;

impl Kind for RedisUrl {
    type Value = String;

    fn read(&self, given: &Given) -> Result<String, String> {
        let Ok(text) = given.text() else { return Err("not a string in quotes".to_owned()) };
        let text = text.trim();
        problem(text).map_or_else(|| Ok(text.to_owned()), Err)
    }

    fn show(&self, value: &String) -> String {
        format!("\"{}\"", redact_url(value))
    }

    fn allowed(&self) -> String {
        "\"redis://[user:password@]host[:port][/database]\" or \"redis+unix:///path\"".to_owned()
    }
}

fn problem(url: &str) -> Option<String> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Some("without a scheme such as redis://".to_owned());
    };
    if TLS_SCHEMES.contains(&scheme) {
        return Some(format!("a {scheme}:// URL, which needs TLS towards Redis, which this version does not have"));
    }
    if SOCKET_SCHEMES.contains(&scheme) {
        return (!rest.starts_with('/')).then(|| "a socket URL without an absolute path".to_owned());
    }
    if !TCP_SCHEMES.contains(&scheme) {
        // What stands before "://" is not a secret unless the URL is garbled; then it is not repeated either.
        return Some("a URL of another scheme than redis://".to_owned());
    }
    if rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Some("a URL with a blank in it".to_owned());
    }
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    if !database.is_empty() && !database.bytes().all(|b| b.is_ascii_digit()) {
        return Some("a URL whose database is not a number (percent-encode a '/' in the password as %2F)".to_owned());
    }
    host_problem(authority.rsplit_once('@').map_or(authority, |(_, host)| host))
}

fn host_problem(host_and_port: &str) -> Option<String> {
    let (host, port) = match host_and_port.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => host_and_port.split_once(':').map_or((host_and_port, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() {
        return Some("a URL without a host".to_owned());
    }
    let bad = port.is_some_and(|port| !port.parse::<u16>().is_ok_and(|port| port != 0));
    bad.then(|| "a URL whose port is not a number from 1 to 65535 (percent-encode ':' and '@' in the password)".to_owned())
}

/// A URL that can be printed: user and password blanked out, and everything when it has no shape to find them by.
pub fn redact_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "***".to_owned() };
    // A query can hold a password, too, and so can what looks like one when a '?' in a password is not percent-encoded.
    let (shown, query) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
    if query.contains('@') {
        return format!("{scheme}://***");
    }
    match shown.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://***@{host}"),
        None => format!("{scheme}://{shown}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::loose;
    use super::*;

    // Goal: typical mistakes in a Redis address are named at start, not found in the logs later.
    #[test]
    fn shapes() {
        for url in [
            "redis://127.0.0.1",
            "redis://127.0.0.1:6379/",
            "redis://:pw@redis.example:6379/0",
            "redis://user:p%40w@[::1]:6379",
            "valkey://cache/2",
            "redis+unix:///run/redis.sock?pass=x",
            "unix:///run/redis.sock",
        ] {
            assert_eq!(loose(&RedisUrl, url), Ok(url.to_owned()));
        }
        for (url, expect) in [
            ("127.0.0.1:6379", "without a scheme"),
            ("http://127.0.0.1", "another scheme"),
            ("rediss://127.0.0.1", "needs TLS"),
            ("redis://", "without a host"),
            ("redis://user:hunter2@", "without a host"),
            ("redis://h:port", "port is not a number"),
            ("redis://h:0", "port is not a number"),
            ("redis://user:hunter2@h/x", "database is not a number"),
            ("redis://user:hunter2 @h", "blank"),
            ("redis+unix:run", "without a scheme"),
            ("redis+unix://run", "absolute path"),
        ] {
            let problem = loose(&RedisUrl, url).unwrap_err();
            assert!(problem.contains(expect), "{url}: {problem}");
            assert!(!problem.contains("hunter2"), "{url}: {problem}");
        }
    }

    // Goal: a password never reaches a log or a screen.
    #[test]
    fn redaction() {
        for (url, expect) in [
            ("redis://user:hunter2@h:6379/0", "redis://***@h:6379/0"),
            ("redis://:hunter2@h", "redis://***@h"),
            ("redis://user:hunt@er2@h", "redis://***@h"),
            ("redis://user:hunter/2@h", "redis://***@h"),
            ("redis://h/1", "redis://h/1"),
            ("redis+unix:///run/r.sock?pass=hunter2", "redis+unix:///run/r.sock"),
            ("user:hunter2@h", "***"),
        ] {
            assert_eq!(redact_url(url), expect);
        }
        // Neither end of a password gets through when it was not percent-encoded or stands in a query.
        for url in ["redis://user:hun?ter2@h", "redis://user:hun#ter2@h", "unix:///r.sock?pass=hun@ter2"] {
            let shown = redact_url(url);
            assert!(!shown.contains("hun") && !shown.contains("ter2"), "{shown}");
        }
    }
}
