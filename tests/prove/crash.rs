//! Crashes: every way for short lives, by chance for long ones, and again while the first is being recovered from.

use crate::chance::{Chance, mix};
use crate::disk::{Disk, Moment, Opens, World};
use crate::life::book::{Book, Expect};
use crate::life::script::{Life, Style};
use crate::life::verify::{Seen, after_a_crash, goes_on, known_once};
use crate::life::{ROOMY, Relay, config};
use crate::proof::{Line, Scope, Tally, run};
use crate::told;
use std::collections::HashSet;

pub const EVERY: &str = "crash-every";
pub const RANDOM: &str = "crash-random";

/// Ways of one crash that are all tried; of more, this many by chance.
const WAYS_TRIED: usize = 1024;
/// Of a long life so many moments, and so many ways of each.
const MOMENTS: usize = 48;
const WAYS_OF_A_MOMENT: usize = 8;

pub fn every(scope: &Scope) -> Line {
    run(EVERY, scope, &scope.seeds(EVERY, 12, 400), |seed, time| {
        let mut chance = Chance::new(seed);
        let style = Style::short(&mut chance);
        // Half of the lives begin on files that were used before, so that old bytes lie where new frames go.
        let before =
            seed.is_multiple_of(2).then_some(Style { steps: 150, event_bytes: 20_000, events: 2, gaps: 0, restarts: false, ..style });
        let mut trial = Trial::new(seed);
        if let Err((step, what)) = trial.every(style, before, time) {
            trial.tally.fail(seed, step, what);
        }
        trial.tally
    })
}

pub fn random(scope: &Scope) -> Line {
    run(RANDOM, scope, &scope.seeds(RANDOM, 30, 4_000), |seed, time| {
        let style = Style::long(&mut Chance::new(seed));
        let mut trial = Trial::new(seed);
        if let Err((step, what)) = trial.some(style, time) {
            trial.tally.fail(seed, step, what);
        }
        trial.tally
    })
}

/// Where it went wrong, and how.
type Wrong = (String, String);

struct Trial {
    seed: u64,
    chance: Chance,
    tally: Tally,
    /// States of this life that were tried, with the number of the expectation that they were held against.
    tried: HashSet<(u64, u64)>,
    book: Book,
}

impl Trial {
    fn new(seed: u64) -> Self {
        Self { seed, chance: Chance::new(seed).fork(2), tally: Tally::default(), tried: HashSet::new(), book: Book::default() }
    }

    fn every(&mut self, style: Style, before: Option<Style>, time: &tokio::runtime::Runtime) -> Result<(), Wrong> {
        let in_life = |what| ("in the life itself".to_owned(), what);
        let disk = Disk::new(World::default(), ROOMY, self.seed);
        let first = before.unwrap_or(style);
        if before.is_none() {
            disk.remember();
        }
        let mut life = Life::new(&disk, first, self.seed).map_err(in_life)?;
        life.live(&disk, time).map_err(in_life)?;
        if before.is_some() {
            disk.remember();
            life.style = style;
            life.live(&disk, time).map_err(in_life)?;
        }
        self.end(life);
        let (book, moments) = (std::mem::take(&mut self.book), disk.moments());
        let (mut expected, mut version) = (None, 0);
        for (at, moment) in moments.iter().enumerate() {
            let expect = book.expect(moments.get(at + 1).map_or(u64::MAX, |next| next.number - 1));
            if expected.as_ref() != Some(&expect) {
                version += 1;
                expected = Some(expect);
            }
            let Some(expect) = &expected else { continue };
            let opens = moment.world.opens();
            let ways = opens.iter().try_fold(1_usize, |product, (_, ways)| product.checked_mul(*ways).filter(|all| *all <= WAYS_TRIED));
            self.tally.note(if ways.is_some() { "moments of which every crash was tried" } else { "moments of which some were" }, 1);
            for way in 0..ways.unwrap_or(WAYS_TRIED) {
                let choices = if ways.is_some() { nth(&opens, way) } else { moment.world.choose(&opens, &mut self.chance) };
                self.crash(&book, expect, version, moment, &opens, &choices)?;
            }
        }
        Ok(())
    }

    fn some(&mut self, style: Style, time: &tokio::runtime::Runtime) -> Result<(), Wrong> {
        let in_life = |what| ("in the life itself".to_owned(), what);
        let disk = Disk::new(World::default(), ROOMY, self.seed);
        disk.remember();
        let mut life = Life::new(&disk, style, self.seed).map_err(in_life)?;
        life.live(&disk, time).map_err(in_life)?;
        self.end(life);
        let (book, moments) = (std::mem::take(&mut self.book), disk.moments());
        for version in 0..MOMENTS as u64 {
            let at = self.chance.index(moments.len());
            let expect = book.expect(moments.get(at + 1).map_or(u64::MAX, |next| next.number - 1));
            let opens = moments[at].world.opens();
            for _ in 0..WAYS_OF_A_MOMENT {
                let choices = moments[at].world.choose(&opens, &mut self.chance);
                self.crash(&book, &expect, version, &moments[at], &opens, &choices)?;
            }
            self.kill(&book, &expect, &moments[at])?;
        }
        Ok(())
    }

