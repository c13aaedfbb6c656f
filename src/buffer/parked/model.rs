//! Random lives of what is parked, with a power failure before each sync of them, and with calls that fail: nothing is lost, order is kept, the books
//! balance, and what comes again is only what was acknowledged and not yet written down.

use super::super::Keyring;
use super::super::inspect::peek;
use super::super::memory::{Image, Memory};
use super::super::purge::Selection;
use super::super::tests::letter;
use super::super::verify::{Verdict, verify};
use super::ParkedEvent;
use super::bench::{Bench, config, open, try_open};
use crate::event::Seq;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const TOPICS: [&str; 3] = ["a", "b", "c"];

/// What has become of an event, as everybody was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Waits,
    Ended,
    /// And no crash may bring it back.
    Settled,
}

/// The plain truth.
#[derive(Clone, Default)]
struct Truth {
    fates: BTreeMap<u64, Fate>,
    topics: BTreeMap<u64, &'static str>,
}

impl Truth {
    fn waiting(&self, topic: &str) -> Vec<u64> {
        self.fates.iter().filter(|(seq, fate)| **fate == Fate::Waits && self.topics[seq] == topic).map(|(seq, _)| *seq).collect()
    }

    fn end(&mut self, seqs: &[u64]) {
        for seq in seqs {
            let _ = self.fates.insert(*seq, Fate::Ended);
        }
    }

    fn settle(&mut self) {
        for fate in self.fates.values_mut().filter(|fate| **fate == Fate::Ended) {
            *fate = Fate::Settled;
        }
    }
}

struct Script {
    rng: fastrand::Rng,
    truth: Truth,
    /// What Kafka refuses.
    refused: BTreeSet<&'static str>,
    crashes: u64,
}

impl Script {
    /// One thing that happens; what may be found after a crash in the middle of it lies between the truths before and after it.
    fn step(&mut self, bench: &mut Bench) {
        match self.rng.u32(0..13) {
            0..=2 => self.append(bench),
            3..=5 => self.drain(bench),
            6..=8 => self.line(bench),
            9 => {
                let topic = self.rng.choice(TOPICS).unwrap();
                if !self.refused.remove(topic) {
                    let _ = self.refused.insert(topic);
                }
            }
            10 => bench.tick(),
            11 => self.purge(bench),
            _ => {
                bench.settle();
                if !bench.calls.have_failed() {
                    self.truth.settle();
                }
            }
        }
    }

    fn append(&mut self, bench: &mut Bench) {
        let topics: Vec<&'static str> = (0..self.rng.usize(1..6)).map(|_| *self.rng.choice(&TOPICS).unwrap()).collect();
        let len = if self.rng.u32(0..8) == 0 { 20_000 } else { 20 };
        let first = bench.append(&topics, len);
        for (seq, topic) in (first..).zip(topics) {
            let _ = self.truth.fates.insert(seq, Fate::Waits);
            let _ = self.truth.topics.insert(seq, topic);
        }
    }

