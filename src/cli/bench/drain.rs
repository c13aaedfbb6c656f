//! The drain of a standing backlog beside a bare librdkafka producer loop: the same settings, headers, keys and bytes.
//!
//! The backlog is on disk before the clock starts, as after an outage. The bare loop has its events in memory. In both the clock runs
//! from the first event to the last acknowledgement, the connection to the brokers included.

use super::super::output::Output;
use super::error::BenchError;
use super::figure::{Figure, Target};
use super::kafka::Cluster;
use super::plan::{self, Plan};
use super::rig::Rig;
use super::rounds::{Sample, alternate, rate};
use super::workload::{EVENT_BYTES, EventJson, source_id};
use crate::buffer::log::storage::{DiskStorage, Storage};
use crate::buffer::{AppendError, AppendOptions, Appended};
use crate::config::{Delivery, KafkaConfig};
use crate::drain::{Drain, DrainHandles, DrainStats, DrainStop, producer_settings};
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::{JoinError, JoinSet};

/// Events of a round, per second that it should last.
const EVENTS_PER_SECOND: f64 = 200_000.0;
/// The bare side keeps them in memory.
const MAX_EVENTS: usize = 1_000_000;
/// Kafka has everything within this, or something is wrong.
const DELIVERED_WITHIN: Duration = Duration::from_secs(120);
/// The bare loop serves reports this often.
const POLL_EVERY: usize = 512;

/// Measures all cases.
pub(super) fn measure(plan: &Plan, cluster: &mut Cluster, figures: &mut Vec<Figure>, out: &mut Output) -> Result<(), BenchError> {
    for (per_request, target) in [(100, Some(Target::AtLeast(0.7))), (1, None)] {
        let what = format!("a backlog that came in requests of {per_request}");
        out.note(format_args!("drain: {what}"));
        let (ours, bare) = (cluster.topic(&format!("drain-{per_request}"))?, cluster.topic(&format!("bare-{per_request}"))?);
        let config = |topic| KafkaConfig { brokers: cluster.brokers().to_owned(), topic, ..KafkaConfig::default() };
        let (ours, bare) = (config(ours), config(bare));
        let (ours, bare) = alternate(plan, || drain(plan, &ours, per_request), || produce(plan, &bare))?;
        let figure = Figure::compared("drain", what, &ours, "a librdkafka BaseProducer loop with the same settings", &bare);
        figures.push(match target {
            Some(target) => figure.should_be(target),
            None => figure,
        });
    }
    exactly_once(plan, cluster, figures, out)
}

/// The same drain in transactions, beside the one without.
fn exactly_once(plan: &Plan, cluster: &mut Cluster, figures: &mut Vec<Figure>, out: &mut Output) -> Result<(), BenchError> {
    out.note(format_args!("drain: exactly once"));
    let brokers = cluster.brokers().to_owned();
    let singly = KafkaConfig { brokers, topic: cluster.topic("singly")?, ..KafkaConfig::default() };
    let (topic, cursor_topic) = (cluster.topic("together")?, cluster.topic("cursors")?);
    let together = KafkaConfig { topic, cursor_topic, delivery: Delivery::ExactlyOnce, ..singly.clone() };
    let (together, singly) = alternate(plan, || drain(plan, &together, 100), || drain(plan, &singly, 100))?;
    let what = "the same, delivery = \"exactly-once\"";
    figures.push(Figure::compared("drain", what, &together, "delivery = \"at-least-once\"", &singly).should_be(Target::AtLeast(0.6)));
    Ok(())
}

fn events(plan: &Plan) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of events, bounded")]
    let wanted = (plan.round.as_secs_f64() * EVENTS_PER_SECOND) as usize;
    wanted.min(MAX_EVENTS)
}

fn drain(plan: &Plan, config: &KafkaConfig, per_request: usize) -> Result<Sample, BenchError> {
    let (dir, events) = (plan.path("drain"), events(plan));
    let mut rig = Rig::open(&dir, 2 * (events * EVENT_BYTES) as u64 + (256 << 20))?;
    fill(plan, &rig, events, per_request)?;
    let Some(reader) = rig.reader.take() else { return Err(BenchError::Panicked("drain")) };
    let (stop, waker) = (DrainStop::default(), reader.waker());
    stop.on_finish(move || waker.wake());
    let stats = Arc::new(DrainStats::default());
    let handles = DrainHandles { stats, acks: Arc::clone(&rig.acks), on_acked: None, stop: stop.clone(), heartbeat: None };
    let drain = Drain::build(config, &rig.relay_id, reader, handles).map_err(BenchError::Drain)?;
    let started = Instant::now();
    // "Until the buffer is empty": it returns with the last acknowledgement.
    stop.finish(started + DELIVERED_WITHIN);
    let report = drain.run();
    let time = started.elapsed();
    rig.close()?;
    plan::remove(&dir);
    let sent = events as u64;
    if report.left > 0 || report.acked != sent {
        return Err(BenchError::Undelivered { left: report.left.max(sent - report.acked.min(sent)), sent });
    }
    Ok(Sample { rate: rate(sent, time.as_secs_f64()), ..Sample::default() })
}

