//! What must hold when a life begins, and when all is delivered.

use super::book::{Answer, Book};
use super::kafka::partition_of;
use super::relay::{Relay, waiters};
use super::world::World;
use crate::disk::Disk;
use std::collections::BTreeSet;

/// The buffer was opened: no alarm, the books balance, and its dead letters are poison.
pub fn at_the_start(book: &mut Book, relay: &Relay) {
    let snapshot = relay.gauges.snapshot();
    assert_eq!(snapshot.ledger.conservation_error(), 0, "G9 after opening: {:?}", snapshot.ledger);
    assert_eq!(snapshot.ledger.ends.lost, 0, "G2: nothing rots here: {:?}", snapshot.ledger);
    let highest = book.event_of.last_key_value().map_or(0, |(seq, _)| *seq);
    assert!(snapshot.durable_seq >= highest, "G2: seq {highest} was there, and the buffer ends at {}", snapshot.durable_seq);
    for (seq, number) in letters(book, relay) {
        book.died(seq, number);
    }
}

/// The dead letters that there are: seq and event.
fn letters(book: &Book, relay: &Relay) -> Vec<(u64, u64)> {
    let mut letters = Vec::new();
    let listed = relay.letters.list(0, &mut |kept| {
        let event = kept.letter.event().unwrap_or_else(|| panic!("the dead letter of seq {} does not decode", kept.letter.seq));
        letters.push((kept.letter.seq, book.recognise(&event)));
        true
    });
    assert!(listed.is_ok(), "the dead letters cannot be listed: {listed:?}");
    letters
}

/// Everything is at its end: G2, G3, G9, and a notification for each acknowledgement.
pub fn at_the_end(world: &World, disk: &Disk) {
    let World { book, kafka, .. } = world;
    let (relay, _reader, _parked) = Relay::open(disk, waiters(), world.style.parks);
    let ledger = relay.gauges.snapshot().ledger;
    assert_eq!((ledger.backlog, ledger.conservation_error()), (0, 0), "G9 at the end: {ledger:?}");
    assert_eq!(ledger.ends.dead_lettered, book.dead.len() as u64, "G9: dead letters, by the ledger and by what was seen: {ledger:?}");
    let (asked, arrived) = (book.purge_asked.len() as u64, kafka.arrived.len() as u64);
    assert!(ledger.ends.acked <= arrived, "G9: more is acknowledged than is in Kafka: {ledger:?}");
    // A crash in the middle of a purge of parked events: what is sent after all was counted as purged, and is taken out of the acknowledged ones.
    let purged = if world.style.parks { ledger.ends.purged.saturating_sub(arrived - ledger.ends.acked) } else { ledger.ends.purged };
    assert!(purged <= asked, "G9: more is purged than was asked for: {ledger:?}");
    assert_eq!(book.tellings, book.bookings, "G5: notifications, and acknowledgements");
    let kept: BTreeSet<u64> = letters(book, &relay).into_iter().map(|(_, number)| number).collect();
    nothing_is_lost(world, &kept);
    nothing_is_overtaken(world);
    each_id_once(book);
    accepted_in_order(book);
}

/// G2
fn nothing_is_lost(world: &World, kept: &BTreeSet<u64>) {
    let World { book, kafka, .. } = world;
    for (number, posted) in (0_u64..).zip(&book.posted) {
        if posted.answer != Answer::Stored {
            continue;
        }
        let is_dead = kept.contains(&number) || book.letters_purged.contains(&number);
        let seqs = book.seqs_of.get(&number);
        let ends = |seq: &u64| kafka.arrived.contains(seq) || book.purge_asked.contains(seq);
        // Purged before it was sent again.
        let under_another_seq =
            || book.retried_unseen.contains(&number) && book.purge_asked.iter().any(|seq| !book.event_of.contains_key(seq));
        let is_at_its_end = is_dead || under_another_seq() || seqs.is_some_and(|seqs| seqs.iter().any(ends));
        assert!(is_at_its_end, "G2: e{number} (seq {seqs:?}) was acknowledged, and is neither in Kafka nor a dead letter nor purged");
    }
}

/// G3: a consumer that drops what is not above the newest seq of its partition misses nothing.
fn nothing_is_overtaken(world: &World) {
    for (partition, log) in world.kafka.logs.iter().enumerate() {
        let (mut newest, mut seen) = (0, BTreeSet::new());
        for record in log {
            assert_eq!(partition_of(record.source), partition, "the simulation itself");
            if seen.insert(record.seq) && !world.book.purge_asked.contains(&record.seq) {
                let seq = record.seq;
                assert!(seq > newest, "G3: partition {partition}: seq {seq} comes first after {newest}: it was overtaken");
            }
            newest = newest.max(record.seq);
        }
    }
}

/// However often an event is sent, it is stored once; a retried dead letter is stored again.
fn each_id_once(book: &Book) {
    for (number, seqs) in &book.seqs_of {
        let may_be_again = seqs.iter().any(|seq| book.dead.contains_key(seq) || book.purge_asked.contains(seq));
        assert!(seqs.len() == 1 || may_be_again, "e{number} is stored more than once: {seqs:?}");
    }
}

/// Seqs are in the order in which events were posted; a retry gives another, later one, and a repeat counts when it is taken.
fn accepted_in_order(book: &Book) {
    let firsts = book.seqs_of.iter().filter(|(number, _)| !book.of(**number).is_repeated);
    let firsts = firsts.filter_map(|(number, seqs)| Some((*number, *seqs.first()?)));
    let mut before = (0, 0);
    for (number, seq) in firsts {
        assert!(seq > before.1, "G3: e{number} has seq {seq}, and e{} before it has {}", before.0, before.1);
        before = (number, seq);
    }
}
