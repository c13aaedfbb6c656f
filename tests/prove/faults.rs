//! Every call of a full life fails once, in every way that it can; then from there on, until the restart.

use crate::chance::mix;
use crate::disk::{Call, Disk, Fault, WAYS, Way, World};
use crate::life::book::{Answer, Book, Refusal, Sent};
use crate::life::verify::{after_a_crash, goes_on};
use crate::life::{ROOMY, Relay, config};
use crate::proof::{Line, Scope, Tally, guarded, run};

pub const NAME: &str = "faults";

/// So many lives are swept apart, call by call.
const SHARES: u64 = 16;
const FOREVER: u64 = u64::MAX;

/// A seed is a share of the calls: the sweep over all seeds is complete.
pub fn prove(scope: &Scope) -> Line {
    run(NAME, scope, &scope.seeds(NAME, SHARES, SHARES), |seed, _| {
        let mut tally = Tally::default();
        let calls = match clean_life() {
            Ok(calls) => calls,
            Err(what) => {
                tally.fail(seed, "the life without a fault", what);
                return tally;
            }
        };
        tally.note("calls in the life", if seed == 0 { calls.len() as u64 } else { 0 });
        for (at, call) in (1..).zip(&calls).filter(|(at, _)| at % SHARES == seed % SHARES) {
            for way in WAYS.into_iter().filter(|way| way.can_happen_to(*call)) {
                let lasting = [Way::Eio, Way::Enospc].contains(&way) && (scope.full || at % 5 == 0);
                for length in [1, FOREVER].into_iter().filter(|length| *length == 1 || lasting) {
                    let fault = Fault { at, calls: length, way };
                    tally.cases += 1;
                    if let Err(what) = guarded(|| try_fault(fault)).unwrap_or_else(|panic| Err(format!("panic: {panic}"))) {
                        tally.fail(seed, format!("{call:?}, call {at} of {}, fails with {way:?}, {length} calls long", calls.len()), what);
                    }
                }
            }
        }
        tally
    })
}

fn clean_life() -> Result<Vec<Call>, String> {
    let disk = Disk::new(World::default(), ROOMY, 1);
    disk.list_calls();
    let life = live(&disk, None)?;
    for (number, sent) in life.book.sent.iter().enumerate() {
        if !is_stored(sent) {
            return Err(format!("batch {number} has the answer {:?}", sent.answer));
        }
    }
    Ok(disk.calls())
}

struct Lived {
    book: Book,
    /// The fault came while the buffer was opened.
    in_opening: bool,
}

/// Opens, appends, rotates, recycles, acknowledges, marks, closes, reopens, goes on, closes.
fn live(disk: &Disk, fault: Option<Fault>) -> Result<Lived, String> {
    let mut lived = Lived { book: Book::new(5), in_opening: false };
    for session in 0..2 {
        let relay = match Relay::open(disk, &config()) {
            Ok(relay) => relay,
            Err(error) if disk.fired().is_some() => {
                let text = format!("{error:?}");
                if !text.starts_with("Io {") && !text.starts_with("DeadLetters(Io {") {
                    return Err(format!("opening fails with something else than the disk's error: {text}"));
                }
                lived.in_opening = true;
                // Whoever mended it starts the relay again.
                disk.set_fault(None);
                Relay::open(disk, &config()).map_err(|error| format!("does not open once the fault is over: {error:?}"))?
            }
            Err(error) => return Err(format!("does not open: {error:?}")),
        };
        lived.in_opening |= session == 0 && disk.fired().is_some();
        lived.session(disk, relay, fault, if session == 0 { 12 } else { 3 })?;
    }
    Ok(lived)
}

