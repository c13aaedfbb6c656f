//! The worker against a scripted Redis, in paused time: every wait is exact and takes no time.

use super::super::message::tests::{composer, event};
use super::super::queue::{NotifyQueue, queue};
use super::super::run::LAST_WORDS;
use super::fake::{Fake, Mood};
use super::*;
use crate::event::Seq;
use std::sync::{Mutex, PoisonError};
use tokio::time::sleep;

/// A running stage as a test sees it.
struct Rig {
    redis: Fake,
    queue: NotifyQueue,
    stats: Arc<NotifyStats>,
    acked: std::ops::Range<usize>,
}

impl Rig {
    /// Hands over the next `count` events.
    fn ack(&mut self, count: usize) {
        for n in self.acked.end..self.acked.end + count {
            self.queue.acked(Seq(1), &event(&n.to_string(), "s"));
        }
        self.acked.end += count;
    }

    fn published(&self) -> usize {
        self.redis.diary(|diary| diary.published.len())
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.stats.dropped(reason).get()
    }

    /// The ids that subscribers saw.
    fn seen(&self) -> Vec<usize> {
        let id = |message: &String| message.split('"').nth(3).and_then(|id| id.parse().ok());
        self.redis.diary(|diary| diary.published.iter().filter_map(id).collect())
    }
}

