//! The application: posts events to the relay over HTTP, at a steady rate, half over TCP and half over the Unix socket.
//!
//! Each way has sources of its own and waits for its answer before it posts again, so that the order in which the relay accepted the
//! events of a source is known. A request that is not answered with "stored" ends the demo: it must not happen.

use super::numbered::{SOURCES, write_json};
use super::plan::Plan;
use super::shared::Shared;
use crate::cli::http_client::{Client, Content, Endpoint, Reply};
use crate::cli::human::plain;
use crate::error::chain;
use http::StatusCode;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// Time between two requests of a lane.
const TICK: Duration = Duration::from_millis(20);

/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(10);

/// How many lanes share the numbers, in turns.
const LANES: u32 = 2;

// Or a source would come over two lanes, and its order would be unknown.
const _: () = assert!(SOURCES.is_multiple_of(LANES as usize));

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A JSON array.
    Array,
    /// NDJSON.
    Lines,
}

/// One connection's worth of the application.
pub(super) struct Lane {
    client: Client,
    form: Form,
    /// The next event's number.
    next: u32,
    /// Events a tick; the rest of a division is not lost.
    per_tick: f64,
    /// Numbers below this may be sent.
    allowed: watch::Receiver<u32>,
    shared: Arc<Shared>,
}

/// The lanes over `tcp` and `socket`. They send what `allowed` lets them.
pub(super) fn lanes(
    tcp: Endpoint,
    socket: Endpoint,
    plan: &Plan,
    allowed: &watch::Receiver<u32>,
    shared: &Arc<Shared>,
) -> [Lane; LANES as usize] {
    let lane = |index: u32, endpoint, form| Lane {
        client: Client::new(endpoint, ANSWER),
        form,
        next: index,
        per_tick: f64::from(plan.rate) * TICK.as_secs_f64() / f64::from(LANES),
        allowed: allowed.clone(),
        shared: Arc::clone(shared),
    };
    [lane(0, tcp, Form::Array), lane(1, socket, Form::Lines)]
}

impl Lane {
    /// Sends its share of the events, then ends.
    pub(super) async fn run(mut self) {
        if let Err(text) = self.send_all().await {
            self.shared.fail(text);
        }
    }

    async fn send_all(&mut self) -> Result<(), String> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut credit = 0.0;
        while self.next < self.shared.events {
            let _ = ticks.tick().await;
            // What could not be sent in time is not made up for: the rate is never above the one that was asked for.
            credit = f64::min(credit, 1.0) + self.per_tick;
            let allowed = *self.allowed.borrow();
            let numbers = self.take(allowed, &mut credit);
            if !numbers.is_empty() {
                self.post(&numbers).await?;
            }
        }
        Ok(())
    }

    /// The next numbers that are due.
    fn take(&mut self, allowed: u32, credit: &mut f64) -> Vec<u32> {
        let mut numbers = Vec::new();
        while self.next < allowed && *credit >= 1.0 {
            *credit -= 1.0;
            numbers.push(self.next);
            self.next += LANES;
        }
        numbers
    }

    async fn post(&self, numbers: &[u32]) -> Result<(), String> {
        let content = Content { content_type: self.form.content_type(), bytes: self.form.body(numbers).into() };
        self.shared.witness().posting(numbers);
        let reply = self.client.post("/v1/events", content).await.map_err(|error| chain(&error))?;
        check(&reply, numbers.len())?;
        self.shared.witness().sent(numbers);
        Ok(())
    }
}

impl Form {
    fn content_type(self) -> &'static str {
        match self {
            Self::Array => "application/json",
            Self::Lines => "application/x-ndjson",
        }
    }

    fn body(self, numbers: &[u32]) -> String {
        let (open, between, close) = match self {
            Self::Array => ("[", ",", "]"),
            Self::Lines => ("", "\n", "\n"),
        };
        let mut body = open.to_owned();
        for (index, number) in numbers.iter().enumerate() {
            if index > 0 {
                body.push_str(between);
            }
            write_json(*number, &mut body);
        }
        body + close
    }
}

/// Whether the relay says that all of it is on disk.
fn check(reply: &Reply, events: usize) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Accepted {
        accepted: usize,
    }
    let accepted = serde_json::from_slice::<Accepted>(&reply.body).map(|answer| answer.accepted).ok();
    if reply.status == StatusCode::ACCEPTED && accepted == Some(events) {
        return Ok(());
    }
    let body = plain(&String::from_utf8_lossy(&reply.body));
    Err(format!("the relay answered a request with {events} events with {}: {body}", reply.status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::numbered::source;
    use http::HeaderMap;
    use std::collections::BTreeSet;

    fn two_lanes(events: u32, rate: u32) -> [Lane; 2] {
        let (_, allowed) = watch::channel(0);
        let endpoint = || Endpoint::Tcp("127.0.0.1:1".into());
        let plan = Plan { events, rate, outage: TICK };
        lanes(endpoint(), endpoint(), &plan, &allowed, &Arc::new(Shared::new(events)))
    }

    // Goal: together the lanes send every event once, and no source comes over both.
    #[test]
    fn lanes_share_the_events() {
        let taken = two_lanes(100, 10_000).map(|mut lane| lane.take(100, &mut 1e9));
        let sources = taken.clone().map(|numbers| numbers.into_iter().map(source).collect::<BTreeSet<_>>());
        assert!(sources[0].is_disjoint(&sources[1]));
        let all: BTreeSet<_> = taken.concat().into_iter().collect();
        assert_eq!((all.len(), taken.concat().len()), (100, 100));
    }

    // Goal: the rate is kept, and nothing is sent that is not allowed yet.
    #[test]
    fn a_lane_sends_what_is_due() {
        let [mut lane, _] = two_lanes(100, 250);
        let mut credit = lane.per_tick;
        assert_eq!(lane.take(100, &mut credit), [0, 2], "250 a second are 2.5 a tick and lane");
        credit += lane.per_tick;
        assert_eq!(lane.take(100, &mut credit), [4, 6, 8]);
        credit += lane.per_tick;
        assert_eq!(lane.take(11, &mut credit), [10], "only what is allowed");
    }

    // Goal: the demo shows bodies that a user could send.
    #[test]
    fn bodies() {
        let events: Vec<serde_json::Value> = serde_json::from_str(&Form::Array.body(&[1, 3])).unwrap();
        assert_eq!(events[1]["id"], "demo-000003");
        let lines = Form::Lines.body(&[1, 3]);
        assert_eq!(lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()).collect::<Vec<_>>(), events);
    }

    // Goal: only "all of it is stored" counts as sent.
    #[test]
    fn answers() {
        let reply = |status, body: &'static str| Reply { status, headers: HeaderMap::new(), body: body.into() };
        assert_eq!(check(&reply(StatusCode::ACCEPTED, r#"{"accepted":2}"#), 2), Ok(()));
        for (status, body) in [
            (StatusCode::ACCEPTED, r#"{"accepted":1}"#),
            (StatusCode::ACCEPTED, ""),
            (StatusCode::OK, r#"{"accepted":2}"#),
            (StatusCode::SERVICE_UNAVAILABLE, r#"{"detail":"full"}"#),
        ] {
            let said = check(&reply(status, body), 2).unwrap_err();
            assert!(said.contains(status.as_str()) && said.contains(body), "{said}");
        }
    }
}
