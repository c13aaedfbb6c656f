//! Durable appends beside a bare loop of `write` and `fdatasync` on a growing file, on the same volume.
//!
//! Ours does what the relay does: a writer awaits each append, and a reader acknowledges behind it, so that segments are recycled. Both
//! write the same bytes per append; the buffer adds its frame.

use super::super::output::Output;
use super::error::BenchError;
use super::figure::{Figure, Target};
use super::histogram::Latencies;
use super::plan::{self, Plan};
use super::rig::{Acker, Rig};
use super::rounds::{Sample, alternate, rate};
use super::workload::Workload;
use crate::buffer::{AppendOptions, Appender};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Room for the backlog that a reader may leave for a moment.
const MAX_BYTES: u64 = 512 << 20;
/// Most that one round writes.
const ROUND_BYTES: u64 = 1 << 30;
/// The reader is close behind: room comes at once or never.
const ROOM_WITHIN: Duration = Duration::from_secs(30);

struct Case {
    batch: usize,
    writers: usize,
    target: Option<Target>,
}

/// Measures all cases.
pub(super) fn measure(plan: &Plan, figures: &mut Vec<Figure>, out: &mut Output) -> Result<(), BenchError> {
    let cases = [
        Case { batch: 100, writers: 1, target: Some(Target::AtLeast(0.7)) },
        Case { batch: 1, writers: 1, target: None },
        Case { batch: 1000, writers: 1, target: None },
        Case { batch: 1, writers: 32, target: None },
    ];
    for case in cases {
        let what = match case.writers {
            1 => format!("appends of {} awaited one by one", events(case.batch)),
            many => format!("appends of {} by {many} writers at once", events(case.batch)),
        };
        out.note(format_args!("disk: {what}"));
        figures.push(case.measure(plan, what)?);
    }
    Ok(())
}

fn events(count: usize) -> String {
    if count == 1 { "1 event".to_owned() } else { format!("{count} events") }
}

impl Case {
    fn measure(&self, plan: &Plan, what: String) -> Result<Figure, BenchError> {
        let dir = plan.path("disk");
        let mut rig = Rig::open(&dir, MAX_BYTES)?;
        let acker = rig.reader.take().map(Acker::start).transpose()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(BenchError::io("start a runtime"))?;
        let file = plan.path("bare");
        // Not measured: segments are prepared and recycled from here on.
        let _ = self.ours(plan, &runtime, &rig.appender)?;
        let sides = alternate(plan, || self.ours(plan, &runtime, &rig.appender), || self.bare(plan, &file));
        acker.map_or(Ok(()), Acker::stop)?;
        rig.close()?;
        plan::remove(&dir);
        let (ours, bare) = sides?;
        let figure = Figure::compared("disk", what, &ours, &format!("write + fdatasync of {}, one by one", events(self.batch)), &bare);
        Ok(match self.target {
            Some(target) => figure.should_be(target),
            None => figure,
        })
    }

    fn ours(&self, plan: &Plan, runtime: &Runtime, appender: &Appender) -> Result<Sample, BenchError> {
        let started = Instant::now();
        let most = (ROUND_BYTES / self.writers as u64) / self.append_bytes(&plan.workload);
        let written = runtime.block_on(async {
            let mut writers = JoinSet::new();
            for _ in 0..self.writers {
                let writer = write(appender.clone(), Arc::clone(&plan.workload), self.batch, started + plan.round, most);
                let _ = writers.spawn(writer);
            }
            let mut all = (0, Latencies::default());
            while let Some(one) = writers.join_next().await {
                let (appends, latencies) = one.map_err(|_| BenchError::Panicked("writer"))??;
                all.0 += appends;
                all.1.merge(&latencies);
            }
            Ok::<_, BenchError>(all)
        })?;
        Ok(self.sample(written, started.elapsed()))
    }

    fn bare(&self, plan: &Plan, path: &Path) -> Result<Sample, BenchError> {
        let bytes = plan.workload.batch(0, self.batch).into_payload();
        let most = ROUND_BYTES / bytes.len() as u64;
        let mut file = File::create(path).map_err(BenchError::io("make a file"))?;
        let started = Instant::now();
        let (mut appends, mut latencies, mut before) = (0, Latencies::default(), started);
        while before < started + plan.round && appends < most {
            file.write_all(&bytes).and_then(|()| file.sync_data()).map_err(BenchError::io("write a file"))?;
            let now = Instant::now();
            latencies.record(now - before);
            before = now;
            appends += 1;
        }
        let sample = self.sample((appends, latencies), started.elapsed());
        std::fs::remove_file(path).map_err(BenchError::io("remove a file"))?;
        Ok(sample)
    }

    fn append_bytes(&self, workload: &Workload) -> u64 {
        workload.batch(0, self.batch).payload().len() as u64
    }

    fn sample(&self, (appends, latencies): (u64, Latencies), time: Duration) -> Sample {
        Sample { rate: rate(appends * self.batch as u64, time.as_secs_f64()), latencies: Some(latencies), ..Sample::default() }
    }
}

async fn write(
    appender: Appender,
    workload: Arc<Workload>,
    batch: usize,
    deadline: Instant,
    most: u64,
) -> Result<(u64, Latencies), BenchError> {
    let (mut appends, mut latencies, mut before) = (0, Latencies::default(), Instant::now());
    let mut next = 0;
    while before < deadline && appends < most {
        let options = AppendOptions { deadline: before + ROOM_WITHIN, receipts: None };
        let _ = appender.append(workload.batch(next, batch), options).await.map_err(BenchError::Append)?;
        let now = Instant::now();
        latencies.record(now - before);
        before = now;
        appends += 1;
        next += batch;
    }
    Ok((appends, latencies))
}
