//! A buffer with its threads, as the relay runs it, without the relay.

use super::error::BenchError;
use crate::buffer::log::storage::DiskStorage;
use crate::buffer::{Appender, Buffer, Closer, Gauges, Reader};
use crate::config::BufferConfig;
use crate::event::Seq;
use crate::lifecycle::{AckWaiters, Heartbeats};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The largest batch that is appended, in bytes.
const LARGEST_BATCH: u64 = 1 << 20;
/// A reader without work looks this often whether it should end.
const IDLE: Duration = Duration::from_millis(100);

/// An open buffer. Taken apart by [`Rig::close`].
pub(super) struct Rig {
    pub(super) appender: Appender,
    pub(super) gauges: Gauges,
    pub(super) acks: Arc<AckWaiters>,
    pub(super) relay_id: String,
    /// Until somebody takes it.
    pub(super) reader: Option<Reader>,
    closer: Closer,
    committer: JoinHandle<()>,
    keeper: JoinHandle<()>,
}

impl Rig {
    /// Opens a buffer in `dir` and starts its threads.
    pub(super) fn open(dir: &Path, max_bytes: u64) -> Result<Self, BenchError> {
        let config = BufferConfig { dir: dir.to_owned(), max_bytes, ..BufferConfig::default() };
        let acks = Arc::new(AckWaiters::default());
        let buffer = Buffer::open(&config, Arc::new(DiskStorage::new(dir)), Arc::clone(&acks), LARGEST_BATCH).map_err(BenchError::Open)?;
        let relay_id = buffer.relay_id().to_string();
        let Buffer { appender, reader, gauges, committer, keeper, closer, .. } = buffer;
        let beats = Heartbeats::default();
        let (commits, keeps) = (beats.register("buffer-commit"), beats.register("buffer-keep"));
        let committer = spawn("buffer-commit", move || committer.run(&commits))?;
        let keeper = spawn("buffer-keep", move || keeper.run(&keeps))?;
        Ok(Self { appender, gauges, acks, relay_id, reader: Some(reader), closer, committer, keeper })
    }

    /// Ends the threads.
    pub(super) fn close(self) -> Result<(), BenchError> {
        self.closer.close_appends();
        self.committer.join().map_err(|_| BenchError::Panicked("buffer-commit"))?;
        self.closer.close_keeper();
        self.keeper.join().map_err(|_| BenchError::Panicked("buffer-keep"))
    }
}

/// A reader that acknowledges everything as soon as it is durable: the drain of a Kafka that costs nothing.
pub(super) struct Acker {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), BenchError>>,
}

impl Acker {
    /// Starts it.
    pub(super) fn start(mut reader: Reader) -> Result<Self, BenchError> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = spawn("bench-acker", move || {
            let mut seqs = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                while let Some(frame) = reader.next_frame().map_err(BenchError::Read)? {
                    seqs.clear();
                    seqs.extend((0..u64::from(frame.count)).map(|n| Seq(frame.first_seq.0 + n)));
                    let _ = reader.ack(&seqs);
                }
                reader.wait(IDLE);
            }
            Ok(())
        })?;
        Ok(Self { stop, thread })
    }

    /// Ends it, or says why it ended.
    pub(super) fn stop(self) -> Result<(), BenchError> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or(Err(BenchError::Panicked("bench-acker")))
    }
}

fn spawn<T: Send + 'static>(name: &str, body: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>, BenchError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body).map_err(BenchError::io("start a thread"))
}
