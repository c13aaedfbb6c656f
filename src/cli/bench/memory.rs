//! The relay's peak memory with a large backlog: while Kafka is away, and while it drains after a restart.

use super::super::human::size;
use super::super::output::Output;
use super::child::{NO_KAFKA, Server, Settings};
use super::error::BenchError;
use super::figure::{Figure, Target};
use super::kafka::Cluster;
use super::load::Load;
use super::plan::{self, Plan};
use super::rounds::Side;
use super::server::Kind;
use super::workload::EVENT_BYTES;
use std::path::Path;
use std::time::{Duration, Instant};

/// What the relay must stay below, in MiB.
const LIMIT_MIB: f64 = 64.0;
/// Events per request while the backlog is made.
const BATCH: usize = 1000;
/// A disk, and a Kafka, that are slower than this are not waited for.
const SLOWEST_BYTES_PER_SECOND: u64 = 4 << 20;
const ASK_EVERY: Duration = Duration::from_millis(100);

/// Measures both cases.
pub(super) fn measure(plan: &Plan, cluster: &mut Cluster, figures: &mut Vec<Figure>, out: &mut Output) -> Result<(), BenchError> {
    let buffer = plan.path("relay");
    let done = measure_in(&buffer, plan, cluster, figures, out);
    plan::remove(&buffer);
    done
}

fn measure_in(buffer: &Path, plan: &Plan, cluster: &mut Cluster, figures: &mut Vec<Figure>, out: &mut Output) -> Result<(), BenchError> {
    let topic = cluster.topic("rss")?;
    let backlog = size(plan.backlog_bytes);
    let away = Settings { buffer, max_bytes: 2 * plan.backlog_bytes + (256 << 20), brokers: NO_KAFKA, topic: &topic, redis_url: None };

    out.note(format_args!("rss: a backlog of {backlog} while Kafka is away"));
    let server = Server::start(Kind::Relay, plan, &away)?;
    fill(plan, &server, plan.backlog_bytes)?;
    figures.push(figure(format!("peak with {backlog} of backlog, Kafka away"), server.peak_memory()?));
    server.end()?;

    plan.go_on()?;
    out.note(format_args!("rss: the same backlog while it drains"));
    let server = Server::start(Kind::Relay, plan, &Settings { brokers: cluster.brokers(), ..away })?;
    let patience = patience(plan.backlog_bytes);
    let deadline = Instant::now() + patience;
    while server.status()?.backlog > 0 {
        plan.go_on()?;
        if Instant::now() > deadline {
            return Err(BenchError::Late { what: "draining the backlog", after: patience });
        }
        std::thread::sleep(ASK_EVERY);
    }
    figures.push(figure(format!("peak while {backlog} of backlog drain"), server.peak_memory()?));
    server.end()
}

/// Sends a relay whose Kafka is away a backlog of so many bytes of events.
pub(super) fn fill(plan: &Plan, server: &Server, bytes: u64) -> Result<(), BenchError> {
    let events = (bytes / EVENT_BYTES as u64).next_multiple_of(BATCH as u64);
    let outcome = Load { door: server.tcp(), connections: 8, batch: BATCH, time: patience(bytes), events }.run(plan)?;
    let stored = server.status()?.backlog;
    if stored < events || outcome.events < events {
        return Err(BenchError::Child(format!("has a backlog of {stored} after {} of {events} events", outcome.events)));
    }
    Ok(())
}

fn patience(bytes: u64) -> Duration {
    Duration::from_secs(60 + bytes / SLOWEST_BYTES_PER_SECOND)
}

fn figure(what: String, peak_bytes: u64) -> Figure {
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
    let peak_mib = peak_bytes as f64 / f64::from(1 << 20);
    let side = Side { rates: vec![peak_mib], ..Side::default() };
    let figure = Figure { unit: "MiB", ..Figure::alone("rss", what, &side) };
    figure.beside(LIMIT_MIB, "the limit").should_be(Target::Below(1.0))
}
