//! `dualstream drain-only`: an orphaned buffer finds its way to Kafka.

use super::{
    SOON,
    fixtures::{self, EVENTS, event, fill, nowhere},
};
use crate::support::{command::dualstream, consume::read_topic, kafka::Kafka, ports, redis::Redis, subscriber::Subscriber};

// Goal: the buffer of a pod that is gone is emptied by one command: every event is in Kafka once and in order, under the name of the
// relay that accepted it, Redis is told, and the directory is sound and empty afterwards.
#[test]
fn an_orphan_is_emptied() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("orphan", 3);
    let redis = Redis::start();
    let subscriber = Subscriber::start(&redis.url(), "events:*");
    let relay = nowhere().start();
    fill(&relay);
    let relay_id = relay.status()["relay"]["relay_id"].as_str().unwrap().to_owned();
    relay.kill9();
    let dir = relay.buffer_dir().to_str().unwrap();

    let ended = dualstream(["drain-only", "--dir", dir, "--brokers", &kafka.bootstrap(), "--topic", &topic, "--redis-url", &redis.url()]);
    let ended = ended.run().expect(0);
    assert!(ended.stderr.contains("the buffer is empty"), "{ended:#?}");

    let records = read_topic(&kafka.bootstrap(), &topic);
    assert_eq!(records.len() as u64, EVENTS);
    for source in ["0", "1"] {
        let numbers: Vec<String> =
            records.iter().filter(|record| record.key_str() == source).map(|r| r.json()["id"].as_str().unwrap().to_owned()).collect();
        let sent: Vec<String> =
            (1..=EVENTS).filter(|n| (n % 2).to_string() == source).map(|n| event(n)["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(numbers, sent, "source {source}");
    }
    assert!(records.iter().all(|record| record.header("dualstream").is_some_and(|header| header.starts_with(relay_id.as_bytes()))));
    let _ = subscriber.wait_for(usize::try_from(EVENTS).unwrap(), SOON);
    let report = dualstream(["buffer", "verify", "--json", "--dir", dir]).run().expect(0).json();
    assert_eq!((report["ledger"]["acked"].as_u64(), report["ledger"]["waiting"].as_u64()), (Some(EVENTS), Some(0)), "{report:#}");
    assert_eq!(report["clean"], true);
    // Nothing is left to do, also without Kafka.
    let again = dualstream(["drain-only", "--dir", dir, "--brokers", &ports::address(ports::free()), "--topic", &topic]).run();
    let _ = again.expect(0);
}

// Goal: with Kafka away it gives up when I said, exit code 5, and everything is still there for the next attempt; told to stop before,
// the same.
#[test]
fn time_is_up() {
    let fixture = fixtures::healthy();
    let dir = fixture.path().to_str().unwrap();
    let kafka = ports::address(ports::free());
    let started = std::time::Instant::now();
    let ended = dualstream(["drain-only", "--dir", dir, "--brokers", &kafka, "--topic", "t", "--timeout", "1s"]).run().expect(5);
    assert!(started.elapsed() < SOON, "{ended:#?}");
    assert!(ended.stderr.contains("time is up"), "{ended:#?}");
    let report = dualstream(["buffer", "verify", "--json", "--dir", dir]).run().expect(0).json();
    assert_eq!((report["ledger"]["waiting"].as_u64(), &report["clean"]), (Some(EVENTS), &true.into()), "{report:#}");
}

// Goal: beside a relay on the same machine nothing collides: without --ops it listens nowhere.
#[test]
fn it_listens_nowhere() {
    let taken = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let [ops_taken, ingest_taken] = taken.each_ref().map(|listener| listener.local_addr().unwrap().to_string());
    let fixture = fixtures::unused();
    let dir = fixture.path().to_str().unwrap().to_owned();
    let listens = |more: &[&str]| {
        let (ops, ingest) = (format!("ops.listen={ops_taken}"), format!("ingest.listen={ingest_taken}"));
        let words = [&["drain-only", "--dir", &dir, "--brokers", "127.0.0.1:1", "--set", &ops, "--set", &ingest], more].concat();
        dualstream(words).run()
    };
    let _ = listens(&[]).expect(0);
    let refused = listens(&["--ops"]).expect(1);
    assert!(refused.stderr.contains("ops cannot listen"), "{refused:#?}");
}
