//! More connections than anybody should have.
#![allow(clippy::print_stdout, reason = "the figures are worth a look, with `--nocapture`")]

use std::{thread, time::Duration};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{EVENTS, JSON, SOON, Target};
use crate::support::{
    http::{Client, render},
    raw::Raw,
    socket::{Address, Socket},
    wait,
};

/// How many there shall be.
const CROWD: usize = 10_000;

/// Descriptors that a process may need for other things.
const SPARE: u64 = 2_000;

/// A relay with nothing to do stays below this.
const QUIET_KIB: u64 = 64 << 10;

/// What an idle connection may cost.
const PER_CONNECTION_KIB: u64 = 4;

// Goal: ten thousand idle connections, over TCP and the socket, used before or not, do not keep the relay from answering, and cost it
// a few kilobytes each.
#[test]
fn a_crowd_of_idle_connections_is_borne() {
    let limit = raise_descriptor_limit();
    let crowd = CROWD.min(usize::try_from(limit.saturating_sub(SPARE)).unwrap());
    if crowd < CROWD {
        println!("only {crowd} connections: the hard limit on open files is {limit}");
    }
    // After the limit: the relay inherits it.
    let mut target = Target::start("crowd");
    let (tcp, socket) = (target.relay.ingest(), target.relay.ingest_socket());
    let door = |n: usize| if n.is_multiple_of(2) { &tcp } else { &socket };
    // Every tenth is of use once before it idles.
    let idle: Vec<Socket> = (crowd / 10..crowd).map(|n| join(door(n))).collect();
    let request = render("POST", EVENTS, JSON, b"[]");
    let mut used = Vec::new();
    for n in 0..crowd / 10 {
        let mut raw = Raw::connect(door(n));
        raw.send(&request).unwrap();
        let response = raw.response().unwrap();
        let _ = target.count_refusal(&response, 422, "empty");
        used.push(raw);
    }

    target.relay.wait_metric("ingest_connections", SOON, |connections| connections >= crowd as f64);
    for _ in 0..20 {
        target.accept_one();
    }
    let rss_kib = target.relay.rss_kib();
    let bound_kib = QUIET_KIB + PER_CONNECTION_KIB * crowd as u64;
    println!("{crowd} idle connections: {rss_kib} KiB resident, the bound is {bound_kib}");
    assert!(rss_kib < bound_kib, "{rss_kib} KiB resident with {crowd} connections, the bound is {bound_kib}");

    drop((idle, used));
    // The one of `target` stays.
    wait::until_ok("the crowd to leave", SOON, || match target.relay.metric("ingest_connections") {
        few if few <= 1.0 => Ok(()),
        many => Err(many),
    });
    target.check_unharmed(&[]);
}

// Goal: beyond ingest.max_connections new clients wait instead of being turned away, and are served as soon as one leaves.
#[test]
fn at_the_limit_new_clients_wait_for_their_turn() {
    const LIMIT: usize = 8;
    let mut target = Target::start_with("max-connections", |builder| builder.set("ingest.max_connections", i64::try_from(LIMIT).unwrap()));
    let address = target.relay.ingest();
    let idle: Vec<Socket> = (0..LIMIT).map(|_| join(&address)).collect();
    target.relay.wait_metric("ingest_connections", SOON, |connections| connections >= LIMIT as f64);
    let body = br#"{"id":"patient","type":"t","source_type":"user","source_id":"42"}"#;
    let waiting = thread::spawn(move || Client::new(address).request("POST", EVENTS, JSON, body));
    let impatient = Client::new(target.relay.ingest()).timeout(Duration::from_millis(300)).try_request("POST", EVENTS, JSON, b"[]");
    assert!(impatient.is_err(), "there is no place, and yet {impatient:?}");
    assert!(!waiting.is_finished(), "there is no place yet");
    target.relay.probe_client().get("/readyz").expect(200);

    drop(idle);

    let response = waiting.join().unwrap();
    target.count_accepted(&response, 202, "patient");
    // The impatient one's request may have been read after it had left.
    target.check_unharmed(&[422]);
}

fn join(address: &Address) -> Socket {
    address.connect(Duration::from_secs(30)).unwrap_or_else(|e| panic!("cannot connect to {address:?}: {e}"))
}

/// Lets this process, and the relays that it starts from here on, open as many files as the system allows; says how many.
fn raise_descriptor_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("the soft limit may go up to the hard one");
    }
    maximum.unwrap_or(u64::MAX)
}
