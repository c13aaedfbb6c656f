//! What opening finds in `parked/`. Under the lock, before anything else changes files there.
//!
//! Reads the front of every file (its header, mark and table), and of one file per topic the rest, which names the topic; the others are trusted until they
//! are read. What does not verify goes to quarantine; what it held is missing from the books then, which say so.

use super::super::error::OpenError;
use super::super::log::cipher::Keyring;
use super::super::log::quarantine;
use super::super::log::recovery::io_error;
use super::super::log::storage::Storage;
use super::super::log::whole;
use super::super::watermark::Watermark;
use super::ParkedTopic;
use super::files::{self, Front, Unread};
use super::index::{Index, Kept, Queue};
use super::spans::Spans;
use crate::lifecycle::Ends;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// One file.
#[derive(Debug)]
pub(in crate::buffer) struct Surveyed {
    pub(in crate::buffer) name: String,
    pub(in crate::buffer) queue: u64,
    template: u64,
    pub(in crate::buffer) first: u64,
    pub(in crate::buffer) last: u64,
    pub(in crate::buffer) mark: u64,
    pub(in crate::buffer) bytes: u64,
    pub(in crate::buffer) alive: u64,
    /// The first event that waits.
    first_alive: Option<u64>,
    pub(in crate::buffer) oldest_ms: u64,
    /// Dead letters among those above the mark.
    pub(in crate::buffer) dead: Vec<u64>,
    /// Everything in it that is above the cursor's frontier.
    recent: Vec<u64>,
}

/// All files.
#[derive(Debug, Default)]
pub(in crate::buffer) struct Survey {
    /// In the order of their first seqs.
    pub(in crate::buffer) files: Vec<Surveyed>,
    topics: BTreeMap<u64, String>,
    /// Those of which the header, the table, or all that names a topic does not verify.
    pub(in crate::buffer) damaged: Vec<Damaged>,
}

/// A file that does not verify.
#[derive(Debug)]
pub(in crate::buffer) struct Damaged {
    pub(in crate::buffer) name: String,
    pub(in crate::buffer) what: &'static str,
}

/// Who opens, and with what.
#[derive(Clone, Copy, Debug)]
pub(in crate::buffer) struct Opener<'a> {
    /// The keys; without any, topics are not named, and nothing is refused.
    pub(in crate::buffer) keyring: Option<&'a Keyring>,
    /// Where keys are looked for.
    pub(in crate::buffer) key_file: Option<&'a PathBuf>,
    /// The seqs of all dead letters, ascending.
    pub(in crate::buffer) dead: &'a [u64],
    /// The cursor's.
    pub(in crate::buffer) frontier: u64,
}

/// Looks through the files; sets aside what does not verify.
pub(in crate::buffer) fn survey(storage: &dyn Storage, opener: &Opener<'_>) -> Result<Survey, OpenError> {
    files::remove_unfinished(storage)?;
    let survey = look(storage, opener)?;
    for Damaged { name, what } in &survey.damaged {
        tracing::error!(file = name, what, "a file of parked events is damaged: it is moved to quarantine");
        quarantine::move_aside(storage, name).map_err(|source| io_error(storage, "set aside", name, source))?;
    }
    Ok(survey)
}

/// Looks through the files, and changes nothing.
pub(in crate::buffer) fn look(storage: &dyn Storage, opener: &Opener<'_>) -> Result<Survey, OpenError> {
    let mut survey = Survey::default();
    for name in files::names(storage)? {
        match look_at(storage, &name, opener, &mut survey.topics) {
            Ok(file) => survey.files.push(file),
            Err(Unread::Locked(key_id)) => {
                return Err(OpenError::UnknownKey { file: storage.dir().join(&name), key_id, key_file: opener.key_file.cloned() });
            }
            // Sent, and removed since the names were read.
            Err(Unread::Io(source)) if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(Unread::Io(source)) => return Err(io_error(storage, "read", &name, source)),
            Err(Unread::Damaged(what)) => survey.damaged.push(Damaged { name, what }),
        }
    }
    survey.files.sort_by_key(|file| file.first);
    Ok(survey)
}

fn look_at(storage: &dyn Storage, name: &str, opener: &Opener<'_>, topics: &mut BTreeMap<u64, String>) -> Result<Surveyed, Unread> {
    let front = files::read_front(storage, name)?;
    let number = front.header.queue;
    if opener.keyring.is_none() && !topics.contains_key(&number) {
        // What is not encrypted has a name for everybody.
        topics.extend(files::read(storage, name, &Keyring::default()).ok().map(|content| (number, content.head.topic)));
    } else if let Some(keyring) = opener.keyring {
        if !keyring.knows(front.header.key_id) {
            return Err(Unread::Locked(front.header.key_id));
        }
        if let Entry::Vacant(unnamed) = topics.entry(number) {
            let _ = unnamed.insert(files::read(storage, name, keyring)?.head.topic);
        }
    }
    Ok(surveyed(storage, name, &front, opener))
}

