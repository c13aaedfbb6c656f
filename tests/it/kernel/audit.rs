//! Guarantee G1 on the real kernel: strace beside a relay under load, and the rules put to what it saw.

use std::{fs, process::Command, time::Duration};

use super::{rules, trace};
use crate::support::{
    consume::read_topic,
    kafka::Kafka,
    load::{Load, Plan},
    process::Process,
    relay::Relay,
    scratch, wait,
};

const SOON: Duration = Duration::from_secs(120);
const CALLS: &str = "write,writev,pwrite64,pwritev,fdatasync,fsync,sendto,sendmsg,unlink,unlinkat,rename,renameat,renameat2";

// Goal: each 202 was sent after the bytes of its events were synced, no segment was given up before the cursor that passed it was
// synced, and none was begun before its name was: as the kernel saw it.
#[test]
fn the_kernel_saw_each_sync_before_what_it_allows() {
    let kafka = Kafka::shared();
    let topic = kafka.topic("audit", 2);
    let relay =
        Relay::builder().kafka(&kafka.bootstrap(), &topic).set("buffer.max_bytes", "1MiB").set("ingest.full_timeout", "60s").start();
    let dir = scratch::dir("strace");
    let file = dir.path().join("calls");
    let Some(strace) = attach(&relay, &file) else { return };

    let plan = Plan { batch: 10, padding: 300, requests: 100, ..Plan::default() };
    let report = Load::start(relay.ingest_socket(), &plan).finish();
    relay.wait_metric("buffer_events", SOON, |events| events == 0.0);
    assert_eq!(relay.stop(SOON), 0);
    assert!(strace.wait_exit(SOON).success(), "{}", strace.tail(10));

    let text = fs::read_to_string(&file).expect("strace escapes what is no text");
    let buffer = relay.buffer_dir().canonicalize().unwrap().display().to_string();
    let findings = rules::audit(&trace::parse(&text), &buffer);
    assert!(findings.wrong.is_empty(), "{:#?}", findings.wrong);
    let answered = report.statuses().get(&202).copied().unwrap_or_default();
    assert_eq!(findings.answers as u64, answered, "every answer was looked at");
    assert!(answered == 400 && findings.freed >= 5 && findings.begun >= 5, "{findings:?}");
    report.assert_delivered(&read_topic(&kafka.bootstrap(), &topic));
    println!("{} answers, {} segments begun and {} freed, each after its sync", findings.answers, findings.begun, findings.freed);
}

/// strace on all threads of the relay; `None`, with a word to the reader, where the machine does not let one process trace another.
fn attach(relay: &Relay, file: &std::path::Path) -> Option<Process> {
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-s", "262144", "-e", &format!("trace={CALLS}"), "-o"]).arg(file);
    let strace = Process::spawn("strace", command.args(["-p", &relay.process().pid().to_string()]));
    let attached = wait::until("strace to attach, or to say why not", SOON, || {
        let attached = strace.lines().iter().any(|line| line.contains(" attached"));
        if attached { Some(true) } else { strace.exited().map(|_| false) }
    });
    if !attached {
        wait::until("what strace said", SOON, || strace.lines().first().cloned());
        println!("NOT AUDITED: this machine does not let strace trace a process: {}", strace.tail(3));
        return None;
    }
    Some(strace)
}
