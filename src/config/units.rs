//! Sizes and times as people write them; pure.

use bytesize::ByteSize;
use std::time::Duration;

/// Reads a size: a plain number of bytes, or a number with a unit (`512MiB` is 2^29 bytes, `512MB` is 512 × 10^6).
///
/// # Errors
/// What is wrong, to stand after "is".
pub fn parse_size(text: &str) -> Result<u64, String> {
    text.trim().parse::<ByteSize>().map(|size| size.as_u64()).map_err(|_| format!("{text:?}, which is not a size"))
}

/// Reads a time: numbers with units (`250ms`, `2s`, `1m 30s`).
///
/// # Errors
/// What is wrong, to stand after "is".
pub fn parse_time(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && text != "0" {
        return Err(format!("{text:?}, which has no unit of time"));
    }
    humantime::parse_duration(text).map_err(|_| format!("{text:?}, which is not a time"))
}

/// Writes a size exactly, in the largest binary unit that divides it, so that [`parse_size`] reads the same number back.
pub fn show_size(bytes: u64) -> String {
    let units = [(50, "PiB"), (40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fits = |&&(shift, _): &&(u32, &str)| bytes > 0 && bytes.trailing_zeros() >= shift;
    match units.iter().find(fits) {
        Some((shift, unit)) => format!("{}{unit}", bytes >> shift),
        None => bytes.to_string(),
    }
}

/// Writes a time exactly, so that [`parse_time`] reads the same back.
pub fn show_time(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // Goal: sizes mean what people expect: binary units are powers of two, decimal ones of ten, plain numbers are bytes.
    #[test]
    fn sizes() {
        for (text, expect) in [
            ("0", 0),
            ("1048576", 1 << 20),
            ("512MiB", 512 << 20),
            ("512mib", 512 << 20),
            ("1 GiB", 1 << 30),
            ("1.5KiB", 1536),
            ("1GB", 1_000_000_000),
            (" 8B ", 8),
        ] {
            assert_eq!(parse_size(text), Ok(expect), "{text}");
        }
        for text in ["", "MiB", "-1", "12 parsecs", "1GiBB", "0x10"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    // Goal: a time without a unit is refused, because nobody knows whether 250 means milliseconds or seconds.
    #[test]
    fn times() {
        for (text, expect) in [("0", 0), ("0s", 0), ("250ms", 250), ("2s", 2_000), ("1m 30s", 90_000), ("1h", 3_600_000)] {
            assert_eq!(parse_time(text), Ok(Duration::from_millis(expect)), "{text}");
        }
        assert_eq!(parse_time("250").unwrap_err(), "\"250\", which has no unit of time");
        for text in ["", "s", "-2s", "2 parsecs"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }

    proptest! {
        // Goal: what the reference and the messages print can be pasted back and means the same.
        #[test]
        fn shown_values_read_back(bytes in any::<u64>(), shift in 0..64_u32, millis in any::<u32>()) {
            prop_assert_eq!(parse_size(&show_size(bytes << shift)), Ok(bytes << shift));
            let time = Duration::from_millis(millis.into());
            prop_assert_eq!(parse_time(&show_time(time)), Ok(time));
        }
    }
}