fn surveyed(storage: &dyn Storage, name: &str, front: &Front, opener: &Opener<'_>) -> Surveyed {
    let is_dead = |seq: &u64| opener.dead.binary_search(seq).is_ok();
    let standing: Vec<u64> = front.unmarked().map(|entry| entry.seq).collect();
    let (dead, alive): (Vec<u64>, Vec<u64>) = standing.into_iter().partition(is_dead);
    let oldest = front.unmarked().next().or(front.entries.first());
    Surveyed {
        name: name.to_owned(),
        queue: front.header.queue,
        template: front.header.template,
        first: front.header.first_seq,
        last: front.header.last_seq,
        mark: front.mark,
        bytes: whole::allocated(storage, name),
        alive: alive.len() as u64,
        first_alive: alive.first().copied(),
        oldest_ms: oldest.map_or(0, |entry| entry.accepted_ms),
        dead,
        recent: front.entries.iter().map(|entry| entry.seq).filter(|seq| *seq > opener.frontier).collect(),
    }
}

impl Survey {
    /// What is parked has left the log, whatever the cursor says.
    pub(in crate::buffer) fn take_out_of(&self, watermark: &mut Watermark) {
        for seq in self.files.iter().flat_map(|file| file.recent.iter().copied()) {
            if !watermark.ended(seq) && !watermark.ack(seq) {
                // Farther away than anything leased, by a cursor that is gone: a range will do.
                let _ = watermark.lose(seq, seq);
            }
        }
    }

    /// What is parked of each topic; one whose name is encrypted goes by its number.
    pub(in crate::buffer) fn by_topic(&self) -> Vec<ParkedTopic> {
        let mut topics: BTreeMap<u64, ParkedTopic> = BTreeMap::new();
        for file in &self.files {
            let name = || self.topics.get(&file.queue).cloned().unwrap_or_else(|| format!("(encrypted) {:016x}", file.queue));
            let topic = topics.entry(file.queue).or_insert_with(|| ParkedTopic { topic: name(), ..ParkedTopic::default() });
            topic.events += file.alive;
            topic.bytes += file.bytes;
            topic.oldest_ms = topic.oldest_ms.or((file.alive > 0).then_some(file.oldest_ms));
        }
        topics.into_values().collect()
    }

    /// When the oldest event that waits was accepted.
    pub(in crate::buffer) fn oldest_ms(&self) -> Option<u64> {
        self.files.iter().filter(|file| file.alive > 0).map(|file| file.oldest_ms).min()
    }

    /// The highest seq in a file; 0 when there is none.
    pub(in crate::buffer) fn last(&self) -> u64 {
        self.files.iter().map(|file| file.last).max().unwrap_or(0)
    }

    /// How many events wait.
    pub(in crate::buffer) fn alive(&self) -> u64 {
        self.files.iter().map(|file| file.alive).sum()
    }

    /// How many are dead letters, and no mark says yet that they ended.
    pub(in crate::buffer) fn dead(&self) -> u64 {
        self.files.iter().map(|file| file.dead.len() as u64).sum()
    }

    /// The seqs from `from` on that wait. A file that cannot be read now has none.
    pub(in crate::buffer) fn waiting_from(&self, storage: &dyn Storage, from: u64) -> BTreeSet<u64> {
        let mut waiting = BTreeSet::new();
        for file in self.files.iter().filter(|file| file.alive > 0 && file.last >= from) {
            let Ok(front) = files::read_front(storage, &file.name) else { continue };
            let alive = front.unmarked().map(|entry| entry.seq).filter(|seq| *seq >= from && file.dead.binary_search(seq).is_err());
            waiting.extend(alive);
        }
        waiting
    }

    /// Puts everything into an index.
    pub(super) fn fill(&self, index: &mut Index, ends: &Ends, unclean: bool) {
        for file in &self.files {
            // Without keys nobody sends anything.
            let topic = self.topics.get(&file.queue).map_or("", String::as_str);
            let edition = index.next_edition();
            let queue = index.queues.entry(file.queue).or_insert_with(|| Queue { parking: false, ..Queue::new(Arc::from(topic)) });
            queue.files.push_back(Kept {
                name: file.name.clone(),
                first: file.first,
                last: file.last,
                alive: file.alive,
                bytes: file.bytes,
                oldest_ms: file.oldest_ms,
                template: file.template,
                mark: file.mark,
                done_at: (file.alive == 0).then_some(*ends),
                edition,
                cut: Spans::default(),
                cut_at: None,
            });
            file.dead.iter().for_each(|seq| queue.above.add(*seq, *seq));
        }
        for (number, queue) in &mut index.queues {
            let first = self.files.iter().filter(|file| file.queue == *number).filter_map(|file| file.first_alive).min();
            queue.parking = first.is_some();
            queue.advance(first.map_or_else(|| queue.last(), |first| first - 1));
            queue.in_doubt = Some(queue.last()).filter(|_| unclean && queue.parking);
        }
        index.version = 1;
    }
}
