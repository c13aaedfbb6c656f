//! Giving up parked events because an operator says so.
//!
//! Order, which nothing may change: the ends are in the cursor on disk before a file is written anew without the events, or removed; so a crash in
//! between brings them back as waiting, and loses nothing. Whoever asked is answered after both.

use super::super::error::OpenError;
use super::super::log::cipher::Keyring;
use super::super::log::recovery::{io_error, random_bytes};
use super::super::log::storage::Storage;
use super::super::purge::{Purged, Selection};
use super::super::shared::{Shared, lock};
use super::files::{self, Unread};
use super::format::{self, Content, Place};
use super::index::knows;
use super::line::runs;
use super::survey::{Survey, Surveyed};
use super::{ParkError, ParkedEvent};
use crate::event::Records;
use crate::lifecycle::Ends;
use std::collections::BTreeSet;

/// Which events of a file a selection holds, its marked ones left out, and how they hang together: ranges within which it has no others.
struct Chosen {
    seqs: Vec<u64>,
    spans: Vec<(u64, u64)>,
}

/// Reads no more of a file than it has to. What does not verify holds nothing: whoever reads it next reports it.
fn choose(storage: &dyn Storage, keyring: &Keyring, name: &str, selection: &Selection) -> Result<Chosen, Unread> {
    let front = match files::read_front(storage, name) {
        Ok(front) => front,
        Err(Unread::Damaged(_)) => return Ok(Chosen { seqs: Vec::new(), spans: Vec::new() }),
        Err(Unread::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Chosen { seqs: Vec::new(), spans: Vec::new() });
        }
        Err(unread) => return Err(unread),
    };
    let held: BTreeSet<u64> = if selection.source.is_none() {
        front.unmarked().filter(|entry| selection.holds(entry.seq, entry.accepted_ms, None)).map(|entry| entry.seq).collect()
    } else {
        match files::read(storage, name, keyring) {
            Ok(content) => content.events().filter(|event| holds(selection, event)).map(|event| event.seq).collect(),
            Err(Unread::Damaged(_)) => BTreeSet::new(),
            Err(unread) => return Err(unread),
        }
    };
    let (mut seqs, mut spans, mut goes_on) = (Vec::new(), Vec::<(u64, u64)>::new(), false);
    for entry in front.unmarked() {
        let is_held = held.contains(&entry.seq);
        match spans.last_mut().filter(|_| is_held && goes_on) {
            Some((_, to)) => *to = entry.seq,
            None if is_held => spans.push((entry.seq, entry.seq)),
            None => {}
        }
        seqs.extend(is_held.then_some(entry.seq));
        goes_on = is_held;
    }
    Ok(Chosen { seqs, spans })
}

fn holds(selection: &Selection, event: &ParkedEvent) -> bool {
    let record = Records::new(&event.record).next().and_then(Result::ok);
    selection.holds(event.seq, event.accepted_ms, record.as_ref())
}

/// What a selection holds of a directory that is only looked at.
pub(in crate::buffer) fn select(
    storage: &dyn Storage,
    keyring: &Keyring,
    selection: &Selection,
    survey: &Survey,
) -> Result<Purged, OpenError> {
    let mut purged = Purged::default();
    for file in &survey.files {
        purged = purged.and(&Purged::of(&chosen_of(storage, keyring, selection, file)?));
    }
    Ok(purged)
}

fn chosen_of(storage: &dyn Storage, keyring: &Keyring, selection: &Selection, file: &Surveyed) -> Result<Vec<u64>, OpenError> {
    if file.alive == 0 || file.last < selection.from_seq {
        return Ok(Vec::new());
    }
    let mut seqs = choose(storage, keyring, &file.name, selection).map_err(|unread| open_error(storage, &file.name, unread))?.seqs;
    seqs.retain(|seq| file.dead.binary_search(seq).is_err());
    Ok(seqs)
}

fn open_error(storage: &dyn Storage, name: &str, unread: Unread) -> OpenError {
    match unread {
        Unread::Io(source) => io_error(storage, "read", name, source),
        Unread::Damaged(what) => io_error(storage, "read", name, std::io::Error::other(what)),
        Unread::Locked(key_id) => OpenError::Encrypted { file: storage.dir().join(name), key_id },
    }
}

/// Files of a directory that nobody else has, and which of their events go.
#[derive(Debug)]
pub(in crate::buffer) struct Cuts(Vec<(String, Vec<u64>)>);

/// What a selection holds, to be booked and then [`Cuts::make`].
pub(in crate::buffer) fn cuts(
    storage: &dyn Storage,
    keyring: &Keyring,
    selection: &Selection,
    survey: &Survey,
) -> Result<(Purged, Cuts), OpenError> {
    let (mut purged, mut cuts) = (Purged::default(), Vec::new());
    for file in &survey.files {
        let seqs = chosen_of(storage, keyring, selection, file)?;
        purged = purged.and(&Purged::of(&seqs));
        cuts.push((file.name.clone(), seqs));
    }
    Ok((purged, Cuts(cuts)))
}