impl Lived {
    fn session(&mut self, disk: &Disk, mut relay: Relay, fault: Option<Fault>, rounds: usize) -> Result<(), String> {
        let (mut failed_at, fired_before) = (None, disk.fired().is_some());
        let mut fired_before_last = fired_before;
        let book = &mut self.book;
        for round in 0..rounds {
            let first = book.sent.len();
            fired_before_last = disk.fired().is_some();
            relay.append(book, 2, 40);
            relay.append(book, 4, 4_000);
            relay.commit(book, false);
            relay.append(book, 1, 14_000);
            relay.commit(book, false);
            if round % 4 == 3 {
                relay.commit(book, true);
            }
            relay.read(book, 3)?;
            let seqs: Vec<u64> = book.outstanding.iter().copied().skip(usize::from(round % 3 == 1)).collect();
            relay.ack(book, &seqs);
            for _ in 0..6 {
                relay.keep(book);
            }
            if let Some(at) = failed_at
                && book.sent[first..].iter().any(is_stored)
            {
                return Err(format!("the storage failed at call {at}, and more was answered later"));
            }
            if relay.gauges.failed().is_some() && failed_at.is_none() {
                failed_at = Some(disk.number());
            }
        }
        if !fired_before || self.in_opening {
            right_answers(book, disk, fault, failed_at.is_some(), self.in_opening)?;
        }
        if fault.is_some_and(|fault| fault.calls == 1)
            && fired_before_last
            && failed_at.is_none()
            && !book.sent.iter().rev().take(3).all(is_stored)
        {
            return Err("long after the fault, requests are still not stored".to_owned());
        }
        relay.close(book);
        book.after_restart();
        Ok(())
    }
}

fn is_stored(sent: &Sent) -> bool {
    matches!(sent.answer, Some((_, Answer::Stored(_))))
}

/// A full volume is a full buffer; what the kernel wants repeated is repeated; a failed sync is the end of answers.
fn right_answers(book: &Book, disk: &Disk, fault: Option<Fault>, failed: bool, in_opening: bool) -> Result<(), String> {
    let (Some(fault), Some((call, name))) = (fault, disk.fired()) else { return Ok(()) };
    let refused = |refusal| book.sent.iter().any(|sent| matches!(sent.answer, Some((_, Answer::Refused(found))) if found == refusal));
    let by_committer = !in_opening && name.starts_with("seg-") && matches!(call, Call::Write | Call::Sync);
    match fault.way {
        Way::Eintr | Way::Short if failed || !book.sent.iter().all(is_stored) => {
            Err(format!("{:?} of {name} is no reason to refuse anything", fault.way))
        }
        Way::Eio if by_committer && fault.calls == 1 && !failed => Err(format!("{call:?} of {name} failed, and the buffer goes on")),
        Way::Enospc | Way::Edquot if fault.calls == 1 && (failed || refused(Refusal::Failed)) => {
            Err(format!("a full volume at {call:?} of {name} made the storage fail for good"))
        }
        _ => Ok(()),
    }
}

fn try_fault(fault: Fault) -> Result<(), String> {
    let disk = Disk::new(World::default(), ROOMY, fault.at);
    disk.set_fault(Some(fault));
    let lived = live(&disk, Some(fault))?;
    if disk.fired().is_none() {
        return Err("the fault never came: the life is not the same twice".to_owned());
    }
    let book = &lived.book;
    let mut expect = book.expect(u64::MAX);
    // What the cursor has is not known where writing it may have failed.
    expect.checkpointed.clear();
    if fault.calls > 1 {
        // Not even the seal could be written, which would keep what was refused from being found.
        let failed = book.sent.iter().enumerate().filter(|(_, sent)| matches!(sent.answer, Some((_, Answer::Refused(Refusal::Failed)))));
        expect.may.extend(failed.map(|(number, _)| number));
    }
    let end = disk.world();
    let opens = end.opens();
    let mut chance = crate::chance::Chance::new(mix(fault.at));
    let worlds = [end.killed(), end.crashed(&opens, &end.choose(&opens, &mut chance)), end.crashed(&opens, &vec![0; opens.len()])];
    for (world, how) in worlds.into_iter().zip(["stopped", "crashed", "crashed with nothing unsynced kept"]) {
        let disk = Disk::new(world, ROOMY, fault.at);
        let here = |what| format!("{how}, then opened: {what}");
        let mut relay = Relay::open(&disk, &config()).map_err(|error| here(format!("does not open: {error:?}")))?;
        let seen = after_a_crash(book, &expect, &mut relay, &disk).map_err(here)?;
        goes_on(book, &expect, &seen, &mut relay, &disk).map_err(here)?;
    }
    let peak = disk.peak();
    if peak > crate::life::MAX_BYTES {
        return Err(format!("{peak} bytes were allocated, the bound is {}", crate::life::MAX_BYTES));
    }
    Ok(())
}
