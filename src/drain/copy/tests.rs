use super::*;
use crate::buffer::dead_letters::Cause;
use crate::drain::stop::DrainStop;
use rdkafka::error::RDKafkaErrorCode as Code;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

/// What the fake Kafka does with the next record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Take,
    Refuse(Code),
    Trouble(Code),
    Silent,
}

#[derive(Debug, Default)]
struct World {
    /// Since the beginning; every look takes some.
    elapsed: Cell<Duration>,
    letters: RefCell<Vec<u64>>,
    marked: RefCell<Vec<(u64, Copied)>>,
    fates: RefCell<VecDeque<Fate>>,
    sent: RefCell<Vec<(u64, Copied)>>,
    /// Handles that were made, and let go.
    handles: Cell<(u32, u32)>,
    marks_fail: Cell<u32>,
    /// Called at every passing of time.
    purge_at: Cell<Option<(Duration, u64)>>,
    finish_at: Cell<Option<Duration>>,
    stop: DrainStop,
}

impl World {
    fn pass(&self, time: Duration, start: Instant) {
        self.elapsed.set(self.elapsed.get() + time.max(Duration::from_millis(1)));
        if let Some((at, seq)) = self.purge_at.get()
            && self.elapsed.get() >= at
        {
            self.letters.borrow_mut().retain(|letter| *letter != seq);
        }
        if let Some(at) = self.finish_at.get()
            && self.elapsed.get() >= at
        {
            self.finish_at.set(None);
            self.stop.finish(start + at + GRACE);
        }
    }
}

/// Long, so that the real clock, which the stop looks at, does not matter.
const GRACE: Duration = Duration::from_secs(300);

#[derive(Clone, Debug)]
struct Fake(Rc<World>, Instant, bool);

impl Letters for Fake {
    fn first(&self) -> Result<Option<DeadLetter>, DeadLetterError> {
        let marked = self.0.marked.borrow();
        let letters = self.0.letters.borrow();
        let first = letters.iter().find(|seq| !marked.iter().any(|(marked, _)| marked == *seq));
        let cause = Cause { reason: "too_large".into(), text: String::new(), attempts: 3, first_refused_ms: 1, dead_ms: 2 };
        Ok(first.map(|seq| DeadLetter { seq: *seq, accepted_ms: 1, cause, record: Vec::new().into() }))
    }

    fn holds(&self, seq: u64) -> bool {
        self.0.letters.borrow().contains(&seq)
    }

    fn copied(&mut self, seq: u64, how: Copied) -> Result<(), DeadLetterError> {
        if self.0.marks_fail.get() > 0 {
            self.0.marks_fail.set(self.0.marks_fail.get() - 1);
            return Err(DeadLetterError::NotDurable("the disk is full".into()));
        }
        self.0.marked.borrow_mut().push((seq, how));
        Ok(())
    }
}

impl Courier for Fake {
    fn send(&mut self, letter: &DeadLetter, how: Copied) -> Result<(), Refusal> {
        let (made, gone) = self.0.handles.get();
        if !std::mem::replace(&mut self.2, true) {
            self.0.handles.set((made + 1, gone));
        }
        self.0.sent.borrow_mut().push((letter.seq, how));
        Ok(())
    }

    fn poll(&mut self, timeout: Duration) -> Heard {
        assert!(self.2, "nobody listens without a handle");
        self.0.pass(timeout, self.1);
        let mut fates = self.0.fates.borrow_mut();
        match fates.front().copied() {
            Some(Fate::Silent) => Heard::Nothing,
            Some(Fate::Trouble(code)) => {
                let _ = fates.pop_front();
                Heard::Trouble(Refusal::new(code, "x"))
            }
            Some(Fate::Refuse(code)) => {
                let _ = fates.pop_front();
                Heard::Refused(Refusal::new(code, "x"))
            }
            Some(Fate::Take) | None => {
                let _ = fates.pop_front();
                Heard::Taken
            }
        }
    }

    fn close(&mut self) {
        if std::mem::take(&mut self.2) {
            // A silent handle is silent until it goes.
            if self.0.fates.borrow().front() == Some(&Fate::Silent) {
                let _ = self.0.fates.borrow_mut().pop_front();
            }
            let (made, gone) = self.0.handles.get();
            self.0.handles.set((made, gone + 1));
        }
    }
}

