//! Rot: every bit, every sector, every length, every file of small stores. It opens, delivers nothing wrong and everything that is left, and
//! reports what is gone by its exact seqs.

mod change;
mod store;

use crate::chance::mix;
use crate::disk::Disk;
use crate::life::verify::{Seen, books_balance, goes_on, known_or_in_flight, read_out};
use crate::life::{ROOMY, Relay, config};
use crate::proof::{Line, Scope, Tally, guarded, run};
use crate::told;
use change::{Change, changes};
use std::collections::BTreeSet;
use store::{Store, stores};

pub const NAME: &str = "rot";

/// The changes are dealt out to so many shares.
const SHARES: u64 = 32;
/// A slice takes one of so many changes.
const SLICE: u64 = 11;

/// A seed is a share of the changes of all stores; all seeds together are complete.
pub fn prove(scope: &Scope) -> Line {
    run(NAME, scope, &scope.seeds(NAME, SHARES, SHARES), |seed, time| {
        let mut tally = Tally::default();
        let stores = match guarded(|| stores(time)).unwrap_or_else(|panic| Err(format!("panic: {panic}"))) {
            Ok(stores) => stores,
            Err(what) => {
                tally.fail(seed, "making the stores", what);
                return tally;
            }
        };
        for store in &stores {
            let all = changes(store);
            let is_asked_for = |at: u64, change: &Change| scope.full || change.is_rare() || mix(at).is_multiple_of(SLICE);
            let share = (0..).zip(&all).filter(|(at, _)| at % SHARES == seed % SHARES);
            for change in share.filter(|(at, change)| is_asked_for(*at, change)).map(|(_, change)| change) {
                tally.cases += 1;
                let done = guarded(|| try_change(store, change)).unwrap_or_else(|panic| Err(format!("panic: {panic}")));
                match done {
                    Ok(hash) => {
                        let _ = tally.states.insert(hash);
                    }
                    Err(what) => tally.fail(seed, format!("store {:?}, {change:?}", store.name), what),
                }
                if tally.failures.len() > 3 {
                    return tally;
                }
            }
        }
        tally
    })
}

fn try_change(store: &Store, change: &Change) -> Result<u64, String> {
    let world = change.apply(&store.world);
    let hash = world.hash();
    let disk = Disk::new(world, ROOMY, hash);
    if let Change::Unreadable { file, range } = change {
        disk.make_unreadable(file, range.clone());
    }
    let _ = told::take();
    let mut relay = Relay::open(&disk, &config()).map_err(|error| format!("does not open: {error:?}"))?;
    let seen = read_patiently(&mut relay, store)?;
    let told = told::take();
    known_or_in_flight(&store.expect, &seen)?;
    let gone: BTreeSet<u64> = store.expect.owed(&store.book).map(|(seq, _)| seq).filter(|seq| !seen.unended.contains(seq)).collect();
    let has_trace = is_reported(store, change, &relay, &seen, &gone, &told)?;
    let (durable, highest) = (relay.gauges.snapshot().durable_seq, store.expect.highest(&store.book));
    if has_trace && durable < highest {
        return Err(format!("seqs go on at {}, but {highest} was given already", durable + 1));
    }
    books_balance(&relay, &seen)?;
    if !matches!(change, Change::Unreadable { .. }) {
        relay.die();
        again(store, &disk, &seen)?;
    }
    Ok(hash)
}

/// Reads on where the disk gives nothing for a while, as the drain does.
fn read_patiently(relay: &mut Relay, store: &Store) -> Result<Seen, String> {
    let mut done = Err(String::new());
    for _ in 0..100 {
        done = read_out(relay, &store.book);
        match &done {
            Err(what) if what.starts_with("reading fails") => relay.reader.rewind(),
            _ => break,
        }
    }
    done
}

/// What is gone is told, all of it and nothing else: in the ledger and, by seq, in the log. Returns whether anything tells of the last seqs;
/// then none of them may be given again.
fn is_reported(
    store: &Store,
    change: &Change,
    relay: &Relay,
    seen: &Seen,
    gone: &BTreeSet<u64>,
    told: &[told::Said],
) -> Result<bool, String> {
    let snapshot = relay.gauges.snapshot();
    let lost = snapshot.ledger.ends.lost - store.lost;
    let mut in_log = BTreeSet::new();
    for said in told {
        if let (Some(from), Some(to)) = (said.from, said.to) {
            for seq in (from..=to).filter(|seq| !store.expect.ended.contains(seq) && !store.reported.contains(seq)) {
                if !in_log.insert(seq) {
                    return Err(format!("seq {seq} is reported lost twice"));
                }
            }
        }
    }
    let has_trace = !change.leaves_no_trace(&store.tail);
    // The cursor and a segment at once: two are gone, and only one of them could have told of the other.
    if matches!(change, Change::Swap { one, other } if one == "cursor" || other == "cursor") {
        return Ok(false);
    }
    // Within the last moments before a crash rot looks like an unfinished write: kept, and told as possibly lost.
    let unproven: BTreeSet<u64> = gone.iter().copied().filter(|seq| *seq >= store.unproven_from).collect();
    let proven: BTreeSet<u64> = gone.difference(&unproven).copied().collect();
    if !unproven.is_empty() && snapshot.torn_bytes > 0 && lost == proven.len() as u64 && in_log == proven {
        return Ok(false);
    }
    if lost == gone.len() as u64 && in_log == *gone {
        return Ok(has_trace);
    }
    // What is in no file any more is known as far as the cursor had come.
    let unproven: BTreeSet<u64> = gone.iter().copied().filter(|seq| *seq >= store.unseen_from).collect();
    let proven: BTreeSet<u64> = gone.difference(&unproven).copied().collect();
    if !has_trace && !unproven.is_empty() && lost == proven.len() as u64 && in_log == proven {
        return Ok(false);
    }
    // Where nothing tells how many there were, all that there can have been count as lost: more than there were, and none that there was not.
    let too_many = in_log.difference(gone).all(|seq| *seq > store.expect.highest(&store.book));
    if change.hides_how_many(&store.tail) && lost == in_log.len() as u64 && in_log.is_superset(gone) && too_many {
        return Ok(true);
    }
    Err(format!("gone are {gone:?}, the ledger counts {lost} lost, the log tells of {in_log:?}; delivered {:?}", seen.frames))
}

/// A restart later it is as it was, and it works.
fn again(store: &Store, disk: &Disk, before: &Seen) -> Result<(), String> {
    let disk = Disk::new(disk.world().killed(), ROOMY, 9);
    let mut relay = Relay::open(&disk, &config()).map_err(|error| format!("does not open a second time: {error:?}"))?;
    let seen = read_out(&mut relay, &store.book)?;
    if seen.frames != before.frames || seen.unended != before.unended || seen.lost != before.lost {
        return Err(format!("opened a second time it gives {seen:?}, before {before:?}"));
    }
    let mut expect = store.expect.clone();
    expect.must.retain(|first, _| seen.frames.contains_key(first));
    goes_on(&store.book, &expect, &seen, &mut relay, &disk)
}
