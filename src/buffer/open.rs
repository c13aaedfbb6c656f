//! Opening: lock, recover, divide the space, and hand out the parts that `app` puts on threads.

use super::appender::Appender;
use super::capacity::{Capacity, Plan};
use super::committer::Committer;
use super::copied;
use super::dead_letters::{self, DeadLetters, Survey};
use super::dedup::{self, Journal, Restored, Window, journal};
use super::error::{AppendError, OpenError};
use super::gauges::Gauges;
use super::keeper::Keeper;
use super::log::cipher::Keyring;
use super::log::cursor::{Cursor, Marks};
use super::log::recovery::{self, Recovered, io_error};
use super::log::segment::{number_in, spare_name};
use super::log::storage::{OpenMode, Storage, Volume};
use super::mark_book::MarkBook;
use super::parked::{self, ParkedLine};
use super::purge::Purger;
use super::rates::Rates;
use super::reader::Reader;
use super::shared::{Meters, Queue, Segments, Shared, lock};
use super::watermark::Watermark;
use crate::config::{BufferConfig, read_secret_file};
use crate::event::Seq;
use crate::lifecycle::AckWaiters;
use crate::sync::{AtomicU64, Condvar, Mutex};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often, and how far apart, the lock is tried.
const LOCK_ATTEMPTS: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// An open buffer, in the parts that run.
#[derive(Debug)]
pub struct Buffer {
    /// The write side.
    pub appender: Appender,
    /// The read side.
    pub reader: Reader,
    /// The look from outside.
    pub gauges: Gauges,
    /// Gives up events when an operator says so.
    pub purger: Purger,
    /// What Kafka will never take.
    pub dead_letters: DeadLetters,
    /// What is parked, for the drain's second line.
    pub parked: ParkedLine,
    /// Run it on a thread.
    pub committer: Committer,
    /// Run it on a thread.
    pub keeper: Keeper,
    /// Ends both threads in order.
    pub closer: Closer,
}

/// Closes the buffer, in two steps; clones share it.
#[derive(Clone, Debug)]
pub struct Closer {
    shared: Arc<Shared>,
}

impl Closer {
    /// Refuses appends from now on, those that wait for room included. The committer ends once everything admitted is durable.
    pub fn close_appends(&self) {
        let mut queue = lock(&self.shared.queue);
        queue.closed = true;
        for waiter in queue.waiters.drain(..) {
            waiter.reply.send(Err(AppendError::ShuttingDown));
        }
        drop(queue);
        self.shared.queue_changed.notify_all();
    }

    /// Lets the keeper write its last cursor and end. Call it when the drain has stopped and the committer ended.
    pub fn close_keeper(&self) {
        lock(&self.shared.keeper_poked).stop = true;
        self.shared.keeper_changed.notify_all();
    }
}

