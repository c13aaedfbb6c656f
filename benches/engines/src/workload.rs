//! What every engine has to do, and what is measured while it does.
//!
//! 1. **fill**: append batches until the backlog stands; nothing is removed.
//! 2. **held**: append a batch, then read and ack as many events at the head; the backlog stays.
//! 3. **drain**: read and ack, 1,000 events at a time, until nothing is left.
//!
//! Time is the time inside the engine's calls: making the events is not counted, checking them on the way out is (a
//! comparison of 300 bytes). Every event must come back, in order, byte for byte.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::engine::{Engine, Kind, Limits};
use crate::events::Events;
use crate::sample::{Latency, Rate, Sample};
use crate::usage;

/// The drain reads at least as many events at a time.
const DRAIN_BATCH: usize = 1_000;
/// What a store gets to clean up in the background before its empty size is taken. Not part of any rate.
const IDLE: Duration = Duration::from_millis(500);
const DISK_SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    /// What the engine is told.
    pub(crate) limits: Limits,
    /// The held phase ends after this many events,
    pub(crate) held_events: u64,
    /// or after this long, whichever comes first.
    pub(crate) held_time: Duration,
    /// All phases end after this long, finished or not.
    pub(crate) cap: Duration,
}

/// Runs the workload on a new engine of this kind in `dir`.
pub(crate) fn run(kind: Kind, dir: &Path, workload: &Workload) -> Result<Sample> {
    let limits = &workload.limits;
    let mut run = Run {
        buffer: vec![0; limits.batch * limits.event_bytes],
        events: Events::new(limits.event_bytes),
        batch: limits.batch,
        event_bytes: limits.event_bytes,
        appended: 0,
        removed: 0,
        latency: Latency::default(),
        disk: DiskWatch::new(dir),
    };
    let rss_before = usage::peak_rss_bytes()?;
    let mut engine = kind.open(dir, limits).with_context(|| format!("open {}", kind.name()))?;
    let written_before = usage::written_bytes()?;
    let started = Instant::now();

    let fill_until = started + workload.cap.mul_f64(0.6);
    let fill = run.fill(engine.as_mut(), limits.backlog, fill_until).context("fill")?;
    let backlog = run.appended;
    let held_until = Instant::now() + workload.held_time.min(workload.cap.mul_f64(0.2));
    let held = run.hold(engine.as_mut(), backlog + workload.held_events, held_until).context("hold the backlog")?;
    let disk_held = run.disk.now();
    let drain = run.drain(engine.as_mut(), started + workload.cap).context("drain")?;
    thread::sleep(IDLE);
    let disk_empty = run.disk.now();
    let rss = usage::peak_rss_bytes()?.saturating_sub(rss_before);
    let empty = run.removed == run.appended;
    engine.close().context("close")?;

    Ok(Sample {
        backlog_reached: backlog >= limits.backlog,
        emptied: empty,
        fill,
        held,
        drain,
        append_us: run.latency.summary(),
        rss_growth_bytes: rss,
        disk_held_bytes: disk_held,
        disk_peak_bytes: run.disk.peak,
        disk_empty_bytes: disk_empty,
        disk_closed_bytes: usage::disk_bytes(dir),
        written_per_event_byte: (usage::written_bytes()? - written_before) as f64 / (run.appended * limits.event_bytes as u64) as f64,
    })
}

/// The state that goes through the phases.
struct Run {
    buffer: Vec<u8>,
    events: Events,
    batch: usize,
    event_bytes: usize,
    appended: u64,
    removed: u64,
    latency: Latency,
    disk: DiskWatch,
}

impl Run {
    fn fill(&mut self, engine: &mut dyn Engine, backlog: u64, until: Instant) -> Result<Rate> {
        let mut rate = Rate::default();
        while self.appended < backlog && Instant::now() < until {
            rate.add(self.batch as u64, self.append(engine)?);
            self.disk.sample();
        }
        Ok(rate)
    }

    fn hold(&mut self, engine: &mut dyn Engine, end: u64, until: Instant) -> Result<Rate> {
        let mut rate = Rate::default();
        while self.appended < end && Instant::now() < until {
            let append = self.append(engine)?;
            let clock = Instant::now();
            let removed = self.remove(engine, self.batch)?;
            ensure!(removed == self.batch, "the head gave {removed} events in place of {}", self.batch);
            rate.add(self.batch as u64, append + clock.elapsed());
            self.disk.sample();
        }
        Ok(rate)
    }

    fn drain(&mut self, engine: &mut dyn Engine, until: Instant) -> Result<Rate> {
        let mut rate = Rate::default();
        while self.removed < self.appended && Instant::now() < until {
            let clock = Instant::now();
            let removed = self.remove(engine, self.batch.max(DRAIN_BATCH))?;
            ensure!(removed > 0, "nothing to read with {} events left", self.appended - self.removed);
            rate.add(removed as u64, clock.elapsed());
            self.disk.sample();
        }
        let clock = Instant::now();
        engine.settle()?;
        rate.add(0, clock.elapsed());
        Ok(rate)
    }

    /// Appends one batch and times it.
    fn append(&mut self, engine: &mut dyn Engine) -> Result<Duration> {
        self.events.fill(self.appended, &mut self.buffer);
        let events: Vec<&[u8]> = self.buffer.chunks_exact(self.event_bytes).collect();
        let clock = Instant::now();
        engine.append_batch(&events)?;
        let elapsed = clock.elapsed();
        self.latency.add(elapsed);
        self.appended += events.len() as u64;
        Ok(elapsed)
    }

    /// Reads, checks and acks up to `count` events at the head.
    fn remove(&mut self, engine: &mut dyn Engine, count: usize) -> Result<usize> {
        let mut removed = 0;
        while removed < count && self.removed < self.appended {
            let mut position = self.removed;
            let mut wrong = None;
            let read = engine.read(count - removed, &mut |event| {
                if let Err(error) = self.events.check(position, event) {
                    wrong.get_or_insert(error);
                }
                position += 1;
            })?;
            wrong.map_or(Ok(()), Err)?;
            ensure!(position == self.removed + read as u64 && read > 0, "read {read} events, but saw another number");
            self.removed = position;
            removed += read;
            engine.ack_below(self.removed)?;
        }
        Ok(removed)
    }
}

/// Looks at the disk now and then, outside the measured time.
struct DiskWatch {
    dir: PathBuf,
    peak: u64,
    next: Instant,
}

impl DiskWatch {
    fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), peak: 0, next: Instant::now() }
    }

    fn sample(&mut self) {
        if Instant::now() >= self.next {
            self.now();
            self.next = Instant::now() + DISK_SAMPLE_EVERY;
        }
    }

    fn now(&mut self) -> u64 {
        let bytes = usage::disk_bytes(&self.dir);
        self.peak = self.peak.max(bytes);
        bytes
    }
}
