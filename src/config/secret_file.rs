//! Secrets that come in files, as Kubernetes mounts them. Read when they are needed, never kept in the settings, never printed.

use std::collections::hash_map::DefaultHasher;
use std::fs::File;
use std::hash::Hasher;
use std::io::{self, Read};
use std::path::Path;

/// No secret is longer; what is, is the wrong file.
const BYTES_MAX: u64 = 64 << 10;

/// A file of certificates may be a system's whole list of authorities; what is beyond this is not looked at.
const FINGERPRINT_BYTES_MAX: u64 = 4 << 20;

/// A number that changes when the file's content does; `None` when it cannot be read. Nothing of the content is kept.
pub fn file_fingerprint(path: &Path) -> Option<u64> {
    let mut file = File::open(path).ok()?.take(FINGERPRINT_BYTES_MAX);
    let (mut hasher, mut piece) = (DefaultHasher::new(), [0; 8 << 10]);
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Some(hasher.finish()),
            Ok(read) => hasher.write(&piece[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

/// The text of a secret file.
///
/// # Errors
/// When it cannot be read, is not text, or is longer than 64 KiB.
pub fn read_secret_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(BYTES_MAX + 1).read_to_string(&mut text)?;
    if read as u64 > BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("longer than {BYTES_MAX} bytes: not a file of secrets")));
    }
    Ok(text)
}
