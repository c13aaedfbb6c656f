//! The buffer beside a plain queue: the same steps to both, the same answers from both.
//!
//! The queue knows seqs, batches and a bound on events. It appends, reads, acknowledges in any order, rewinds, restarts and crashes; after each
//! step the buffer's marks, its ledger and what it delivers must be the queue's.

use crate::chance::Chance;
use crate::disk::{Disk, World};
use crate::life::book::{Answer, Book, Expect};
use crate::life::verify::{after_a_crash, books_balance, within_bound};
use crate::life::{ROOMY, Relay, config};
use crate::proof::{Line, Scope, Tally, run};
use dualstream::event::Seq;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub const NAME: &str = "model";

pub fn prove(scope: &Scope) -> Line {
    run(NAME, scope, &scope.seeds(NAME, 60, 6_000), |seed, time| {
        let mut tally = Tally::default();
        let mut steps = 0;
        let done = Machine::new(seed).and_then(|mut machine| {
            let wanted = 200 + machine.chance.below(200);
            while steps < wanted {
                steps += 1;
                machine.step(time)?;
                machine.compare()?;
            }
            machine.drain_all()
        });
        if let Err(what) = done {
            tally.fail(seed, format!("step {steps}"), what);
        }
        tally.cases += steps;
        tally
    })
}

/// The plain queue.
#[derive(Default)]
struct Queue {
    /// First seq, batch and count of everything stored.
    stored: BTreeMap<u64, (usize, u64)>,
    ended: BTreeSet<u64>,
    durable: u64,
    /// The next seq to hand out.
    next: u64,
    leases: VecDeque<(u64, u64)>,
}

impl Queue {
    fn frontier(&self) -> u64 {
        // What is at its end in one piece from the beginning.
        (1..).take_while(|seq| self.ended.contains(seq)).last().unwrap_or(0)
    }

    fn store(&mut self, first: u64, batch: usize, count: u64) -> Result<(), String> {
        if first != self.durable + 1 {
            return Err(format!("batch {batch} got seq {first} after {}", self.durable));
        }
        let _ = self.stored.insert(first, (batch, count));
        self.durable += count;
        Ok(())
    }

    /// The frame that comes next: the first that holds anything above the frontier.
    fn take(&mut self) -> Option<(u64, usize)> {
        self.next = self.next.max(self.frontier() + 1);
        let (first, (batch, count)) = self.stored.iter().find(|(first, (_, count))| *first + count > self.next)?;
        let taken = (*first, *batch);
        self.next = first + count;
        self.leases.push_back((*first, *count));
        Some(taken)
    }

    fn release(&mut self) {
        let frontier = self.frontier();
        while self.leases.front().is_some_and(|(first, count)| first + count <= frontier + 1) {
            let _ = self.leases.pop_front();
        }
    }

    fn rewind(&mut self) {
        if let Some((first, _)) = self.leases.front() {
            self.next = *first;
            self.leases.clear();
        }
    }

    /// As a restart finds it.
    fn restart(&mut self) {
        self.next = self.frontier() + 1;
        self.leases.clear();
    }
}

struct Machine {
    chance: Chance,
    seed: u64,
    disk: Disk,
    relay: Option<Relay>,
    book: Book,
    queue: Queue,
    max_events: u64,
    /// Sent and not known to be stored or refused, in order.
    open: VecDeque<usize>,
    event_bytes: u64,
    /// What the last steps were.
    steps: VecDeque<u64>,
    /// Events that a crash brought back although they were acknowledged: they count, and were let in before.
    brought_back: u64,
}

impl Machine {
    fn new(seed: u64) -> Result<Self, String> {
        let mut chance = Chance::new(seed).fork(3);
        let max_events = if chance.one_in(2) { 10 + chance.below(40) } else { 0 };
        let event_bytes = [300, 4_000, 30_000][chance.index(3)];
        let disk = Disk::new(World::default(), ROOMY, seed);
        let queue = Queue { next: 1, ..Queue::default() };
        let mut machine = Self {
            chance,
            seed,
            disk,
            relay: None,
            book: Book::new(seed),
            queue,
            max_events,
            open: VecDeque::new(),
            event_bytes,
            steps: VecDeque::new(),
            brought_back: 0,
        };
        machine.start()?;
        Ok(machine)
    }