impl Clock for Fake {
    fn now(&self) -> Instant {
        self.1 + self.0.elapsed.get()
    }

    fn unix_ms(&self) -> u64 {
        u64::try_from(self.0.elapsed.get().as_millis()).unwrap()
    }

    fn pause(&self, _: &DrainStop, duration: Duration) {
        self.0.pass(duration, self.1);
    }
}

struct Bench {
    world: Rc<World>,
    stats: Arc<CopyStats>,
    copier: Copier<Fake, Fake, Fake>,
}

impl Bench {
    fn new(letters: &[u64], fates: &[Fate]) -> Self {
        let world = Rc::new(World::default());
        world.letters.borrow_mut().extend(letters);
        world.fates.borrow_mut().extend(fates);
        let (stats, stop) = (Arc::new(CopyStats::default()), world.stop.clone());
        let fake = Fake(Rc::clone(&world), Instant::now(), false);
        let copier = Copier::assemble(fake.clone(), fake.clone(), fake, Arc::clone(&stats), stop, fastrand::Rng::with_seed(1));
        Self { world, stats, copier }
    }

    /// Turns until this much time has passed.
    fn run_for(&mut self, time: Duration) {
        let until = self.world.elapsed.get() + time;
        while self.world.elapsed.get() < until && self.copier.turn().is_continue() {}
    }

    fn sent(&self) -> Vec<(u64, Copied)> {
        self.world.sent.borrow().clone()
    }

    fn marked(&self) -> Vec<(u64, Copied)> {
        self.world.marked.borrow().clone()
    }
}

const MINUTE: Duration = Duration::from_secs(60);

// Goal: each dead letter is copied once, in order, over one connection, which is let go when nothing more comes.
#[test]
fn letters_are_copied_in_order_and_once() {
    let mut bench = Bench::new(&[3, 5, 8], &[]);
    bench.run_for(Duration::from_secs(1));
    let all = [3, 5, 8].map(|seq| (seq, Copied::Whole));
    assert_eq!((bench.sent(), bench.marked()), (all.to_vec(), all.to_vec()));
    assert_eq!((bench.stats.copied[0].get(), bench.world.handles.get()), (3, (1, 0)));
    bench.run_for(KEEP_HANDLE + SLICE);
    assert_eq!(bench.world.handles.get(), (1, 1));
    bench.world.letters.borrow_mut().push(9);
    bench.run_for(Duration::from_secs(1));
    assert_eq!((bench.sent().len(), bench.world.handles.get()), (4, (2, 1)));
}

// Goal: whatever Kafka answers, no letter is left out and none passes another: it is tried until it is taken, less and less often, and shown meanwhile.
#[test]
fn every_error_is_waited_out() {
    let errors = [Code::UnknownTopic, Code::TopicAuthorizationFailed, Code::Unknown, Code::BrokerTransportFailure, Code::GaplessGuarantee];
    let fates: Vec<Fate> = (0..40).map(|n| Fate::Refuse(errors[n % errors.len()])).collect();
    let mut bench = Bench::new(&[1, 2], &fates);
    bench.run_for(Duration::from_secs(10));
    let early = bench.sent().len();
    assert!((3..=8).contains(&early), "{early} attempts in 10 s");
    let trouble = bench.stats.trouble().unwrap();
    assert!(bench.marked().is_empty() && trouble.since <= bench.copier.clock.1 + Duration::from_millis(1));
    bench.run_for(40 * MINUTE);
    assert_eq!(bench.sent().len(), 42, "one attempt for each error, and one for each letter");
    assert!(bench.sent().iter().all(|(_, how)| *how == Copied::Whole));
    assert_eq!((bench.marked(), bench.stats.trouble()), ([1, 2].map(|seq| (seq, Copied::Whole)).to_vec(), None));
    let (made, gone) = bench.world.handles.get();
    assert_eq!(made - gone, 0, "a handle that refused is never used again, and one that is idle is let go");
}

