//! The thread that copies dead letters to a topic; there is none unless `kafka.dead_letter_topic` names one.

use super::workers::{Worker, finish};
use crate::buffer::DeadLetters;
use crate::config::KafkaConfig;
use crate::drain::{BuildError, Copier, CopyHandles, CopyStats, DrainStop};
use crate::ops::StatusSource;
use crate::shutdown::Trigger;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long copies may go on after the drain's end: the letters stay on disk, and the next start goes on with them.
const AT_MOST: Duration = Duration::from_secs(3);

/// The copier, not yet running.
#[derive(Debug)]
pub(super) struct Copies {
    copier: Option<Copier>,
    stop: DrainStop,
    /// `None`: as long as the drain might have gone on.
    at_most: Option<Duration>,
}

/// The copier's thread.
#[derive(Debug)]
pub(super) struct Copying {
    worker: Option<Worker<()>>,
    stop: DrainStop,
    at_most: Option<Duration>,
}

impl Copies {
    /// Without ingest there may be no next start: then the copies get all the time that there is.
    pub(super) fn build(
        (config, relay_id): (&KafkaConfig, &str),
        letters: &DeadLetters,
        stats: Option<Arc<CopyStats>>,
        (source, pause): (&StatusSource, &DrainStop),
        with_ingest: bool,
    ) -> Result<Self, BuildError> {
        let stop = pause.beside();
        let build = |stats| {
            let (letters, heartbeat) = (letters.copies(), Some(source.heartbeat("dead-letter-copy")));
            Copier::build(config, relay_id, CopyHandles { letters, stats, stop: stop.clone(), heartbeat })
        };
        let copier = stats.map(build).transpose()?;
        Ok(Self { copier, stop, at_most: with_ingest.then_some(AT_MOST) })
    }

    /// Starts the thread.
    pub(super) fn spawn(self, trigger: &Trigger) -> Copying {
        let worker = self.copier.map(|copier| Worker::spawn("dead-letter-copy", trigger, move || copier.run()));
        Copying { worker, stop: self.stop, at_most: self.at_most }
    }
}

impl Copying {
    /// Ends it once the drain has ended, which had until `drained`; why it ended when it should not have.
    pub(super) async fn finish(mut self, drained: Instant, trigger: &Trigger) -> Option<String> {
        let worker = self.worker.as_mut()?;
        let deadline = self.at_most.map_or(drained, |at_most| drained.min(Instant::now() + at_most));
        let ended = finish(worker, &self.stop, trigger, deadline).await;
        tracing::debug!(in_order = ended.is_some(), "stopping: no more dead letters are copied");
        worker.failure.take()
    }
}
