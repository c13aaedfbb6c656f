//! Guarantees G2 and G8 on a volume that is really full, by the relay itself or by others.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    time::Duration,
};

use super::volume::{Kind, Volume};
use crate::support::{
    consume::read_topic,
    kafka::Kafka,
    load::{Load, Plan},
    relay::Relay,
    wait,
};

const SOON: Duration = Duration::from_secs(90);
const MIB: u64 = 1 << 20;
const SEGMENT: u64 = MIB;

// Goal: the volume fills up while Kafka is away: new writes are refused as full, nothing that was acknowledged is lost, not even by a kill
// and a start on the full volume, and the relay goes on by itself when space comes back.
#[test]
fn an_ext4_volume_fills_up() {
    fills_up(Kind::Ext4);
}

// Goal: the same where the volume is memory.
#[test]
fn a_tmpfs_fills_up() {
    fills_up(Kind::Tmpfs);
}

fn fills_up(kind: Kind) {
    let volume = match Volume::mount(kind, 24 * MIB) {
        Ok(volume) => volume,
        Err(why) => {
            println!("NOT TRIED on {kind}: this machine does not let us mount one: {why}");
            return;
        }
    };
    let kafka = Kafka::start(1);
    let topic = kafka.topic("full-volume", 2);
    let ballast = volume.path().join("ballast");
    fill(&ballast, 6 * MIB);
    let mut relay = start(&kafka, &topic, &volume);
    let load = Load::start(relay.ingest_socket(), &Plan { batch: 20, padding: 2_000, ..Plan::default() });
    load.wait_accepted(200, SOON);
    kafka.stop_broker(0);

    refused_as_full(&relay, 50.0);
    assert!(volume.free_bytes() < SEGMENT, "the relay has filled the volume up to {} bytes", volume.free_bytes());
    // Others take the last of it, too.
    let rest = volume.path().join("rest");
    fill(&rest, u64::MAX);
    refused_as_full(&relay, 50.0);

    fs::remove_file(&ballast).unwrap();
    let accepted = load.accepted();
    load.wait_accepted(400, SOON);
    println!("{kind}: {accepted} events until it was full, then again as soon as others had freed space");

    refused_as_full(&relay, 50.0);
    fill(&rest, u64::MAX);
    relay.kill9();
    relay.restart();
    refused_as_full(&relay, 50.0);

    kafka.start_broker(0);
    load.wait_accepted(2_000, SOON);
    let report = load.stop();
    relay.wait_metric("buffer_events", SOON, |events| events == 0.0);
    assert!(relay.metric("conservation_error") == 0.0 && relay.metric("events_lost_total") == 0.0, "{}", relay.status());
    let statuses: Vec<u16> = report.statuses().into_keys().filter(|status| *status != 0).collect();
    assert_eq!(statuses, [202, 503], "all were accepted or refused as full");
    report.assert_delivered(&read_topic(&kafka.bootstrap(), &topic));
    assert_eq!(relay.stop(SOON), 0);
}

fn start(kafka: &Kafka, topic: &str, volume: &Volume) -> Relay {
    let settings = Relay::builder().kafka(&kafka.bootstrap(), topic).set("ingest.full_timeout", "200ms");
    // Larger than the volume: its bound is not what stops it.
    let settings = settings.set("buffer.max_bytes", "64MiB").set("buffer.segment_bytes", "1MiB").set("buffer.min_free_bytes", 0);
    let settings =
        settings.set("ingest.max_body_bytes", "512KiB").set("ingest.max_event_bytes", "512KiB").set("ingest.max_batch_events", 1000);
    settings.set("buffer.dir", volume.path().join("buffer").display().to_string()).start()
}

/// Waits until the relay has refused `more` events as full, and nothing has failed.
#[track_caller]
fn refused_as_full(relay: &Relay, more: f64) {
    let full = r#"ingest_events_total{result="full"}"#;
    let before = relay.metric(full);
    relay.wait_metric(full, SOON, |refused| refused >= before + more);
    wait::until_ok("an unready relay that says why", SOON, || {
        let probe = relay.probe_client().get("/readyz");
        if probe.status == 503 && probe.text().contains("buffer_full: ") { Ok(()) } else { Err(probe.text()) }
    });
    let status = relay.status();
    assert!(status["buffer"]["failed"].is_null(), "{status}");
}

/// Writes up to `bytes`, or until there is no space.
fn fill(path: &Path, bytes: u64) {
    let mut file = File::options().create(true).append(true).open(path).unwrap();
    let chunk = vec![b'x'; 4096];
    let mut written = 0;
    while written < bytes {
        match file.write(&chunk) {
            Ok(count) => written += count as u64,
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::StorageFull, "{error}");
                break;
            }
        }
    }
}