impl Cuts {
    /// Writes the files without the events. The cursor has to know of their ends.
    pub(in crate::buffer) fn make(&self, storage: &dyn Storage, keyring: &Keyring, relay_id: [u8; 16]) -> Result<(), OpenError> {
        for (name, seqs) in self.0.iter().filter(|(_, seqs)| !seqs.is_empty()) {
            let front = files::read_front(storage, name).map_err(|unread| open_error(storage, name, unread))?;
            let stays = |seq: u64| seq > front.mark && seqs.binary_search(&seq).is_err();
            if !front.unmarked().any(|entry| stays(entry.seq)) {
                files::remove(storage, std::slice::from_ref(name))?;
                continue;
            }
            let content = files::read(storage, name, keyring).map_err(|unread| open_error(storage, name, unread))?;
            let place = Place { queue: front.header.queue, template: front.header.template, relay_id, salt: random_bytes(storage) };
            let file = format::encode(&content.head, &left(&content, stays), &place, keyring);
            files::write(storage, name, &file)?;
        }
        Ok(())
    }
}

/// The events that stay.
pub(super) fn left(content: &Content, stays: impl Fn(u64) -> bool) -> Vec<ParkedEvent> {
    content.events().filter(|event| stays(event.seq)).collect()
}

impl Shared {
    /// What a purge of parked events would do now, or does; their files follow with [`Shared::cut_parked`].
    pub(in crate::buffer) fn purge_parked(&self, selection: &Selection, dry_run: bool) -> Result<Purged, ParkError> {
        let mut purged = Purged::default();
        let to = selection.to_seq.unwrap_or(u64::MAX);
        let there: Vec<(u64, String, u64)> = {
            let index = lock(&self.parked.index);
            let queues = index.queues.iter().flat_map(|(number, queue)| queue.files.iter().map(move |file| (*number, file)));
            let wanted = queues.filter(|(_, file)| file.alive > 0 && file.last >= selection.from_seq && file.first <= to);
            wanted.map(|(number, file)| (number, file.name.clone(), file.edition)).collect()
        };
        for (number, name, edition) in there {
            let chosen = choose(&*self.storage, &self.keyring, &name, selection);
            let chosen = chosen.map_err(|unread| unread.into_error(&*self.storage, &name))?;
            let fresh = self.give_up_parked((number, &name, edition), &chosen, dry_run);
            purged = purged.and(&Purged::of(&fresh));
            if !dry_run {
                self.acks.purged(&runs(&fresh));
                self.after_end(fresh.len() as u64);
            }
        }
        Ok(purged)
    }

    /// Books the ends of what is chosen of a file; returns which were not at their end before.
    fn give_up_parked(&self, (number, name, edition): (u64, &str, u64), chosen: &Chosen, dry_run: bool) -> Vec<u64> {
        let mut index = lock(&self.parked.index);
        let Some(queue) = index.queues.get_mut(&number) else { return Vec::new() };
        let mut fresh: Vec<u64> = chosen.seqs.iter().copied().filter(|seq| !queue.is_ended(*seq)).collect();
        if dry_run {
            return fresh;
        }
        fresh.retain(|seq| queue.end(*seq));
        if fresh.is_empty() {
            return fresh;
        }
        let ends = lock(&self.marks).end_parked(fresh.len() as u64, |ends| &mut ends.purged);
        let frontier = queue.frontier;
        if let Some(file) = queue.files.iter_mut().find(|file| file.name == name) {
            // Nothing was put between them since they were read: they are ranges, and take no memory.
            let spans = if file.edition == edition { chosen.spans.clone() } else { runs(&fresh) };
            for (from, to) in spans {
                queue.above.add(from.max(frontier + 1), to);
                file.cut.add(from, to);
            }
            file.cut_at = Some(ends);
        }
        queue.advance(queue.frontier);
        queue.note(&ends);
        self.parked.want(&ends);
        index.woken = true;
        self.parked.tell(&index);
        fresh
    }

    /// Writes files without what was purged, or removes them, as far as both slots of the cursor know of it; whether nothing of it is left to do.
    pub(in crate::buffer) fn cut_parked(&self) -> bool {
        let settled = self.parked.settled();
        self.parked.keep_books(&settled, &|| lock(&self.marks).ends);
        lock(&self.parked.index).files().all(|file| file.cut_at.is_none())
    }

    /// The same once the cursor knows: waits for it.
    pub(in crate::buffer) fn cut_parked_durably(&self) -> Result<(), String> {
        let ends = lock(&self.marks).ends;
        self.parked.want(&ends);
        self.poke_keeper();
        self.until_on_disk(|_| knows(&self.parked.settled(), &ends))?;
        let _ = self.cut_parked();
        // Another purge may have begun meanwhile: that one is not waited for.
        let ours = |known: &Ends| knows(&ends, known);
        let is_left = lock(&self.parked.index).files().any(|file| file.cut_at.as_ref().is_some_and(ours));
        if is_left { Err("the files of parked events could not be written anew".to_owned()) } else { Ok(()) }
    }
}
