//! What must hold of a buffer that was opened again.

use super::book::{Book, Expect};
use super::{MAX_BYTES, Relay, WINDOW};
use crate::disk::Disk;
use dualstream::event::Seq;
use std::collections::BTreeMap;

/// What a reopened buffer gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Batches by first seq.
    pub frames: BTreeMap<u64, usize>,
    /// Seqs that the drain would send.
    pub unended: Vec<u64>,
    /// Events reported lost since the directory was born.
    pub lost: u64,
}

/// Reads everything, as a drain does that acknowledges nothing.
pub fn read_out(relay: &mut Relay, book: &Book) -> Result<Seen, String> {
    let mut seen = Seen::default();
    let mut after = 0;
    for turn in 0_u32.. {
        if turn > 100_000 {
            return Err("reading does not end".to_owned());
        }
        let frame = match relay.reader.next_frame() {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            Err(error) => return Err(format!("reading fails: {error}")),
        };
        let (first, number) = (frame.first_seq.0, book.recognise(&frame)?);
        let next = first + u64::from(frame.count);
        if next <= after {
            return Err(format!("seq {first} comes after {}: not in order", after - 1));
        }
        after = next;
        let _ = seen.frames.insert(first, number);
        seen.unended.extend((first..next).filter(|seq| !relay.reader.is_acked(Seq(*seq))));
    }
    seen.lost = relay.gauges.snapshot().ledger.ends.lost;
    Ok(seen)
}

/// A crash, and nothing worse: I1 to I5, I7, I9, I10, I12, I13 and the ledger.
pub fn after_a_crash(book: &Book, expect: &Expect, relay: &mut Relay, disk: &Disk) -> Result<Seen, String> {
    let seen = read_out(relay, book)?;
    known_or_in_flight(expect, &seen)?;
    for (seq, number) in expect.owed(book) {
        if !seen.unended.contains(&seq) {
            return Err(format!("seq {seq} (batch {number}) was answered, is not acknowledged, and is gone"));
        }
    }
    if let Some(seq) = seen.unended.iter().find(|seq| expect.checkpointed.contains(seq)) {
        return Err(format!("seq {seq} was acknowledged, the cursor knew, and it comes again"));
    }
    let snapshot = relay.gauges.snapshot();
    if seen.lost > 0 {
        return Err(format!("{} events are reported lost, and nothing rotted", seen.lost));
    }
    if snapshot.acked_seq > expect.frontier() {
        return Err(format!("the frontier is {}, but only {} was acknowledged", snapshot.acked_seq, expect.frontier()));
    }
    if snapshot.durable_seq < expect.highest(book) {
        return Err(format!("seqs go on at {}, but {} was given already", snapshot.durable_seq + 1, expect.highest(book)));
    }
    books_balance(relay, &seen)?;
    within_bound(disk)?;
    Ok(seen)
}

/// Each event that was answered, and is among the newest, is known by its id, and sent again it is not stored again; what is not stored is
/// not known.
pub fn known_once(book: &Book, expect: &Expect, seen: &Seen, relay: &Relay) -> Result<(), String> {
    let durable = relay.gauges.snapshot().durable_seq;
    let oldest = (durable + 1).saturating_sub(WINDOW as u64).max(1);
    for (first, number) in &expect.must {
        let count = u64::from(book.sent[*number].count);
        for n in (0..count).filter(|n| first + n >= oldest) {
            let found = relay.find(&format!("{number}.{n}"));
            if found != Some(first + n) {
                return Err(format!(
                    "event {} (batch {number}) was answered, and its id is known as {found:?}; the newest is {durable}",
                    first + n
                ));
            }
        }
    }
    for number in expect.may.iter().filter(|number| !seen.frames.values().any(|known| known == *number)) {
        if let Some(seq) = relay.find(&format!("{number}.0")) {
            return Err(format!("batch {number} is not stored, and its id is known as {seq}: its client could never send it again"));
        }
    }
    let Some((first, number)) = expect.must.iter().next_back().filter(|(first, _)| **first >= oldest) else { return Ok(()) };
    let sent = &book.sent[*number];
    match relay.send_again(book.batch(*number, sent.count, sent.bytes)) {
        Some(Ok(again)) if again.count == 0 && again.first_seq == Seq(*first) && again.repeats.len() == sent.count as usize => {}
        other => return Err(format!("batch {number} at seq {first}, sent again, is answered {other:?}")),
    }
    let after = relay.gauges.snapshot().durable_seq;
    if after == durable { Ok(()) } else { Err(format!("a repeat was stored: {durable} events before it, {after} after")) }
}

