//! Rot: every bit, every sector, every length, every file of small stores. It opens, delivers nothing wrong and everything that is left, and
//! reports what is gone by its exact seqs.

mod change;
mod store;

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
const SLICE: usize = 11;

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
            let share = all.iter().enumerate().filter(|(at, _)| *at as u64 % SHARES == seed % SHARES).map(|(_, change)| change);
            for change in
                share.enumerate().filter(|(at, change)| scope.full || change.is_rare() || at % SLICE == 0).map(|(_, change)| change)
            {
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
    known_or_in_flight(&store.book, &store.expect, &seen)?;
    let gone: BTreeSet<u64> = store.expect.owed(&store.book).map(|(seq, _)| seq).filter(|seq| !seen.unended.contains(seq)).collect();
    is_reported(store, change, &relay, &seen, &gone, &told)?;
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

/// What is gone is told, all of it and nothing else: in the ledger and, by seq, in the log.
fn is_reported(
    store: &Store,
    change: &Change,
    relay: &Relay,
    seen: &Seen,
    gone: &BTreeSet<u64>,
    told: &[told::Said],
) -> Result<(), String> {
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
    if lost == gone.len() as u64 && in_log == *gone {
        return Ok(());
    }
    // Within the last moments before a crash rot looks like an unfinished write: kept, and told as possibly lost.
    let unproven: BTreeSet<u64> = gone.iter().copied().filter(|seq| *seq >= store.unproven_from).collect();
    let proven: BTreeSet<u64> = gone.difference(&unproven).copied().collect();
    if !unproven.is_empty() && snapshot.torn_bytes > 0 && lost == proven.len() as u64 && in_log == proven {
        return Ok(());
    }
    // What is in no file any more is known as far as the cursor had come.
    let unproven: BTreeSet<u64> = gone.iter().copied().filter(|seq| *seq >= store.unseen_from).collect();
    let proven: BTreeSet<u64> = gone.difference(&unproven).copied().collect();
    if change.takes_away(&store.tail) && !unproven.is_empty() && lost == proven.len() as u64 && in_log == proven {
        return Ok(());
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
