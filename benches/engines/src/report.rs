//! The report: medians of each engine in each case, and their ratios to the segment log of the same run.

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::cli::Settings;
use crate::engine::Kind;
use crate::runner::Measured;
use crate::sample::{Sample, median};

/// What `--json` prints, and what the tables are made of.
#[derive(serde::Serialize)]
pub(crate) struct Report {
    pub(crate) event_bytes: usize,
    pub(crate) cache_mib: u64,
    pub(crate) file_system: String,
    pub(crate) cores: usize,
    pub(crate) cases: Vec<CaseReport>,
}

/// All engines in one case.
#[derive(serde::Serialize)]
pub(crate) struct CaseReport {
    pub(crate) batch: usize,
    pub(crate) backlog_mb: u64,
    pub(crate) engines: Vec<Row>,
}

/// One engine in one case.
#[derive(serde::Serialize)]
pub(crate) struct Row {
    pub(crate) engine: Kind,
    pub(crate) rounds: Vec<Sample>,
    pub(crate) failures: Vec<String>,
    /// Over the rounds; absent when every round failed.
    pub(crate) figures: Option<Figures>,
    /// `figures` divided by those of the segment log.
    pub(crate) ratio: Option<Figures>,
}

/// A figure that is compared: its name in the JSON, its heading, width and decimals in the table, and what it is.
pub(crate) struct Column {
    name: &'static str,
    pub(crate) heading: &'static str,
    pub(crate) width: usize,
    pub(crate) decimals: usize,
    of: fn(&[Sample]) -> f64,
}

impl Column {
    const fn new(name: &'static str, heading: &'static str, width: usize, of: fn(&[Sample]) -> f64) -> Self {
        Self { name, heading, width, decimals: 0, of }
    }

    const fn with_decimal(self) -> Self {
        Self { decimals: 1, ..self }
    }
}

/// The figures, in the order of the table. All are medians over the rounds, but the best round.
pub(crate) const COLUMNS: [Column; 12] = [
    Column::new("fill_per_second", "fill/s", 11, |all| median(all, |s| s.fill.per_second())),
    Column::new("held_per_second", "held/s", 11, |all| median(all, |s| s.held.per_second())),
    Column::new("held_per_second_best", "best", 11, |all| all.iter().map(|s| s.held.per_second()).fold(0.0, f64::max)),
    Column::new("drain_per_second", "drain/s", 12, |all| median(all, |s| s.drain.per_second())),
    Column::new("append_p50_us", "p50 us", 8, |all| median(all, |s| s.append_us.p50.into())),
    Column::new("append_p99_us", "p99 us", 8, |all| median(all, |s| s.append_us.p99.into())),
    Column::new("rss_growth_mb", "RSS MB", 8, |all| median(all, |s| mb(s.rss_growth_bytes))).with_decimal(),
    Column::new("disk_held_mb", "held MB", 9, |all| median(all, |s| mb(s.disk_held_bytes))),
    Column::new("disk_peak_mb", "peak MB", 9, |all| median(all, |s| mb(s.disk_peak_bytes))),
    Column::new("disk_empty_mb", "empty MB", 10, |all| median(all, |s| mb(s.disk_empty_bytes))),
    Column::new("disk_closed_mb", "closed MB", 11, |all| median(all, |s| mb(s.disk_closed_bytes))),
    Column::new("written_per_event_byte", "written", 9, |all| median(all, |s| s.written_per_event_byte)).with_decimal(),
];

/// A value for each of [`COLUMNS`].
#[derive(Clone, Copy)]
pub(crate) struct Figures(pub(crate) [f64; COLUMNS.len()]);

impl Figures {
    fn of(samples: &[Sample]) -> Option<Self> {
        (!samples.is_empty()).then(|| Self(COLUMNS.map(|column| (column.of)(samples))))
    }

    /// A ratio to nothing is no number, which JSON writes as `null`.
    fn over(self, base: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] / base.0[at]))
    }
}

impl Serialize for Figures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(COLUMNS.len()))?;
        for (column, value) in COLUMNS.iter().zip(self.0) {
            map.serialize_entry(column.name, &value)?;
        }
        map.end()
    }
}

impl Report {
    /// Sums up; cases keep the order in which they were asked for.
    pub(crate) fn new(settings: &Settings, file_system: String, measured: &[Measured]) -> Self {
        let cases = settings.cases.iter().map(|&case| {
            let of_case: Vec<&Measured> = measured.iter().filter(|m| m.case == case).collect();
            let base = of_case.iter().find(|m| m.engine == Kind::SegmentLog).and_then(|m| Figures::of(&m.samples));
            let row = |m: &&Measured| {
                let figures = Figures::of(&m.samples);
                let ratio = figures.zip(base).map(|(figures, base)| figures.over(base));
                Row { engine: m.engine, rounds: m.samples.clone(), failures: m.failures.clone(), figures, ratio }
            };
            CaseReport { batch: case.batch, backlog_mb: case.backlog_mb, engines: of_case.iter().map(row).collect() }
        });
        Self {
            event_bytes: crate::EVENT_BYTES,
            cache_mib: settings.cache_mib,
            file_system,
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            cases: cases.collect(),
        }
    }
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / crate::MB as f64
}