impl Buffer {
    /// Opens the directory behind `storage`; `largest_batch` is the largest payload that ingest means to append.
    ///
    /// # Errors
    /// [`OpenError`]; damage is not among them.
    pub fn open(config: &BufferConfig, storage: Arc<dyn Storage>, acks: Arc<AckWaiters>, largest_batch: u64) -> Result<Self, OpenError> {
        let keyring = keyring(config)?;
        let largest_stored = largest_batch + keyring.overhead_bytes();
        let window_limit = window_limit(config, acks.history().limit());
        let plan = plan(config, largest_stored, window_limit, parked::bytes_there(&*storage)?).map_err(OpenError::Settings)?;
        storage.create_dir("").map_err(|source| io_error(&*storage, "create", "", source))?;
        let volume = storage.volume().map_err(|source| io_error(&*storage, "examine", "", source))?;
        check_durability(config, &*storage, &volume)?;
        let held = take_lock(&*storage)?;
        copied::check(&*storage)?;
        let recovered = recovery::recover(&*storage, plan.quarantine_bytes)?;
        check_keys(config, &*storage, &keyring, &recovered)?;
        let (letters, parked) = survey(config, &*storage, &keyring, &recovered)?;
        let (marks, lost) = marks_of(&recovered, &letters, &parked);
        let Restored { window, journal } = dedup::restore(&*storage, &keyring, &recovered, (marks.durable, &lost), window_limit)?;
        let spares = keep_fitting(&*storage, &recovered.spares, &plan);
        let cursor = Cursor::open(&*storage, recovered.generation).map_err(|source| io_error(&*storage, "open", "cursor", source))?;
        storage.sync_dir("").map_err(|source| io_error(&*storage, "sync", "", source))?;

        let next_seq = marks.durable + 1;
        report(&recovered, marks.ends.lost.saturating_sub(recovered.marks.ends.lost));
        let written = recovered.marks.clone();
        let relay_id = written.relay_id;
        let dead_letters =
            dead_letters::Store::new(Arc::clone(&storage), keyring.clone(), relay_id, plan.dead_letter_bytes, config.dead_letters_full)?;
        let queue = Queue {
            pending: VecDeque::new(),
            waiters: VecDeque::new(),
            capacity: Capacity::new(&plan, marks.waiting(), config.max_events),
            next_ticket: 0,
            next_seq,
            closed: false,
            failed: None,
            wake_at: usize::MAX,
        };
        let waiting = parked.waiting_from(&*storage, lock(&window).oldest());
        remember(&acks, &lock(&window), &marks, &waiting, storage.now_ms());
        let meters = Meters::default();
        meters.torn_bytes.set(recovered.report.torn_bytes);
        meters.quarantined.add(recovered.report.quarantined + letters.quarantined + parked.damaged.len() as u64);
        let parked = open_parked(config, (&storage, &keyring), &plan, &marks, &written, &parked);
        let segments = Segments { live: recovered.segments, ready: VecDeque::new(), spares, next_id: recovered.next_segment_id };
        let shared = Arc::new(Shared {
            plan,
            max_bytes: config.max_bytes,
            max_events: config.max_events,
            min_free_bytes: config.min_free_bytes,
            volume,
            relay_id,
            dead_letters,
            parked,
            keyring,
            acks,
            queue: Mutex::new(queue),
            queue_changed: Condvar::new(),
            window,
            rates: Mutex::new(Rates::new(Instant::now(), marks.durable, marks.ends.total())),
            marks: Mutex::new(marks),
            marks_changed: Condvar::new(),
            segments: Mutex::new(segments),
            recent: Mutex::default(),
            keeper_poked: Mutex::default(),
            keeper_changed: Condvar::new(),
            ends_on_disk: Mutex::new(written.ends),
            ends_changed: Condvar::new(),
            purged_below: AtomicU64::new(0),
            meters,
            storage,
            _lock: held,
        });
        Ok(Self::assemble(shared, cursor, journal, written, next_seq))
    }

    fn assemble(shared: Arc<Shared>, cursor: Cursor, journal: Option<Journal>, written: Marks, next_seq: u64) -> Self {
        let unclean_up_to = (!written.clean).then(|| Seq(next_seq - 1));
        // A cursor that says "clean" is replaced before anything is accepted, and the first segments are prepared.
        let mut keeper = Keeper::new(Arc::clone(&shared), cursor, journal, Marks { clean: true, ..written });
        keeper.tick(Instant::now());
        Self {
            appender: Appender::new(Arc::clone(&shared)),
            reader: Reader::new(Arc::clone(&shared), unclean_up_to),
            gauges: Gauges::new(Arc::clone(&shared)),
            purger: Purger::new(Arc::clone(&shared)),
            dead_letters: DeadLetters::new(Arc::clone(&shared)),
            parked: ParkedLine::new(Arc::clone(&shared), unclean_up_to.is_some()),
            committer: Committer::new(Arc::clone(&shared), next_seq),
            keeper,
            closer: Closer { shared },
        }
    }

    /// The relay-id: born with the directory.
    pub fn relay_id(&self) -> uuid::Uuid {
        uuid::Uuid::from_bytes(self.closer.shared.relay_id)
    }
}

/// What is in the files beside the log.
fn survey(
    config: &BufferConfig,
    storage: &dyn Storage,
    keyring: &Keyring,
    recovered: &Recovered,
) -> Result<(Survey, parked::Survey), OpenError> {
    let letters = dead_letters::survey(storage)?;
    dead_letters::finish_retries(storage, keyring, &letters)?;
    let frontier = recovered.marks.frontier;
    let opener = parked::Opener { keyring: Some(keyring), key_file: config.encryption_key_file.as_ref(), dead: &letters.seqs, frontier };
    let parked = parked::survey(storage, &opener)?;
    Ok((letters, parked))
}