/// Runs a worker over a queue of `capacity` while `script` plays, then stops it with the usual deadline.
async fn play(seed: u64, capacity: usize, mood: Mood, script: impl AsyncFnOnce(&mut Rig)) -> Rig {
    let stats = Arc::new(NotifyStats::default());
    let (queue, waiting) = queue(composer(), capacity, Arc::clone(&stats));
    let redis = Fake::new(mood);
    let worker = Worker::new(redis.clone(), waiting, Arc::clone(&stats), seed);
    let mut rig = Rig { redis, queue, stats, acked: 0..0 };
    let (ask, asked) = tokio::sync::oneshot::channel();
    let scene = async {
        script(&mut rig).await;
        let deadline = Instant::now() + LAST_WORDS;
        assert!(ask.send(deadline).is_ok(), "the worker never ends by itself");
        deadline
    };
    let stop = async { asked.await.unwrap_or_else(|_| Instant::now()) };
    let (deadline, ended) = tokio::join!(scene, async {
        worker.run(Stop::new(stop)).await;
        Instant::now()
    });
    assert!(ended <= deadline, "the stop's deadline holds");
    let ends = rig.stats.published.get() + rig.stats.dropped_total();
    assert_eq!(ends, rig.acked.end as u64, "each notification ends in exactly one counter");
    assert!(rig.seen().is_sorted_by(|a, b| a < b), "in order, none twice");
    rig
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

// Goal: what Kafka acknowledged reaches subscribers in order, in pipelines of at most 512, and the stop waits for the last.
#[tokio::test(start_paused = true)]
async fn publishes_everything_in_order() {
    let rig = play(1, 10_000, Mood::Well, async |rig| {
        rig.ack(1);
        sleep(secs(1)).await;
        assert_eq!((rig.published(), rig.stats.up.get()), (1, 1));
        rig.ack(3000);
    })
    .await;
    assert_eq!(rig.seen(), (0..3001).collect::<Vec<_>>());
    assert!(rig.redis.diary(|diary| diary.pipelines.iter().all(|(size, _)| *size <= 512) && diary.pipelines.len() <= 7));
    assert_eq!((rig.stats.queued.get(), rig.stats.dropped_total()), (0, 0));
}

// Goal: Redis is down for ten minutes: attempts go on, no faster than they should; the newest wait and arrive when it is back.
#[tokio::test(start_paused = true)]
async fn an_outage_keeps_the_newest() {
    let rig = play(2, 100, Mood::Away, async |rig| {
        rig.ack(150);
        sleep(secs(600)).await;
        let attempts = rig.redis.diary(|diary| diary.connects.len());
        assert!((120..260).contains(&attempts), "{attempts} attempts in ten minutes");
        assert_eq!((rig.stats.up.get(), rig.stats.queued.get(), rig.dropped(DropReason::QueueFull)), (0, 100, 50));
        rig.redis.set(Mood::Well);
        sleep(secs(5) + Duration::from_millis(10)).await;
        assert_eq!((rig.stats.up.get(), rig.stats.queued.get()), (1, 0));
    })
    .await;
    assert_eq!(rig.seen(), (50..150).collect::<Vec<_>>());
    let last_error = rig.stats.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert!(last_error.is_some_and(|(ms, text)| ms > 0 && text == "nothing listens at fake:6379 (connection refused)"));
}

// Goal: a frozen Redis costs one batch, is given up after three timeouts, and the rest arrives when it thaws.
#[tokio::test(start_paused = true)]
async fn a_frozen_redis_costs_one_batch() {
    let rig = play(3, 10_000, Mood::Well, async |rig| {
        sleep(secs(1)).await;
        rig.redis.set(Mood::Frozen);
        rig.ack(2000);
        sleep(Duration::from_millis(1499)).await;
        assert_eq!(rig.redis.diary(|diary| (diary.pipelines.len(), diary.connects.len())), (1, 1), "nothing is sent after a timeout");
        sleep(secs(2)).await;
        assert!(rig.redis.diary(|diary| diary.connects.len()) >= 2, "half-open: a new connection");
        assert_eq!(rig.stats.up.get(), 0);
        rig.redis.set(Mood::Well);
        sleep(secs(7)).await;
        assert_eq!(rig.stats.queued.get(), 0);
    })
    .await;
    assert_eq!(rig.dropped(DropReason::Failed), 512);
    assert_eq!(rig.seen(), (512..2000).collect::<Vec<_>>());
}

// Goal: one late answer does not cost the connection when Redis still answers a ping.
#[tokio::test(start_paused = true)]
async fn one_timeout_keeps_the_connection() {
    let rig = play(4, 100, Mood::Well, async |rig| {
        sleep(secs(1)).await;
        rig.redis.set(Mood::Sluggish);
        rig.ack(1);
        sleep(Duration::from_millis(400)).await;
        rig.redis.set(Mood::Well);
        rig.ack(1);
        sleep(secs(1)).await;
        assert_eq!((rig.published(), rig.stats.up.get()), (1, 1));
    })
    .await;
    assert_eq!(rig.dropped(DropReason::Failed), 1);
    assert_eq!(rig.redis.diary(|diary| diary.connects.len()), 1);
}

// Goal: a broken connection loses what was under way, once, and nothing is sent twice.
#[tokio::test(start_paused = true)]
async fn a_lost_pipeline_is_not_sent_again() {
    let rig = play(5, 10_000, Mood::Well, async |rig| {
        sleep(secs(1)).await;
        rig.redis.set(Mood::Away);
        rig.ack(600);
        sleep(Duration::from_millis(1)).await;
        rig.redis.set(Mood::Well);
        sleep(secs(1)).await;
    })
    .await;
    assert_eq!(rig.dropped(DropReason::Failed), 512);
    assert_eq!(rig.seen(), (512..600).collect::<Vec<_>>());
}

// Goal: without permission to publish it keeps trying a few, seldom; the newest wait, and flow within seconds of the fix.
#[tokio::test(start_paused = true)]
async fn no_permission_is_probed_slowly() {
    let rig = play(6, 1000, Mood::Forbids, async |rig| {
        rig.ack(1000);
        sleep(secs(60)).await;
        let probes = rig.redis.diary(|diary| diary.pipelines.clone());
        assert!(probes.len() < 30 && probes[1..].iter().all(|(size, _)| *size == PROBE_MAX), "{probes:?}");
        assert_eq!(rig.stats.up.get(), 0, "refused is not up");
        rig.ack(1000);
        rig.redis.set(Mood::Well);
        sleep(secs(5) + Duration::from_millis(10)).await;
        assert_eq!((rig.stats.up.get(), rig.stats.queued.get()), (1, 0));
    })
    .await;
    assert_eq!(rig.seen(), (1000..2000).collect::<Vec<_>>());
    assert!(rig.dropped(DropReason::Refused) > 512);
}

// Goal: a user who may publish to some channels only: those flow undisturbed, the others are counted.
#[tokio::test(start_paused = true)]
async fn one_forbidden_channel_stops_no_other() {
    let rig = play(7, 10_000, Mood::ForbidsSecret, async |rig| {
        for _ in 0..500 {
            rig.queue.acked(Seq(1), &event("x", "secret"));
            rig.ack(1);
        }
        sleep(secs(1)).await;
        assert_eq!((rig.published(), rig.stats.up.get()), (500, 1));
        rig.acked.end += 500;
    })
    .await;
    assert_eq!(rig.dropped(DropReason::Refused), 500);
}

// Goal: a password that is put right on the server is used within five seconds.
#[tokio::test(start_paused = true)]
async fn a_fixed_password_resumes_promptly() {
    let rig = play(8, 100, Mood::Locked, async |rig| {
        rig.ack(10);
        sleep(secs(120)).await;
        assert_eq!(rig.published(), 0);
        rig.redis.set(Mood::Well);
        sleep(secs(5) + Duration::from_millis(10)).await;
        assert_eq!(rig.published(), 10);
    })
    .await;
    assert_eq!(rig.stats.dropped_total(), 0);
}

// Goal: with nothing to publish a dead link is still found, and shown, before the next event is lost to it.
#[tokio::test(start_paused = true)]
async fn an_idle_dead_link_is_found() {
    let rig = play(9, 100, Mood::Well, async |rig| {
        sleep(secs(60)).await;
        assert_eq!((rig.stats.up.get(), rig.redis.diary(|diary| diary.connects.len())), (1, 1));
        rig.redis.set(Mood::Frozen);
        sleep(secs(7)).await;
        assert_eq!(rig.stats.up.get(), 0);
        rig.redis.set(Mood::Well);
        sleep(secs(7)).await;
        rig.ack(1);
    })
    .await;
    assert_eq!(rig.seen(), [0]);
}

// Goal: the stop is on time whatever Redis does, and what it cut off is counted as such.
#[tokio::test(start_paused = true)]
async fn stops_on_time_and_counts_the_rest() {
    for (mood, failed) in [(Mood::Away, 0), (Mood::Frozen, 0), (Mood::Locked, 0), (Mood::Sluggish, 512)] {
        let rig = play(10, 10_000, mood, async |rig| {
            rig.ack(1000);
            sleep(Duration::from_millis(20)).await;
        })
        .await;
        assert_eq!(rig.published(), 0, "{mood:?}");
        assert_eq!(rig.dropped(DropReason::Failed), failed, "{mood:?}: its response timeout came before the deadline");
        assert_eq!(rig.dropped(DropReason::Shutdown), 1000 - failed, "{mood:?}");
    }
}

// Goal: whatever Redis does, and whenever: order holds, none is told twice, every one is counted, and at the end all is well.
#[tokio::test(start_paused = true)]
async fn any_history_keeps_the_promises() {
    const MOODS: [Mood; 6] = [Mood::Well, Mood::Away, Mood::Frozen, Mood::Sluggish, Mood::Locked, Mood::Forbids];
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let rig = play(seed, 700, Mood::Well, async |rig| {
            for _ in 0..20 {
                rig.redis.set(MOODS[rng.usize(..MOODS.len())]);
                rig.ack(rng.usize(..900));
                sleep(Duration::from_millis(rng.u64(..4000))).await;
            }
            rig.redis.set(Mood::Well);
            sleep(secs(20)).await;
            rig.ack(1);
            sleep(secs(1)).await;
            assert_eq!((rig.stats.up.get(), rig.stats.queued.get()), (1, 0), "seed {seed}");
        })
        .await;
        assert_eq!(rig.seen().last(), Some(&(rig.acked.end - 1)), "seed {seed}: the newest arrived");
    }
}

/// Collects log lines.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

// Goal: an outage of an hour, with overflow, is a line when it begins, a few a minute, and a line when it is over.
#[tokio::test(start_paused = true)]
async fn an_outage_does_not_fill_the_log() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    // With a single subscriber alive, a log line first met by another test's thread, which has none, would be off for all threads.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    play(11, 10, Mood::Away, async |rig| {
        for _ in 0..3600 {
            rig.ack(100);
            sleep(secs(1)).await;
        }
        rig.redis.set(Mood::Well);
        sleep(secs(6)).await;
    })
    .await;
    let text = String::from_utf8_lossy(&lines.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned();
    let count = |words: &str| text.lines().filter(|line| line.contains(words)).count();
    assert!((60..=121).contains(&count("redis does not answer")), "{text}");
    assert!((60..=121).contains(&count("queue is full")), "{text}");
    assert_eq!((count("redis answers again"), count("queue is empty again")), (1, 1), "{text}");
    assert!(text.lines().count() <= 244, "{text}");
}