/// Puts the backlog on disk, several requests at once, as they share syncs.
fn fill(plan: &Plan, rig: &Rig, events: usize, per_request: usize) -> Result<(), BenchError> {
    const AT_ONCE: usize = 256;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(BenchError::io("start a runtime"))?;
    runtime.block_on(async {
        let mut appends = JoinSet::new();
        for first in (0..events).step_by(per_request) {
            if appends.len() == AT_ONCE {
                joined(appends.join_next().await)?;
            }
            let (appender, batch) = (rig.appender.clone(), plan.workload.batch(first, per_request.min(events - first)));
            let options = AppendOptions { deadline: Instant::now() + DELIVERED_WITHIN, receipts: None };
            let _ = appends.spawn(async move { appender.append(batch, options).await });
        }
        while let Some(one) = appends.join_next().await {
            joined(Some(one))?;
        }
        Ok(())
    })
}

fn joined(one: Option<Result<Result<Appended, AppendError>, JoinError>>) -> Result<(), BenchError> {
    match one {
        Some(Err(_)) => Err(BenchError::Panicked("writer")),
        Some(Ok(appended)) => appended.map(drop).map_err(BenchError::Append),
        None => Ok(()),
    }
}

/// Counts the reports of the bare producer.
#[derive(Debug, Default)]
struct Tally {
    delivered: AtomicU64,
    failed: AtomicU64,
}

impl ClientContext for Tally {}

impl ProducerContext for Tally {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, _seq: usize) {
        let counter = if result.is_ok() { &self.delivered } else { &self.failed };
        let _ = counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn produce(plan: &Plan, config: &KafkaConfig) -> Result<Sample, BenchError> {
    const RELAY_ID: &str = "00000000-0000-0000-0000-000000000000";
    let events: Vec<EventJson> = (0..events(plan)).map(|index| plan.workload.event(index)).collect();
    let settings = producer_settings(config, RELAY_ID).map_err(BenchError::Drain)?;
    let producer: BaseProducer<Tally> = settings.create_with_context(Tally::default()).map_err(BenchError::kafka("make a producer"))?;
    let accepted_ms = i64::try_from(DiskStorage::new(".").now_ms()).unwrap_or(i64::MAX);
    let started = Instant::now();
    let mut identity = String::new();
    for (index, event) in events.iter().enumerate() {
        identity.clear();
        identity.extend([RELAY_ID, "/", &(index + 1).to_string()]);
        send(&producer, &config.topic, event, index, accepted_ms, &identity)?;
        if index % POLL_EVERY == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    let sent = events.len() as u64;
    let tally = producer.context();
    while tally.delivered.load(Ordering::Relaxed) < sent {
        let left = sent - tally.delivered.load(Ordering::Relaxed);
        if tally.failed.load(Ordering::Relaxed) > 0 || started.elapsed() > DELIVERED_WITHIN {
            return Err(BenchError::Undelivered { left, sent });
        }
        producer.poll(Duration::from_millis(2));
    }
    Ok(Sample { rate: rate(sent, started.elapsed().as_secs_f64()), ..Sample::default() })
}

/// Hands one event over, waiting while the queue is full.
fn send(
    producer: &BaseProducer<Tally>,
    topic: &str,
    event: &EventJson,
    index: usize,
    accepted_ms: i64,
    identity: &str,
) -> Result<(), BenchError> {
    let headers = OwnedHeaders::new_with_capacity(2)
        .insert(Header { key: "dualstream", value: Some(identity) })
        .insert(Header { key: "content-type", value: Some("application/json") });
    let mut record = BaseRecord::with_opaque_to(topic, index).key(source_id(event)).payload(event.as_slice());
    record = record.timestamp(accepted_ms).headers(headers);
    let deadline = Instant::now() + DELIVERED_WITHIN;
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) if Instant::now() < deadline => {
                producer.poll(Duration::from_millis(1));
                record = back;
            }
            Err((source, _)) => return Err(BenchError::Kafka { what: "produce".to_owned(), source }),
        }
    }
}
