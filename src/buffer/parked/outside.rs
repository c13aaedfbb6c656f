//! The waiting events of `parked/` in seq order over all topics, for a look from outside. Reads only; one file of each topic is in memory.

use super::super::error::OpenError;
use super::super::log::cipher::Keyring;
use super::super::log::recovery::io_error;
use super::super::log::storage::Storage;
use super::ParkedEvent;
use super::files::{self, Unread};
use super::survey::{Survey, Surveyed};
use std::collections::{BTreeMap, VecDeque};

/// Parked events on their way to somebody who looks.
pub(in crate::buffer) struct Outside<'a> {
    storage: &'a dyn Storage,
    keyring: &'a Keyring,
    from: u64,
    queues: Vec<OneQueue<'a>>,
}

#[derive(Default)]
struct OneQueue<'a> {
    topic: String,
    files: VecDeque<&'a Surveyed>,
    events: VecDeque<ParkedEvent>,
}

impl<'a> Outside<'a> {
    /// From seq `from` on.
    pub(in crate::buffer) fn new(storage: &'a dyn Storage, keyring: &'a Keyring, survey: &'a Survey, from: u64) -> Self {
        let mut queues: BTreeMap<u64, OneQueue<'a>> = BTreeMap::new();
        for file in survey.files.iter().filter(|file| file.alive > 0 && file.last >= from) {
            queues.entry(file.queue).or_default().files.push_back(file);
        }
        Self { storage, keyring, from, queues: queues.into_values().collect() }
    }

    /// The next event below `end`, with its topic.
    ///
    /// # Errors
    /// [`OpenError::Encrypted`], and what the disk says. A damaged file is passed over.
    pub(in crate::buffer) fn next_below(&mut self, end: u64) -> Result<Option<(String, ParkedEvent)>, OpenError> {
        loop {
            let first_of =
                |queue: &OneQueue<'_>| queue.events.front().map(|event| event.seq).or(queue.files.front().map(|file| file.first));
            let firsts = self.queues.iter().enumerate().filter_map(|(at, queue)| Some((first_of(queue)?, at)));
            let Some((_, at)) = firsts.min().filter(|(seq, _)| *seq < end) else { return Ok(None) };
            let queue = &mut self.queues[at];
            if let Some(event) = queue.events.pop_front() {
                return Ok(Some((queue.topic.clone(), event)));
            }
            let Some(file) = queue.files.pop_front() else { return Ok(None) };
            match files::read(self.storage, &file.name, self.keyring) {
                Ok(content) => {
                    let from = self.from.max(file.mark + 1);
                    let waits = |event: &ParkedEvent| event.seq >= from && file.dead.binary_search(&event.seq).is_err();
                    queue.events = content.events().filter(waits).collect();
                    queue.topic = content.head.topic;
                }
                Err(Unread::Locked(key_id)) => return Err(OpenError::Encrypted { file: self.storage.dir().join(&file.name), key_id }),
                Err(Unread::Io(source)) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(io_error(self.storage, "read", &file.name, source));
                }
                Err(Unread::Io(_) | Unread::Damaged(_)) => {}
            }
        }
    }
}
