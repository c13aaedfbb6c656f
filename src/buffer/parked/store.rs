//! The parked events of an open buffer: the index in memory and the files behind it.
//!
//! Order, which nothing may change: a file is durable under its name before its events are booked as parked; a done mark, or the removal of a file,
//! comes after both slots of the cursor know the ends that it stands for.

use super::super::log::cipher::Keyring;
use super::super::log::quarantine;
use super::super::log::recovery::random_bytes;
use super::super::log::storage::Storage;
use super::super::log::whole::{self, BLOCK};
use super::super::shared::lock;
use super::files::{self, Unread, name_of};
use super::format::{self, Head, Place};
use super::index::{Index, Kept, Queue, knows, template_id};
use super::purge::left;
use super::spans::Spans;
use super::survey::Survey;
use super::{ParkError, ParkedEvent, ParkedUsage};
use crate::lifecycle::Ends;
use crate::sync::{AtomicU64, Condvar, Mutex, Ordering};
use std::sync::Arc;

/// A file takes no more events once it has these bytes.
const FILE_BYTES: u64 = 1 << 20;
/// The newest file of a topic is written anew, with more events, while it is smaller than this: a trickle must not cost a block per event.
const SMALL_BYTES: u64 = 64 << 10;

/// The parked events of an open buffer.
#[derive(Debug)]
pub(in crate::buffer) struct Store {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) keyring: Keyring,
    relay_id: [u8; 16],
    max_bytes: u64,
    /// Whether anything more may be parked.
    takes: bool,
    /// Held for a few instructions; the marks' lock may be taken within it, so that an event changes its book in one step.
    pub(super) index: Mutex<Index>,
    /// Told when something is parked or released.
    pub(super) changed: Condvar,
    /// One change of files at a time, held across its I/O: a file that is written anew must not meet its removal or its mark. Nobody waits for it but who
    /// changes files: the two lines of the drain and a purge.
    pub(super) changing: Mutex<()>,
    /// How many topics are parked: asked for at every event.
    parking: AtomicU64,
    /// The ends that both slots of the cursor on disk know.
    settled: Mutex<Ends>,
    /// The ends that they should know soon.
    wanted: Mutex<Ends>,
}

/// What one file is to hold.
struct Bundle {
    /// The file that it replaces.
    over: Option<String>,
    old: Vec<ParkedEvent>,
    new: Vec<ParkedEvent>,
    bytes: u64,
}

impl Bundle {
    fn new(over: Option<String>, old: Vec<ParkedEvent>) -> Self {
        let bytes = old.iter().map(|event| event.record.len() as u64).sum();
        Self { over, old, new: Vec::new(), bytes }
    }

    fn add(&mut self, event: ParkedEvent) {
        self.bytes += event.record.len() as u64;
        self.new.push(event);
    }

    fn need(&self, head: &Head) -> u64 {
        format::max_len(self.old.len() + self.new.len(), self.bytes, head).next_multiple_of(BLOCK)
    }
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

    /// Bytes allocated.
    pub(in crate::buffer) fn bytes(&self) -> u64 {
        lock(&self.index).bytes()
    }

    /// When the oldest parked event was accepted.
    pub(in crate::buffer) fn oldest_ms(&self) -> Option<u64> {
        lock(&self.index).files().filter(|file| file.alive > 0).map(|file| file.oldest_ms).min()
    }

    /// Keeps events of a topic, in seq order, that the log still has; `book` is told of those that are durable, within the index's lock. What does
    /// not fit is refused with nothing changed; after another error a first part may be kept, and booked.
    pub(in crate::buffer) fn keep(&self, topic: &str, events: &[ParkedEvent], book: &mut dyn FnMut(&[u64])) -> Result<(), ParkError> {
        let _alone = lock(&self.changing);
        self.remove_strays()?;
        let (number, queue, template) = {
            let mut index = lock(&self.index);
            let need = events.iter().map(|event| event.record.len() as u64).sum();
            let full = ParkError::Full { need, bytes: index.bytes(), max_bytes: self.max_bytes };
            let number = if self.takes { index.find_or_make(topic) } else { None };
            let Some((number, queue)) = number.and_then(|number| Some((number, index.queues.get(&number)?.clone()))) else {
                return Err(full);
            };
            (number, queue, index.template.clone().unwrap_or_else(|| (template_id(""), String::new())))
        };
        let head = Head { topic: topic.to_owned(), template: template.1 };
        let bundles = self.bundles(&queue, template.0, events)?;
        self.check_room(&bundles, &head)?;
        for bundle in bundles {
            self.keep_one((number, template.0), &head, bundle, book)?;
        }
        Ok(())
    }

