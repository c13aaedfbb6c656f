//! Many writers at once, each with sources of its own and numbered events, who remember every answer.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    http::{Client, Response},
    report::{Attempt, Outcome, Report},
    socket::Address,
    wait,
};

/// What the writers do. Change what matters: `Plan { writers: 8, ..Plan::default() }`.
#[derive(Clone, Debug)]
pub struct Plan {
    pub writers: usize,
    /// Number of the first writer: two loads on one topic need different ones.
    pub first_writer: usize,
    /// Sources of each writer; its batches go round them.
    pub sources: usize,
    /// The events of a batch go round the sources, too: one batch, several keys and partitions.
    pub spread: bool,
    /// Events in a request; more than one makes it an array.
    pub batch: usize,
    /// The `type` of its events.
    pub kind: &'static str,
    /// Padding in each event's payload.
    pub padding: usize,
    /// Each event has an id of its own.
    pub ids: bool,
    /// Rest after each answer.
    pub pause: Duration,
    /// Appended to the path: `?ack=kafka`.
    pub query: &'static str,
    /// Requests per writer after which it ends by itself; 0 is until stopped.
    pub requests: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            writers: 4,
            first_writer: 0,
            sources: 2,
            spread: false,
            batch: 10,
            kind: "load",
            padding: 100,
            ids: false,
            pause: Duration::ZERO,
            query: "",
            requests: 0,
        }
    }
}

/// A load that is running. Dropped without [`Load::stop`], its writers still end.
pub struct Load {
    shared: Arc<Shared>,
    writers: Vec<JoinHandle<Vec<Attempt>>>,
}

struct Shared {
    address: Mutex<Address>,
    stop: AtomicBool,
    accepted: AtomicU64,
}

impl Load {
    /// Starts the writers. A Unix socket keeps its address when the relay restarts.
    pub fn start(address: Address, plan: &Plan) -> Self {
        let shared = Arc::new(Shared { address: Mutex::new(address), stop: AtomicBool::new(false), accepted: AtomicU64::new(0) });
        let writers = (plan.first_writer..plan.first_writer + plan.writers)
            .map(|writer| {
                let (shared, plan) = (Arc::clone(&shared), plan.clone());
                thread::spawn(move || write(writer, &plan, &shared))
            })
            .collect();
        Self { shared, writers }
    }

    /// Where the writers connect to from their next connection on.
    pub fn retarget(&self, address: Address) {
        *self.shared.address.lock().unwrap() = address;
    }

    /// Events accepted so far.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Waits until `count` events more than now are accepted.
    #[track_caller]
    pub fn wait_accepted(&self, count: u64, deadline: Duration) {
        let goal = self.accepted() + count;
        wait::until_ok(&format!("{goal} accepted events"), deadline, || {
            let seen = self.accepted();
            if seen >= goal { Ok(()) } else { Err(seen) }
        });
    }

    /// Stops the writers after the request they are at; all that they saw.
    pub fn stop(mut self) -> Report {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.join()
    }

    /// Waits for writers that end by themselves (`Plan::requests`).
    pub fn finish(mut self) -> Report {
        self.join()
    }

    fn join(&mut self) -> Report {
        let logs = self.writers.drain(..).map(JoinHandle::join);
        Report::new(logs.map(|log| log.expect("a writer does not panic")))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

fn write(writer: usize, plan: &Plan, shared: &Shared) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    let mut client = None;
    let mut first = 0;
    let path = format!("/v1/events{}", plan.query);
    while !shared.stop.load(Ordering::Relaxed) {
        let turn = attempts.len();
        if plan.requests > 0 && turn as u64 == plan.requests {
            break;
        }
        let source = source(writer, turn, plan);
        let body = body(writer, turn, first, plan);
        let connection = client.get_or_insert_with(|| Client::new(shared.address.lock().unwrap().clone()));
        let headers = [("content-type", "application/json")];
        let answer = connection.try_request("POST", &path, &headers, body.to_string().as_bytes());
        let outcome = outcome(&answer);
        match &outcome {
            Outcome::Accepted { .. } => {
                shared.accepted.fetch_add(plan.batch as u64, Ordering::Relaxed);
            }
            Outcome::Refused { .. } => {}
            Outcome::Unknown { .. } => {
                client = None;
                // The relay may be starting: ask at the pace of the tests' other polls.
                thread::sleep(wait::POLL);
            }
        }
        attempts.push(Attempt { writer, source, first, count: plan.batch as u64, outcome });
        first += plan.batch as u64;
        thread::sleep(plan.pause);
    }
    attempts
}

/// The source of a writer's turn, and of the events of a batch that is not spread.
fn source(writer: usize, turn: usize, plan: &Plan) -> String {
    format!("w{writer}-s{}", turn % plan.sources)
}

fn body(writer: usize, turn: usize, first: u64, plan: &Plan) -> Value {
    let padding = "x".repeat(plan.padding);
    let event = |n: u64| {
        let ahead = if plan.spread { usize::try_from(n - first).expect("a batch is small") } else { 0 };
        let source = source(writer, turn + ahead, plan);
        let mut event = json!({
            "type": plan.kind,
            "source_type": "writer",
            "source_id": source,
            "payload": {"w": writer, "n": n, "padding": padding},
        });
        if plan.ids {
            event["id"] = format!("w{writer}-{n}").into();
        }
        event
    };
    if plan.batch == 1 {
        return event(first);
    }
    (first..first + plan.batch as u64).map(event).collect()
}

fn outcome(answer: &io::Result<Response>) -> Outcome {
    match answer {
        Ok(response) if response.status < 300 => {
            let body = response.json();
            let seq = |name: &str| body.get(name).and_then(Value::as_u64);
            Outcome::Accepted { status: response.status, seqs: seq("first_seq").zip(seq("last_seq")) }
        }
        Ok(response) => Outcome::Refused { status: response.status },
        Err(e) => Outcome::Unknown { why: e.kind().to_string() },
    }
}
