//! One measured figure beside its ceiling.

use super::histogram::Latencies;
use super::rounds::Side;
use serde::Serialize;

/// What counts as good.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Target {
    /// The ratio is at least this.
    AtLeast(f64),
    /// The ratio is below this.
    Below(f64),
}

/// Half and 99 of 100 requests were answered within this.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Quantiles {
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

/// A figure.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figure {
    /// The part of the measurement.
    pub(super) section: &'static str,
    /// What was measured.
    pub(super) what: String,
    pub(super) unit: &'static str,
    /// The relay's; the median of `rounds`.
    pub(super) ours: f64,
    pub(super) rounds: Vec<f64>,
    pub(super) latency: Option<Quantiles>,
    /// Processor time of the server's process per event, in microseconds.
    pub(super) cpu_us_per_event: Option<f64>,
    /// What it is compared with; null when that was not measured in this run.
    pub(super) ceiling: Option<f64>,
    /// What that is.
    pub(super) ceiling_is: String,
    pub(super) ceiling_rounds: Vec<f64>,
    pub(super) ceiling_latency: Option<Quantiles>,
    pub(super) ceiling_cpu_us_per_event: Option<f64>,
    /// `ours` / `ceiling`
    pub(super) ratio: Option<f64>,
    /// What the ratio should be; null: for information.
    pub(super) target: Option<Target>,
    /// Whether it is.
    pub(super) met: Option<bool>,
}

impl Figure {
    /// A figure in events per second, measured in alternate rounds.
    pub(super) fn compared(section: &'static str, what: impl Into<String>, ours: &Side, ceiling_is: &str, bare: &Side) -> Self {
        let figure = Self {
            ceiling_rounds: bare.rates.clone(),
            ceiling_latency: bare.latencies.as_ref().map(Quantiles::of),
            ceiling_cpu_us_per_event: bare.median_cpu_us(),
            ..Self::alone(section, what, ours)
        };
        figure.beside(bare.median(), ceiling_is)
    }

    /// A figure in events per second without a ceiling yet.
    pub(super) fn alone(section: &'static str, what: impl Into<String>, ours: &Side) -> Self {
        Self {
            section,
            what: what.into(),
            unit: "events/s",
            ours: ours.median(),
            rounds: ours.rates.clone(),
            latency: ours.latencies.as_ref().map(Quantiles::of),
            cpu_us_per_event: ours.median_cpu_us(),
            ceiling: None,
            ceiling_is: String::new(),
            ceiling_rounds: Vec::new(),
            ceiling_latency: None,
            ceiling_cpu_us_per_event: None,
            ratio: None,
            target: None,
            met: None,
        }
    }

    /// The same beside a ceiling.
    pub(super) fn beside(self, ceiling: f64, is: &str) -> Self {
        let ratio = (ceiling > 0.0).then(|| self.ours / ceiling);
        Self { ceiling: Some(ceiling), ceiling_is: is.to_owned(), ratio, ..self }
    }

    /// The same with a target.
    pub(super) fn should_be(self, target: Target) -> Self {
        let met = self.ratio.map(|ratio| match target {
            Target::AtLeast(least) => ratio >= least,
            Target::Below(limit) => ratio < limit,
        });
        Self { target: Some(target), met, ..self }
    }

    /// Whether the target was met; `None` without one.
    pub(super) fn met(&self) -> Option<bool> {
        self.met
    }
}

impl Quantiles {
    fn of(latencies: &Latencies) -> Self {
        Self { p50_ms: latencies.quantile_ms(0.5), p99_ms: latencies.quantile_ms(0.99) }
    }
}