fn open_parked(
    config: &BufferConfig,
    (storage, keyring): (&Arc<dyn Storage>, &Keyring),
    plan: &Plan,
    marks: &MarkBook,
    written: &Marks,
    survey: &parked::Survey,
) -> parked::Store {
    let budget = (plan.parked_bytes, config.parked_bytes.is_some());
    let ends = (&marks.ends, !written.clean);
    parked::Store::new(Arc::clone(storage), keyring.clone(), written.relay_id, budget, survey, ends)
}

/// The keys of `buffer.encryption_key_file`; none when there is no such setting.
///
/// # Errors
/// [`OpenError::KeyFile`] and [`OpenError::Keys`] when the file is none of keys.
pub fn keyring(config: &BufferConfig) -> Result<Keyring, OpenError> {
    let Some(path) = &config.encryption_key_file else { return Ok(Keyring::default()) };
    let text = read_secret_file(path).map_err(|source| OpenError::KeyFile { path: path.clone(), source })?;
    Keyring::parse(&text).map_err(|source| OpenError::Keys { path: path.clone(), source })
}

/// The window of at most `wanted` events that this buffer has room for.
pub(super) fn window_limit(config: &BufferConfig, wanted: usize) -> u64 {
    dedup::window_within(config.max_bytes, wanted as u64)
}

/// How `max_bytes` is divided, after the journal of ids has its part.
/// `parked` are the bytes that parked events need which are there, whatever the settings say.
pub(super) fn plan(config: &BufferConfig, largest_stored: u64, window_limit: u64, parked: u64) -> Result<Plan, String> {
    let max_bytes = config.max_bytes - journal::bytes_of(window_limit);
    let parked = config.parked_bytes.unwrap_or(0).max(parked);
    Plan::new(max_bytes, config.segment_bytes, config.dead_letter_bytes, parked, largest_stored)
}

/// What is known of the newest events after a start.
fn remember(acks: &AckWaiters, window: &Window, marks: &MarkBook, parked: &BTreeSet<u64>, now_ms: u64) {
    if window.limit() < acks.history().limit() as u64 {
        let (events, wanted) = (window.limit(), acks.history().limit());
        tracing::warn!(events, wanted, "buffer.max_bytes has no room for ingest.dedup_window_events: fewer ids are remembered");
    }
    let seqs = window.oldest()..window.durable() + 1;
    let all_acked = marks.ends.total() == marks.ends.acked;
    acks.history().restore(Seq(seqs.start), seqs.map(|seq| marks.watermark.ended(seq) && !parked.contains(&seq)), all_acked, now_ms);
}

/// Events whose key is not there wait for it: they are neither skipped nor set aside.
fn check_keys(config: &BufferConfig, storage: &dyn Storage, keyring: &Keyring, recovered: &Recovered) -> Result<(), OpenError> {
    let Some(locked) = recovered.segments.iter().find(|segment| !keyring.knows(segment.header.key_id)) else { return Ok(()) };
    let file = storage.dir().join(&locked.name);
    Err(OpenError::UnknownKey { file, key_id: locked.header.key_id, key_file: config.encryption_key_file.clone() })
}

/// Takes the lock; a short while is given to a predecessor that is just ending, or to somebody who only looks.
pub(super) fn take_lock(storage: &dyn Storage) -> Result<Arc<dyn std::fmt::Debug + Send + Sync>, OpenError> {
    for attempt in 0..LOCK_ATTEMPTS {
        if attempt > 0 {
            std::thread::sleep(LOCK_PAUSE);
        }
        let held = storage.lock(super::LOCK_NAME).map_err(|source| io_error(storage, "lock", super::LOCK_NAME, source))?;
        if let Some(held) = held {
            return Ok(held);
        }
    }
    Err(OpenError::Locked { dir: storage.dir().to_owned() })
}

fn check_durability(config: &BufferConfig, storage: &dyn Storage, volume: &Volume) -> Result<(), OpenError> {
    if volume.durable {
        return Ok(());
    }
    if config.require_durable {
        return Err(OpenError::NotDurable { dir: storage.dir().to_owned(), filesystem: volume.filesystem.clone() });
    }
    tracing::warn!(
        dir = %storage.dir().display(),
        filesystem = volume.filesystem,
        "the buffer's volume does not keep what is synced: replies will say durable=false; mount a volume there"
    );
    Ok(())
}

