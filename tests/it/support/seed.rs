//! Chance that can be repeated: a seed that is told when its test fails.

use std::{env, ops::RangeInclusive, thread, time::Duration};

use fastrand::Rng;

/// Sets the seed of every test that takes one.
const VARIABLE: &str = "DUALSTREAM_SEED";

/// A source of chance.
pub struct Seed {
    value: u64,
    rng: Rng,
}

impl Seed {
    /// From the environment (`DUALSTREAM_SEED`), or a new one.
    #[track_caller]
    pub fn take() -> Self {
        let given = env::var(VARIABLE).ok().map(|text| text.parse().unwrap_or_else(|e| panic!("{VARIABLE}={text}: {e}")));
        let value = given.unwrap_or_else(|| fastrand::u64(..));
        Self { value, rng: Rng::with_seed(value) }
    }

    /// A number in the range.
    pub fn number(&mut self, range: RangeInclusive<u64>) -> u64 {
        self.rng.u64(range)
    }

    /// A duration in the range of milliseconds, to the microsecond.
    pub fn millis(&mut self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_micros(self.rng.u64(range.start() * 1000..=range.end() * 1000))
    }
}

impl Drop for Seed {
    #[expect(clippy::print_stderr, reason = "the test harness shows what a failed test has printed")]
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("to repeat the chances of this test: {VARIABLE}={}", self.value);
        }
    }
}
