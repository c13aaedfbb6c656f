//! The buffer's own code, compiled with locks whose every interleaving shuttle chooses: no wake-up is lost between those who append,
//! the committer, the keeper and the reader.
//!
//! A wait with a timeout of more than a moment never times out here, so a wake-up that is lost, and that a timeout would have made good
//! some milliseconds or a second later, is a deadlock, and found. Each scenario runs under a random scheduler and under PCT (Burckhardt et al., 2010), which
//! finds what needs few, but rare, changes of thread. `DUALSTREAM_INTERLEAVINGS` says how many runs of each.
//!
//! `src/sync.rs` is what is exchanged: the crate's is `std::sync`, the one below is shuttle's. Not covered: the locks inside tokio's
//! oneshot and timer, and the memory model (shuttle's atomics are sequentially consistent).
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a test: a panic is how it fails, its table is its result")]

// What `src/buffer` names of the crate.
use dualstream::{config, error, event};
// What `receipts` names of its own part.
use dualstream::lifecycle::History;

/// The crate's, but for what the drain and the committer hand to each other.
mod lifecycle {
    pub(crate) use crate::receipts::{AckWaiters, Receipt, ReceiptWaiter};
    pub(crate) use dualstream::lifecycle::*;
}

#[path = "../../src/lifecycle/receipts.rs"]
#[allow(warnings, clippy::all, clippy::pedantic, reason = "linted where it belongs")]
mod receipts;

#[path = "../../src/buffer/mod.rs"]
#[allow(warnings, clippy::all, clippy::pedantic, reason = "the whole stage, of which the scenarios use a part; linted where it belongs")]
mod buffer;

#[path = "../../src/buffer/memory.rs"]
#[allow(warnings, clippy::all, clippy::pedantic, reason = "power failures are not tried here")]
mod memory;

/// For the stage's own tests, which are compiled along and not run.
#[path = "../../src/fuzzing.rs"]
#[allow(warnings, clippy::all, clippy::pedantic, reason = "as above")]
mod fuzzing;

mod scenario;
/// In the place of `src/sync.rs`.
mod sync;

// For `memory`, which names its neighbour.
use buffer::log;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner};
use std::time::Instant;

/// Changes of thread that PCT plans beyond what the program forces.
const PCT_DEPTH: usize = 3;
/// A coroutine's stack; opening a buffer needs more than the default.
const STACK_BYTES: usize = 1 << 18;

fn main() {
    let runs = std::env::var("DUALSTREAM_INTERLEAVINGS").map_or(400, |text| text.parse().expect("DUALSTREAM_INTERLEAVINGS is a number"));
    // Waiting for room needs a timer to be there; nobody drives it, so it never fires.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _context = runtime.enter();
    println!("{:<24} {:<8} {:>8} {:>8}", "scenario", "order", "runs", "seconds");
    for (name, times, run) in scenario::ALL {
        let runs = runs * times;
        try_all(name, "random", runs, RandomScheduler::new(runs), run);
        try_all(name, "pct", runs, PctScheduler::new(PCT_DEPTH, runs), run);
    }
}

fn try_all(name: &str, order: &str, runs: usize, scheduler: impl Scheduler + 'static, run: fn()) {
    let started = Instant::now();
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    // About weaker orderings than it models: said above.
    config.silence_warnings = true;
    let done = Runner::new(scheduler, config).run(run);
    assert_eq!(done, runs, "every run was made");
    println!("{name:<24} {order:<8} {done:>8} {:>8.1}", started.elapsed().as_secs_f64());
}
