//! What no single key can judge: limits that must fit each other, addresses that must differ.
//!
//! A rule is left out when one of its keys has a problem of its own: what the user meant is then not known.

use super::load::Loaded;
use super::origin::Origin;
use super::problem::Problem;
use super::relation_kafka;
use super::section::{Delivery, Section};
use std::net::SocketAddr;

/// Fewest segments in a full buffer: with fewer, space would come free in steps too large to be of use.
const MIN_SEGMENTS: u64 = 4;

/// The problems between keys.
pub(super) fn check(loaded: &Loaded, sections: &[Section]) -> Vec<Problem> {
    let judge = Judge { loaded, sections };
    let rules = [limits(&judge), segments(&judge), shutdown_order(&judge), way_in(&judge), same_socket(&judge)];
    let rules = rules.into_iter().chain(dead_letter_topic(&judge));
    rules.flatten().chain(same_address(&judge)).chain(relation_kafka::check(&judge)).collect()
}

pub(super) struct Judge<'a> {
    pub(super) loaded: &'a Loaded,
    sections: &'a [Section],
}

impl Judge<'_> {
    /// A problem between keys, unless one of them is broken anyway. Reported where the most recent of them was given.
    pub(super) fn problem(&self, keys: &[&'static str], wrong: bool, text: impl FnOnce() -> String) -> Option<Problem> {
        if !wrong || keys.iter().any(|key| self.loaded.broken.contains(key)) {
            return None;
        }
        let given = keys.iter().filter_map(|key| Some((*key, self.loaded.origins.get(key)?)));
        let (key, origin) = given.max_by_key(|(_, origin)| origin.layer()).unwrap_or((keys[0], &Origin::Default));
        Some(Problem::of(key, origin.clone(), text()))
    }

    /// `ingest.listen is "127.0.0.1:7410" (the default)`
    pub(super) fn told(&self, name: &str) -> String {
        let key = self.sections.iter().flat_map(|section| &section.keys).find(|key| key.name() == name);
        let value = key.map(|key| key.show(&self.loaded.config)).unwrap_or_default();
        format!("{name} is {value} ({})", self.loaded.origins.get(name).unwrap_or(&Origin::Default))
    }
}

fn limits(judge: &Judge<'_>) -> Option<Problem> {
    let ingest = &judge.loaded.config.ingest;
    let [event, body] = ["ingest.max_event_bytes", "ingest.max_body_bytes"];
    judge.problem(&[event, body], ingest.max_event_bytes > ingest.max_body_bytes, || {
        format!("{}, but {}; allowed: an event no larger than a body", judge.told(event), judge.told(body))
    })
}

fn segments(judge: &Judge<'_>) -> Option<Problem> {
    let buffer = &judge.loaded.config.buffer;
    let [segment, max] = ["buffer.segment_bytes", "buffer.max_bytes"];
    let wrong = buffer.segment_bytes.is_some_and(|bytes| bytes.saturating_mul(MIN_SEGMENTS) > buffer.max_bytes);
    judge.problem(&[segment, max], wrong, || {
        let (told_segment, told_max) = (judge.told(segment), judge.told(max));
        format!("{told_segment}, but {told_max}; allowed: at most a quarter of it, so that at least {MIN_SEGMENTS} segments fit")
    })
}

fn shutdown_order(judge: &Judge<'_>) -> Option<Problem> {
    let shutdown = &judge.loaded.config.shutdown;
    let [grace, linger] = ["shutdown.grace", "shutdown.linger"];
    judge.problem(&[grace, linger], shutdown.grace <= shutdown.linger, || {
        let (told_grace, told_linger) = (judge.told(grace), judge.told(linger));
        format!("{told_grace}, but {told_linger}; allowed: a grace longer than the linger, or no time is left to send the backlog")
    })
}

fn way_in(judge: &Judge<'_>) -> Option<Problem> {
    let ingest = &judge.loaded.config.ingest;
    let [listen, socket] = ["ingest.listen", "ingest.socket"];
    judge.problem(&[listen, socket], ingest.listen.is_none() && ingest.socket.is_none(), || {
        format!("{listen} and {socket} are both empty, so that nobody could hand in an event; allowed: at least one of them")
    })
}

fn same_socket(judge: &Judge<'_>) -> Option<Problem> {
    let config = &judge.loaded.config;
    let [ingest, ops] = ["ingest.socket", "ops.socket"];
    judge.problem(&[ingest, ops], config.ingest.socket.is_some() && config.ingest.socket == config.ops.socket, || {
        format!("{}, and {}; allowed: a path of its own for each", judge.told(ingest), judge.told(ops))
    })
}

/// A topic of copies that is something else already.
fn dead_letter_topic(judge: &Judge<'_>) -> [Option<Problem>; 2] {
    let kafka = &judge.loaded.config.kafka;
    let [copies, events, cursors] = ["kafka.dead_letter_topic", "kafka.topic", "kafka.cursor_topic"];
    let is = |other: &String| kafka.dead_letter_topic.as_ref() == Some(other);
    let has_cursors = kafka.delivery == Delivery::ExactlyOnce;
    [(events, is(&kafka.topic)), (cursors, has_cursors && is(&kafka.cursor_topic))].map(|(other, wrong)| {
        judge.problem(&[copies, other], wrong, || {
            format!("{}, and {}; allowed: a topic of its own for dead letters", judge.told(copies), judge.told(other))
        })
    })
}

fn same_address(judge: &Judge<'_>) -> Vec<Problem> {
    let config = &judge.loaded.config;
    let listeners =
        [("ingest.listen", config.ingest.listen), ("ops.listen", config.ops.listen), ("ops.probe_listen", config.ops.probe_listen)];
    let pairs = [(0, 1), (0, 2), (1, 2)].map(|(a, b)| (listeners[a], listeners[b]));
    let problem = |((a, a_address), (b, b_address))| {
        judge.problem(&[a, b], clash(a_address, b_address), || {
            format!("{}, and {}; allowed: a port of its own for each", judge.told(a), judge.told(b))
        })
    };
    pairs.into_iter().filter_map(problem).collect()
}

/// Whether two listeners cannot both be bound. Port 0 is a free one each time.
fn clash(a: Option<SocketAddr>, b: Option<SocketAddr>) -> bool {
    let (Some(a), Some(b)) = (a, b) else { return false };
    let same_host = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && same_host
}
