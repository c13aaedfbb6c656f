//! Guarantee G6: Redis cannot hurt. Whatever it does, replies and the way to Kafka are as without it; what notifications were lost is
//! counted, memory and log stay bounded, and notifications go on by themselves afterwards.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    consume::read_topic,
    http::Client,
    kafka::{Kafka, unique},
    load::{Load, Plan},
    metrics,
    redis::Redis,
    relay::Relay,
    subscriber::Subscriber,
    wait,
};

const SOON: Duration = Duration::from_secs(60);
/// `redis.queue` of every relay here: far less than what is sent while Redis is in trouble.
const QUEUE: u32 = 300;
/// Most notifications in one pipeline: what may be under way besides the queue.
const UNDER_WAY: u32 = 512;
const EVENTS: u32 = 3_000;

// Goal: Redis stops in good order under load, and comes back.
#[test]
fn redis_stops_and_comes_back() {
    let scene = Scene::healthy(Redis::start());
    scene.redis.stop();
    scene.nothing_else_suffers(&["queue_full"]);
    scene.redis.start_again();
    scene.notifications_go_on(&scene.redis.url());
}

// Goal: Redis is killed under load, and comes back.
#[test]
fn redis_is_killed_and_comes_back() {
    let scene = Scene::healthy(Redis::start());
    scene.redis.kill9();
    scene.nothing_else_suffers(&["queue_full"]);
    scene.redis.start_again();
    scene.notifications_go_on(&scene.redis.url());
}

// Goal: Redis freezes with its connections open: what was under way counts as failed, the rest waits or makes room; then it thaws.
#[test]
fn redis_freezes_and_thaws() {
    let scene = Scene::healthy(Redis::start());
    scene.redis.freeze();
    scene.nothing_else_suffers(&["queue_full", "failed"]);
    scene.redis.thaw();
    scene.notifications_go_on(&scene.redis.url());
}

// Goal: the password is wrong from the start: events flow to Kafka, the log says what is wrong without saying the password, and once
// it is corrected notifications begin without a restart.
#[test]
fn a_wrong_password_is_corrected_while_the_relay_runs() {
    let redis = Redis::start_with_password("right");
    let mut admin = redis.connection();
    let wrong = format!("redis://:wrong-sesame@{}", redis.address());
    let scene = Scene::start(redis, &wrong);
    scene.nothing_else_suffers(&["queue_full"]);
    let log = scene.relay.logs().join("\n");
    assert!(log.contains("password") && !log.contains("sesame"), "{log}");
    redis::cmd("CONFIG").arg("SET").arg("requirepass").arg("wrong-sesame").exec(&mut admin).unwrap();
    scene.notifications_go_on(&wrong);
}

// Goal: no Redis for the whole life of the relay is as good as one that works, as far as my events are concerned: the same events are
// accepted and in Kafka by the time that the same load takes.
#[test]
fn the_way_to_kafka_is_the_same_with_and_without_redis() {
    let with = Scene::healthy(Redis::start());
    let without = Scene::healthy(Redis::start());
    without.redis.freeze();
    let plan = Plan { requests: 0, pause: Duration::from_millis(2), ..Plan::default() };
    let loads = [&with, &without].map(|scene| (scene, scene.relay.metric("drain_acked_total"), Load::start(scene.relay.ingest(), &plan)));
    for (_, _, load) in &loads {
        load.wait_accepted(2_000, SOON);
    }
    // Both at the same moment, under the same load, on the same machine and broker.
    let drained: Vec<f64> = loads.iter().map(|(scene, before, _)| scene.relay.metric("drain_acked_total") - before).collect();
    assert!(drained[1] >= drained[0] / 2.0, "drained {} with Redis and {} without", drained[0], drained[1]);
    for (_, _, load) in loads {
        let report = load.stop();
        assert_eq!(report.statuses().keys().collect::<Vec<_>>(), [&202]);
    }
}

/// A relay between Kafka and a Redis of its own.
struct Scene {
    redis: Redis,
    relay: Relay,
    topic: String,
    watch: Watch,
    began: Instant,
}

impl Scene {
    fn start(redis: Redis, url: &str) -> Self {
        let kafka = Kafka::shared();
        let topic = kafka.topic("redis-trouble", 3);
        let builder = Relay::builder().kafka(&kafka.bootstrap(), &topic).redis(url);
        let relay = builder.set("redis.queue", i64::from(QUEUE)).start();
        let watch = Watch::start(relay.probe_client());
        Self { redis, relay, topic, watch, began: Instant::now() }
    }

    /// With a Redis that has taken a notification.
    fn healthy(redis: Redis) -> Self {
        let url = redis.url();
        let scene = Self::start(redis, &url);
        scene.relay.wait_metric("notify_up", SOON, |up| up == 1.0);
        let subscriber = Subscriber::start(&url, "events:*");
        scene.post_and_hear(&subscriber);
        scene
    }

