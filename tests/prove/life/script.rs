//! Lives by chance: what clients, the drain and the clock do, in an order that follows from a seed.

use super::book::Book;
use super::{Relay, config};
use crate::chance::Chance;
use crate::disk::Disk;

/// What a life is like.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub steps: u64,
    /// Largest event in bytes.
    pub event_bytes: u64,
    /// Most events in a batch.
    pub events: u64,
    /// Of 10 acks so many leave out events.
    pub gaps: u64,
    /// The drain takes what there is, or hardly anything.
    pub drains: bool,
    /// Stops and starts again now and then.
    pub restarts: bool,
    /// The loops take turns between each other's calls.
    pub interleaved: bool,
    pub max_events: u64,
}

impl Style {
    /// A few small requests: everything that a crash may do to them can be tried.
    pub fn short(chance: &mut Chance) -> Self {
        let steps = 6 + chance.below(8);
        Self {
            steps,
            event_bytes: 300,
            events: 2,
            gaps: 3,
            drains: true,
            restarts: chance.one_in(3),
            interleaved: chance.one_in(3),
            max_events: 0,
        }
    }

    /// Enough to go round: rotation, recycling, a full buffer at times.
    pub fn long(chance: &mut Chance) -> Self {
        Self {
            steps: 120 + chance.below(200),
            event_bytes: [200, 3_000, 20_000, 50_000][chance.index(4)],
            events: [1, 4, 12][chance.index(3)],
            gaps: [0, 2, 8][chance.index(3)],
            drains: !chance.one_in(4),
            restarts: chance.one_in(2),
            interleaved: !chance.one_in(3),
            max_events: if chance.one_in(5) { 20 } else { 0 },
        }
    }
}

/// A life that goes on until its steps are done; the relay as it is then.
pub struct Life {
    pub book: Book,
    pub relay: Option<Relay>,
    pub style: Style,
    chance: Chance,
}

impl Life {
    pub fn new(disk: &Disk, style: Style, seed: u64) -> Result<Self, String> {
        let chance = Chance::new(seed).fork(1);
        let mut life = Self { book: Book::new(seed), relay: None, style, chance };
        life.open(disk)?;
        Ok(life)
    }

    fn open(&mut self, disk: &Disk) -> Result<(), String> {
        let mut config = config();
        config.max_events = self.style.max_events;
        let relay = Relay::open(disk, &config).map_err(|error| format!("does not open: {error}"))?;
        if self.style.interleaved {
            relay.interleave(self.chance.fork(disk.number()));
        }
        self.relay = Some(relay);
        Ok(())
    }

    pub fn live(&mut self, disk: &Disk, time: &tokio::runtime::Runtime) -> Result<(), String> {
        for _ in 0..self.style.steps {
            self.step(disk, time)?;
        }
        Ok(())
    }

    /// One thing that happens.
    pub fn step(&mut self, disk: &Disk, time: &tokio::runtime::Runtime) -> Result<(), String> {
        let Self { book, relay, style, chance } = self;
        let Some(buffer) = relay.as_mut() else { return Err("the relay is not there".to_owned()) };
        match chance.below(32) {
            0..=9 => {
                let count = u32::try_from(1 + chance.below(style.events)).expect("few");
                let bytes = 1 + usize::try_from(chance.below(style.event_bytes)).expect("few");
                // A request never outgrows a segment here.
                let bytes = bytes.min(50_000 / count as usize);
                if buffer.unanswered() < 24 {
                    buffer.append(book, count, bytes);
                }
            }
            10..=16 => buffer.commit(book, false),
            17 => buffer.commit(book, true),
            18..=21 => buffer.keep(book),
            22..=25 if style.drains || chance.one_in(6) => buffer.read(book, 1 + usize::try_from(chance.below(6)).expect("few"))?,
            26..=28 => ack_some(buffer, book, style, chance),
            29 if chance.one_in(4) => {
                buffer.reader.rewind();
                book.outstanding.clear();
            }
            30 if chance.one_in(4) => buffer.hang_up(),
            30 if chance.one_in(3) => buffer.out_of_patience(book, time),
            31 if style.restarts && chance.one_in(3) => {
                let relay = relay.take().expect("just seen");
                relay.close(book);
                book.after_restart();
                self.open(disk)?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// Kafka acknowledges: in order, or with gaps that come later.
fn ack_some(relay: &mut Relay, book: &mut Book, style: &Style, chance: &mut Chance) {
    let mut seqs: Vec<u64> = book.outstanding.iter().copied().take(1 + chance.index(40)).collect();
    if chance.below(10) < style.gaps {
        seqs.retain(|_| !chance.one_in(3));
        for at in (1..seqs.len()).rev() {
            seqs.swap(at, chance.index(at + 1));
        }
    }
    relay.ack(book, &seqs);
}
