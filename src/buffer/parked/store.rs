//! The parked events of an open buffer: the index in memory and the files behind it.
//!
//! Order, which nothing may change: a file is durable under its name before its events are booked as parked; a done mark, or the removal of a file,
//! comes after both slots of the cursor know the ends that it stands for.

use super::super::log::cipher::Keyring;
use super::super::log::storage::Storage;
use super::super::shared::lock;
use super::ParkedUsage;
use super::index::{Index, knows, template_id};
use super::survey::Survey;
use crate::lifecycle::Ends;
use crate::sync::{AtomicU64, Condvar, Mutex, Ordering};
use std::sync::Arc;

/// The parked events of an open buffer.
#[derive(Debug)]
pub(in crate::buffer) struct Store {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) keyring: Keyring,
    pub(super) relay_id: [u8; 16],
    pub(super) max_bytes: u64,
    /// Whether anything more may be parked.
    pub(super) takes: bool,
    /// Held for a few instructions; the marks' lock may be taken within it, so that an event changes its book in one step.
    pub(super) index: Mutex<Index>,
    /// Told when something is parked or released.
    pub(super) changed: Condvar,
    /// One change of files at a time, held across its I/O: a file that is written anew must not meet its removal or its mark. A purge holds it while it gives up
    /// events of the log: one on its way from there to a file would be in both books. Nobody else waits for it.
    pub(in crate::buffer) changing: Mutex<()>,
    /// How many topics are parked: asked for at every event.
    parking: AtomicU64,
    /// The ends that both slots of the cursor on disk know.
    settled: Mutex<Ends>,
    /// The ends that they should know soon.
    wanted: Mutex<Ends>,
}

impl Store {
    /// What a survey found; `ends` are those of the books that it led to.
    pub(in crate::buffer) fn new(
        storage: Arc<dyn Storage>,
        keyring: Keyring,
        relay_id: [u8; 16],
        (max_bytes, takes): (u64, bool),
        survey: &Survey,
        (ends, unclean): (&Ends, bool),
    ) -> Self {
        let mut index = Index::default();
        survey.fill(&mut index, ends, unclean);
        let parking = AtomicU64::new(index.parking() as u64);
        Self {
            storage,
            keyring,
            relay_id,
            max_bytes,
            takes,
            index: Mutex::new(index),
            changed: Condvar::new(),
            changing: Mutex::default(),
            parking,
            settled: Mutex::default(),
            wanted: Mutex::default(),
        }
    }

    /// Says what `kafka.topic` is.
    pub(in crate::buffer) fn set_template(&self, template: &str) {
        lock(&self.index).template = Some((template_id(template), template.to_owned()));
    }

    /// Whether events are left that were parked under another `kafka.topic`.
    pub(in crate::buffer) fn holds_other_templates(&self) -> bool {
        let index = lock(&self.index);
        let today = index.template.as_ref().map(|(id, _)| *id);
        index.files().any(|file| file.alive > 0 && Some(file.template) != today)
    }

    /// Whether any topic is parked: one load.
    pub(in crate::buffer) fn any(&self) -> bool {
        self.parking.load(Ordering::Acquire) > 0
    }

    pub(in crate::buffer) fn is_parked(&self, topic: &str) -> bool {
        let index = lock(&self.index);
        index.find(topic).and_then(|number| index.queues.get(&number)).is_some_and(|queue| queue.parking)
    }

    /// Begins to park a topic; `false` when no further one can be.
    pub(in crate::buffer) fn park_topic(&self, topic: &str) -> bool {
        let mut index = lock(&self.index);
        let parks = self.takes && index.find_or_make(topic).is_some();
        self.tell(&index);
        parks
    }

    /// Whoever looks sees what changed.
    pub(super) fn tell(&self, index: &Index) {
        self.parking.store(index.parking() as u64, Ordering::Release);
        self.changed.notify_all();
    }

    pub(in crate::buffer) fn usage(&self) -> ParkedUsage {
        let index = lock(&self.index);
        let topics = index.topics();
        let events = topics.iter().map(|topic| topic.events).sum();
        ParkedUsage { events, bytes: index.bytes(), max_bytes: self.max_bytes, topics }
    }

    /// Whether any file is there that has to be seen to.
    pub(in crate::buffer) fn has_files(&self) -> bool {
        let index = lock(&self.index);
        index.stray.is_some() || index.files().next().is_some()
    }

    /// Bytes allocated.
    pub(in crate::buffer) fn bytes(&self) -> u64 {
        lock(&self.index).bytes()
    }

    /// When the oldest parked event was accepted.
    pub(in crate::buffer) fn oldest_ms(&self) -> Option<u64> {
        lock(&self.index).files().filter(|file| file.alive > 0).map(|file| file.oldest_ms).min()
    }

    /// The ends that the older slot of the cursor knows, and so both.
    pub(in crate::buffer) fn settle(&self, ends: Ends) {
        *lock(&self.settled) = ends;
    }

    pub(in crate::buffer) fn settled(&self) -> Ends {
        *lock(&self.settled)
    }

    /// Whether a cursor should be written although nothing moved: its older slot knows only `older`.
    pub(in crate::buffer) fn wants_more_than(&self, older: &Ends) -> bool {
        !knows(older, &lock(&self.wanted))
    }

    /// Asks for both slots of the cursor to know these.
    pub(super) fn want(&self, ends: &Ends) {
        let mut wanted = lock(&self.wanted);
        if !knows(&wanted, ends) {
            *wanted = *ends;
        }
    }
}
