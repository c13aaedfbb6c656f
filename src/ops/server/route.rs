//! Which answer a request is for. Pure.

use super::super::peek::PEEK_MAX_EVENTS;
use crate::buffer::purge::Selection;
use http::Method;

/// Which listener a request came in on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Surface {
    /// `ops.listen`: everything, on loopback, so a page in a browser on this machine could reach it by a name of its own.
    Loopback,
    /// `ops.socket`: everything, for whom the file's mode lets in.
    Socket,
    /// `ops.probe_listen`: probes and metrics, for the cluster.
    Probe,
}

/// What to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Index,
    Startup,
    Live,
    Ready,
    Metrics,
    Status,
    Peek(PeekQuery),
    Purge(PurgeQuery),
    DeadLetters(PeekQuery),
    DeadLetter(u64),
    PurgeDeadLetters(PurgeQuery),
    RetryDeadLetters(PurgeQuery),
    Pause,
    Resume,
}

/// What of the buffer to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PeekQuery {
    pub(super) from: u64,
    pub(super) limit: usize,
    pub(super) source: Option<String>,
}

/// What of the buffer to give up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PurgeQuery {
    pub(super) selection: Selection,
    pub(super) dry_run: bool,
}

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RouteError {
    #[error("there is nothing at this path; GET / lists what there is")]
    NotFound,
    #[error("use {0} here")]
    MethodNotAllowed(&'static str),
    #[error("{0}")]
    BadQuery(String),
    #[error("the Host header names {0:?}; use localhost or an address (names are refused so that web pages cannot reach this)")]
    ForeignHost(String),
}

/// The plain-text page at `/`.
pub(super) const INDEX: &str = "\
dualstream ops

GET /v1/status                                the whole relay as JSON
GET /v1/buffer/events?from=&limit=&source=    waiting events: first seq, how many (up to 1000), source_id or source_type/source_id
GET /metrics                                  OpenMetrics
GET /startupz                                 buffer recovered, listeners bound
GET /livez                                    the relay's loops tick
GET /readyz                                   a write would be taken now

POST /v1/buffer/purge?from_seq=&to_seq=&source=&before_ms=&all=true&dry_run=true
                                              gives up waiting events; needs the Unix socket or the token

GET /v1/dead-letters?from=&limit=&source=     events that Kafka will never take, with the reason
GET /v1/dead-letters/SEQ                      one of them, whole
DELETE /v1/dead-letters/SEQ                   removes it for good; like all below it needs the Unix socket or the token
DELETE /v1/dead-letters?from_seq=&to_seq=&source=&before_ms=&all=true&dry_run=true
POST /v1/dead-letters/retry?from_seq=&to_seq=&source=&before_ms=&all=true&dry_run=true
                                              puts them into the buffer again, as new events

POST /v1/drain/pause                          sends nothing more to Kafka until
POST /v1/drain/resume

Probes answer JSON to Accept: application/json.
";

/// Events shown when a request does not say how many.
const DEFAULT_LIMIT: usize = 100;

/// Decides.
pub(super) fn route(surface: Surface, method: &Method, host: Option<&str>, path: &str, query: Option<&str>) -> Result<Route, RouteError> {
    let route = match (path, surface) {
        ("/startupz", _) => Route::Startup,
        ("/livez", _) => Route::Live,
        ("/readyz", _) => Route::Ready,
        ("/metrics", _) => Route::Metrics,
        (_, Surface::Probe) => return Err(RouteError::NotFound),
        ("/", _) => Route::Index,
        ("/v1/status", _) => Route::Status,
        ("/v1/buffer/events", _) => Route::Peek(peek_query(query.unwrap_or_default())?),
        (path, _) => return changeable(surface, method, host, path, query.unwrap_or_default()),
    };
    if method != Method::GET && method != Method::HEAD {
        return Err(RouteError::MethodNotAllowed("GET, HEAD"));
    }
    check_host(surface, host)?;
    Ok(route)
}

/// What can be changed, and so is asked for by more methods than one.
fn changeable(surface: Surface, method: &Method, host: Option<&str>, path: &str, query: &str) -> Result<Route, RouteError> {
    let (post, delete) = (method == Method::POST, method == Method::DELETE);
    let get = method == Method::GET || method == Method::HEAD;
    let route = match path {
        "/v1/buffer/purge" if post => Route::Purge(purge_query(query)?),
        "/v1/dead-letters" if get => Route::DeadLetters(peek_query(query)?),
        "/v1/dead-letters" if delete => Route::PurgeDeadLetters(purge_query(query)?),
        "/v1/dead-letters" => return Err(RouteError::MethodNotAllowed("GET, HEAD, DELETE")),
        "/v1/dead-letters/retry" if post => Route::RetryDeadLetters(purge_query(query)?),
        "/v1/drain/pause" if post => Route::Pause,
        "/v1/drain/resume" if post => Route::Resume,
        "/v1/buffer/purge" | "/v1/dead-letters/retry" | "/v1/drain/pause" | "/v1/drain/resume" => {
            return Err(RouteError::MethodNotAllowed("POST"));
        }
        _ => {
            let seq = path.strip_prefix("/v1/dead-letters/").and_then(|seq| seq.parse().ok()).ok_or(RouteError::NotFound)?;
            let selection = Selection { from_seq: seq, to_seq: Some(seq), ..Selection::default() };
            match (get, delete) {
                (true, _) => Route::DeadLetter(seq),
                (_, true) => Route::PurgeDeadLetters(PurgeQuery { selection, dry_run: false }),
                _ => return Err(RouteError::MethodNotAllowed("GET, HEAD, DELETE")),
            }
        }
    };
    check_host(surface, host)?;
    Ok(route)
}

fn check_host(surface: Surface, host: Option<&str>) -> Result<(), RouteError> {
    match host {
        Some(host) if surface == Surface::Loopback && !is_local(host) => Err(RouteError::ForeignHost(host.to_owned())),
        _ => Ok(()),
    }
}

/// A page in a browser can point a name of its own at loopback (DNS rebinding) and read what we answer, payloads included; it cannot
/// make the browser send an address or `localhost` as the host.
fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<std::net::IpAddr>().is_ok()
}

