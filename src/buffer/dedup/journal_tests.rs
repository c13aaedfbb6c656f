use super::*;
use crate::buffer::log::storage::DiskStorage;
use crate::event::{Fingerprint, Seq};
use std::collections::VecDeque;

const RELAY: [u8; 16] = [3; 16];

fn entry(seq: u64) -> Entry {
    Entry::from(Fingerprint::new(&format!("event {seq}"), seq))
}

fn window(limit: u64, durable: u64) -> Mutex<Window> {
    let first = (durable + 1).saturating_sub(limit).max(1);
    Mutex::new(Window::new(limit, (first..=durable).map(entry).collect(), durable))
}

/// Lets `events` more become durable.
fn grow(window: &Mutex<Window>, events: u64) {
    let mut window = lock(window);
    let durable = window.durable();
    for seq in durable + 1..=durable + events {
        window.claim(&[Fingerprint::new(&format!("event {seq}"), seq)], seq).unwrap();
    }
    window.synced(durable + events).tell();
}

fn open(storage: &dyn Storage, window: &Mutex<Window>) -> Journal {
    Journal::open(storage, &Keyring::default(), &RELAY, &load(storage, &Keyring::default(), &RELAY).unwrap(), window).unwrap()
}

fn known(storage: &dyn Storage, durable: u64) -> Vec<u64> {
    let loaded = load(storage, &Keyring::default(), &RELAY).unwrap();
    (1..=durable).filter(|seq| loaded.entry(*seq).is_known()).inspect(|seq| assert_eq!(loaded.entry(*seq), entry(*seq), "{seq}")).collect()
}

// Goal: the ids of the newest events are on disk in a file that does not grow, however many events come, in steps of whatever size.
#[test]
fn holds_the_window_in_a_fixed_size() {
    for (limit, steps) in [(10, [1, 3, 7]), (168, [167, 1, 500]), (400, [90, 1000, 168]), (1000, [1, 2, 1500])] {
        let dir = tempfile::tempdir().unwrap();
        let storage = DiskStorage::new(dir.path());
        let window = window(limit, 0);
        let mut journal = open(&storage, &window);
        for turn in 0..30 {
            grow(&window, steps[turn % steps.len()]);
            journal.write(&storage, &window).unwrap();
            let durable = lock(&window).durable();
            let known = known(&storage, durable);
            let newest = (durable + 1).saturating_sub(limit).max(1)..=durable;
            assert!(newest.clone().all(|seq| known.binary_search(&seq).is_ok()), "limit {limit}, turn {turn}: {newest:?}, not {known:?}");
            assert_eq!(std::fs::metadata(dir.path().join(JOURNAL_NAME)).unwrap().len(), bytes_of(limit));
        }
    }
}

// Goal: a block that rots is forgotten, never misread; what was synced before the last write survives that write being torn anywhere.
#[test]
fn damage_is_forgotten_and_torn_writes_hurt_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let storage = DiskStorage::new(dir.path());
    let window = window(300, 0);
    let mut journal = open(&storage, &window);
    for step in [100, 100, 150, 100] {
        grow(&window, step);
        journal.write(&storage, &window).unwrap();
    }
    let (path, durable) = (dir.path().join(JOURNAL_NAME), lock(&window).durable());
    let before = std::fs::read(&path).unwrap();
    grow(&window, 200);
    journal.write(&storage, &window).unwrap();
    let after = std::fs::read(&path).unwrap();
    // Any half of each changed block may have reached the disk.
    let changed: Vec<usize> =
        (0..before.len() / BLOCK_LEN).filter(|n| before[n * BLOCK_LEN..][..BLOCK_LEN] != after[n * BLOCK_LEN..][..BLOCK_LEN]).collect();
    assert!(changed.len() >= 2);
    for choice in 0..3_usize.pow(u32::try_from(changed.len()).unwrap()) {
        let mut torn = before.clone();
        for (at, n) in changed.iter().enumerate() {
            let to = [0, BLOCK_LEN / 2, BLOCK_LEN][choice / 3_usize.pow(u32::try_from(at).unwrap()) % 3];
            torn[n * BLOCK_LEN..][..to].copy_from_slice(&after[n * BLOCK_LEN..][..to]);
        }
        std::fs::write(&path, torn).unwrap();
        let known = known(&storage, durable + 200);
        // The window of then, but for what is too old when 200 more are durable.
        assert!((durable + 201 - 300..=durable).all(|seq| known.binary_search(&seq).is_ok()), "choice {choice}: {known:?}");
    }
    for n in 0..after.len() / BLOCK_LEN {
        let mut rotten = after.clone();
        rotten[n * BLOCK_LEN + 2000] ^= 4;
        std::fs::write(&path, rotten).unwrap();
        let _ = known(&storage, durable + 200);
    }
}