    /// The main drain: what is refused is parked, the rest is sent, some of it not confirmed.
    fn drain(&mut self, bench: &mut Bench) {
        let mut runs: BTreeMap<&'static str, Vec<ParkedEvent>> = BTreeMap::new();
        let mut sent = Vec::new();
        for (_, event) in bench.rewound() {
            let topic = self.truth.topics[&event.seq];
            if self.refused.contains(topic) || bench.buffer.reader.is_parked(topic) {
                runs.entry(topic).or_default().push(event);
            } else if self.rng.u32(0..6) > 0 {
                sent.push(event.seq);
            }
        }
        self.rng.shuffle(&mut sent);
        self.truth.end(&sent);
        let _ = bench.buffer.reader.ack(&sent.iter().copied().map(Seq).collect::<Vec<_>>());
        for (topic, run) in runs {
            match bench.park(topic, &run) {
                Ok(()) | Err(super::ParkError::Full { .. }) => {}
                Err(super::ParkError::Io { .. }) if bench.calls.have_failed() => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    /// The parked line: one topic's turn.
    fn line(&mut self, bench: &mut Bench) {
        let topics = bench.buffer.parked.topics();
        let Some(topic) = self.rng.choice(&topics).cloned() else { return };
        let mut events = bench.parked(&topic);
        let seqs: Vec<u64> = events.iter().map(|event| event.seq).collect();
        assert!(seqs.is_sorted(), "{seqs:?}");
        if self.rng.bool() {
            events.truncate(self.rng.usize(0..=events.len()));
        }
        if let Some(last) = events.pop_if(|_| self.rng.u32(0..5) == 0) {
            self.truth.end(&[last.seq]);
            bench.buffer.parked.dead_letter(&letter(&last)).unwrap();
        }
        self.rng.shuffle(&mut events);
        let seqs: Vec<u64> = events.iter().map(|event| event.seq).collect();
        self.truth.end(&seqs);
        assert_eq!(bench.ack(&seqs), seqs.len());
        let first = self.parked_of(bench, &topic).first().copied();
        if let Some(first) = first.filter(|_| !bench.calls.have_failed()) {
            assert_eq!(bench.buffer.parked.acked(), Seq(first - 1));
        }
        let released = bench.buffer.parked.release();
        assert!(released == first.is_none() || !released && (bench.calls.have_failed() || bench.has_stray()));
        for _ in 0..self.rng.u32(0..3) {
            assert!(bench.buffer.parked.keep_books() || bench.calls.have_failed());
        }
    }

    /// An operator gives events up, of a range of seqs or of a source, in the log and parked.
    fn purge(&mut self, bench: &mut Bench) {
        let highest = self.truth.fates.keys().last().copied().unwrap_or(0);
        let from_seq = self.rng.u64(0..=highest);
        let source = self.rng.bool().then(|| (*self.rng.choice(&TOPICS).unwrap()).to_owned());
        let selection =
            Selection { from_seq, to_seq: Some(from_seq + self.rng.u64(0..20)), source: source.clone(), ..Selection::default() };
        // The selection is read from the disk: its cursor has to know what waits.
        bench.tick();
        let plan = bench.buffer.purger.plan(&selection);
        let begun = bench.buffer.purger.begin(&selection);
        assert!((plan.is_ok() && begun.is_ok()) || bench.calls.have_failed(), "{plan:?} {begun:?}");
        let to = selection.to_seq.unwrap();
        let is_selected =
            |seq: &u64| *seq >= from_seq && *seq <= to && source.as_ref().is_none_or(|source| self.truth.topics[seq] == source);
        let mut gone: Vec<u64> = self.truth.fates.iter().filter(|(_, fate)| **fate == Fate::Waits).map(|(seq, _)| *seq).collect();
        gone.retain(is_selected);
        if let Ok((purged, _)) = begun {
            assert_eq!(purged.events, gone.len() as u64, "{selection:?}");
            assert!(plan.is_err() || plan.is_ok_and(|plan| plan == purged));
        } else {
            // Some may be gone.
            bench.calls.go_on();
            let log = bench.rewound().into_iter().map(|(_, event)| event.seq);
            let there: BTreeSet<u64> = log.chain(TOPICS.iter().flat_map(|topic| bench.seqs(topic)).collect::<Vec<_>>()).collect();
            gone.retain(|seq| !there.contains(seq));
        }
        self.truth.end(&gone);
        if self.rng.bool() {
            bench.tick();
            bench.tick();
            let finished = bench.buffer.purger.finish();
            assert!(finished || bench.calls.have_failed() || bench.has_stray());
            for seq in gone.into_iter().filter(|_| finished) {
                let _ = self.truth.fates.insert(seq, Fate::Settled);
            }
        }
    }

    fn parked_of(&self, bench: &mut Bench, topic: &str) -> Vec<u64> {
        bench.buffer.parked.rewind();
        let seqs: Vec<u64> = bench.line().iter().map(|event| event.seq).collect();
        assert!(seqs.iter().all(|seq| self.truth.topics[seq] == topic));
        seqs
    }

    /// Without a crash, exactly the truth.
    fn check(&self, bench: &mut Bench) {
        bench.assert_books();
        let in_log: BTreeSet<u64> = bench.rewound().iter().map(|(_, event)| event.seq).collect();
        for topic in TOPICS {
            let parked = bench.seqs(topic);
            let mut all: Vec<u64> = in_log.iter().copied().filter(|seq| self.truth.topics[seq] == topic).chain(parked).collect();
            all.sort_unstable();
            assert_eq!(all, self.truth.waiting(topic), "{topic}");
        }
    }

    /// What a power failure left: all that waits is there, once and in order; of what had ended, nothing that is settled.
    fn check_crash(&mut self, image: &Image, before: &Truth) {
        self.crashes += 1;
        let memory = Memory::with(image, 9_000);
        let report = verify(&*memory).unwrap();
        assert!(report.verdict != Verdict::Damaged && report.ledger.error == Some(0), "{report:#?}");
        let mut seen = Vec::new();
        peek(&*memory, &Keyring::default(), 0, &mut |seq, _, _| {
            seen.push(seq);
            true
        })
        .unwrap();
        let mut bench = match try_open(&memory, &config()) {
            Ok(bench) => bench,
            Err(error) => panic!("{error:?}"),
        };
        bench.assert_books();
        assert_eq!(bench.buffer.gauges.snapshot().ledger.ends.lost, 0);
        let in_log: BTreeSet<u64> = bench.rewound().iter().map(|(_, event)| event.seq).collect();
        let mut there = in_log.clone();
        for topic in TOPICS {
            let parked = bench.seqs(topic);
            assert!(parked.is_sorted());
            assert!(parked.iter().all(|seq| there.insert(*seq)), "an event is parked and in the log");
        }
        assert_eq!(seen, there.iter().copied().collect::<Vec<_>>(), "a look from outside sees what a start does");
        for (seq, fate) in &before.fates {
            let after = self.truth.fates[seq];
            assert!(there.contains(seq) || after != Fate::Waits, "event {seq} is gone");
            assert!(!there.contains(seq) || *fate != Fate::Settled, "event {seq} comes again");
        }
    }
}

/// How many power failures were tried, and how many calls failed.
fn live(seed: u64, steps: usize, fails: bool) -> (u64, u64) {
    let mut failed = 0;
    let memory = Memory::new(1_000);
    let mut bench = open(&memory);
    let mut script = Script { rng: fastrand::Rng::with_seed(seed), truth: Truth::default(), refused: BTreeSet::new(), crashes: 0 };
    for step in 0..steps {
        let before = script.truth.clone();
        let memory = Arc::clone(&bench.memory);
        if fails {
            let from = script.rng.u32(0..10);
            bench.calls.fail(from..from + script.rng.u32(1..5));
        }
        let mut images = memory.before_each_sync(|| script.step(&mut bench));
        let truth = script.truth.clone();
        let one_failed = bench.calls.have_failed();
        bench.calls.go_on();
        if one_failed {
            failed += 1;
            script.check(&mut bench);
            images.push(memory.synced_image());
        }
        // Most steps make a few syncs, some none; all of them would be tried too often.
        for image in images {
            if script.rng.u32(0..4) == 0 {
                script.check_crash(&image, &before);
            }
        }
        script.truth = truth;
        if step % 7 == 0 {
            script.check(&mut bench);
        }
    }
    // A life after it: everything can still be sent.
    bench = bench.killed();
    script.refused.clear();
    for _ in 0..3 {
        for topic in TOPICS {
            let seqs = bench.seqs(topic);
            let _ = bench.ack(&seqs);
            let _ = bench.buffer.parked.release();
        }
        let rest: Vec<Seq> = bench.rewound().iter().map(|(_, event)| Seq(event.seq)).collect();
        let _ = bench.buffer.reader.ack(&rest);
        bench.settle();
    }
    bench.assert_books();
    assert_eq!((bench.buffer.gauges.backlog(), bench.files()), (0, 0), "seed {seed}");
    (script.crashes, failed)
}

fn seeds() -> u64 {
    std::env::var("DUALSTREAM_PARKED_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(20)
}

// Goal: whatever is stored, parked, sent, given up and released, and whenever the power fails: no event is lost, each topic keeps its order, the ledger is
// zero, and nothing comes again that was written down as sent.
#[test]
fn random_lives() {
    let crashes: u64 = (0..seeds()).map(|seed| live(seed, 60, false).0).sum();
    assert!(crashes > 10 * seeds(), "{crashes} power failures");
}

// Goal: the same where reading, writing, syncing, renaming or removing a file of parked events fails now and then: what was not booked as parked is in the
// log still, nothing is there twice, and when the disk is well again everything goes on without a restart.
#[test]
fn random_lives_on_a_disk_that_fails_now_and_then() {
    let failed: u64 = (0..seeds()).map(|seed| live(seed, 60, true).1).sum();
    assert!(failed > 5 * seeds(), "{failed} calls failed");
}
