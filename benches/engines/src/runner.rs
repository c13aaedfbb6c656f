//! Runs each measurement in a process of its own (this program again, with `--engine`), so that memory and leftovers of one
//! engine never show in the figures of another.
//!
//! Engines take turns: all of them once, then all of them again. A noisy minute of the machine then hits every engine, not
//! one. The file system is synced before each turn, so that nobody pays for the files that the one before wrote and removed.
//! A round starts only if the time limit still has room for it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::cli::Settings;
use crate::engine::Kind;
use crate::sample::Sample;
use crate::usage;

/// Time that is kept for each engine whose turn has not come yet.
const RESERVED_EACH: Duration = Duration::from_secs(4);
/// How long a process may take beyond its cap, to open and close, before it is stopped.
const GRACE: Duration = Duration::from_secs(15);

/// Appends of `batch` events with `backlog_mb` waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) batch: usize,
    pub(crate) backlog_mb: u64,
}

/// All that one engine gave in one case.
pub(crate) struct Measured {
    pub(crate) case: Case,
    pub(crate) engine: Kind,
    pub(crate) samples: Vec<Sample>,
    pub(crate) failures: Vec<String>,
}

/// Measures every engine in every case, in rounds. Progress goes to stderr.
pub(crate) fn run(settings: &Settings) -> Result<Vec<Measured>> {
    let place = Place::create(&settings.dir)?;
    let mut all: Vec<Measured> = Vec::new();
    for &case in &settings.cases {
        let entry = |&engine| Measured { case, engine, samples: Vec::new(), failures: Vec::new() };
        all.extend(settings.engines.iter().map(entry));
    }
    let started = Instant::now();
    let mut longest_round = Duration::ZERO;
    for round in 1..=settings.rounds {
        if round > 1 && started.elapsed() + longest_round > settings.limit {
            eprintln!("stopped after {} of {} rounds: --limit has no room for another", round - 1, settings.rounds);
            break;
        }
        let round_started = Instant::now();
        let mut waiting = u32::try_from(all.len())?;
        for measured in &mut all {
            waiting -= 1;
            let left = settings.limit.saturating_sub(started.elapsed());
            let cap = left.saturating_sub(RESERVED_EACH * waiting).max(RESERVED_EACH);
            let Case { batch, backlog_mb } = measured.case;
            let name = measured.engine.name();
            match measure(settings, measured.case, measured.engine, &place.subdirectory(name)?, cap) {
                Ok(sample) => {
                    let rate = sample.held.per_second();
                    eprintln!("round {round}, batch {batch}, backlog {backlog_mb} MB, {name}: {rate:.0} events/s held");
                    measured.samples.push(sample);
                }
                Err(error) => {
                    eprintln!("round {round}, batch {batch}, backlog {backlog_mb} MB, {name}: failed: {error:#}");
                    measured.failures.push(format!("{error:#}"));
                }
            }
        }
        longest_round = longest_round.max(round_started.elapsed());
    }
    Ok(all)
}

/// Runs one child process to its end and reads its figures.
fn measure(settings: &Settings, case: Case, engine: Kind, dir: &Path, cap: Duration) -> Result<Sample> {
    usage::sync_file_system(dir)?;
    let (out, err) = (dir.with_extension("out"), dir.with_extension("err"));
    let mut child = Command::new(std::env::current_exe().context("find this program")?)
        .args(["--engine", engine.name(), "--cases", &format!("{}x{}", case.batch, case.backlog_mb)])
        .arg("--dir")
        .arg(dir)
        .args(["--turnover", &settings.turnover.to_string(), "--seconds", &settings.held_time.as_secs_f64().to_string()])
        .args(["--cache", &settings.cache_mib.to_string(), "--limit", &cap.as_secs_f64().to_string()])
        .stdin(Stdio::null())
        .stdout(File::create(&out).context("create the child's output")?)
        .stderr(File::create(&err).context("create the child's output")?)
        .spawn()
        .context("start the child process")?;
    let answer = match wait(&mut child, cap + GRACE) {
        Ok(status) if status.success() => serde_json::from_str(&fs::read_to_string(&out)?).context("read the child's figures"),
        Ok(status) => Err(anyhow!("{status}: {}", fs::read_to_string(&err)?.trim())),
        Err(error) => Err(error),
    };
    fs::remove_dir_all(dir).context("remove the engine's directory")?;
    answer
}

/// Waits for the child, or stops it.
fn wait(child: &mut Child, at_most: Duration) -> Result<ExitStatus> {
    let until = Instant::now() + at_most;
    loop {
        if let Some(status) = child.try_wait().context("wait for the child process")? {
            return Ok(status);
        }
        if Instant::now() >= until {
            child.kill().context("stop the child process")?;
            child.wait().context("wait for the child process")?;
            bail!("stopped: still running after {} s", at_most.as_secs());
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// A directory that goes away with this value.
struct Place(PathBuf);

impl Place {
    fn create(parent: &Path) -> Result<Self> {
        let path = parent.join(format!("dualstream-engines-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(Self(path))
    }

    fn subdirectory(&self, name: &str) -> Result<PathBuf> {
        let path = self.0.join(name);
        fs::create_dir(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("could not remove {}: {error}", self.0.display());
        }
    }
}
