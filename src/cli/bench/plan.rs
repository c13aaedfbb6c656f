//! What is measured, how long, and where; the directory that is removed at the end; the wish to stop.

use super::error::BenchError;
use super::workload::Workload;
use super::{BenchArgs, Section};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// The backlog of `--quick`.
const QUICK_BACKLOG_BYTES: u64 = 16 << 20;

/// What to do. Dropped, its directory is gone.
#[derive(Debug)]
pub(super) struct Plan {
    sections: Vec<Section>,
    /// How long one round of one side lasts.
    pub(super) round: Duration,
    /// Rounds of each side.
    pub(super) rounds: u32,
    /// An empty directory on the volume under test.
    pub(super) dir: PathBuf,
    /// Kafka; `None`: a mock cluster.
    pub(super) brokers: Option<String>,
    pub(super) topic_prefix: String,
    pub(super) redis_url: Option<String>,
    pub(super) backlog_bytes: u64,
    pub(super) start_backlog_bytes: u64,
    /// The events.
    pub(super) workload: Arc<Workload>,
    interrupted: Arc<AtomicBool>,
    _scratch: Scratch,
}

impl Plan {
    /// The plan that the flags ask for. Makes the directory; from here on SIGINT ends the measurement in order.
    pub(super) fn new(args: &BenchArgs) -> Result<Self, BenchError> {
        let scratch = Scratch::make(&args.dir)?;
        let interrupted = Arc::new(AtomicBool::new(false));
        listen(Arc::clone(&interrupted))?;
        let backlog = |bytes: u64| if args.quick { bytes.min(QUICK_BACKLOG_BYTES) } else { bytes };
        let round = if args.quick { Duration::from_millis(100) } else { Duration::from_secs_f64(args.seconds) };
        Ok(Self {
            sections: args.only.clone(),
            round,
            rounds: if args.quick { 1 } else { args.rounds },
            dir: scratch.0.clone(),
            brokers: args.brokers.clone(),
            topic_prefix: args.topic_prefix.clone(),
            redis_url: args.redis_url.clone(),
            backlog_bytes: backlog(args.backlog_bytes),
            start_backlog_bytes: backlog(args.start_backlog_bytes),
            workload: Arc::new(Workload::new()),
            interrupted,
            _scratch: scratch,
        })
    }

    /// Whether this was asked for; what takes far more disk than the rest is only done by name.
    pub(super) fn has(&self, section: Section) -> bool {
        self.sections.is_empty() && section != Section::Start || self.sections.contains(&section)
    }

    /// What Kafka is, for the report.
    pub(super) fn kafka_name(&self) -> String {
        match &self.brokers {
            Some(brokers) => brokers.clone(),
            None => "mock cluster in this process, which keeps 5 MiB per partition and shares its cores".to_owned(),
        }
    }

    /// An error once somebody asked to stop.
    pub(super) fn go_on(&self) -> Result<(), BenchError> {
        if self.interrupted.load(Ordering::Relaxed) { Err(BenchError::Interrupted) } else { Ok(()) }
    }

    /// A path for something new in the directory.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// Removes a directory of a finished round; what cannot be removed now goes with the whole.
pub(super) fn remove(dir: &Path) {
    drop(fs::remove_dir_all(dir));
}

/// A directory of our own.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Scratch {
    fn make(parent: &Path) -> Result<Self, BenchError> {
        let path = parent.join(format!("dualstream-bench-{}", std::process::id()));
        fs::create_dir(&path).map_err(BenchError::io(format!("make the directory {}", path.display())))?;
        // Absolute, because child processes are told of it.
        let path = fs::canonicalize(&path).map_err(BenchError::io(format!("find the directory {}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

/// Notes SIGINT and SIGTERM, so that rounds end and clean up. The thread ends with the process.
fn listen(interrupted: Arc<AtomicBool>) -> Result<(), BenchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(BenchError::io("start a runtime"))?;
    let guard = runtime.enter();
    let signals = signal(SignalKind::interrupt()).and_then(|interrupt| Ok((interrupt, signal(SignalKind::terminate())?)));
    let (mut interrupt, mut terminate) = signals.map_err(BenchError::io("listen to signals"))?;
    drop(guard);
    let wait = move || {
        runtime.block_on(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        interrupted.store(true, Ordering::Relaxed);
    };
    std::thread::Builder::new().name("bench-signals".into()).spawn(wait).map(drop).map_err(BenchError::io("start a thread"))
}
