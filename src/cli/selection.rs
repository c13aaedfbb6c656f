//! Which events a command means: the flags, and the query of the relay's routes.

use super::buffer::percent_encode;
use super::target::time;
use crate::buffer::log::storage::{DiskStorage, Storage};
use crate::buffer::purge::Selection;
use clap::{ArgGroup, Args};
use std::time::Duration;

/// Conditions add up: an event must meet all of them.
#[derive(Args, Clone, Debug)]
#[command(group = ArgGroup::new("which").required(true).multiple(true).args(["from_seq", "to_seq", "source", "older_than", "all"]))]
pub(super) struct SelectionArgs {
    /// From this seq on
    #[arg(long, value_name = "SEQ")]
    from_seq: Option<u64>,

    /// Up to this seq, which is included
    #[arg(long, value_name = "SEQ")]
    to_seq: Option<u64>,

    /// Of this source: an id, or TYPE/ID
    #[arg(long, value_name = "SOURCE")]
    source: Option<String>,

    /// Accepted longer ago than this
    #[arg(long, value_name = "TIME", value_parser = time)]
    older_than: Option<Duration>,

    /// Everything that is there
    #[arg(long, conflicts_with_all = ["from_seq", "to_seq", "source", "older_than"])]
    all: bool,
}

impl SelectionArgs {
    /// What they mean now.
    pub(super) fn selection(&self) -> Selection {
        let age_ms = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        Selection {
            from_seq: self.from_seq.unwrap_or_default(),
            to_seq: self.to_seq,
            source: self.source.clone(),
            before_ms: self.older_than.map(|age| DiskStorage::new(".").now_ms().saturating_sub(age_ms(age))),
        }
    }
}

/// How a relay is asked for it: path and query.
pub(super) fn request(path: &str, selection: &Selection, yes: bool) -> String {
    let Selection { from_seq, to_seq, source, before_ms } = selection;
    let mut query = vec![format!("dry_run={}", !yes)];
    if *selection == Selection::default() {
        query.push("all=true".to_owned());
    } else {
        query.push(format!("from_seq={from_seq}"));
    }
    query.extend(to_seq.map(|seq| format!("to_seq={seq}")));
    query.extend(source.as_deref().map(|source| format!("source={}", percent_encode(source))));
    query.extend(before_ms.map(|ms| format!("before_ms={ms}")));
    format!("{path}?{}", query.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: what is asked of a relay is what was said, nothing more.
    #[test]
    fn requests() {
        assert_eq!(request("/v1/buffer/purge", &Selection::default(), false), "/v1/buffer/purge?dry_run=true&all=true");
        let selection = Selection { from_seq: 5, to_seq: Some(9), source: Some("user/4&2".into()), before_ms: Some(7) };
        let expect = "/v1/dead-letters?dry_run=false&from_seq=5&to_seq=9&source=user%2F4%262&before_ms=7";
        assert_eq!(request("/v1/dead-letters", &selection, true), expect);
    }
}
