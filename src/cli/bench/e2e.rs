//! End to end: from the first request until Kafka has acknowledged the last event, and Redis was told if there is one.
//!
//! The ceiling is the slower of what was measured bare in the same run: hyper for requests of this size, librdkafka for the events.

use super::super::output::Output;
use super::child::{Server, Settings};
use super::error::BenchError;
use super::figure::Figure;
use super::ingest::Shape;
use super::kafka::Cluster;
use super::plan::{self, Plan};
use super::rounds::{Sample, Side};
use super::server::Kind;
use std::time::{Duration, Instant};

/// Bound on the buffer; the load stays below it.
const MAX_BYTES: u64 = 2 << 30;
/// Most that one round stores.
const ROUND_BYTES: u64 = 512 << 20;
/// What goes before the first round.
const WARM_UP_BYTES: u64 = 4 << 20;
/// Kafka has everything within this, or something is wrong.
const DELIVERED_WITHIN: Duration = Duration::from_secs(120);
/// How often the relay is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(5);

/// Measures all cases.
pub(super) fn measure(plan: &Plan, cluster: &mut Cluster, figures: &mut Vec<Figure>, out: &mut Output) -> Result<(), BenchError> {
    for batch in [1, 100, 1000] {
        let shape = Shape::tcp(batch);
        let what = format!("{}{}", shape.what(), if plan.redis_url.is_some() { ", notifying Redis" } else { "" });
        out.note(format_args!("e2e: {what}"));
        let topic = cluster.topic(&format!("e2e-{batch}"))?;
        let buffer = plan.path("relay");
        let redis_url = plan.redis_url.as_deref();
        let settings = Settings { buffer: &buffer, max_bytes: MAX_BYTES, brokers: cluster.brokers(), topic: &topic, redis_url };
        let side = rounds(plan, shape, &settings);
        plan::remove(&buffer);
        let figure = Figure::alone("e2e", what, &side?);
        figures.push(match ceiling(figures, shape) {
            Some((ceiling, is)) => figure.beside(ceiling, &is),
            None => figure,
        });
    }
    Ok(())
}

fn rounds(plan: &Plan, shape: Shape, settings: &Settings<'_>) -> Result<Side, BenchError> {
    let server = Server::start(Kind::Relay, plan, settings)?;
    // Not measured: the first events also find the brokers.
    let _ = round(plan, shape, &server, WARM_UP_BYTES)?;
    let mut side = Side::default();
    for _ in 0..plan.rounds {
        plan.go_on()?;
        side.add(round(plan, shape, &server, ROUND_BYTES)?);
    }
    Ok(side)
}

fn round(plan: &Plan, shape: Shape, server: &Server, bytes: u64) -> Result<Sample, BenchError> {
    let (before, cpu_before) = (server.status()?.acked, server.cpu_seconds()?);
    let started = Instant::now();
    let outcome = shape.load(server, plan, bytes).run(plan)?;
    let deadline = started + plan.round + DELIVERED_WITHIN;
    loop {
        let acked = server.status()?.acked - before;
        if acked >= outcome.events {
            break;
        }
        plan.go_on()?;
        if Instant::now() > deadline {
            return Err(BenchError::Undelivered { left: outcome.events - acked, sent: outcome.events });
        }
        std::thread::sleep(ASK_EVERY);
    }
    let time = started.elapsed();
    Ok(outcome.sample(time, server.cpu_seconds()? - cpu_before))
}

/// The slower of the bare means that this run measured, and its name.
fn ceiling(figures: &[Figure], shape: Shape) -> Option<(f64, String)> {
    let of = |section, what: Option<String>| {
        let mut found = figures.iter().filter(|figure| figure.section == section && what.as_ref().is_none_or(|what| *what == figure.what));
        found.next().and_then(|figure| Some((figure.ceiling?, figure.ceiling_is.clone())))
    };
    let (requests, events) = (of("ingest", Some(shape.what()))?, of("drain", None)?);
    Some(if requests.0 < events.0 { requests } else { events })
}