    /// kill -9, a start that reads what the kernel still has in its cache, and then power fails: what was read once has to be there again.
    fn kill(&mut self, book: &Book, expect: &Expect, moment: &Moment) -> Result<(), Wrong> {
        let here = || format!("kill -9 after call {} ({})", moment.number, moment.what);
        let disk = Disk::new(moment.world.clone(), ROOMY, moment.number);
        disk.remember();
        self.tally.cases += 1;
        let (_relay, seen) = reopen(&disk, book, expect).map_err(|what| (here(), what))?;
        self.crash_again(book, expect, &disk, &seen).map_err(|(step, what)| (format!("{}; then {step}", here()), what))
    }

    /// The life ends in good order, or in the middle.
    fn end(&mut self, mut life: Life) {
        if let Some(relay) = life.relay.take() {
            if self.chance.one_in(2) { relay.close(&mut life.book) } else { relay.die() }
        }
        self.book = life.book;
    }

    /// One crash: opened, read, compared; then one of the things that may come next.
    fn crash(
        &mut self,
        book: &Book,
        expect: &Expect,
        version: u64,
        moment: &Moment,
        opens: &Opens,
        choices: &[usize],
    ) -> Result<(), Wrong> {
        let world = moment.world.crashed(opens, choices);
        let hash = world.hash();
        if !self.tried.insert((hash, version)) {
            return Ok(());
        }
        self.tally.cases += 1;
        let _ = self.tally.states.insert(hash);
        let here = || format!("crash after call {} ({}), deciding {:?}", moment.number, moment.what, decided(opens, choices));
        let what_next = mix(hash) % 8;
        let disk = Disk::new(world, ROOMY, hash);
        if what_next < 2 {
            disk.remember();
        }
        let (mut relay, seen) = reopen(&disk, book, expect).map_err(|what| (here(), what))?;
        match what_next {
            0 | 1 => {
                self.tally.note("crashes during recovery", 1);
                self.crash_again(book, expect, &disk, &seen).map_err(|(step, what)| (format!("{}; then {step}", here()), what))?;
            }
            2 => {
                relay.die();
                let disk = Disk::new(disk.world().killed(), ROOMY, hash);
                let (_relay, again) = reopen(&disk, book, expect).map_err(|what| (format!("{}; opened again", here()), what))?;
                if again != seen {
                    return Err((here(), format!("opened again it gives {again:?}, before {seen:?}")));
                }
            }
            3 => goes_on(book, expect, &seen, &mut relay, &disk).map_err(|what| (here(), what))?,
            _ => {}
        }
        Ok(())
    }

    /// Crashes during the recovery that `disk` remembers; all that it gave out must come again once it was open.
    fn crash_again(&mut self, book: &Book, expect: &Expect, disk: &Disk, seen: &Seen) -> Result<(), Wrong> {
        let moments = disk.moments();
        for _ in 0..3 {
            let at = self.chance.index(moments.len());
            let opens = moments[at].world.opens();
            let choices = moments[at].world.choose(&opens, &mut self.chance);
            let world = moments[at].world.crashed(&opens, &choices);
            let (hash, here) =
                (world.hash(), format!("crash after its call {} ({}), deciding {choices:?}", moments[at].number, moments[at].what));
            if !self.tally.states.insert(hash) {
                continue;
            }
            self.tally.cases += 1;
            let mut expect = expect.clone();
            if at + 1 == moments.len() {
                expect.must.extend(&seen.frames);
                expect.may.clear();
            }
            let _ = reopen(&Disk::new(world, ROOMY, hash), book, &expect).map_err(|what| (here, what))?;
        }
        Ok(())
    }
}

/// Opens, reads and compares; a mere crash is no reason for an alarm.
fn reopen(disk: &Disk, book: &Book, expect: &Expect) -> Result<(Relay, Seen), String> {
    let _ = told::take();
    let mut relay = Relay::open(disk, &config()).map_err(|error| format!("does not open: {error:?}"))?;
    let seen = after_a_crash(book, expect, &mut relay, disk)?;
    known_once(book, expect, &seen, &relay)?;
    match told::take().first() {
        Some(said) => Err(format!("an alarm where nothing rotted: {}", said.text)),
        None => Ok((relay, seen)),
    }
}

/// The `nth` of all ways.
fn nth(opens: &Opens, mut nth: usize) -> Vec<usize> {
    let digit = |(_, ways): &(_, usize)| {
        let digit = nth % ways;
        nth /= ways;
        digit
    };
    opens.iter().map(digit).collect()
}

/// What reached the disk, for a person.
fn decided(opens: &Opens, choices: &[usize]) -> Vec<String> {
    opens.iter().zip(choices).map(|((open, ways), choice)| format!("{open:?}: {choice} of {}", ways - 1)).collect()
}
