//! Numbers of events and moments in words; pure.

use super::super::human::count;

/// `31 to 35, 40`; the rest of a long list as a number.
pub(super) fn seqs(ranges: &[(u64, u64)]) -> String {
    const SHOWN: usize = 10;
    let one = |&(from, to): &(u64, u64)| if from == to { from.to_string() } else { format!("{from} to {to}") };
    let mut words: Vec<String> = ranges.iter().take(SHOWN).map(one).collect();
    if let Some(more) = ranges.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        words.push(format!("and {more} more ranges"));
    }
    words.join(", ")
}

/// `1 event`, `2,000 events`.
pub(in crate::cli) fn events(number: u64) -> String {
    if number == 1 { "1 event".to_owned() } else { format!("{} events", count(number)) }
}

/// RFC 3339, to the millisecond.
pub(in crate::cli) fn moment(unix_ms: u64) -> String {
    let time = i64::try_from(unix_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    format!("{:.3}", time.unwrap_or(jiff::Timestamp::UNIX_EPOCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: the numbers of events can be read, also when there are many.
    #[test]
    fn numbers() {
        assert_eq!(seqs(&[(31, 35), (40, 40)]), "31 to 35, 40");
        assert!(seqs(&(0..13).map(|n| (3 * n, 3 * n)).collect::<Vec<_>>()).ends_with("24, 27, and 3 more ranges"));
        assert_eq!((events(1), events(2_000)), ("1 event".into(), "2,000 events".into()));
        assert_eq!(moment(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
    }
}
