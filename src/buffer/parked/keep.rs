//! Events on their way into files: which file takes which, and a file that could not be written made as it was.

use super::super::log::recovery::random_bytes;
use super::super::log::whole::{self, BLOCK};
use super::super::shared::lock;
use super::files::{self, name_of};
use super::format::{self, Head, Place};
use super::index::{Kept, Queue, Stray, template_id};
use super::store::Store;
use super::{ParkError, ParkedEvent};
use std::sync::Arc;

/// A file takes no more events once it has these bytes.
const FILE_BYTES: u64 = 1 << 20;
/// The newest file of a topic is written anew, with more events, while it is smaller than this: a trickle must not cost a block per event.
const SMALL_BYTES: u64 = 64 << 10;

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
    /// Keeps events of a topic, in seq order: those `in_log`, which is asked while nobody can purge one of them; `book` is told of those that are
    /// durable, within the index's lock. What does not fit is refused with nothing changed; after another error a first part may be kept, and booked.
    pub(in crate::buffer) fn keep(
        &self,
        topic: &str,
        in_log: &dyn Fn() -> Vec<ParkedEvent>,
        book: &mut dyn FnMut(&[u64]),
    ) -> Result<(), ParkError> {
        let _alone = lock(&self.changing);
        let events = in_log();
        if events.is_empty() {
            return Ok(());
        }
        self.mend()?;
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
        let bundles = self.bundles(&queue, template.0, &events)?;
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
        let Bundle { over, old, new, .. } = bundle;
        let seqs: Vec<u64> = new.iter().map(|event| event.seq).collect();
        let mut events: Vec<ParkedEvent> = old.iter().cloned().chain(new).collect();
        events.sort_by_key(|event| event.seq);
        let first = events.first().map_or(0, |event| event.seq);
        let name = over.clone().unwrap_or_else(|| name_of(first, number));
        if let Err(error) = self.write((number, template), head, &name, &events) {
            let is_changed = over.is_some() && !old.is_empty();
            let changed = || Stray::Changed { name: name.clone(), number, template, head: head.clone(), events: old };
            self.take_back(number, if is_changed { changed() } else { Stray::New(name) });
            return Err(error);
        }
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
        index.park_on(number);
        self.tell(&index);
        Ok(())
    }

    /// Writes a file, in place of one that is there.
    pub(super) fn write(&self, (number, template): (u64, u64), head: &Head, name: &str, events: &[ParkedEvent]) -> Result<(), ParkError> {
        let place = Place { queue: number, template, relay_id: self.relay_id, salt: random_bytes(&*self.storage) };
        Ok(files::write(&*self.storage, name, &format::encode(head, events, &place, &self.keyring))?)
    }

    /// The writing of a file failed: now, or before anything else is done with the files, it is made as it was.
    fn take_back(&self, number: u64, stray: Stray) {
        lock(&self.index).stray = Some(Arc::new(stray));
        if let Err(error) = self.mend() {
            tracing::warn!(%error, "cannot take back a file of parked events, trying again");
            let mut index = lock(&self.index);
            index.park_on(number);
            self.tell(&index);
        }
    }

    /// Makes a file whose writing failed as it was. Else its events could be parked twice: here, and where they are parked next. Under `changing`.
    pub(super) fn mend(&self) -> Result<(), ParkError> {
        let Some(stray) = lock(&self.index).stray.clone() else { return Ok(()) };
        match &*stray {
            Stray::New(name) => files::remove(&*self.storage, std::slice::from_ref(name))?,
            Stray::Changed { name, number, template, head, events } => {
                self.write((*number, *template), head, name, events)?;
                self.booked_as_was(*number, *template, name, events);
            }
        }
        lock(&self.index).stray = None;
        Ok(())
    }

    /// The file has no mark any more, and nothing that a mark ended.
    fn booked_as_was(&self, number: u64, template: u64, name: &str, events: &[ParkedEvent]) {
        let mut index = lock(&self.index);
        let edition = index.next_edition();
        let Some(queue) = index.queues.get_mut(&number) else { return };
        let (Some(file), Some(first)) = (queue.files.iter_mut().find(|file| file.name == name), events.first()) else { return };
        (file.first, file.mark, file.template, file.edition) = (first.seq, 0, template, edition);
    }

    /// Sees to it that this file holds what is booked, before somebody reads it.
    pub(super) fn mend_before_reading(&self, name: &str) -> Result<(), ParkError> {
        if lock(&self.index).stray.as_ref().is_none_or(|stray| stray.name() != name) {
            return Ok(());
        }
        self.mend_before_looking()
    }

    /// Sees to it that all files hold what is booked.
    pub(in crate::buffer) fn mend_before_looking(&self) -> Result<(), ParkError> {
        let _alone = lock(&self.changing);
        self.mend()
    }
}

/// A newest file that is damaged is left to whoever reads it next; later events go to another.
fn fresh_after_damage(error: ParkError) -> Result<Bundle, ParkError> {
    match error {
        ParkError::Io { source, .. } if source.kind() == std::io::ErrorKind::InvalidData => Ok(Bundle::new(None, Vec::new())),
        error => Err(error),
    }
}
