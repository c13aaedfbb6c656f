//! Which waiting events a selection means. Reads the directory from outside and changes nothing.

use super::super::inspect::look::Look;
use super::super::log::cipher::Keyring;
use super::super::log::storage::Storage;
use super::super::parked;
use super::super::watermark::{MAX_SPAN, Watermark};
use super::{PurgeError, Selected, Selection};

/// More pieces than this cannot be remembered, whatever they are: bits near the frontier, ranges beyond.
const MAX_PIECES: usize = MAX_SPAN;

/// Finds the events of a selection in the directory behind `storage`.
///
/// # Errors
/// [`PurgeError::Open`] when the directory, or what is encrypted in it, cannot be read, [`PurgeError::TooScattered`] when there are too many pieces to hold.
pub fn select(storage: &dyn Storage, keyring: &Keyring, selection: &Selection) -> Result<Selected, PurgeError> {
    let parked = parked::select(storage, keyring, selection, &Look::open(storage)?.parked)?;
    Ok(Selected { parked, ..select_log(storage, keyring, selection)? })
}

/// Those of the log alone.
pub(super) fn select_log(storage: &dyn Storage, keyring: &Keyring, selection: &Selection) -> Result<Selected, PurgeError> {
    let look = Look::open(storage)?;
    let ended = look.ended();
    let last = look.segments.iter().map(|opened| opened.seal_or_scan().last_seq).fold(look.frontier(), u64::max);
    let (from, to) = (selection.from_seq.max(look.frontier_or_begin() + 1), selection.to_seq.unwrap_or(u64::MAX).min(last));
    if from > to {
        return Ok(Selected::default());
    }
    if selection.source.is_none() && selection.before_ms.is_none() {
        // By seq alone nothing has to be read: what cannot be read can be given up, too.
        return Ok(Selected { ranges: vec![(from, to)], events: to - from + 1 - ended.ended_in(from, to), ..Selected::default() });
    }
    let mut selected = Selected::default();
    let mut pieces_left = true;
    look.visit(keyring, from, &mut |seq, accepted_ms, event| {
        if seq > to {
            return false;
        }
        if selection.holds(seq, accepted_ms, Some(event)) {
            pieces_left = selected.add(seq, &ended);
        }
        pieces_left
    })?;
    if pieces_left { Ok(selected) } else { Err(selected.too_scattered(&ended)) }
}

impl Selected {
    /// Adds an event with a higher seq than those before; `false` when there are too many pieces.
    fn add(&mut self, seq: u64, ended: &Watermark) -> bool {
        self.events += 1;
        match self.ranges.last_mut() {
            // What lies between is at its end: one piece.
            Some((_, to)) if ended.ended_in(*to + 1, seq - 1) == seq - 1 - *to => *to = seq,
            _ => self.ranges.push((seq, seq)),
        }
        self.ranges.len() <= MAX_PIECES
    }
}