    /// Sends much more than the queue holds while Redis is in trouble, and looks at everything that must not change.
    fn nothing_else_suffers(&self, reasons: &[&str]) {
        let relay = &self.relay;
        let acked_before = relay.metric("drain_acked_total");
        let plan = Plan { requests: u64::from(EVENTS) / 40, ..Plan::default() };
        let report = Load::start(relay.ingest(), &plan).finish();
        assert_eq!(report.statuses().into_iter().collect::<Vec<_>>(), [(202, u64::from(EVENTS) / 10)]);
        relay.wait_metric("drain_acked_total", SOON, |acked| acked >= acked_before + f64::from(EVENTS));
        let records: Vec<_> = read_topic(&Kafka::shared().bootstrap(), &self.topic);
        let duplicates = report.assert_delivered(&records.into_iter().filter(|record| record.key_str() != "probe").collect::<Vec<_>>());
        assert_eq!(duplicates, 0);

        relay.wait_metric("notify_up", SOON, |up| up == 0.0);
        for reason in reasons {
            let series = format!("notify_dropped_total{{reason=\"{reason}\"}}");
            relay.wait_metric(&series, SOON, |dropped| dropped > 0.0);
        }
        let dropped = relay.metric("notify_dropped_total");
        assert!(dropped >= f64::from(EVENTS - QUEUE - UNDER_WAY), "only {dropped} are counted as dropped");
        self.is_degraded_and_ready();
        self.log_is_quiet();
    }

    fn is_degraded_and_ready(&self) {
        wait::until_ok("a degraded relay", SOON, || {
            let status = self.relay.status();
            let reasons = status["health"]["degraded_reasons"].as_array().cloned().unwrap_or_default();
            if reasons.iter().any(|reason| reason["reason"] == "redis_down") { Ok(()) } else { Err(status["health"].to_string()) }
        });
        let status = self.relay.status();
        assert_eq!((&status["health"]["ready"], &status["notify"]["up"]), (&json!(true), &json!(false)));
        assert_eq!(self.relay.probe_client().get("/readyz").status, 200);
        assert_eq!(self.relay.probe_client().get("/livez").status, 200);
        assert!(self.relay.metric(r#"degraded{reason="redis_down"}"#) == 1.0);
    }

    /// Each kind of trouble is told when it begins, then every half minute; the verdict "degraded" is told besides.
    fn log_is_quiet(&self) {
        let about_redis = |line: &Value| line["level"] == "WARN" && line.to_string().to_lowercase().contains("redis");
        let lines: Vec<Value> = self.relay.json_logs().into_iter().filter(about_redis).collect();
        assert!(!lines.is_empty(), "nobody was told");
        let half_minutes = usize::try_from(self.began.elapsed().as_secs() / 30).unwrap();
        assert!(lines.len() <= 3 * (2 + half_minutes), "{} warnings for {EVENTS} events: {lines:#?}", lines.len());
    }

    /// After the trouble, without a restart.
    fn notifications_go_on(&self, url: &str) {
        self.relay.wait_metric("notify_up", SOON, |up| up == 1.0);
        let subscriber = Subscriber::start(url, "events:*");
        self.post_and_hear(&subscriber);
        self.relay.wait_metric("notify_queued", SOON, |queued| queued == 0.0);
        wait::until_ok("closed books", SOON, || {
            let text = self.relay.metrics();
            let value = |name| metrics::value(&text, name).unwrap_or(f64::NAN);
            let (acked, published, dropped) = (value("drain_acked_total"), value("notify_published_total"), value("notify_dropped_total"));
            if published + dropped == acked { Ok(()) } else { Err(format!("{acked} acked, {published} published, {dropped} dropped")) }
        });
        wait::until("a healthy verdict", SOON, || (self.relay.status()["health"]["degraded"] == false).then_some(()));
        assert!(self.relay.process().exited().is_none(), "the relay was restarted");
        self.watch.assert_bounded();
    }

    fn post_and_hear(&self, subscriber: &Subscriber) {
        let id = unique("probe");
        let event = json!({"id": id, "type": "t", "source_type": "s", "source_id": "probe"});
        self.relay.client().post_json("/v1/events", &event).expect(202);
        wait::until("its notification", SOON, || subscriber.messages().iter().any(|message| message.json()["id"] == *id).then_some(()));
    }
}

/// Looks all the time at what must hold all the time: the bound of the queue, the ledger, readiness.
struct Watch {
    stop: Arc<AtomicBool>,
    found: Option<JoinHandle<()>>,
    wrong: Arc<std::sync::Mutex<Option<String>>>,
}

impl Watch {
    fn start(mut client: Client) -> Self {
        let (stop, wrong) = (Arc::new(AtomicBool::new(false)), Arc::new(std::sync::Mutex::new(None)));
        let (stopped, verdict) = (Arc::clone(&stop), Arc::clone(&wrong));
        let found = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let Ok(reply) = client.try_request("GET", "/metrics", &[], b"") else { return };
                if let Some(seen) = breach(&reply.text()) {
                    *verdict.lock().unwrap() = Some(seen);
                }
                thread::sleep(Duration::from_millis(5));
            }
        });
        Self { stop, found: Some(found), wrong }
    }

    #[track_caller]
    fn assert_bounded(&self) {
        assert_eq!(*self.wrong.lock().unwrap(), None);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(found) = self.found.take() {
            // It ends by itself when its relay is gone; what it found is in `wrong`.
            drop(found.join());
        }
    }
}

fn breach(text: &str) -> Option<String> {
    let wrong = |name: &str, right: fn(f64) -> bool| {
        let value = metrics::value(text, name)?;
        (!right(value)).then(|| format!("{name} was {value}"))
    };
    let queued = wrong("notify_queued", |queued| queued <= f64::from(QUEUE));
    queued.or_else(|| wrong("ready", |ready| ready == 1.0)).or_else(|| wrong("conservation_error", |error| error == 0.0))
}