    /// Divides events over files: the newest goes on while it is small, and one that holds later events takes what belongs before them.
    fn bundles(&self, queue: &Queue, template: u64, events: &[ParkedEvent]) -> Result<Vec<Bundle>, ParkError> {
        let mut bundles: Vec<Bundle> = Vec::new();
        let mut rest = events.iter().cloned().peekable();
        while let Some(event) = rest.next_if(|event| queue.files.back().is_some_and(|file| event.seq <= file.last)) {
            let file = &queue.files[queue.place_of(event.seq)];
            if bundles.last().is_none_or(|bundle| bundle.over.as_ref() != Some(&file.name)) {
                bundles.push(self.reopened(file)?);
            }
            if let Some(bundle) = bundles.last_mut() {
                bundle.add(event);
            }
        }
        if rest.peek().is_none() {
            return Ok(bundles);
        }
        let newest = queue.files.back().filter(|file| file.bytes < SMALL_BYTES && file.template == template && file.alive > 0);
        match (newest, bundles.last()) {
            // It takes the later ones as well.
            (Some(file), Some(last)) if last.over.as_ref() == Some(&file.name) => {}
            (Some(file), _) => bundles.push(self.reopened(file).or_else(fresh_after_damage)?),
            (None, _) => bundles.push(Bundle::new(None, Vec::new())),
        }
        for event in rest {
            if bundles.last().is_none_or(|bundle| bundle.bytes >= FILE_BYTES) {
                bundles.push(Bundle::new(None, Vec::new()));
            }
            if let Some(bundle) = bundles.last_mut() {
                bundle.add(event);
            }
        }
        Ok(bundles)
    }

    /// What a file holds that no mark on disk ends, to be written anew with more.
    fn reopened(&self, file: &Kept) -> Result<Bundle, ParkError> {
        let content = files::read(&*self.storage, &file.name, &self.keyring);
        let content = content.map_err(|unread| unread.into_error(&*self.storage, &file.name))?;
        // What is above its last seq was written and never booked.
        let old = content.events().filter(|event| event.seq > file.mark && event.seq <= file.last).collect();
        Ok(Bundle::new(Some(file.name.clone()), old))
    }

    /// There is room for all of them, and to write the largest file once more: a purge must find room when all is full.
    fn check_room(&self, bundles: &[Bundle], head: &Head) -> Result<(), ParkError> {
        let index = lock(&self.index);
        let needs: Vec<u64> = bundles.iter().map(|bundle| bundle.need(head)).collect();
        let largest = index.files().map(|file| file.bytes).chain(needs.iter().copied()).max().unwrap_or(0);
        let (need, bytes) = (needs.iter().sum::<u64>() + largest, index.bytes());
        if bytes + need > self.max_bytes { Err(ParkError::Full { need, bytes, max_bytes: self.max_bytes }) } else { Ok(()) }
    }

