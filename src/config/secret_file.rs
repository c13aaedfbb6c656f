//! Secrets that come in files, as Kubernetes mounts them. Read when they are needed, never kept in the settings, never printed.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// No secret is longer; what is, is the wrong file.
const BYTES_MAX: u64 = 64 << 10;

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
