//! The rules that a single field must keep. Pure.

use std::borrow::Cow;

/// Longest `id`, `type`, `source_type` and `source_id`, in bytes of UTF-8.
///
/// They travel beside the event into the Kafka key and the Redis channel, and are held per event in memory; a kilobyte is far more
/// than any name needs, and small enough to be held by the hundred thousand.
pub(crate) const NAME_BYTES_MAX: usize = 1024;

/// What is wrong with an `id`, `type`, `source_type` or `source_id`; `None` when nothing is.
///
/// Control characters (NUL, line ends, DEL, C1) are refused: they would break channel names, log lines and terminals, and no name
/// needs them.
pub(super) fn name_problem(text: &str) -> Option<Cow<'static, str>> {
    if text.is_empty() {
        return Some("must not be empty".into());
    }
    if text.len() > NAME_BYTES_MAX {
        return Some(format!("is {} bytes long, the limit is {NAME_BYTES_MAX}", text.len()).into());
    }
    // Nearly all names are plain ASCII, which this finds out without a branch per byte.
    let plain = text.bytes().fold(true, |plain, byte| plain & (0x20..0x7f).contains(&byte));
    if !plain && text.chars().any(char::is_control) {
        return Some("must not hold control characters".into());
    }
    None
}

/// What is wrong with a `time`; `None` when nothing is.
///
/// By hand, because the parsers of calendar libraries read more than RFC 3339 allows, and take ten times as long.
pub(super) fn time_problem(text: &str) -> Option<&'static str> {
    (!is_rfc3339(text.as_bytes())).then_some("must be an RFC 3339 time such as 2026-01-02T03:04:05Z, no finer than nanoseconds")
}

/// `YYYY-MM-DDThh:mm:ss[.fraction](Z|±hh:mm)`, of a day that exists; second 60 is a leap second.
fn is_rfc3339(text: &[u8]) -> bool {
    const DATE_TIME: &[u8] = b"0000-00-00T00:00:00";
    let Some((date_time, rest)) = text.split_at_checked(DATE_TIME.len()) else { return false };
    let fraction = rest.strip_prefix(b".").map(|tail| tail.iter().take_while(|byte| byte.is_ascii_digit()).count());
    let zone = match fraction {
        None => rest,
        Some(digits @ 1..=9) => &rest[1 + digits..],
        Some(_) => return false,
    };
    if !is_like(DATE_TIME, date_time) {
        return false;
    }
    let number = |at: usize| two_digits(&date_time[at..]);
    let (century, year, month, day) = (number(0), number(2), number(5), number(8));
    (1..=12).contains(&month)
        && (1..=days_in_month(century * 100 + year, month)).contains(&day)
        && number(11) < 24
        && number(14) < 60
        && number(17) <= 60
        && is_zone(zone)
}

fn is_zone(zone: &[u8]) -> bool {
    let is_offset = is_like(b"+00:00", zone) || is_like(b"-00:00", zone);
    zone.eq_ignore_ascii_case(b"Z") || is_offset && two_digits(&zone[1..]) < 24 && two_digits(&zone[4..]) < 60
}

fn days_in_month(year: u32, month: u32) -> u32 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 => 28 + u32::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The number that two ASCII digits make.
fn two_digits(text: &[u8]) -> u32 {
    u32::from(text[0] - b'0') * 10 + u32::from(text[1] - b'0')
}

/// Whether `text` is like `pattern`, where `0` stands for any digit and letters may be of either case.
fn is_like(pattern: &[u8], text: &[u8]) -> bool {
    let like = |(want, got): (&u8, &u8)| if *want == b'0' { got.is_ascii_digit() } else { want.eq_ignore_ascii_case(got) };
    pattern.len() == text.len() && pattern.iter().zip(text).all(like)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: a time that RFC 3339 allows is taken, anything else that looks like one is not.
    #[test]
    fn times() {
        for good in [
            "2026-01-02T03:04:05Z",
            "2026-01-02t03:04:05z",
            "2026-01-02T03:04:05.1Z",
            "2026-01-02T03:04:05.123456789+02:00",
            "2026-01-02T03:04:05-00:00",
            "2024-02-29T00:00:00Z",
            "2016-12-31T23:59:60Z",
            "0001-01-01T00:00:00Z",
            "2000-02-29T23:59:59-23:59",
        ] {
            assert_eq!(time_problem(good), None, "{good}");
        }
        for bad in [
            "",
            "now",
            "2026-01-02",
            "2026-01-02T03:04:05",
            "2026-01-02 03:04:05Z",
            "2026-01-02T03:04Z",
            "2026-01-02T03:04:05.Z",
            "2026-01-02T03:04:05.1234567890Z",
            "2026-01-02T03:04:05+02",
            "2026-01-02T03:04:05+0200",
            "2026-01-02T03:04:05Z[UTC]",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-02T24:00:01Z",
            "2026-04-31T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2026-01-02T24:00:00Z",
            "2026-01-02T00:60:00Z",
            "2026-01-02T00:00:61Z",
            "2026-01-02T00:00:00+24:00",
            "2026-01-02T00:00:00-00:60",
            "20260102T030405Z",
            "+002026-01-02T03:04:05Z",
            "２026-01-02T03:04:05Z",
        ] {
            assert!(time_problem(bad).is_some(), "{bad}");
        }
    }

    // Goal: names that would break a channel, a log line or memory bounds are refused, all others are taken.
    #[test]
    fn names() {
        let (longest, too_long) = ("x".repeat(NAME_BYTES_MAX), "x".repeat(NAME_BYTES_MAX + 1));
        for good in ["a", " ", "order.created", "owner/repo", "Zürich", "東京", "a\"b\\c", longest.as_str()] {
            assert_eq!(name_problem(good), None, "{good}");
        }
        for bad in ["", "a\0", "\n", "a\u{7f}", "a\u{85}b", too_long.as_str()] {
            assert!(name_problem(bad).is_some(), "{bad:?}");
        }
    }
}