    fn keep_one(&self, (number, template): (u64, u64), head: &Head, bundle: Bundle, book: &mut dyn FnMut(&[u64])) -> Result<(), ParkError> {
        let Bundle { over, old, mut new, .. } = bundle;
        let seqs: Vec<u64> = new.iter().map(|event| event.seq).collect();
        let mut events = old;
        events.append(&mut new);
        events.sort_by_key(|event| event.seq);
        let first = events.first().map_or(0, |event| event.seq);
        let name = over.clone().unwrap_or_else(|| name_of(first, number));
        self.write((number, template), head, &name, &events, over.is_none())?;
        let bytes = whole::allocated(&*self.storage, &name);
        let mut index = lock(&self.index);
        let edition = index.next_edition();
        let Some(queue) = index.queues.get_mut(&number) else { return Ok(()) };
        let before = queue.files.iter().find(|file| file.name == name);
        let alive = before.map_or(0, |file| file.alive) + seqs.len() as u64;
        let (cut, cut_at) = before.map(|file| (file.cut.clone(), file.cut_at)).unwrap_or_default();
        if seqs.first().is_some_and(|first| *first <= queue.last() && !queue.files.is_empty()) {
            queue.generation += 1;
        }
        queue.make_room_for(&seqs);
        queue.put(Kept {
            name,
            first,
            last: events.last().map_or(0, |event| event.seq),
            alive,
            bytes,
            oldest_ms: events.first().map_or(0, |event| event.accepted_ms),
            template,
            mark: 0,
            done_at: None,
            edition,
            cut,
            cut_at,
        });
        book(&seqs);
        index.version += 1;
        self.tell(&index);
        Ok(())
    }

    /// Writes a file; one that is new and may not be durable is taken away again.
    pub(super) fn write(
        &self,
        (number, template): (u64, u64),
        head: &Head,
        name: &str,
        events: &[ParkedEvent],
        is_new: bool,
    ) -> Result<(), ParkError> {
        let place = Place { queue: number, template, relay_id: self.relay_id, salt: random_bytes(&*self.storage) };
        let file = format::encode(head, events, &place, &self.keyring);
        let written = files::write(&*self.storage, name, &file).inspect_err(|_| {
            if is_new {
                lock(&self.index).strays.push(name.to_owned());
                if let Err(error) = self.remove_strays() {
                    tracing::warn!(%error, "cannot take back a file of parked events, trying again");
                }
            }
        });
        Ok(written?)
    }

