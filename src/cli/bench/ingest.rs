//! Requests to the relay beside requests to a hyper server that reads the body and answers 202.
//!
//! Both are processes of their own, started anew for each round, loaded by the same generator from this one. The relay's Kafka is away,
//! so that only ingest and buffer work; with Kafka there, see `e2e`.

use super::super::output::Output;
use super::child::{NO_KAFKA, Server, Settings};
use super::error::BenchError;
use super::figure::{Figure, Target};
use super::load::{Door, Load};
use super::plan::{self, Plan};
use super::rounds::{Sample, alternate};
use super::server::Kind;
use super::workload::EVENT_BYTES;

/// Most that one round stores.
const ROUND_BYTES: u64 = 1 << 30;

/// How requests come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) batch: usize,
    pub(super) connections: usize,
    pub(super) unix: bool,
}

impl Shape {
    /// Requests of `batch` events over TCP, by as many connections as keep the relay busy.
    pub(super) fn tcp(batch: usize) -> Self {
        Self { batch, connections: if batch == 1 { 32 } else { 8 }, unix: false }
    }

    /// In words.
    pub(super) fn what(self) -> String {
        let Self { batch, connections, unix } = self;
        format!("requests of {batch} over {connections} {} connections", if unix { "Unix socket" } else { "TCP" })
    }

    /// The load on a server, for one round, at most `bytes` of events.
    pub(super) fn load(self, server: &Server, plan: &Plan, bytes: u64) -> Load {
        let door: Door = if self.unix { server.unix() } else { server.tcp() };
        let events = bytes / EVENT_BYTES as u64;
        Load { door, connections: self.connections, batch: self.batch, time: plan.round, events }
    }
}

/// Measures all cases.
pub(super) fn measure(plan: &Plan, figures: &mut Vec<Figure>, out: &mut Output) -> Result<(), BenchError> {
    let cases = [
        (Shape::tcp(1), Some(Target::AtLeast(0.5))),
        (Shape { unix: true, ..Shape::tcp(1) }, None),
        (Shape { connections: 1, ..Shape::tcp(1) }, None),
        (Shape::tcp(100), None),
        (Shape::tcp(1000), None),
    ];
    for (shape, target) in cases {
        let what = shape.what();
        out.note(format_args!("ingest: {what}"));
        let (ours, bare) = alternate(plan, || round(plan, shape, Kind::Relay), || round(plan, shape, Kind::Bare))?;
        let figure = Figure::compared("ingest", what, &ours, "a hyper server that reads the body and answers 202", &bare);
        figures.push(match target {
            Some(target) => figure.should_be(target),
            None => figure,
        });
    }
    Ok(())
}

fn round(plan: &Plan, shape: Shape, kind: Kind) -> Result<Sample, BenchError> {
    let buffer = plan.path("relay");
    let settings = Settings { buffer: &buffer, max_bytes: 2 * ROUND_BYTES, brokers: NO_KAFKA, topic: "events", redis_url: None };
    let server = Server::start(kind, plan, &settings)?;
    let before = server.cpu_seconds()?;
    let outcome = shape.load(&server, plan, ROUND_BYTES).run(plan)?;
    let cpu_seconds = server.cpu_seconds()? - before;
    drop(server);
    plan::remove(&buffer);
    let time = outcome.time;
    Ok(outcome.sample(time, cpu_seconds))
}
