//! Running a proof: cases on all cores, panics caught, failures with the seed that repeats them.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Scope {
    pub full: bool,
    /// Only this seed.
    pub seed: Option<u64>,
    /// Seeds that failed once.
    pub kept: Vec<(String, u64)>,
    pub jobs: usize,
}

impl Scope {
    /// The seeds of a proof: the kept ones, then `slice` or `full` from 0 on.
    pub fn seeds(&self, proof: &str, slice: u64, full: u64) -> Vec<u64> {
        if let Some(seed) = self.seed {
            return vec![seed];
        }
        let kept = self.kept.iter().filter(|(name, _)| name == proof).map(|(_, seed)| *seed);
        kept.chain(0..if self.full { full } else { slice }).collect()
    }
}

/// One thing that went wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    pub seed: u64,
    /// Where in the case, in words.
    pub step: String,
    pub what: String,
}

/// What came of some cases.
#[derive(Debug, Default)]
pub struct Tally {
    pub cases: u64,
    pub states: HashSet<u64>,
    pub failures: Vec<Failure>,
    /// Worth a line under the table.
    pub notes: Vec<(&'static str, u64)>,
}

impl Tally {
    pub fn note(&mut self, what: &'static str, n: u64) {
        match self.notes.iter_mut().find(|(name, _)| *name == what) {
            Some((_, sum)) => *sum += n,
            None => self.notes.push((what, n)),
        }
    }

    pub fn fail(&mut self, seed: u64, step: impl Into<String>, what: impl Into<String>) {
        self.failures.push(Failure { seed, step: step.into(), what: what.into() });
    }

    fn add(&mut self, other: Self) {
        self.cases += other.cases;
        self.states.extend(other.states);
        self.failures.extend(other.failures);
        for (what, n) in other.notes {
            self.note(what, n);
        }
    }
}

/// A proof's line.
#[derive(Debug)]
pub struct Line {
    pub proof: &'static str,
    pub tally: Tally,
    pub took: Duration,
}

/// Time that stands still until it is told to go on.
pub fn stopped_time() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}

/// Runs a case for each of `seeds`; a panic is a failure. A proof that has failed a few times has said enough.
pub fn run(proof: &'static str, scope: &Scope, seeds: &[u64], case: impl Fn(u64, &tokio::runtime::Runtime) -> Tally + Sync) -> Line {
    let (began, next, sum) = (Instant::now(), AtomicUsize::new(0), Mutex::new(Tally::default()));
    std::thread::scope(|threads| {
        for _ in 0..scope.jobs.min(seeds.len()) {
            let _ = threads.spawn(|| {
                let time = stopped_time();
                let _entered = time.enter();
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let tally = guarded(|| case(*seed, &time)).unwrap_or_else(|panic| {
                        let mut tally = Tally::default();
                        tally.fail(*seed, "somewhere in the case", format!("panic: {panic}"));
                        tally
                    });
                    let mut sum = sum.lock().expect("no panic");
                    sum.add(tally);
                    if sum.failures.len() > 8 {
                        return;
                    }
                }
            });
        }
    });
    Line { proof, tally: sum.into_inner().expect("no panic"), took: began.elapsed() }
}

/// The panic's message instead of the panic.
pub fn guarded<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        text.unwrap_or_else(|| "without words".to_owned())
    })
}
