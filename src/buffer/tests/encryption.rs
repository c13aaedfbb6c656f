//! Encryption at rest: nothing readable on disk, keys rotated, a wrong key loses nothing, damage is found without any key.

use super::*;
use std::fs;
use std::path::PathBuf;

const SECRET: &str = "4111 1111 1111 1111";

struct Vault {
    dir: tempfile::TempDir,
}

impl Vault {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn buffer_dir(&self) -> PathBuf {
        self.dir.path().join("buffer")
    }

    fn without_key(&self) -> BufferConfig {
        config(&self.buffer_dir(), 4 << 20)
    }

    /// The settings with these keys, the first of which encrypts.
    fn with_keys(&self, keys: &[u8]) -> BufferConfig {
        let file = self.dir.path().join("keys");
        fs::write(&file, keys.iter().map(|key| format!("{key:02x}").repeat(32)).collect::<Vec<_>>().join("\n")).unwrap();
        BufferConfig { encryption_key_file: Some(file), ..self.without_key() }
    }

    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = fs::read_dir(self.buffer_dir()).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = entries.filter(|path| path.is_file()).map(|path| (path.clone(), fs::read(path).unwrap())).collect();
        files.sort();
        files
    }

    fn shows(&self, text: &str) -> bool {
        self.files().iter().any(|(_, bytes)| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
    }
}

fn store(config: &BufferConfig, names: std::ops::Range<u64>) {
    let buffer = open(config);
    for n in names {
        let _ = buffer.append(batch(&[format!("{n} {SECRET}")]), Duration::ZERO).unwrap();
    }
    buffer.close();
}

fn read(config: &BufferConfig) -> Vec<String> {
    let mut buffer = open(config);
    let values = buffer.read_all().into_iter().map(|(_, value)| value).collect();
    buffer.close();
    values
}

fn expected(names: std::ops::Range<u64>) -> Vec<String> {
    names.map(|n| format!("{n} {SECRET}")).collect()
}

fn refusal(config: &BufferConfig) -> String {
    let storage = Arc::new(DiskStorage::new(&config.dir));
    let error = Buffer::open(config, storage, Arc::new(AckWaiters::default()), 0).map(|_| ()).unwrap_err();
    crate::error::chain(&error)
}

// Goal: whoever gets the disk cannot read an event; I can.
#[test]
fn no_event_is_readable_on_disk() {
    let vault = Vault::new();
    let keyed = vault.with_keys(&[1]);
    store(&keyed, 0..100);
    assert!(!vault.shows(SECRET));
    assert_eq!(read(&keyed), expected(0..100));
    // The test itself can find it.
    let plain = Vault::new();
    store(&plain.without_key(), 0..1);
    assert!(plain.shows(SECRET));
}

// Goal: without the right key nothing is delivered, changed or deleted, and the error says which key is missing and what to do.
#[test]
fn a_missing_key_is_said_and_nothing_is_lost() {
    let vault = Vault::new();
    store(&vault.with_keys(&[1]), 0..10);
    // The first refusal may seal what it scanned; after that not a byte changes.
    let _ = refusal(&vault.without_key());
    let before = vault.files();
    for config in [vault.without_key(), vault.with_keys(&[2])] {
        let said = refusal(&config);
        assert!(said.contains("encrypted with key") && said.contains("nothing was changed or deleted"), "{said}");
        assert!(vault.files() == before);
    }
    assert!(refusal(&vault.without_key()).contains("which is not set"));
    assert_eq!(read(&vault.with_keys(&[1])), expected(0..10));
}

// Goal: I rotate keys, or switch encryption on and off, without draining first; an old key can go once its events are gone.
#[test]
fn keys_rotate_with_events_in_the_buffer() {
    let vault = Vault::new();
    store(&vault.without_key(), 0..10);
    store(&vault.with_keys(&[1]), 10..20);
    store(&vault.with_keys(&[2, 1]), 20..30);
    let all = vault.with_keys(&[2, 1]);
    assert_eq!(read(&all), expected(0..30));
    assert!(refusal(&vault.with_keys(&[2])).contains("encrypted with key"));
    let mut buffer = open(&vault.with_keys(&[2, 1]));
    assert_eq!(buffer.read_all().len(), 30);
    let _ = buffer.reader.ack(&(1..=20).map(Seq).collect::<Vec<_>>());
    buffer.close();
    let mut buffer = open(&vault.with_keys(&[2]));
    assert_eq!(buffer.unended(), (21..=30).collect::<Vec<_>>());
    buffer.close();
}

// Goal: a kill in the middle costs nothing: what was acknowledged is decrypted after recovery.
#[test]
fn survives_a_kill() {
    let vault = Vault::new();
    let keyed = vault.with_keys(&[1]);
    let buffer = open(&keyed);
    for n in 0..10 {
        let _ = buffer.append(batch(&[format!("{n} {SECRET}")]), Duration::ZERO).unwrap();
    }
    // A copy of the files as they are now is what a kill leaves.
    let copy = vault.dir.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for (path, bytes) in vault.files() {
        fs::write(copy.join(path.file_name().unwrap()), bytes).unwrap();
    }
    buffer.close();
    // As if the directory had been moved: a copy is refused.
    fs::write(copy.join(crate::buffer::LOCK_NAME), "").unwrap();
    assert_eq!(read(&BufferConfig { dir: copy, ..keyed }), expected(0..10));
}

// Goal: a rotten byte in an encrypted event is found, set aside and reported like any other, and its neighbours arrive.
#[test]
fn damage_is_set_aside() {
    let vault = Vault::new();
    let keyed = vault.with_keys(&[1]);
    store(&keyed, 0..10);
    let (path, mut bytes) = vault.files().into_iter().find(|(path, _)| path.to_string_lossy().contains("seg-")).unwrap();
    // In the payload of the first frame.
    bytes[8192 + 56 + 20] ^= 1;
    fs::write(path, bytes).unwrap();
    let mut buffer = open(&keyed);
    let values: Vec<String> = buffer.read_all().into_iter().map(|(_, value)| value).collect();
    assert_eq!(values, expected(1..10));
    assert_eq!(buffer.gauges.snapshot().ledger.ends.lost, 1);
    buffer.close();
}
