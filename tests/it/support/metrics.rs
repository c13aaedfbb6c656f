//! Values out of a Prometheus or `OpenMetrics` text.

/// The value of a series (`name` or `name{label="x"}`, as it is written), or the sum of all series of a name. The
/// prefix `dualstream_` may be left out. `None` when the text knows neither a series nor a type of that name.
pub fn value(text: &str, name: &str) -> Option<f64> {
    let name = if name.starts_with("dualstream_") { name.to_owned() } else { format!("dualstream_{name}") };
    let found: Vec<f64> =
        samples(text).filter(|(series, _)| *series == name || series.split('{').next() == Some(&name)).map(|(_, value)| value).collect();
    if found.is_empty() && !has_type(text, &name) {
        return None;
    }
    Some(found.iter().sum())
}

/// Every sample: the series as it is written, and its value.
pub fn samples(text: &str) -> impl Iterator<Item = (&str, f64)> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        // An exemplar may follow, with braces of its own.
        let line = line.split(" # ").next()?;
        // Label values may hold spaces: the series ends at the brace, or at the first space when there is none.
        let end = line.rfind('}').map_or_else(|| line.find(' '), |at| Some(at + 1))?;
        let (series, rest) = line.split_at(end);
        Some((series, rest.split_whitespace().next()?.parse().ok()?))
    })
}

/// A family without a series yet counts as 0; counters are declared without their `_total`.
fn has_type(text: &str, series: &str) -> bool {
    let family = series.split('{').next().unwrap_or_default();
    let base = family.strip_suffix("_total").unwrap_or(family);
    let mut declared = text.lines().filter_map(|l| l.strip_prefix("# TYPE "));
    declared.any(|line| line.split(' ').next().is_some_and(|n| n == family || n == base))
}
