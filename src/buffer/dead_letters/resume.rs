//! After a crash in the middle of a retry: was the event appended again or not?

use super::super::OpenError;
use super::super::inspect;
use super::super::log::cipher::Keyring;
use super::super::log::storage::Storage;
use super::{Survey, read, remove};

/// Removes the letters whose events wait in the log again. Under the lock, before anything is appended or freed.
///
/// The log is looked through from where the first retry can have begun. An event that was appended again, sent and acknowledged by a cursor on disk, all
/// before its letter could be removed, is not found; its letter stays, and whoever retries it once more makes a duplicate.
pub(in crate::buffer) fn finish_retries(storage: &dyn Storage, keyring: &Keyring, survey: &Survey) -> Result<(), OpenError> {
    let mut letters = Vec::new();
    for &(seq, from_seq) in &survey.retries {
        letters.extend(read(storage, keyring, seq)?.map(|kept| (from_seq, kept.letter)));
    }
    let Some(from) = letters.iter().map(|(from_seq, _)| *from_seq).min() else { return Ok(()) };
    let mut appended = Vec::new();
    inspect::peek(storage, keyring, from, &mut |seq, _, event| {
        let again = |(from_seq, letter): &(u64, super::DeadLetter)| seq >= *from_seq && letter.event().as_ref() == Some(event);
        if let Some(at) = letters.iter().position(again) {
            appended.push(letters.swap_remove(at).1.seq);
        }
        !letters.is_empty()
    })?;
    if !appended.is_empty() {
        tracing::info!(letters = appended.len(), "a retry of dead letters was cut off after its events were stored: finished now");
    }
    Ok(remove(storage, &appended)?)
}