/// Gives files that hold nothing any more the name of a spare; removes those of another size (the settings changed).
fn keep_fitting(storage: &dyn Storage, spares: &[String], plan: &Plan) -> Vec<String> {
    let fits =
        |name: &&String| storage.open(name, OpenMode::Read).and_then(|file| file.size()).is_ok_and(|size| size == plan.segment_bytes);
    let (keep, drop): (Vec<_>, Vec<_>) = spares.iter().partition(fits);
    for name in drop {
        if let Err(error) = storage.remove(name) {
            tracing::warn!(file = name, %error, "cannot remove a spare segment of another size");
        }
    }
    keep.into_iter().map(|name| as_spare(storage, name)).collect()
}

/// A segment that is reused is a spare first: a crash while its header is rewritten then leaves nothing that looks damaged.
fn as_spare(storage: &dyn Storage, name: &str) -> String {
    let Some(spare) = number_in(name, "seg-").map(spare_name) else { return name.to_owned() };
    match storage.rename(name, &spare) {
        Ok(()) => spare,
        Err(_) => name.to_owned(),
    }
}

/// The books to go on with, and what was found lost just now, as ascending, inclusive ranges. A dead letter counts as one, even where the
/// cursor is older than it.
pub(super) fn marks_of(recovered: &Recovered, survey: &Survey, parked: &parked::Survey) -> (MarkBook, Vec<(u64, u64)>) {
    let marks = &recovered.marks;
    let mut watermark = Watermark::restore(marks.frontier, &marks.ended_above, &marks.lost_above);
    let mut ends = marks.ends;
    ends.dead_lettered += survey.seqs.iter().filter(|seq| watermark.ack(**seq)).count() as u64;
    // A dead letter proves that its seq was given, and all before it.
    // So does a parked event, which is out of the log, and waits.
    let durable = survey.seqs.last().copied().unwrap_or(0).max(parked.last()).max(recovered.next_seq - 1);
    parked.take_out_of(&mut watermark);
    let unknown = (recovered.next_seq <= durable).then_some((recovered.next_seq, durable));
    let mut lost = Vec::new();
    for (from, to) in recovered.report.lost.iter().copied().chain(unknown) {
        // Not what is at its end, or parked.
        lost.extend(watermark.open_in(from, to));
        let events = watermark.lose(from, to);
        if events > 0 {
            tracing::error!(from, to, events, "events are lost");
        }
        ends.lost += events;
    }
    let ended = watermark.frontier().saturating_add(watermark.ended_above());
    let settled = parked::settle(ends, ended, parked.alive(), parked.dead());
    told(&settled);
    let partitions = marks.partitions.iter().map(|mark| ((Arc::from(mark.topic.as_str()), mark.partition), (mark.seq, mark.offset)));
    let books = MarkBook {
        durable,
        backlog: durable.saturating_sub(watermark.frontier()).saturating_sub(watermark.ended_above()),
        watermark,
        ends: settled.ends,
        parked: parked.alive(),
        partitions: partitions.collect(),
        ages: recovered.ages.iter().copied().collect(),
        oldest_leased_ms: None,
        reader_sleeps: false,
        woken: false,
        in_doubt: false,
    };
    (books, lost)
}

/// What opening changed in the books of parked events.
fn told(settled: &parked::Settled) {
    let parked::Settled { again, dead, lost, .. } = *settled;
    if again > 0 {
        tracing::info!(events = again, "parked events were sent before the stop, and nothing had noted it yet: they are sent again");
    }
    if dead > 0 {
        tracing::info!(events = dead, "parked events had become dead letters before the stop");
    }
    if lost > 0 {
        tracing::error!(events = lost, "parked events are lost: no file holds them");
    }
}

fn report(recovered: &Recovered, lost_events: u64) {
    let report = &recovered.report;
    let (segments, frontier, durable) = (recovered.segments.len(), recovered.marks.frontier, recovered.next_seq - 1);
    if report.unclean {
        tracing::info!(segments, frontier, durable, lost_events, torn_bytes = report.torn_bytes, "buffer recovered after an unclean stop");
    } else {
        tracing::info!(segments, frontier, durable, "buffer opened after a clean stop");
    }
}
