//! Renders `docs/metrics.md` from the table.

use super::TABLE;
use crate::lifecycle::BUCKET_BOUNDS_SECONDS;

const HEAD: &str = "\
# Metrics

<!-- Generated from src/ops/metrics/table.rs: `UPDATE_DOCS=1 cargo test --lib ops::metrics` writes this file, the same test without
     the variable fails when it is stale. -->

`GET /metrics` on `ops.listen`, the ops socket and `ops.probe_listen` answers OpenMetrics text. Counters count from the start of the
process unless their meaning says otherwise. `buffer_*` and `events_lost_total` are absent until the buffer is recovered, `notify_*`
while notifications are off. Every label has a closed set of values. What to do about a number: [runbook.md](runbook.md).

| name | type | labels | meaning |
|---|---|---|---|
";

/// The page.
pub fn markdown() -> String {
    let rows = TABLE.iter().map(|metric| {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        format!("| `{}` | {} | {} | {} |\n", metric.name, metric.kind.label(), labels.join(" "), metric.help)
    });
    let bounds: Vec<String> = BUCKET_BOUNDS_SECONDS.iter().map(ToString::to_string).collect();
    let foot = format!("\nUpper bounds of the buckets of every histogram, in seconds: {}, +Inf.\n", bounds.join(", "));
    [HEAD.to_owned()].into_iter().chain(rows).chain([foot]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: docs/metrics.md lists exactly the metrics that a scrape has.
    #[test]
    fn the_page_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, markdown()).unwrap();
        }
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(page == markdown(), "docs/metrics.md is stale; run: UPDATE_DOCS=1 cargo test --lib ops::metrics");
    }
}
