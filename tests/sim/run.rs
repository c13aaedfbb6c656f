//! One run: lives that end with a crash or a stop, the last of them with everything delivered; then the guarantees.

use super::baton::Seat;
use super::kafka::{BATCH_EVENTS, LINES};
use super::relay::{Relay, waiters};
use super::seams::{Handles, SimulatedTime, Watched};
use super::style::{Scenario, Style};
use super::trace::Trace;
use super::verify;
use super::world::{Shared, World, look};
use crate::chance::Chance;
use crate::disk::{self, Disk};
use dualstream::drain::{Blocked, Drain, DrainHandles, DrainReport, DrainStop, Policy, Source};
use dualstream::event::{EventRef, Seq};
use dualstream::lifecycle::AckWaiters;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Room on the volume: the buffer's bound is what limits.
const ROOMY: u64 = 64 << 20;

/// Thrown at whoever is at work when the relay dies.
pub struct Crash;

/// What came of a run.
#[derive(Default)]
pub struct Outcome {
    pub hash: u64,
    /// By name.
    pub counts: Vec<(&'static str, u64)>,
    pub words: Vec<String>,
    /// What did not hold.
    pub wrong: Option<String>,
}

pub fn run(scenario: Scenario, seed: u64, keep_words: bool) -> Outcome {
    let mut chance = Chance::new(seed);
    let style = Style::choose(scenario, &mut chance);
    let world = Arc::new(Mutex::new(World::new(style, chance, Trace::new(keep_words), Instant::now())));
    let done = catch_unwind(AssertUnwindSafe(|| lives(&world, seed)));
    let world = look(&world);
    let wrong = done.err().map(|panic| words_of(&*panic));
    let counts = vec![
        ("events", world.book.posted.len() as u64),
        ("crashes", world.crashes),
        ("topics refused", world.kafka.refused_unsent),
        ("looks into Kafka", world.looks),
        ("handles of Kafka", world.kafka.handles),
        ("records that came twice", world.book.repeats),
        ("dead letters", world.book.dead.len() as u64),
        ("parked events", world.parked),
        ("purged events", world.book.purged.len() as u64),
        ("repeats known", world.book.repeats_known),
        ("notifications", world.book.tellings),
    ];
    Outcome { hash: world.trace.hash(), counts, words: world.trace.words().to_vec(), wrong }
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "a panic without words".to_owned())
}

fn lives(world: &Shared, seed: u64) {
    let mut disk = Disk::new(disk::World::default(), ROOMY, seed);
    let lives = look(world).style.lives;
    let mut life = 1;
    loop {
        begin(world, &disk, life == lives);
        let ended = catch_unwind(AssertUnwindSafe(|| live(world, &disk)));
        disk.set_between(None);
        match ended {
            Ok(report) => {
                stopped(world, report);
                if life == lives {
                    return verify::at_the_end(&look(world), &disk);
                }
            }
            Err(panic) if panic.is::<Crash>() => disk = crashed(world, &disk),
            Err(panic) => resume_unwind(panic),
        }
        // The last life goes to its end, however often it has to begin.
        life = (life + 1).min(lives);
    }
}

fn begin(world: &Shared, disk: &Disk, is_last: bool) {
    let mut world = look(world);
    world.stop = DrainStop::default();
    (world.stop_sending, world.stop_deadline) = (None, None);
    world.is_last_life = is_last;
    world.kafka.batch_events = BATCH_EVENTS;
    world.acts_left = world.style.acts;
    world.looks_back = [false; LINES];
    world.trace.note("life", &[u64::from(is_last), disk.number()]);
    if let Some(calls) = world.style.crash_calls.filter(|_| !is_last) {
        let at = disk.number() + 1 + world.chance.below(calls);
        let clock = disk.clone();
        disk.set_between(Some(Arc::new(move || {
            if clock.number() >= at {
                resume_unwind(Box::new(Crash));
            }
        })));
    }
}

