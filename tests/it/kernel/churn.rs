//! Guarantee G7 over time: allocated disk through fillings, drainings, kills and restarts.

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::volume::{Kind, Volume};
use crate::support::{
    command::dualstream,
    consume::read_topic,
    disk_watch::DiskWatch,
    kafka::Kafka,
    load::{Load, Plan},
    relay::Relay,
    seed::Seed,
};

const SOON: Duration = Duration::from_secs(120);
const MIB: u64 = 1 << 20;
const MAX_BYTES: u64 = 6 * MIB;

/// `DUALSTREAM_CHURN_SECONDS`: how long, for who has the time.
fn churn_time() -> Duration {
    let seconds = env::var("DUALSTREAM_CHURN_SECONDS").map_or(6, |text| text.parse().expect("DUALSTREAM_CHURN_SECONDS is a number"));
    Duration::from_secs(seconds)
}

// Goal: my disk never holds more than buffer.max_bytes, whatever happens for however long: full speed, Kafka away until all is full, the
// backlog drained, kill -9, again and again; counted as du does, and where I can mount a volume, as the file system itself does. So an
// emptyDir of the size that is derived for it gets no pod evicted.
#[test]
fn allocated_disk_stays_within_the_bound_through_churn() {
    let volume = Volume::mount(Kind::Tmpfs, 64 * MIB).inspect_err(|why| println!("no volume of its own, so only du counts: {why}")).ok();
    let kafka = Kafka::start(1);
    let topic = kafka.topic("churn", 2);
    let mut builder =
        Relay::builder().kafka(&kafka.bootstrap(), &topic).set("buffer.max_bytes", "6MiB").set("ingest.full_timeout", "100ms");
    builder = builder.set("buffer.min_free_bytes", 0).set("ingest.max_body_bytes", "64KiB").set("ingest.max_event_bytes", "64KiB");
    builder = builder.set("ingest.max_batch_events", 1000);
    if let Some(volume) = &volume {
        builder = builder.set("buffer.dir", volume.path().join("buffer").display().to_string());
    }
    let mut relay = builder.start();
    let disk = DiskWatch::start(relay.buffer_dir());
    let watched = volume.map(watch);
    let load = Load::start(relay.ingest_socket(), &Plan { batch: 20, padding: 800, ..Plan::default() });

    let mut seed = Seed::take();
    let (end, mut rounds) = (Instant::now() + churn_time(), 0);
    while rounds < 2 || Instant::now() < end {
        load.wait_accepted(2_000, SOON);
        kafka.stop_broker(0);
        let full = r#"ingest_events_total{result="full"}"#;
        relay.wait_metric(full, SOON, |refused| refused >= 40.0);
        if seed.number(0..=1) == 1 {
            relay.restart();
        }
        kafka.start_broker(0);
        load.wait_accepted(2_000, SOON);
        relay.restart();
        rounds += 1;
    }
    let report = load.stop();
    relay.wait_metric("buffer_events", SOON, |events| events == 0.0);
    assert_eq!(relay.stop(SOON), 0);

    let found = disk.stop();
    let on_volume = watched.map(Watched::stop);
    println!(
        "{rounds} rounds, {} events, {} looks: at most {} of {MAX_BYTES} bytes by du, {on_volume:?} by the volume",
        report.accepted(),
        found.looks,
        found.most_bytes
    );
    assert!(found.most_bytes <= MAX_BYTES, "{} bytes were allocated", found.most_bytes);
    assert!(found.most_bytes >= MAX_BYTES / 4 * 3 && found.reused > 0, "{found:?}");
    assert!(on_volume.is_none_or(|most| (MAX_BYTES / 4 * 3..=MAX_BYTES).contains(&most)), "{on_volume:?} bytes were in use on the volume");
    let limit = size_limit();
    assert!(limit >= MAX_BYTES / 4 * 5, "a sizeLimit of {limit} bytes leaves no room for the file system's own");
    assert!(found.most_bytes.max(on_volume.unwrap_or(0)) <= limit, "a kubelet would evict the pod: its sizeLimit is {limit} bytes");
    report.assert_delivered(&read_topic(&kafka.bootstrap(), &topic));
}

/// What `dualstream inject` derives for the emptyDir of such a buffer; that the chart derives the same is tested in tests/helm.
fn size_limit() -> u64 {
    let pod = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"name": "a", "image": "a"}]}}"#;
    let max_bytes = MAX_BYTES.to_string();
    let injected = dualstream(["inject", "--max-bytes", &max_bytes, "--no-config-map"]).stdin(pod).run().expect(0).stdout;
    let sizes = injected.lines().filter_map(|line| line.trim().strip_prefix("sizeLimit: ")?.strip_suffix("Mi")?.parse::<u64>().ok());
    // The other one is the socket's.
    sizes.max().expect("a sizeLimit") * MIB
}

/// Looks at a volume's own count all the time: files that are deleted and still open take space, too.
struct Watched {
    stop: Arc<AtomicBool>,
    watcher: thread::JoinHandle<u64>,
}

fn watch(volume: Volume) -> Watched {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let watcher = thread::spawn(move || {
        let mut most = 0;
        while !stopped.load(Ordering::Relaxed) {
            most = most.max(volume.used_bytes());
            thread::sleep(Duration::from_millis(1));
        }
        most
    });
    Watched { stop, watcher }
}

impl Watched {
    /// The most that was in use.
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.watcher.join().unwrap()
    }
}
