//! Exactly once: the coordinator of transactions, which fails as the rest of Kafka does, and what a reader of committed records finds.

use super::super::resume::{Committed, KeepGoing, Known};
use super::super::sink::{Refusal, Report, SendOutcome, SinkFactory};
use super::super::transactional::{Progress, Size, Transactional, Transactions};
use super::kafka::{FaultyKafka, Handle};
use super::{Code, DrainState, Faults, OnRejected, Run, SimulatedClock, World, look, partition_of, run_with};
use crate::error::Disposition;
use crate::event::{Place, Seq};
use std::collections::BTreeSet;
use std::time::Duration;

const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// What Kafka knows of the relay's transactions.
#[derive(Debug, Default)]
pub(super) struct Coordinator {
    /// The handle that is not shut out.
    owner: usize,
    /// What the open transaction holds: partitions and seqs.
    pub(super) open: Vec<(usize, u64)>,
    open_cursor: Option<Committed>,
    /// The newest one that is committed.
    pub(super) cursor: Option<Committed>,
    /// Commits whose answers were lost.
    unanswered: usize,
    /// Larger transactions do not come through in time.
    most_events: Option<usize>,
}

pub(super) struct TransactionalKafka {
    pub(super) kafka: FaultyKafka,
    pub(super) clock: SimulatedClock,
    pub(super) size: Size,
}

impl SinkFactory for TransactionalKafka {
    type Sink = Transactional<Handle, SimulatedClock>;

    fn connect(&mut self) -> Result<Self::Sink, Refusal> {
        Ok(Transactional::new(self.kafka.connect()?, self.clock.clone(), Duration::from_millis(50), self.size.clone()))
    }

    fn halve_batches(&mut self) -> u64 {
        self.kafka.halve_batches()
    }
}

impl World {
    fn coordinator(&mut self) -> &mut Coordinator {
        self.coordinator.as_mut().unwrap()
    }

    /// Transactions fail more often than batches: there are fewer of them.
    fn goes_wrong(&mut self) -> bool {
        self.happens() || self.happens() || self.happens()
    }

    /// What is open becomes true.
    fn commit(&mut self) {
        let open = std::mem::take(&mut self.coordinator().open);
        for (partition, seq) in open {
            self.log[partition].push(seq);
            let _ = self.reported.insert(seq);
        }
        let coordinator = self.coordinator();
        let moved = coordinator.open_cursor.take();
        assert!(moved.is_some(), "committed without the cursor");
        let seq = |cursor: &Option<Committed>| cursor.as_ref().map(|cursor| cursor.seq).unwrap_or_default();
        assert!(seq(&moved) > seq(&coordinator.cursor), "the cursor goes from {:?} to {moved:?}", coordinator.cursor);
        coordinator.cursor = moved;
    }
}

impl Transactions for Handle {
    fn initialise(&mut self) -> Progress {
        let mut world = look(&self.world);
        if world.goes_wrong() {
            return Progress::Pending;
        }
        if world.happens() {
            return Progress::Failed(Refusal::new(Code::CoordinatorNotAvailable, "no coordinator"));
        }
        let number = self.number;
        let coordinator = world.coordinator();
        coordinator.owner = number;
        coordinator.open.clear();
        coordinator.open_cursor = None;
        Progress::Done
    }

    fn committed(&mut self, _: &Known, _: KeepGoing<'_>) -> Result<Option<Committed>, Refusal> {
        let mut world = look(&self.world);
        if world.goes_wrong() {
            return Err(Refusal::new(Code::UnknownTopicOrPartition, "no cursors"));
        }
        Ok(world.coordinator().cursor.clone())
    }

    fn open(&mut self) -> Result<(), Refusal> {
        let mut world = look(&self.world);
        if world.happens() {
            return Err(Refusal::new(Code::InvalidTransactionalState, "not now"));
        }
        assert_eq!(world.coordinator().owner, self.number, "a handle that was not readied");
        assert!(world.coordinator().open.is_empty(), "one transaction at a time");
        Ok(())
    }

    fn send_cursor(&mut self, to: &Committed) -> SendOutcome {
        let mut world = look(&self.world);
        if world.happens() {
            return SendOutcome::Full;
        }
        if world.happens() {
            return SendOutcome::Refused(Refusal::of_cursor(Code::MessageSizeTooLarge));
        }
        let result = if world.happens() {
            Err(Code::InvalidRecord)
        } else {
            world.coordinator().open_cursor = Some(to.clone());
            Ok(Place { topic: "cursors".into(), partition: 0, offset: 1 })
        };
        self.ready.push(Report { seq: Seq(0), result });
        SendOutcome::Sent
    }

    fn commit(&mut self) -> Progress {
        assert!(
            self.ready.is_empty() && self.queues.iter().all(std::collections::VecDeque::is_empty),
            "committed before all reports were in"
        );
        let mut world = look(&self.world);
        if world.goes_wrong() {
            return Progress::Pending;
        }
        let events = world.coordinator().open.len();
        if world.coordinator().most_events.is_some_and(|most| events > most) {
            return Progress::Failed(Refusal::new(Code::Fenced, "the transaction took too long"));
        }
        let lost = Progress::Failed(Refusal::new(Code::RequestTimedOut, "no answer"));
        if world.goes_wrong() {
            return lost;
        }
        world.commit();
        if world.goes_wrong() {
            world.coordinator().unanswered += 1;
            return lost;
        }
        Progress::Done
    }
}