// Goal: an event that the dead-letter topic does not take for what it is is told of without its value, at once; if that is refused too, it is waited for,
// and tried whole again: the topic's limit may have been raised.
#[test]
fn what_is_too_large_goes_without_its_value() {
    let mut bench = Bench::new(&[1, 2], &[Fate::Refuse(Code::MessageSizeTooLarge)]);
    bench.run_for(Duration::from_millis(500));
    assert_eq!(bench.sent(), [(1, Copied::Whole), (1, Copied::WithoutValue), (2, Copied::Whole)]);
    assert_eq!(bench.marked(), [(1, Copied::WithoutValue), (2, Copied::Whole)]);
    assert_eq!((bench.stats.copied[0].get(), bench.stats.copied[1].get()), (1, 1));

    let mut bench = Bench::new(&[1, 2], &[Fate::Refuse(Code::MessageSizeTooLarge), Fate::Refuse(Code::MessageSizeTooLarge), Fate::Take]);
    bench.run_for(Duration::from_millis(400));
    let trouble = bench.stats.trouble().unwrap();
    assert!(bench.marked().is_empty() && trouble.reason == "too_large" && trouble.detail.contains("max.message.bytes"), "{trouble:?}");
    bench.run_for(MINUTE);
    assert_eq!(bench.sent()[2..], [(1, Copied::Whole), (2, Copied::Whole)]);
}

// Goal: a broker that says nothing is given a minute, then another connection tries; errors that may pass by themselves are shown at once.
#[test]
fn a_silent_handle_is_replaced() {
    let mut bench = Bench::new(&[1], &[Fate::Trouble(Code::BrokerTransportFailure), Fate::Silent]);
    bench.run_for(Duration::from_secs(2));
    assert_eq!(bench.stats.trouble().unwrap().reason, "unreachable");
    bench.run_for(2 * MINUTE);
    assert_eq!((bench.sent().len(), bench.marked().len(), bench.world.handles.get().0), (2, 1, 2));
    assert!(bench.world.elapsed.get() < 4 * MINUTE);
}

// Goal: what Kafka has is not sent again because the disk has a bad moment.
#[test]
fn a_mark_that_fails_is_tried_again_alone() {
    let mut bench = Bench::new(&[1], &[]);
    bench.world.marks_fail.set(3);
    bench.run_for(Duration::from_millis(500));
    assert!(bench.stats.trouble().unwrap().detail.contains("the disk is full"));
    bench.run_for(MINUTE);
    assert_eq!((bench.sent().len(), bench.marked().len(), bench.stats.trouble()), (1, 1, None));
}

// Goal: a letter that an operator removes while its copy is stuck holds up nothing.
#[test]
fn a_letter_that_is_purged_is_let_go() {
    let mut bench = Bench::new(&[1, 2], &[Fate::Silent]);
    bench.world.purge_at.set(Some((Duration::from_secs(5), 1)));
    bench.run_for(Duration::from_secs(10));
    assert_eq!(bench.marked(), [(2, Copied::Whole)]);
}

// Goal: while an operator has paused the relay nothing is copied either.
#[test]
fn a_pause_holds_copies_too() {
    let mut bench = Bench::new(&[1], &[]);
    assert!(bench.copier.stop.pause());
    bench.run_for(MINUTE);
    assert!(bench.sent().is_empty());
    assert!(bench.copier.stop.resume());
    bench.run_for(Duration::from_secs(1));
    assert_eq!(bench.marked().len(), 1);
}

// Goal: told to stop, it copies what is left while there is time, and ends at once when nothing is; a topic that does not answer cannot hold the end up beyond
// its deadline.
#[test]
fn a_stop_is_kept() {
    let mut bench = Bench::new(&[1, 2], &[]);
    bench.world.stop.finish(bench.copier.clock.1 + GRACE);
    bench.run_for(MINUTE);
    assert_eq!(bench.marked().len(), 2);
    assert!(bench.copier.turn().is_break() && bench.world.elapsed.get() < Duration::from_secs(1));

    for (at, fate) in (5..=120).step_by(5).flat_map(|at| [(at, Fate::Silent), (at, Fate::Refuse(Code::UnknownTopic))]) {
        let mut bench = Bench::new(&[1], &vec![fate; 9000]);
        let at = Duration::from_secs(at);
        bench.world.finish_at.set(Some(at));
        bench.run_for(3 * GRACE);
        let ended = bench.world.elapsed.get();
        assert!(ended <= at + GRACE + SLICE && ended + Duration::from_secs(5) >= at + GRACE, "{fate:?} told at {at:?}: {ended:?}");
        assert!(bench.copier.turn().is_break() && bench.marked().is_empty());
    }
}
