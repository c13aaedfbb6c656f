//! The figures as a table for people and as JSON for machines.

use super::super::human::count;
use super::super::output::{Output, Paint};
use super::figure::{Figure, Quantiles, Target};
use super::machine::Machine;
use serde::Serialize;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) machine: Machine,
    pub(super) kafka: String,
    pub(super) figures: Vec<Figure>,
}

/// The cells of a line; the first stands left, all others right.
type Cells = [String; 6];

impl Report {
    /// One document, on one line.
    pub(super) fn json(&self) -> String {
        // Numbers, texts and lists only: nothing in it can fail to be JSON.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Lines for people.
    pub(super) fn table(&self, out: &Output) -> Vec<String> {
        let heads = ["what", "unit", "relay", "ceiling", "ratio", "target"].map(ToOwned::to_owned);
        let rows: Vec<Cells> = self.figures.iter().map(cells).collect();
        let width = |column: usize| rows.iter().chain([&heads]).map(|cells| cells[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 6] = std::array::from_fn(width);
        let mut lines = self.head();
        lines.push(String::new());
        lines.push(out.paint(Paint::Faint, &aligned(&heads, &widths)));
        for (figure, cells) in self.figures.iter().zip(&rows) {
            let line = aligned(cells, &widths);
            lines.push(match figure.met {
                Some(true) => out.paint(Paint::Good, &line),
                Some(false) => out.paint(Paint::Bad, &format!("{line}  missed")),
                None => line,
            });
            lines.extend(notes(figure).map(|note| out.paint(Paint::Faint, &format!("    {note}"))));
        }
        lines
    }

    fn head(&self) -> Vec<String> {
        let Machine { date, version, optimised, cores, processor, kernel, filesystem, durable, load_before } = &self.machine;
        let warn = |text: &str, when: bool| if when { text.to_owned() } else { String::new() };
        vec![
            format!("dualstream {version}{}, {date}", warn(" (NOT OPTIMISED: figures mean nothing)", !optimised)),
            format!(
                "{cores} cores ({processor}), Linux {kernel}, {filesystem}{}, load before {load_before:.1}{}",
                warn(" (keeps nothing: figures of the disk mean nothing)", !durable),
                warn(" (others are at work: expect noise)", *load_before > 0.5)
            ),
            format!("Kafka: {}", self.kafka),
        ]
    }
}

fn cells(figure: &Figure) -> Cells {
    let target = match figure.target {
        Some(Target::AtLeast(least)) => format!("≥ {least:.2}"),
        Some(Target::Below(limit)) => format!("< {limit:.2}"),
        None => "-".to_owned(),
    };
    [
        format!("{}: {}", figure.section, figure.what),
        figure.unit.to_owned(),
        number(figure.ours),
        figure.ceiling.map_or_else(|| "-".to_owned(), number),
        figure.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")),
        target,
    ]
}

fn aligned(cells: &Cells, widths: &[usize; 6]) -> String {
    let first = format!("{:<width$}", cells[0], width = widths[0]);
    let others = cells[1..].iter().zip(&widths[1..]).map(|(cell, width)| format!("  {cell:>width$}"));
    std::iter::once(first).chain(others).collect()
}

/// What a line has no room for.
fn notes(figure: &Figure) -> impl Iterator<Item = String> {
    let quantiles = |of: &Quantiles| format!("p50 {:.3} ms, p99 {:.3} ms", of.p50_ms, of.p99_ms);
    let cpu = |us: &f64| format!("{us:.1} µs of CPU per event");
    let ceiling = (!figure.ceiling_is.is_empty()).then(|| format!("ceiling: {}", figure.ceiling_is));
    let latency = beside(figure.latency.as_ref().map(quantiles), figure.ceiling_latency.as_ref().map(quantiles));
    let cpu = beside(figure.cpu_us_per_event.as_ref().map(cpu), figure.ceiling_cpu_us_per_event.as_ref().map(cpu));
    [ceiling, latency, cpu].into_iter().flatten()
}

fn beside(ours: Option<String>, ceiling: Option<String>) -> Option<String> {
    let ours = ours?;
    Some(match ceiling {
        Some(ceiling) => format!("{ours} (ceiling: {ceiling})"),
        None => ours,
    })
}

/// A figure without digits that mean nothing.
fn number(value: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate far below 2^53, not negative")]
    if value < 1000.0 { format!("{value:.1}") } else { count(value.round() as u64) }
}
