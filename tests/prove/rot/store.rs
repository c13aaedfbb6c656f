//! Small stores with a history, to be damaged.

use crate::disk::{Call, Disk, Fault, Way, World};
use crate::life::book::{Answer, Book, Expect, Refusal};
use crate::life::verify::read_out;
use crate::life::{ROOMY, Relay, config};
use std::collections::BTreeSet;

/// A directory as a relay left it, and what it owes.
pub struct Store {
    pub name: &'static str,
    pub world: World,
    pub book: Book,
    pub expect: Expect,
    /// Reported lost before.
    pub lost: u64,
    pub reported: BTreeSet<u64>,
    /// From this seq on a crash left nothing that proves what was durable.
    pub unproven_from: u64,
    /// The file whose writer died, if there is one, and the first seq after the last cursor.
    pub tail: String,
    pub unseen_from: u64,
}

struct Maker {
    disk: Disk,
    book: Book,
}

/// All of them.
pub fn stores(time: &tokio::runtime::Runtime) -> Result<Vec<Store>, String> {
    let _time = time.enter();
    Ok(vec![
        stopped()?,
        crashed("crashed after a mark", true)?,
        crashed("crashed in the middle", false)?,
        torn()?,
        refused()?,
        recycled()?,
        freed()?,
        fresh()?,
    ])
}

impl Maker {
    fn new(seed: u64) -> Self {
        Self { disk: Disk::new(World::default(), ROOMY, seed), book: Book::new(seed) }
    }

    fn open(&self) -> Result<Relay, String> {
        Relay::open(&self.disk, &config()).map_err(|error| format!("does not open: {error:?}"))
    }

    /// A life of its own, and so a segment of its own: some requests, each with a commit.
    fn session(&mut self, requests: usize) -> Result<Relay, String> {
        let mut relay = self.open()?;
        for n in 0..requests {
            relay.append(&mut self.book, 1 + u32::try_from(n % 3).expect("few"), 60 + 30 * n);
            relay.commit(&mut self.book, false);
        }
        relay.keep(&mut self.book);
        Ok(relay)
    }

    /// Everything up to a seq is acknowledged.
    fn ack(&mut self, relay: &mut Relay, seqs: impl Iterator<Item = u64>) -> Result<(), String> {
        relay.read(&mut self.book, 1_000)?;
        let seqs: Vec<u64> = seqs.filter(|seq| self.book.outstanding.contains(seq)).collect();
        relay.ack(&mut self.book, &seqs);
        relay.keep(&mut self.book);
        Ok(())
    }

    fn store(self, name: &'static str, unproven_from: u64) -> Store {
        let expect = self.book.expect(u64::MAX);
        Store {
            name,
            world: self.disk.world().killed(),
            book: self.book,
            expect,
            lost: 0,
            reported: BTreeSet::new(),
            unproven_from,
            tail: String::new(),
            unseen_from: u64::MAX,
        }
    }

    fn stop(&mut self, relay: Relay) {
        relay.close(&mut self.book);
        self.book.after_restart();
    }
}

/// Four segments, stopped in good order; the frontier is in the middle of the second, with acks above it.
fn stopped() -> Result<Store, String> {
    let mut maker = Maker::new(11);
    for session in 0..4 {
        let mut relay = maker.session(3)?;
        if session == 3 {
            maker.ack(&mut relay, (1..=8).chain([11, 15]))?;
        }
        maker.stop(relay);
    }
    Ok(maker.store("stopped", u64::MAX))
}

/// Two segments and a tail that its writer left.
fn crashed(name: &'static str, marked: bool) -> Result<Store, String> {
    let mut maker = Maker::new(12);
    for _ in 0..2 {
        let relay = maker.session(3)?;
        maker.stop(relay);
    }
    let mut relay = maker.session(3)?;
    maker.ack(&mut relay, 1..=2)?;
    // The last group is of two requests, after the last cursor.
    let unproven_from = relay.gauges.snapshot().durable_seq + 1;
    relay.append(&mut maker.book, 2, 80);
    relay.append(&mut maker.book, 2, 120);
    relay.commit(&mut maker.book, false);
    if marked {
        relay.commit(&mut maker.book, true);
    }
    let mut store = maker.store(name, if marked { u64::MAX } else { unproven_from });
    store.tail = tail(&store).ok_or("no tail")?;
    store.unseen_from = unproven_from;
    relay.die();
    Ok(store)
}

/// A crash tore a group of three requests so that only its end reached the disk; the relay went on, and its seqs were given to others.
fn torn() -> Result<Store, String> {
    let mut maker = Maker::new(13);
    let mut relay = maker.session(3)?;
    maker.disk.remember();
    for _ in 0..3 {
        relay.append(&mut maker.book, 2, 700);
    }
    // The answer never came: the crash is before the sync.
    let before = maker.book.clone();
    relay.commit(&mut maker.book, false);
    relay.die();
    maker.book = before;
    let moments = maker.disk.moments();
    let written = moments.iter().rev().find(|moment| moment.what.starts_with("Write seg-")).ok_or("no write of the group")?;
    let opens = written.world.opens();
    let choices: Vec<usize> = opens.iter().enumerate().map(|(at, (_, ways))| if at == 0 { 0 } else { ways - 1 }).collect();
    maker.disk = Disk::new(written.world.crashed(&opens, &choices), ROOMY, 13);
    let mut relay = maker.session(4)?;
    if relay.gauges.snapshot().torn_bytes == 0 {
        return Err("nothing was torn".to_owned());
    }
    maker.ack(&mut relay, 1..=1)?;
    maker.stop(relay);
    let relay = maker.session(2)?;
    maker.stop(relay);
    // Those of the torn group were never answered, and are gone.
    let mut store = maker.store("torn, and went on", u64::MAX);
    store.expect.may.clear();
    Ok(store)
}