    fn start(&mut self) -> Result<(), String> {
        let mut config = config();
        config.max_events = self.max_events;
        self.relay = Some(Relay::open(&self.disk, &config).map_err(|error| format!("does not open: {error:?}"))?);
        Ok(())
    }

    fn step(&mut self, time: &tokio::runtime::Runtime) -> Result<(), String> {
        let Self { chance, relay, book, queue, .. } = self;
        let buffer = relay.as_mut().ok_or("the relay is not there")?;
        let what = chance.below(40);
        self.steps.push_back(what);
        if self.steps.len() > 24 {
            let _ = self.steps.pop_front();
        }
        match what {
            0..=9 if buffer.unanswered() < 16 => {
                let count = u32::try_from(1 + chance.below(6)).expect("few");
                let bytes = usize::try_from(1 + chance.below(self.event_bytes)).expect("few").min(40_000 / count as usize);
                self.open.push_back(book.sent.len());
                buffer.append(book, count, bytes);
            }
            10..=18 => buffer.commit(book, chance.one_in(5)),
            19..=22 => buffer.keep(book),
            23..=28 => {
                for _ in 0..=chance.below(5) {
                    self.read()?;
                }
            }
            29..=34 => {
                let mut seqs: Vec<u64> = queue.leases.iter().flat_map(|(first, count)| *first..first + count).collect();
                seqs.retain(|seq| !queue.ended.contains(seq) && !chance.one_in(3));
                for at in (1..seqs.len()).rev() {
                    seqs.swap(at, chance.index(at + 1));
                }
                buffer.ack(book, &seqs);
                queue.ended.extend(&seqs);
                queue.release();
            }
            35 => {
                buffer.reader.rewind();
                queue.rewind();
            }
            36 if chance.one_in(3) => buffer.out_of_patience(book, time),
            37 if chance.one_in(3) => self.restart()?,
            38 if chance.one_in(2) => self.crash()?,
            _ => {}
        }
        self.settle()
    }

    /// What was answered meanwhile is in the queue, in the order of sending.
    fn settle(&mut self) -> Result<(), String> {
        let mut left = VecDeque::new();
        for batch in std::mem::take(&mut self.open) {
            match &self.book.sent[batch].answer {
                Some((_, Answer::Stored(first))) => self.queue.store(*first, batch, u64::from(self.book.sent[batch].count))?,
                Some(_) => {}
                None => left.push_back(batch),
            }
        }
        self.open = left;
        Ok(())
    }

    fn read(&mut self) -> Result<(), String> {
        let relay = self.relay.as_mut().ok_or("the relay is not there")?;
        let frame = relay.reader.next_frame().map_err(|error| format!("reading fails: {error}"))?;
        let found = frame.map(|frame| Ok::<_, String>((frame.first_seq.0, self.book.recognise(&frame)?))).transpose()?;
        let expected = self.queue.take();
        if found != expected {
            let Queue { next, leases, .. } = &self.queue;
            let frontier = self.queue.frontier();
            return Err(format!(
                "the buffer gives {found:?} (first seq, batch), the queue {expected:?}; next {next}, frontier {frontier}, leased {leases:?}, steps {:?}",
                self.steps
            ));
        }
        Ok(())
    }

    fn restart(&mut self) -> Result<(), String> {
        let relay = self.relay.take().ok_or("the relay is not there")?;
        relay.close(&mut self.book);
        self.settle()?;
        self.open.clear();
        self.queue.restart();
        self.start()
    }

