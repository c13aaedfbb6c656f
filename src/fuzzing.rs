//! Fuzzing on the stable toolchain: a loop that makes inputs, the inputs that are kept, and how bytes become choices.
//!
//! A target is a test in a module `fuzz`, beside the code that it tries, since that code is not public. Each replays its corpus
//! (`tests/fuzz/corpus/<target>/`), then tries inputs for `DUALSTREAM_FUZZ_SECONDS` (0.2 without it): fresh ones, and damaged copies of
//! those that are kept. A failing input is written to `target/fuzz/`; whoever mends what it found puts it into the corpus. The seed is
//! `DUALSTREAM_SEED`, or a new one each time.
//!
//! Deliberately absent: coverage guidance, which needs a compiler flag or a nightly toolchain. Instead the targets build inputs that get
//! past the checksums. (bolero would bring both; its latest release excludes the `indexmap` that the latest `toml` needs.)

use std::env;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest input; all targets are linear in it.
const INPUT_BYTES_MAX: usize = 4096;

/// A target under trial.
struct Trial<'a> {
    target: &'a str,
    run: &'a dyn Fn(&[u8]),
    seed: u64,
}

/// Tries `run` with the kept inputs of `target` and with new ones, until it panics or the time is up.
#[expect(clippy::print_stdout, reason = "how many inputs were tried, for who runs it with --nocapture")]
pub(crate) fn fuzz(target: &str, run: impl Fn(&[u8])) {
    let seed = env::var("DUALSTREAM_SEED").map_or_else(|_| fastrand::u64(..), |text| text.parse().expect("DUALSTREAM_SEED is a number"));
    let trial = Trial { target, run: &run, seed };
    let kept = kept(target);
    for (path, input) in &kept {
        trial.check(input, &path.display().to_string());
    }
    let mut rng = fastrand::Rng::with_seed(seed);
    let (started, time) = (Instant::now(), time());
    let mut tried = 0_u64;
    while started.elapsed() < time {
        let input = if rng.bool() { fresh(&mut rng) } else { damaged(&mut rng, &kept) };
        trial.check(&input, "");
        tried += 1;
    }
    println!("{target}: {} kept inputs, {tried} new ones, seed {seed}", kept.len());
}

impl Trial<'_> {
    fn check(&self, input: &[u8], from: &str) {
        if self.passes(input) {
            return;
        }
        // The shortest failing beginning that halving finds; an input that ends early is one, too.
        let mut short = input;
        while !short.is_empty() && !self.passes(&short[..short.len() / 2]) {
            short = &short[..short.len() / 2];
        }
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fuzz");
        let path = dir.join(format!("{}-{:08x}", self.target, crc32c::crc32c(short)));
        fs::create_dir_all(&dir).and_then(|()| fs::write(&path, short)).unwrap();
        let place = if from.is_empty() { format!("DUALSTREAM_SEED={}", self.seed) } else { from.to_owned() };
        panic!("{} fails ({place}); the input is in {}; keep it in tests/fuzz/corpus/{}/", self.target, path.display(), self.target);
    }

    fn passes(&self, input: &[u8]) -> bool {
        catch_unwind(AssertUnwindSafe(|| (self.run)(input))).is_ok()
    }
}

/// How long a target runs.
fn time() -> Duration {
    let seconds = env::var("DUALSTREAM_FUZZ_SECONDS").map_or(0.2, |text| {
        let parsed = text.parse::<f64>().ok().filter(|seconds| (0.0..1e9).contains(seconds));
        parsed.unwrap_or_else(|| panic!("DUALSTREAM_FUZZ_SECONDS={text} is no number of seconds"))
    });
    Duration::from_secs_f64(seconds)
}

fn kept(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let entries = fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut kept: Vec<_> = entries.map(|entry| entry.unwrap().path()).map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    kept.sort();
    assert!(!kept.is_empty(), "no input is kept for {target}");
    kept
}

/// Any bytes, short ones as often as long ones.
fn fresh(rng: &mut fastrand::Rng) -> Vec<u8> {
    let longest = 1_usize << rng.u32(0..=INPUT_BYTES_MAX.ilog2());
    let mut input = vec![0; rng.usize(0..=longest)];
    rng.fill(&mut input);
    input
}

/// A kept input with a few damages, or two of them put together.
fn damaged(rng: &mut fastrand::Rng, kept: &[(PathBuf, Vec<u8>)]) -> Vec<u8> {
    let mut input = kept[rng.usize(..kept.len())].1.clone();
    if rng.u8(..) < 32 {
        let other = &kept[rng.usize(..kept.len())].1;
        input.truncate(rng.usize(0..=input.len()));
        input.extend_from_slice(&other[rng.usize(0..=other.len())..]);
    }
    let mut chance = [0; 64];
    rng.fill(&mut chance);
    let mut dice = Dice::new(&chance);
    for _ in 0..=rng.u8(0..4) {
        dice.damage(&mut input);
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}

/// An input as a sequence of choices; zeros when it is used up, so that every input is one.
pub(crate) struct Dice<'a>(&'a [u8]);

impl<'a> Dice<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self(input)
    }

    /// The rest as it is.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    /// The next `len` bytes, fewer at the end.
    pub(crate) fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    pub(crate) fn u8(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    pub(crate) fn u64(&mut self) -> u64 {
        self.bytes(8).iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    pub(crate) fn u32(&mut self) -> u32 {
        self.bytes(4).iter().fold(0, |value, byte| value << 8 | u32::from(*byte))
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let wide = if bound <= 256 { u32::from(self.u8()) } else { self.u32() };
        wide as usize % bound
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    /// A number as programs meet them: small, at an edge, or any.
    pub(crate) fn number(&mut self) -> u64 {
        match self.below(8) {
            0..=3 => u64::from(self.u8()),
            4 => u64::from(self.u32()),
            5 => u64::MAX - u64::from(self.u8()),
            6 => 1_u64 << self.below(64),
            _ => self.u64(),
        }
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Damages bytes in a few of the ways in which disks and networks do.
    pub(crate) fn damage(&mut self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let (at, other) = (self.below(bytes.len()), self.below(bytes.len()));
        let end = (at + 1 + self.below(600)).min(bytes.len());
        match self.below(7) {
            0..=2 => bytes[at] ^= 1 << self.below(8),
            3 => bytes[at] = self.u8(),
            4 => bytes[at..end].fill(0),
            5 => bytes.truncate(at),
            _ => {
                let end = end.min(at + bytes.len() - other);
                bytes.copy_within(at..end, other);
            }
        }
    }
}
