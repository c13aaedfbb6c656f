//! The table that moves: one row per look, within 80 columns; pure.

use super::witness::Counts;
use crate::cli::human::{bar, count, time};
use crate::cli::output::{Output, Paint};
use std::time::Duration;

/// Cells of the bar of the backlog.
const BAR_WIDTH: usize = 12;

/// Everything at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sight {
    /// Since the story began.
    pub(super) at: Duration,
    /// Whether Kafka is away.
    pub(super) away: bool,
    /// What was sent, read and notified.
    pub(super) counts: Counts,
    /// Events on disk that Kafka does not have.
    pub(super) depth: u64,
    /// How long the oldest of them has waited, in seconds.
    pub(super) oldest_seconds: f64,
}

/// The names of the columns.
pub(super) fn header() -> String {
    let (at, kafka, sent, depth) = ("time", "Kafka", "sent", "on disk");
    let (fill, oldest, consumed, notified) = ("", "oldest", "consumed", "notified");
    format!("{at:>8}  {kafka:<5}{sent:>9}{depth:>9}  {fill:<14}{oldest:>7}{consumed:>10}{notified:>10}")
}

/// One row. The bar is full at `expected_depth` events.
pub(super) fn row(sight: &Sight, expected_depth: f64, out: &Output) -> String {
    let (kafka, paint) = if sight.away { ("AWAY", Paint::Bad) } else { ("up", Paint::Good) };
    let (kafka, at) = (format!("{kafka:<5}"), format!("{:.1}s", sight.at.as_secs_f64()));
    let waiting = sight.depth > 0;
    let oldest = if waiting { time(sight.oldest_seconds) } else { "-".to_owned() };
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let fill = bar(sight.depth as f64 / expected_depth.max(1.0), BAR_WIDTH);
    let fill = out.paint(if waiting { Paint::Doubtful } else { Paint::Faint }, &fill);
    let Counts { sent, consumed, notified } = sight.counts;
    let [sent, consumed, notified, depth] = [sent, consumed, notified, sight.depth].map(count);
    format!("{at:>8}  {}{sent:>9}{depth:>9}  {fill}{oldest:>7}{consumed:>10}{notified:>10}", out.paint(paint, &kafka))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::tests::captured;

    fn shown(sight: &Sight) -> String {
        row(sight, 2_500.0, &captured().0)
    }

    // Goal: a newcomer sees Kafka go away, the backlog grow, and both consumers wait.
    #[test]
    fn rows() {
        let counts = Counts { sent: 2_500, consumed: 1_250, notified: 1_250 };
        let up = Sight { at: Duration::from_millis(499), counts, ..Sight::default() };
        let away = Sight { at: Duration::from_millis(5_020), away: true, depth: 1_250, oldest_seconds: 2.5, ..up };
        assert_eq!(
            format!("\n{}\n{}\n{}", header(), shown(&up), shown(&away)),
            "
    time  Kafka     sent  on disk                 oldest  consumed  notified
    0.5s  up       2,500        0  [------------]      -     1,250     1,250
    5.0s  AWAY     2,500    1,250  [######------]   2.5s     1,250     1,250"
        );
    }

    // Goal: the table fits a usual terminal, whatever the numbers.
    #[test]
    fn fits_80_columns() {
        let counts = Counts { sent: 100_000, consumed: 100_000, notified: 100_000 };
        let last = Sight { at: Duration::from_secs(99_999), away: true, counts, depth: 100_000, oldest_seconds: 3_599.0 };
        assert_eq!(shown(&last).len(), shown(&Sight::default()).len(), "{}", shown(&last));
        assert!(shown(&last).len() <= 80 && header().len() <= 80);
    }
}