    /// Power fails. The queue learns what was not answered and is there all the same, and what comes again.
    fn crash(&mut self) -> Result<(), String> {
        let relay = self.relay.take().ok_or("the relay is not there")?;
        relay.die();
        let world = self.disk.world();
        let opens = world.opens();
        let choices = world.choose(&opens, &mut self.chance);
        let crashed = world.crashed(&opens, &choices);
        self.disk = Disk::new(crashed.clone(), ROOMY, self.chance.next());
        let expect = self.expect();
        let probe = Disk::new(crashed, ROOMY, self.seed);
        let mut relay = Relay::open(&probe, &config()).map_err(|error| format!("does not open: {error:?}"))?;
        let seen = after_a_crash(&self.book, &expect, &mut relay, &probe)?;
        for (first, batch) in &seen.frames {
            if *first > self.queue.durable {
                self.queue.store(*first, *batch, u64::from(self.book.sent[*batch].count))?;
            }
        }
        let ended = self.queue.ended.len();
        for seq in &seen.unended {
            let _ = self.queue.ended.remove(seq);
        }
        self.brought_back += (ended - self.queue.ended.len()) as u64;
        self.book.acks.retain(|(_, seq)| self.queue.ended.contains(seq));
        self.open.clear();
        // The calls are counted from the beginning again: what the book says about them is over.
        self.book.checkpoints.clear();
        self.queue.restart();
        self.start()
    }

    fn expect(&self) -> Expect {
        let must = self.queue.stored.iter().map(|(first, (batch, _))| (*first, *batch)).collect();
        let may = self.open.iter().copied().collect();
        let checkpointed = self.book.checkpoints.iter().map(|(_, acks)| *acks).max().unwrap_or(0);
        let checkpointed = self.book.acks[..checkpointed].iter().map(|(_, seq)| *seq).collect();
        Expect { must, may, ended: self.queue.ended.clone(), checkpointed }
    }

    /// Marks and books are the queue's.
    fn compare(&self) -> Result<(), String> {
        let relay = self.relay.as_ref().ok_or("the relay is not there")?;
        let snapshot = relay.gauges.snapshot();
        let same = [
            ("durable", snapshot.durable_seq, self.queue.durable),
            ("frontier", snapshot.acked_seq, self.queue.frontier()),
            ("reader's frontier", relay.reader.acked().0, self.queue.frontier()),
            ("acked", snapshot.ledger.ends.acked, self.queue.ended.len() as u64),
            ("lost", snapshot.ledger.ends.lost, 0),
            ("backlog", snapshot.ledger.backlog, self.queue.durable - self.queue.ended.len() as u64),
        ];
        if let Some((what, found, expected)) = same.iter().find(|(_, found, expected)| found != expected) {
            return Err(format!("{what}: the buffer says {found}, the queue {expected}"));
        }
        if snapshot.ledger.conservation_error() != 0 {
            return Err(format!("the ledger does not balance: {:?}", snapshot.ledger));
        }
        let backlog = self.queue.durable - self.queue.ended.len() as u64;
        let largest_alone = 6;
        if self.max_events > 0 && backlog > self.max_events.max(largest_alone) + self.brought_back {
            return Err(format!("{backlog} events wait, the bound is {}", self.max_events));
        }
        within_bound(&self.disk)
    }

    /// In the end everything comes out, and the buffer is as good as new.
    fn drain_all(&mut self) -> Result<(), String> {
        for turn in 0.. {
            if turn > 1_000 {
                return Err(format!("{} appends are not answered although everything is drained", self.open.len()));
            }
            let relay = self.relay.as_mut().ok_or("the relay is not there")?;
            relay.commit(&mut self.book, false);
            relay.keep(&mut self.book);
            self.settle()?;
            while self.queue.next <= self.queue.durable {
                self.read()?;
            }
            let relay = self.relay.as_mut().ok_or("the relay is not there")?;
            let leased: Vec<u64> = self.queue.leases.iter().flat_map(|(first, count)| *first..first + count).collect();
            let seqs: Vec<u64> = leased.into_iter().filter(|seq| !self.queue.ended.contains(seq)).collect();
            if seqs.iter().any(|seq| relay.reader.is_acked(Seq(*seq))) {
                return Err("an event that nobody acknowledged counts as acknowledged".to_owned());
            }
            relay.ack(&mut self.book, &seqs);
            self.queue.ended.extend(&seqs);
            self.queue.release();
            if self.open.is_empty() && self.queue.ended.len() as u64 == self.queue.durable {
                break;
            }
        }
        self.compare()?;
        let relay = self.relay.as_ref().ok_or("the relay is not there")?;
        books_balance(relay, &crate::life::verify::Seen::default())
    }
}