impl Run {
    /// Who reads what is committed finds each event once, in order, but for those that are dead letters.
    fn check_committed_once(&self) {
        let world = look(&self.world);
        let dead: BTreeSet<u64> = world.dead.iter().map(|letter| letter.seq).collect();
        assert_eq!(world.booked.iter().copied().collect::<Vec<_>>(), self.seqs, "booked");
        for (partition, log) in world.log.iter().enumerate() {
            let lives = |seq: &u64| partition_of(*seq) == partition && !dead.contains(seq);
            assert_eq!(*log, self.seqs.iter().copied().filter(lives).collect::<Vec<_>>(), "partition {partition}");
        }
        let told: BTreeSet<u64> = world.notified.iter().map(|(_, seq)| *seq).collect();
        assert_eq!(told.len(), world.notified.len(), "told once");
        assert_eq!(told.len(), self.seqs.len() - dead.len(), "each is told of, but for dead letters");
        assert_eq!((self.report.left, self.report.in_doubt), (0, 0));
    }
}

// Goal: whatever Kafka does to events, cursors and commits, and whichever answers it loses: who reads what is committed finds every event
// once, in order, and nobody is told of an event before it is committed.
#[test]
fn each_event_is_committed_once_whatever_kafka_does() {
    let mut unanswered = 0;
    for seed in 0..300 {
        let faults = Faults { random: [0, 2, 20, 80][seed as usize % 4], on_rejected: OnRejected::Block, ..Faults::default() };
        let done = std::panic::catch_unwind(|| {
            let done = run_with(seed, 400, faults, YEAR, Some(Coordinator::default()));
            done.check_committed_once();
            look(&done.world).coordinator().unanswered
        });
        unanswered += done.unwrap_or_else(|_| panic!("seed {seed}"));
    }
    assert!(unanswered > 100, "commits without an answer are what this is about: {unanswered}");
}

// Goal: an event that Kafka never takes breaks its transaction, and is set aside alone.
#[test]
fn poison_breaks_its_transaction_and_no_other() {
    for seed in 0..60 {
        // Faults that pass, but none that could be taken for poison.
        let deaf_handles = usize::from(seed % 3 == 0);
        let faults = Faults { poison: vec![3, 40, 41, 200], deaf_handles, ..Faults::default() };
        let done = run_with(seed, 300, faults, YEAR, Some(Coordinator::default()));
        done.check_committed_once();
        let poison = |seq: u64| done.seqs.contains(&seq);
        let expected: Vec<u64> = [3, 40, 41, 200].into_iter().filter(|seq| poison(*seq)).collect();
        assert_eq!(look(&done.world).dead.iter().map(|letter| letter.seq).collect::<Vec<_>>(), expected, "seed {seed}");
    }
}

// Goal: a cursor of another history under our name, older or newer than what is here: nothing is sent, nothing is booked, and it is said.
#[test]
fn anothers_cursor_is_not_believed() {
    for cursor in [
        Committed { seq: Seq(20), id: "id-of-another".into(), accepted_ms: 1_000 },
        Committed { seq: Seq(20), id: "id-20".into(), accepted_ms: 999 },
        Committed { seq: Seq(2_000), id: "id-2000".into(), accepted_ms: 1_000 },
    ] {
        let coordinator = Coordinator { cursor: Some(cursor), ..Coordinator::default() };
        let done = run_with(11, 60, Faults::default(), Duration::from_secs(60), Some(coordinator));
        let blocked = done.blocked_for();
        assert!(blocked.iter().all(|(reason, detail)| *reason == "another_relay" && detail.contains("copy")), "{blocked:?}");
        assert!(!blocked.is_empty());
        let world = look(&done.world);
        assert!(world.booked.is_empty() && world.log.iter().all(Vec::is_empty));
        assert_eq!(world.handles, 1, "the other one is not shut out again and again");
    }
}

// Goal: what Kafka committed before the relay forgot about it is not sent again.
#[test]
fn what_is_committed_is_not_sent_again() {
    let cursor = Committed { seq: Seq(20), id: "id-20".into(), accepted_ms: 1_000 };
    let coordinator = Coordinator { cursor: Some(cursor), ..Coordinator::default() };
    let done = run_with(11, 60, Faults::default(), YEAR, Some(coordinator));
    let world = look(&done.world);
    assert_eq!(world.booked.len(), 60);
    assert!(world.log.iter().flatten().all(|seq| *seq > 20));
    assert_eq!(*done.stats.state.lock().unwrap(), DrainState::Stopped);
}

// Goal: over a link that takes a few events within a transaction's time, transactions get as small as they have to be, and everything arrives.
#[test]
fn transactions_fit_a_slow_link() {
    for most in [1, 7, 64] {
        let coordinator = Coordinator { most_events: Some(most), ..Coordinator::default() };
        let done = run_with(5, 400, Faults::default(), YEAR, Some(coordinator));
        done.check_committed_once();
        assert!(done.took < Duration::from_secs(3_600), "at most {most} events: {:?}", done.took);
    }
}

// Goal: no error of a cursor is ever taken for one of an event.
#[test]
fn a_refused_cursor_is_no_poison() {
    for code in [Code::MessageSizeTooLarge, Code::InvalidRecord, Code::PolicyViolation, Code::UnknownTopic] {
        assert_eq!(Refusal::of_cursor(code).class.disposition, Disposition::Block, "{code:?}");
    }
}