/// The volume was full when a group was written: refused, and its seqs were given to others; once with others behind it, once without.
fn refused() -> Result<Store, String> {
    let mut maker = Maker::new(14);
    let mut relay = maker.session(2)?;
    refuse(&mut maker, &mut relay)?;
    for _ in 0..3 {
        relay.append(&mut maker.book, 2, 300);
        relay.commit(&mut maker.book, false);
    }
    maker.ack(&mut relay, 1..=1)?;
    maker.stop(relay);
    let mut relay = maker.session(2)?;
    refuse(&mut maker, &mut relay)?;
    maker.stop(relay);
    Ok(maker.store("refused, and went on", u64::MAX))
}

fn refuse(maker: &mut Maker, relay: &mut Relay) -> Result<(), String> {
    let first = maker.book.sent.len();
    for _ in 0..3 {
        relay.append(&mut maker.book, 2, 200);
    }
    // The bytes reach the file, the sync says that the volume is full.
    maker.disk.set_fault(Some(Fault { at: maker.disk.number() + 2, calls: 1, way: Way::Enospc }));
    relay.commit(&mut maker.book, false);
    maker.disk.set_fault(None);
    let full = |answer: &Option<(u64, Answer)>| matches!(answer, Some((_, Answer::Refused(Refusal::Full))));
    match maker.disk.fired() {
        Some((Call::Sync, _)) if maker.book.sent[first..].iter().all(|sent| full(&sent.answer)) => {
            relay.keep(&mut maker.book);
            Ok(())
        }
        other => Err(format!("the group was not refused: {other:?}")),
    }
}

/// Files that were used before: old frames lie behind the new ones.
fn recycled() -> Result<Store, String> {
    let mut maker = Maker::new(15);
    let mut relay = maker.open()?;
    for _ in 0..14 {
        for _ in 0..5 {
            relay.append(&mut maker.book, 3, 3_500);
        }
        relay.commit(&mut maker.book, false);
        maker.ack(&mut relay, 1..=100_000)?;
    }
    maker.stop(relay);
    for session in 0..3 {
        let mut relay = maker.session(3)?;
        if session == 2 {
            let seqs: Vec<u64> = maker.book.acks.iter().map(|(_, seq)| *seq).collect();
            let next = seqs.iter().max().copied().unwrap_or(0) + 1;
            maker.ack(&mut relay, next..=next + 2)?;
        }
        maker.stop(relay);
    }
    let mut probe = Relay::open(&Disk::new(maker.disk.world().killed(), ROOMY, 1), &config()).map_err(|error| format!("{error:?}"))?;
    let seen = read_out(&mut probe, &maker.book)?;
    if seen.unended.is_empty() {
        return Err("nothing is left in it".to_owned());
    }
    Ok(maker.store("recycled", u64::MAX))
}

/// Crashed right after a segment was freed: the cursor's older slot is from before. The tail holds one request, and a mark.
fn freed() -> Result<Store, String> {
    let mut maker = Maker::new(16);
    let relay = maker.session(3)?;
    maker.stop(relay);
    let mut relay = maker.session(1)?;
    relay.commit(&mut maker.book, true);
    let spares = |maker: &Maker| maker.disk.world().names().all().filter(|(name, _)| name.starts_with("spare-")).count();
    let before = spares(&maker);
    maker.ack(&mut relay, 1..=6)?;
    if spares(&maker) <= before {
        return Err("no segment was freed".to_owned());
    }
    let unseen_from = relay.gauges.snapshot().durable_seq + 1;
    let mut store = maker.store("crashed after freeing", u64::MAX);
    store.tail = tail(&store).ok_or("no tail")?;
    store.unseen_from = unseen_from;
    relay.die();
    Ok(store)
}

/// Crashed after its first group and a mark, before any cursor knew of it.
fn fresh() -> Result<Store, String> {
    let mut maker = Maker::new(17);
    let relay = maker.session(2)?;
    maker.stop(relay);
    let mut relay = maker.open()?;
    let unseen_from = relay.gauges.snapshot().durable_seq + 1;
    relay.append(&mut maker.book, 3, 50);
    relay.commit(&mut maker.book, false);
    relay.commit(&mut maker.book, true);
    let mut store = maker.store("crashed after its first group", u64::MAX);
    store.tail = tail(&store).ok_or("no tail")?;
    store.unseen_from = unseen_from;
    relay.die();
    Ok(store)
}

/// The newest segment that holds anything.
fn tail(store: &Store) -> Option<String> {
    let holds = |name: &str| store.world.content(name).is_some_and(|bytes| bytes.get(8192..).is_some_and(|data| data.starts_with(b"DSF1")));
    store.world.names().all().map(|(name, _)| name).filter(|name| name.starts_with("seg-") && holds(name)).last().cloned()
}