// Goal: after a start that found fewer events on disk than before, what the journal said of their seqs is never taken for the events that
// get them now.
#[test]
fn seqs_that_are_given_again_are_not_mistaken() {
    let dir = tempfile::tempdir().unwrap();
    let storage = DiskStorage::new(dir.path());
    let first = window(600, 0);
    let mut journal = open(&storage, &first);
    grow(&first, 500);
    journal.write(&storage, &first).unwrap();
    drop(journal);
    // 200 of them are gone; then a crash before anything else is written.
    drop(open(&storage, &window(600, 300)));
    let loaded = load(&storage, &Keyring::default(), &RELAY).unwrap();
    assert_eq!(loaded.entry(300), entry(300));
    assert!((301..=600).all(|seq| !loaded.entry(seq).is_known()));
}

// Goal: an event that is reported lost may be sent again, also after the next start.
#[test]
fn what_is_lost_is_struck_out() {
    let dir = tempfile::tempdir().unwrap();
    let storage = DiskStorage::new(dir.path());
    let window = window(600, 500);
    let mut journal = open(&storage, &window);
    assert!(!journal.lags(&lock(&window)));
    lock(&window).forget(100, 102);
    assert!(journal.lags(&lock(&window)));
    journal.write(&storage, &window).unwrap();
    assert!(!journal.lags(&lock(&window)));
    let expected: Vec<u64> = (1..=500).filter(|seq| !(100..=102).contains(seq)).collect();
    assert_eq!(known(&storage, 500), expected);
}

// Goal: another size of the window keeps what is known, as far as the new one reaches.
#[test]
fn resizing() {
    let dir = tempfile::tempdir().unwrap();
    let storage = DiskStorage::new(dir.path());
    drop(open(&storage, &window(1000, 900)));
    for limit in [2000, 300] {
        let loaded = load(&storage, &Keyring::default(), &RELAY).unwrap();
        let first = 901_u64.saturating_sub(limit).max(1);
        let entries: VecDeque<Entry> = (first..=900).map(|seq| loaded.entry(seq)).collect();
        drop(open(&storage, &Mutex::new(Window::new(limit, entries, 900))));
        assert_eq!(known(&storage, 900).len() as u64, limit.min(900));
        assert_eq!(std::fs::metadata(dir.path().join(JOURNAL_NAME)).unwrap().len(), bytes_of(limit));
        assert!(!dir.path().join(NEW_NAME).exists());
    }
}

// Goal: the journal takes at most its share of a small buffer.
#[test]
fn its_share() {
    for max_bytes in [1 << 20, 3 << 20, 64 << 20, 1 << 30] {
        let limit = window_within(max_bytes, 100_000);
        assert!(bytes_of(limit) <= max_bytes / SHARE, "{max_bytes}");
        assert_eq!(limit == 100_000, max_bytes >= 64 << 20, "{max_bytes}: {limit}");
        assert!(limit > 1000);
    }
    assert_eq!((bytes_of(0), window_within(1 << 30, 0)), (0, 0));
    assert_eq!(bytes_of(100_000), 2_453_504);
}

// Goal: events are found again by their ids.
#[test]
fn what_is_loaded_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let storage = DiskStorage::new(dir.path());
    drop(open(&storage, &window(100, 80)));
    let loaded = load(&storage, &Keyring::default(), &RELAY).unwrap();
    let window = Window::new(100, (1..=80).map(|seq| loaded.entry(seq)).collect(), 80);
    assert_eq!(window.find(crate::event::id_hash("event 17")), Some(Seq(17)));
    assert_eq!(load(&storage, &Keyring::default(), &[4; 16]).unwrap().blocks.len(), 0, "of another directory");
}