/// From opening to the drain's end.
fn live(world: &Shared, disk: &Disk) -> DrainReport {
    let acks = waiters();
    let (relay, reader, parked) = Relay::open(disk, Arc::clone(&acks), look(world).style.parks);
    let (parks, stop) = {
        let mut world = look(world);
        verify::at_the_start(&mut world.book, &relay);
        world.relay = Some(relay);
        (world.style.parks, world.stop.clone())
    };
    let [log_seat, parked_seat] = Seat::all(world, parks);
    let parked_stop = stop.beside();
    let (report, after) = std::thread::scope(|scope| {
        let beside = parks.then(|| {
            let (acks, stop) = (Arc::clone(&acks), parked_stop.clone());
            let drain = line(&parked_seat, parked, acks, stop, Blocked::Rest);
            let (seat, runtime) = (parked_seat.clone(), tokio::runtime::Handle::current());
            scope.spawn(move || {
                let _runtime = runtime.enter();
                let ended = catch_unwind(AssertUnwindSafe(|| {
                    seat.begin();
                    drain.run_parked()
                }));
                seat.leave(ended.is_err());
                ended
            })
        });
        let ended = catch_unwind(AssertUnwindSafe(|| {
            let on_blocked = if parks { Blocked::Park } else { Blocked::Wait };
            let report = line(&log_seat, reader, acks, stop, on_blocked).run();
            let deadline = look(world).stop_deadline;
            parked_stop.finish(deadline.expect("the log's line ends when it is told to"));
            log_seat.outlast();
            report
        }));
        if ended.is_err() {
            log_seat.leave(true);
        }
        (ended, beside.map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))))
    });
    let report = match (report, after) {
        (Err(panic), _) | (_, Some(Err(panic))) if !panic.is::<Crash>() => resume_unwind(panic),
        // One that crashes takes the other with it.
        (Err(panic), _) | (_, Some(Err(panic))) => resume_unwind(panic),
        (Ok(report), _) => report,
    };
    let mut world = look(world);
    // The last cursor; the disk may fail in the middle of it.
    let mut relay = world.relay.take().expect("a relay");
    relay.close(&mut world.book);
    world.relay = Some(relay);
    report
}

/// A line of the drain.
fn line<S: Source>(
    seat: &Seat,
    reader: S,
    acks: Arc<AckWaiters>,
    stop: DrainStop,
    on_blocked: Blocked,
) -> Drain<Watched<S>, Handles, SimulatedTime> {
    let notified = seat.clone();
    let on_acked = move |seq: Seq, event: &EventRef<'_>| {
        let mut world = notified.look();
        let number = world.book.recognise(event);
        assert!(world.kafka.confirmed.contains(&seq.0), "G5: seq {seq} (e{number}) is notified of, and Kafka has not confirmed it");
        let source = world.book.of(number).source;
        let parks = world.style.parks;
        world.book.told(seq.0, source, parks);
        world.trace.note("notified", &[seq.0]);
    };
    let handles = DrainHandles { stats: Arc::default(), acks, on_acked: Some(Box::new(on_acked)), stop, heartbeat: None };
    let seed = seat.look().chance.next();
    let (source, factory, clock) = (Watched { reader, seat: seat.clone() }, Handles(seat.clone()), SimulatedTime(seat.clone()));
    let policy = Policy { on_blocked, ..Policy::default() };
    Drain::assemble(source, factory, clock, handles, policy, fastrand::Rng::with_seed(seed))
}

fn stopped(world: &Shared, report: DrainReport) {
    let mut world = look(world);
    let relay = world.relay.take().expect("a relay");
    let snapshot = relay.gauges.snapshot();
    assert_eq!(report.left, snapshot.durable_seq - snapshot.acked_seq, "what the drain says it left behind: {report:?}");
    world.trace.note("stopped", &[report.acked, report.left, report.in_doubt]);
    assert!(world.kafka.handle.iter().all(Option::is_none), "the drain ended and kept its handle");
    world.book.life_ended(true);
}

/// Power fails, or the process is killed: what is left is on the disk, and with Kafka.
fn crashed(world: &Shared, disk: &Disk) -> Disk {
    let mut world = look(world);
    world.crashes += 1;
    // The appends of its clients die with it.
    drop(world.relay.take());
    let (kafka, mut around) = world.kafka();
    (0..LINES).for_each(|line| kafka.handle_gone(line, &mut around));
    world.book.life_ended(false);
    let before = disk.world();
    let is_kill = world.chance.one_in(3);
    let after = if is_kill {
        before.killed()
    } else {
        let opens = before.opens();
        let choices = before.choose(&opens, &mut world.chance);
        before.crashed(&opens, &choices)
    };
    world.trace.note("crash", &[u64::from(is_kill), disk.number(), after.hash()]);
    let seed = world.chance.next();
    let next = Disk::new(after, ROOMY, seed);
    next.advance(world.now_ms());
    next
}