fn peek_query(query: &str) -> Result<PeekQuery, RouteError> {
    let mut peek = PeekQuery { from: 0, limit: DEFAULT_LIMIT, source: None };
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            _ if value.is_empty() => {}
            "from" => peek.from = number(&name, &value)?,
            "limit" => peek.limit = number(&name, &value)?,
            "source" => peek.source = Some(value.into_owned()),
            _ => return Err(RouteError::BadQuery(format!("{name:?} is not one of from, limit, source"))),
        }
    }
    if peek.limit == 0 || peek.limit > PEEK_MAX_EVENTS {
        return Err(RouteError::BadQuery(format!("limit must be 1 to {PEEK_MAX_EVENTS}")));
    }
    Ok(peek)
}

/// A purge says what it is about: one that names nothing is a slip of the hand.
fn purge_query(query: &str) -> Result<PurgeQuery, RouteError> {
    let (mut purge, mut named) = (PurgeQuery::default(), false);
    for (name, value) in form_urlencoded::parse(query.as_bytes()).filter(|(_, value)| !value.is_empty()) {
        let selection = &mut purge.selection;
        match name.as_ref() {
            "from_seq" => selection.from_seq = number(&name, &value)?,
            "to_seq" => selection.to_seq = Some(number(&name, &value)?),
            "before_ms" => selection.before_ms = Some(number(&name, &value)?),
            "source" => selection.source = Some(value.into_owned()),
            "all" => named |= number::<bool>(&name, &value)?,
            "dry_run" => purge.dry_run = number(&name, &value)?,
            _ => {
                let known = "from_seq, to_seq, source, before_ms, all, dry_run";
                return Err(RouteError::BadQuery(format!("{name:?} is not one of {known}")));
            }
        }
    }
    named |= purge.selection != Selection::default();
    if named {
        Ok(purge)
    } else {
        Err(RouteError::BadQuery("say which events: from_seq, to_seq, source, before_ms, or all=true".to_owned()))
    }
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, RouteError> {
    value.parse().map_err(|_| RouteError::BadQuery(format!("{name} must be {}, not {value:?}", kind_of::<T>())))
}

fn kind_of<T>() -> &'static str {
    if std::any::type_name::<T>() == "bool" { "true or false" } else { "a whole number" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(surface: Surface, target: &str) -> Result<Route, RouteError> {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        route(surface, &Method::GET, Some("127.0.0.1:7411"), path, query)
    }

    // Goal: the listener that the whole cluster can reach shows nothing but probes and metrics.
    #[test]
    fn the_probe_listener_serves_only_probes_and_metrics() {
        let shared = [("/startupz", Route::Startup), ("/livez", Route::Live), ("/readyz", Route::Ready), ("/metrics", Route::Metrics)];
        for (path, expected) in shared {
            for surface in [Surface::Probe, Surface::Loopback, Surface::Socket] {
                assert_eq!(get(surface, path), Ok(expected.clone()));
            }
        }
        for path in ["/", "/v1/status", "/v1/buffer/events", "/v1/nothing"] {
            assert_eq!(get(Surface::Probe, path), Err(RouteError::NotFound), "{path}");
        }
        assert_eq!(get(Surface::Loopback, "/v1/status"), Ok(Route::Status));
        assert_eq!(get(Surface::Socket, "/"), Ok(Route::Index));
        assert_eq!(get(Surface::Loopback, "/readyz/"), Err(RouteError::NotFound));
    }

    // Goal: the index names every route there is.
    #[test]
    fn the_index_is_complete() {
        for path in INDEX.lines().filter_map(|line| line.strip_prefix("GET ")).filter_map(|line| line.split([' ', '?']).next()) {
            let path = path.replace("SEQ", "7");
            assert!(get(Surface::Loopback, &path).is_ok(), "{path}");
        }
        assert_eq!(INDEX.matches("GET ").count(), 8);
    }

    // Goal: a wrong question is answered with what is wrong about it.
    #[test]
    fn the_look_into_the_buffer_is_bounded() {
        let peek = |query: &str| get(Surface::Loopback, &format!("/v1/buffer/events?{query}"));
        let ok = |from, limit, source: Option<&str>| Ok(Route::Peek(PeekQuery { from, limit, source: source.map(Into::into) }));
        assert_eq!(peek(""), ok(0, 100, None));
        assert_eq!(peek("from=7&limit=1000&source=user%2F42"), ok(7, 1000, Some("user/42")));
        assert_eq!(peek("from=&limit=&source="), ok(0, 100, None));
        for bad in ["limit=0", "limit=1001", "limit=-1", "from=x", "from=99999999999999999999", "form=7"] {
            assert!(matches!(peek(bad), Err(RouteError::BadQuery(_))), "{bad}");
        }
    }

    // Goal: a purge must say what it gives up, and how it is asked for is no accident: a link or a probe cannot.
    #[test]
    fn a_purge_says_what_it_is_about() {
        let purge = |surface, method: Method, query: &str| route(surface, &method, Some("localhost"), "/v1/buffer/purge", Some(query));
        let asked = |query: &str| match purge(Surface::Loopback, Method::POST, query) {
            Ok(Route::Purge(query)) => Some(query),
            _ => None,
        };
        let selection = Selection { from_seq: 5, to_seq: Some(9), source: Some("user/42".into()), before_ms: Some(7) };
        let query = "from_seq=5&to_seq=9&source=user%2F42&before_ms=7&dry_run=true";
        assert_eq!(asked(query), Some(PurgeQuery { selection, dry_run: true }));
        assert_eq!(asked("all=true"), Some(PurgeQuery::default()));
        for bad in ["", "dry_run=true", "all=false", "all=yes", "from_seq=x", "to=5", "source="] {
            assert!(matches!(purge(Surface::Socket, Method::POST, bad), Err(RouteError::BadQuery(_))), "{bad}");
        }
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            assert_eq!(purge(Surface::Socket, method, "all=true"), Err(RouteError::MethodNotAllowed("POST")));
        }
        assert_eq!(purge(Surface::Probe, Method::POST, "all=true"), Err(RouteError::NotFound));
    }

    // Goal: what only shows something cannot be asked to change it, and the reply says so.
    #[test]
    fn only_get_and_head_are_answered() {
        for (method, ok) in [(Method::GET, true), (Method::HEAD, true), (Method::POST, false), (Method::DELETE, false)] {
            assert_eq!(route(Surface::Loopback, &method, None, "/v1/status", None).is_ok(), ok, "{method}");
        }
    }

    // Goal: a web page in a browser on the same machine cannot read payloads through a name that it points at 127.0.0.1.
    #[test]
    fn foreign_host_names_are_refused_on_loopback_only() {
        let ask = |surface, host| route(surface, &Method::GET, Some(host), "/v1/status", None).is_ok();
        for host in ["localhost", "LOCALHOST:7411", "127.0.0.1:7411", "127.0.0.1", "[::1]:7411", "[::1]"] {
            assert!(ask(Surface::Loopback, host), "{host}");
        }
        for host in ["evil.example", "evil.example:7411", "localhost.evil.example", "127.0.0.1.evil.example:80", ""] {
            assert!(!ask(Surface::Loopback, host), "{host}");
            assert!(ask(Surface::Socket, host), "{host}");
        }
        assert_eq!(route(Surface::Probe, &Method::GET, Some("pod.example"), "/readyz", None), Ok(Route::Ready));
    }
}
