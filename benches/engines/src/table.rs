//! The report as text: for each case a table of medians, one of ratios, and what a reader must know before trusting a row.

use std::fmt::{Display, Formatter, Result};

use crate::engine::Kind;
use crate::report::{COLUMNS, CaseReport, Figures, Report, Row};

/// A row whose fastest round is so many times as fast as its slowest is pointed out.
const NOISY: f64 = 1.5;

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self { event_bytes, cache_mib, file_system, cores, cases } = self;
        writeln!(f, "{event_bytes}-byte events, {file_system}, {cores} cores, caches of {cache_mib} MiB; medians of the rounds")?;
        cases.iter().try_for_each(|case| write!(f, "\n{case}"))
    }
}

impl Display for CaseReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(f, "batch {}, backlog {} MB", self.batch, self.backlog_mb)?;
        heading(f, "")?;
        for row in &self.engines {
            figures(f, row, row.figures, |column, value| thousands(value, COLUMNS[column].decimals))?;
        }
        if self.engines.iter().any(|row| row.ratio.is_some()) {
            heading(f, "x segment-log")?;
            for row in &self.engines {
                figures(f, row, row.ratio, |_, value| format!("{value:.2}"))?;
            }
        }
        self.engines.iter().try_for_each(|row| notes(f, row))
    }
}

fn heading(f: &mut Formatter<'_>, title: &str) -> Result {
    write!(f, "{title:<13}")?;
    COLUMNS.iter().try_for_each(|column| write!(f, "{:>width$}", column.heading, width = column.width))?;
    writeln!(f)
}

fn figures(f: &mut Formatter<'_>, row: &Row, figures: Option<Figures>, show: impl Fn(usize, f64) -> String) -> Result {
    let Some(Figures(values)) = figures else { return Ok(()) };
    write!(f, "{:<13}", row.engine.name())?;
    for (column, value) in values.into_iter().enumerate() {
        let text = if value.is_finite() { show(column, value) } else { "-".into() };
        write!(f, "{text:>width$}", width = COLUMNS[column].width)?;
    }
    writeln!(f)
}

fn notes(f: &mut Formatter<'_>, row: &Row) -> Result {
    let name = row.engine.name();
    if row.engine == Kind::Sled {
        writeln!(f, "note: sled 0.34's flush is sync_file_range on Linux, not an fsync: its events can be lost with the power")?;
    }
    let held = || row.rounds.iter().map(|sample| sample.held.per_second());
    let (slowest, fastest) = (held().fold(f64::INFINITY, f64::min), held().fold(0.0, f64::max));
    if fastest > slowest * NOISY {
        let (slowest, fastest) = (thousands(slowest, 0), thousands(fastest, 0));
        writeln!(f, "note: {name} varied between rounds, from {slowest} to {fastest} events/s held")?;
    }
    if row.rounds.iter().any(|sample| !sample.backlog_reached) {
        writeln!(f, "note: {name} did not reach the backlog in its time; its memory and disk are those of a smaller one")?;
    }
    if row.rounds.iter().any(|sample| !sample.emptied) {
        writeln!(f, "note: {name} was not empty in its time; its empty and closed sizes say nothing")?;
    }
    row.failures.iter().try_for_each(|failure| writeln!(f, "note: {name} failed: {failure}"))
}

/// The number with so many decimals, the digits before the point in groups of three.
fn thousands(value: f64, decimals: usize) -> String {
    let number = format!("{value:.decimals$}");
    let whole = number.find('.').unwrap_or(number.len());
    let mut text = String::new();
    for (at, digit) in number[..whole].chars().enumerate() {
        if at > 0 && (whole - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + &number[whole..]
}

#[cfg(test)]
mod tests {
    use super::thousands;

    #[test]
    fn digits_are_grouped() {
        assert_eq!([0.4, 999.0, 1_000.0, 1_234_567.8].map(|n| thousands(n, 0)), ["0", "999", "1,000", "1,234,568"]);
        assert_eq!(thousands(12_345.67, 1), "12,345.7");
    }
}