/// Nothing comes that was not sent, nor with another seq, nor out of order.
pub fn known_or_in_flight(expect: &Expect, seen: &Seen) -> Result<(), String> {
    let mut before = None;
    for (first, number) in &seen.frames {
        match expect.must.get(first) {
            Some(known) if known == number => {}
            Some(known) => return Err(format!("seq {first} was batch {known} and is now batch {number}")),
            None if !expect.may.contains(number) => {
                return Err(format!("batch {number} at seq {first} was refused, or answered with another seq"));
            }
            None => {}
        }
        if before.is_some_and(|before| before >= *number) {
            return Err(format!("batch {number} comes after batch {before:?}: not the order in which they were accepted"));
        }
        before = Some(*number);
    }
    Ok(())
}

/// The ledger, against what was read.
pub fn books_balance(relay: &Relay, seen: &Seen) -> Result<(), String> {
    let ledger = relay.gauges.snapshot().ledger;
    if ledger.conservation_error() != 0 {
        return Err(format!("the ledger does not balance: {ledger:?}"));
    }
    if ledger.backlog != seen.unended.len() as u64 {
        return Err(format!("the backlog is {}, but {} events come: {ledger:?}, {:?}", ledger.backlog, seen.unended.len(), seen.unended));
    }
    Ok(())
}

pub fn within_bound(disk: &Disk) -> Result<(), String> {
    let peak = disk.peak();
    if peak > MAX_BYTES {
        return Err(format!("{peak} bytes were allocated, the bound is {MAX_BYTES}"));
    }
    Ok(())
}

/// It works: takes an event, gives it out with a seq that nobody had, and is empty once all is acknowledged (I4, I8, I17).
pub fn goes_on(book: &Book, expect: &Expect, seen: &Seen, relay: &mut Relay, disk: &Disk) -> Result<(), String> {
    let mut book = book.clone();
    let highest = seen.frames.last_key_value().map_or(0, |(first, number)| first + u64::from(book.sent[*number].count) - 1);
    let highest = highest.max(expect.highest(&book));
    let number = book.sent.len();
    // What was answered after the crash never happened.
    book.known = seen.frames.clone();
    relay.ack(&mut book, &seen.unended);
    for _ in 0..3 {
        relay.keep(&mut book);
    }
    relay.append(&mut book, 2, 100);
    relay.commit(&mut book, false);
    let Some(super::book::Answer::Stored(first)) = book.sent[number].answer.as_ref().map(|(_, answer)| answer.clone()) else {
        return Err(format!("an empty buffer does not take an event: {:?}", book.sent[number].answer));
    };
    if first <= highest {
        return Err(format!("a new event gets seq {first}, but {highest} was given already"));
    }
    let more = read_out(relay, &book)?;
    if more.frames != BTreeMap::from([(first, number)]) {
        return Err(format!("after the new event at seq {first} these come: {:?}", more.frames));
    }
    relay.ack(&mut book, &[first, first + 1]);
    relay.keep(&mut book);
    let snapshot = relay.gauges.snapshot();
    if snapshot.acked_seq != first + 1 {
        return Err(format!("all is acknowledged up to {}, but the frontier is {}", first + 1, snapshot.acked_seq));
    }
    books_balance(relay, &Seen::default())?;
    within_bound(disk)
}