    /// Removes files that were written, and whose events are not booked as parked.
    pub(super) fn remove_strays(&self) -> Result<(), ParkError> {
        let strays = lock(&self.index).strays.clone();
        if strays.is_empty() {
            return Ok(());
        }
        files::remove(&*self.storage, &strays)?;
        lock(&self.index).strays.clear();
        Ok(())
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

    /// Removes what is done with and marks how far the rest has come, as far as a cursor that knows `settled` allows; `now` are the ends of this moment.
    /// `false` when the disk did not let it.
    pub(in crate::buffer) fn keep_books(&self, settled: &Ends, now: &dyn Fn() -> Ends) -> bool {
        let _alone = lock(&self.changing);
        if let Err(error) = self.remove_strays() {
            tracing::warn!(%error, "cannot take back a file of parked events, trying again");
            return false;
        }
        if let Err(error) = self.write_without(settled) {
            tracing::warn!(%error, "cannot write parked events without those that were purged, trying again");
            return false;
        }
        let (finished, marks) = self.due(settled);
        if let Err(error) = files::remove(&*self.storage, &finished) {
            tracing::warn!(%error, "cannot remove parked events that were sent, trying again");
            return false;
        }
        let (mut marked, to_mark) = (Vec::new(), marks.len());
        for (name, seq) in marks {
            match files::mark(&*self.storage, &name, seq) {
                Ok(()) => marked.push((name, seq)),
                Err(error) => tracing::warn!(%error, file = name, "cannot mark parked events as sent, trying again"),
            }
        }
        let mut index = lock(&self.index);
        let ends = now();
        let mut wanted = None;
        for queue in index.queues.values_mut() {
            queue.files.retain(|file| !finished.contains(&file.name));
            for file in &mut queue.files {
                file.mark = marked.iter().find(|(name, _)| *name == file.name).map_or(file.mark, |(_, seq)| *seq);
            }
            if queue.noted.as_ref().is_some_and(|(_, ends)| knows(settled, ends)) {
                queue.noted = None;
            }
            let unmarked =
                queue.files.front().is_some_and(|file| file.first <= queue.frontier && file.mark < queue.frontier.min(file.last));
            if unmarked && queue.noted.is_none() {
                queue.noted = Some((queue.frontier, ends));
            }
            let waits = queue
                .noted
                .map(|(_, ends)| ends)
                .into_iter()
                .filter(|_| unmarked)
                .chain(queue.files.iter().filter_map(|file| file.done_at));
            wanted = waits.chain(wanted).max_by_key(Ends::total);
        }
        index.tidy();
        drop(index);
        let all_marked = marked.len() == to_mark;
        if let Some(wanted) = wanted {
            self.want(&wanted);
        }
        all_marked
    }

    /// Writes files anew without the purged events of which a cursor that knows `settled` tells.
    fn write_without(&self, settled: &Ends) -> Result<(), ParkError> {
        let cuts: Vec<(u64, Kept)> = {
            let index = lock(&self.index);
            let files = index.queues.iter().flat_map(|(number, queue)| queue.files.iter().map(move |file| (*number, file)));
            let due = files.filter(|(_, file)| file.alive > 0 && file.cut_at.as_ref().is_some_and(|ends| knows(settled, ends)));
            due.map(|(number, file)| (number, file.clone())).collect()
        };
        for (number, file) in cuts {
            let content = match files::read(&*self.storage, &file.name, &self.keyring) {
                Ok(content) => content,
                // Whoever reads it next reports it.
                Err(Unread::Damaged(_)) => continue,
                Err(unread) => return Err(unread.into_error(&*self.storage, &file.name)),
            };
            let events = left(&content, |seq| seq > file.mark && seq <= file.last && !file.cut.contains(seq));
            let (Some(first), Some(last)) = (events.first(), events.last()) else { continue };
            self.write((number, file.template), &content.head, &file.name, &events, false)?;
            let bytes = whole::allocated(&*self.storage, &file.name);
            let mut index = lock(&self.index);
            let edition = index.next_edition();
            let Some(queue) = index.queues.get_mut(&number) else { continue };
            let Some(kept) = queue.files.iter_mut().find(|kept| kept.name == file.name) else { continue };
            (kept.first, kept.last, kept.bytes, kept.edition, kept.mark) = (first.seq, last.seq, bytes, edition, 0);
            kept.oldest_ms = first.accepted_ms;
            if kept.cut == file.cut {
                (kept.cut, kept.cut_at) = (Spans::default(), None);
            }
        }
        Ok(())
    }

    /// Files to remove, and marks to write.
    fn due(&self, settled: &Ends) -> (Vec<String>, Vec<(String, u64)>) {
        let index = lock(&self.index);
        let is_done = |file: &&Kept| file.done_at.as_ref().is_some_and(|ends| knows(settled, ends));
        let finished = index.files().filter(is_done).map(|file| file.name.clone()).collect();
        let mut marks = Vec::new();
        for queue in index.queues.values() {
            let Some((frontier, _)) = queue.noted.as_ref().filter(|(_, ends)| knows(settled, ends)) else { continue };
            // A frontier that was moved back meanwhile ends less.
            let frontier = (*frontier).min(queue.frontier);
            let part = queue.files.iter().find(|file| file.first <= frontier && frontier < file.last && file.mark < frontier);
            marks.extend(part.filter(|file| file.alive > 0).map(|file| (file.name.clone(), frontier)));
        }
        (finished, marks)
    }

    /// Takes a file that does not verify out of the books, and into quarantine; `book` is told how many events were in it, within the index's lock.
    pub(super) fn give_up(&self, number: u64, name: &str, book: &mut dyn FnMut(u64) -> Ends) -> Result<Option<Kept>, Unread> {
        let _alone = lock(&self.changing);
        if !lock(&self.index).files().any(|file| file.name == name) {
            return Ok(None);
        }
        quarantine::move_aside(&*self.storage, name)?;
        let mut index = lock(&self.index);
        let Some(queue) = index.queues.get_mut(&number) else { return Ok(None) };
        let Some(place) = queue.files.iter().position(|file| file.name == name) else { return Ok(None) };
        let file = queue.files.remove(place);
        if let Some(file) = &file {
            let ends = book(file.alive);
            queue.note(&ends);
        }
        Ok(file)
    }
}

/// A newest file that is damaged is left to whoever reads it next; later events go to another.
fn fresh_after_damage(error: ParkError) -> Result<Bundle, ParkError> {
    match error {
        ParkError::Io { source, .. } if source.kind() == std::io::ErrorKind::InvalidData => Ok(Bundle::new(None, Vec::new())),
        error => Err(error),
    }
}
