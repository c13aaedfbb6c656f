//! The relay in as little memory as a sidecar is given.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use super::cgroup::MemoryGroup;
use crate::support::{
    consume::read_topic,
    kafka::Kafka,
    load::{Load, Plan},
    redis::Redis,
    relay::Relay,
    report::Report,
};

/// An unoptimised relay on a busy machine drains some hundred events a second.
const SOON: Duration = Duration::from_secs(300);
const MIB: u64 = 1 << 20;
const LIMIT: u64 = 64 * MIB;
/// As many as `ingest.dedup_window_events` remembers.
const IDS: u64 = 100_000;

// Goal: with the settings as they come, my sidecar lives in a container of 64 MiB: full load from many connections, Kafka away, a window full
// of ids, a kill and a start on the backlog, the drain of all of it beside more load; the kernel never kills it, and nothing is lost.
#[test]
fn the_relay_lives_in_64_mib() {
    let group = MemoryGroup::create(LIMIT);
    if let Err(why) = &group {
        println!("NOT TRIED in a group of 64 MiB, only measured from outside: this machine does not let us make one: {why}");
    }
    let (kafka, redis) = (Kafka::start(1), Redis::start());
    let topic = kafka.topic("memory", 3);
    let mut builder = Relay::builder().kafka(&kafka.bootstrap(), &topic).redis(&redis.url());
    if let Ok(group) = &group {
        builder = builder.joins(&group.processes());
    }
    let mut relay = builder.start();
    let heap = HeapWatch::start(&relay);
    let plan = Plan { writers: 16, batch: 50, padding: 700, spread: true, ids: true, ..Plan::default() };
    let load = Load::start(relay.ingest_socket(), &plan);
    load.wait_accepted(5_000, SOON);
    kafka.stop_broker(0);
    load.wait_accepted(IDS, SOON);
    let report = load.stop();
    let before = heap.stop();
    let backlog = relay.metric("buffer_bytes");
    relay.restart();
    let heap = HeapWatch::start(&relay);
    kafka.start_broker(0);
    let load = Load::start(relay.ingest_socket(), &Plan { first_writer: plan.writers, requests: 20, ..plan });
    let report = Report::join([report, load.finish()]);
    relay.wait_metric("buffer_events", SOON, |events| events == 0.0);
    let heap = before.max(heap.stop());

    assert!(backlog > 64.0 * 1024.0 * 1024.0, "only {backlog} bytes waited: memory that grew with them would not show");
    if let Ok(group) = &group {
        // The relay of the second half counts; what the limit pressed out of the page cache does not matter.
        let (kills, anonymous) = (group.kills(), group.anonymous_bytes());
        println!(
            "in a group of {LIMIT} bytes: {:?} at most, {anonymous} of them the relay's own at the end, {kills} kills",
            group.peak_bytes()
        );
        assert_eq!(kills, 0, "the kernel killed it:\n{}", relay.process().tail(20));
        assert!(anonymous > MIB, "the relay is not in the group");
    }
    println!("{} events, a backlog of {backlog} bytes, at most {heap} bytes of its own", report.accepted());
    assert!((MIB..LIMIT).contains(&heap), "{heap} bytes");
    assert_eq!(relay.stop(SOON), 0);
    report.assert_delivered(&read_topic(&kafka.bootstrap(), &topic));
}

/// Looks all the time at what the relay has of its own: memory that no file backs.
struct HeapWatch {
    stop: Arc<AtomicBool>,
    watcher: thread::JoinHandle<u64>,
}

impl HeapWatch {
    fn start(relay: &Relay) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, file) = (Arc::clone(&stop), format!("/proc/{}/status", relay.process().pid()));
        let watcher = thread::spawn(move || {
            let mut most = 0;
            while !stopped.load(Ordering::Relaxed) {
                let text = fs::read_to_string(&file).unwrap_or_default();
                let kib = text.lines().find_map(|line| line.strip_prefix("RssAnon:")?.split_whitespace().next()?.parse::<u64>().ok());
                most = most.max(kib.unwrap_or(0) * 1024);
                thread::sleep(Duration::from_millis(2));
            }
            most
        });
        Self { stop, watcher }
    }

    /// The most bytes at any look.
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.watcher.join().unwrap()
    }
}
