//! Numbers, sizes and ages as people like to read them; pure.

use bytesize::ByteSize;
use std::time::Duration;

/// `1234567` as `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `128974848` as `123.0 MiB`.
pub(super) fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

/// A time in seconds in its two largest units: `480ms`, `2.5s`, `3h 12m`.
pub(super) fn time(seconds: f64) -> String {
    // What no clock would show: the relay is too far from an estimate to give one.
    const FAR: f64 = 10.0 * 365.0 * 86_400.0;
    if !seconds.is_finite() || seconds > FAR {
        return "years".to_owned();
    }
    let seconds = seconds.max(0.0);
    if seconds == 0.0 {
        return "0s".to_owned();
    }
    if seconds < 0.001 {
        return format!("{:.0}µs", seconds * 1e6);
    }
    if seconds < 1.0 {
        return format!("{:.0}ms", seconds * 1e3);
    }
    if seconds < 60.0 {
        return format!("{seconds:.1}s");
    }
    let whole = humantime::format_duration(Duration::from_secs_f64(seconds.round())).to_string();
    whole.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// A rate of events: `0/s`, `0.5/s`, `1,200/s`.
pub(super) fn rate(per_second: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate far below 2^53, not negative after max")]
    match per_second.max(0.0) {
        0.0 => "0/s".to_owned(),
        slow if slow < 10.0 => format!("{slow:.1}/s"),
        fast => format!("{}/s", count(fast.round() as u64)),
    }
}

/// A bar of `width` cells for a share from 0 to 1. Empty and full are shown only when they are true.
pub(super) fn bar(share: f64, width: usize) -> String {
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few cells")]
    let cells = match (share.clamp(0.0, 1.0) * width as f64).round() as usize {
        0 if share > 0.0 => 1,
        cells if cells == width && share < 1.0 => width - 1,
        cells => cells,
    };
    format!("[{}{}]", "#".repeat(cells), "-".repeat(width - cells))
}

/// Text of others, safe to print: no control character of it reaches the terminal.
pub(super) fn plain(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { safe.extend(c.escape_default()) } else { safe.push(c) }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: figures can be taken in at a glance, from nothing to the largest.
    #[test]
    fn figures() {
        for (number, expect) in
            [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567"), (u64::MAX, "18,446,744,073,709,551,615")]
        {
            assert_eq!(count(number), expect);
        }
        for (seconds, expect) in [
            (0.0, "0s"),
            (0.000_25, "250µs"),
            (0.48, "480ms"),
            (2.5, "2.5s"),
            (65.0, "1m 5s"),
            (11_520.0, "3h 12m"),
            (f64::INFINITY, "years"),
            (f64::NAN, "years"),
            (1e300, "years"),
            (-5.0, "0s"),
        ] {
            assert_eq!(time(seconds), expect, "{seconds}");
        }
        for (per_second, expect) in [(0.0, "0/s"), (0.5, "0.5/s"), (1200.4, "1,200/s"), (-1.0, "0/s")] {
            assert_eq!(rate(per_second), expect);
        }
    }

    // Goal: a bar that looks empty is empty, and one that looks full is full.
    #[test]
    fn bars() {
        for (share, expect) in [(0.0, "[----]"), (0.001, "[#---]"), (0.5, "[##--]"), (0.999, "[###-]"), (1.0, "[####]"), (7.0, "[####]")] {
            assert_eq!(bar(share, 4), expect, "{share}");
        }
    }

    // Goal: an event cannot take over the operator's terminal.
    #[test]
    fn control_characters_do_not_pass() {
        assert_eq!(plain("a\x1b[2Jb\nç\u{9b}"), "a\\u{1b}[2Jb\\nç\\u{9b}");
    }
}
