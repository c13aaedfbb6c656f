//! Numbers: counts, sizes, times, permission bits.

use super::super::given::{Given, Value};
use super::super::units::{parse_size, parse_time, show_size, show_time};
use super::Kind;
use std::marker::PhantomData;
use std::time::Duration;

/// A size in bytes.
#[derive(Clone, Copy)]
pub(in crate::config) struct Size {
    /// Smallest allowed.
    pub(in crate::config) min: u64,
    /// Largest allowed.
    pub(in crate::config) max: u64,
}

impl Kind for Size {
    type Value = u64;

    fn read(&self, given: &Given) -> Result<u64, String> {
        let bytes = match given.value() {
            Value::Integer(bytes) => u64::try_from(bytes).map_err(|_| format!("{bytes}, which is not a size"))?,
            Value::Text(text) => parse_size(&text)?,
            other => return Err(format!("{}, which is not a size", other.show())),
        };
        within(bytes, self.min, self.max, show_size)
    }

    fn show(&self, value: &u64) -> String {
        format!("\"{}\"", show_size(*value))
    }

    fn allowed(&self) -> String {
        format!("a size from {} to {}", show_size(self.min), show_size(self.max))
    }
}

/// A duration with millisecond limits.
#[derive(Clone, Copy)]
pub(in crate::config) struct Time {
    /// Shortest allowed, in milliseconds.
    pub(in crate::config) min_ms: u64,
    /// Longest allowed, in milliseconds.
    pub(in crate::config) max_ms: u64,
}

impl Kind for Time {
    type Value = Duration;

    fn read(&self, given: &Given) -> Result<Duration, String> {
        let time = match given {
            Given::Loose(text) | Given::Typed(Value::Text(text)) => parse_time(text)?,
            Given::Typed(Value::Integer(0)) => Duration::ZERO,
            Given::Typed(Value::Integer(number)) => return Err(format!("{number}, which has no unit of time")),
            Given::Typed(other) => return Err(format!("{}, which is not a time", other.show())),
        };
        within(time, Duration::from_millis(self.min_ms), Duration::from_millis(self.max_ms), show_time)
    }

    fn show(&self, value: &Duration) -> String {
        format!("\"{}\"", show_time(*value))
    }

    fn allowed(&self) -> String {
        let [min, max] = [self.min_ms, self.max_ms].map(|ms| show_time(Duration::from_millis(ms)));
        format!("a time from {min} to {max}")
    }
}

/// A whole number.
#[derive(Clone, Copy)]
pub(in crate::config) struct Count<T> {
    min: u64,
    max: u64,
    stored_as: PhantomData<T>,
}

impl Count<u32> {
    /// Limits of a 32-bit count, both included.
    pub(in crate::config) const fn u32(min: u32, max: u32) -> Self {
        Self { min: min as u64, max: max as u64, stored_as: PhantomData }
    }
}

impl Count<u64> {
    /// Limits of a 64-bit count, both included.
    pub(in crate::config) const fn u64(min: u64, max: u64) -> Self {
        Self { min, max, stored_as: PhantomData }
    }
}

impl<T: TryFrom<u64> + Copy + ToString> Kind for Count<T> {
    type Value = T;

    fn read(&self, given: &Given) -> Result<T, String> {
        let value = given.value();
        let not_a_number = || format!("{}, which is not a whole number", value.show());
        let number = match &value {
            Value::Integer(number) => *number,
            _ => return Err(not_a_number()),
        };
        let number = within(number, self.min.into(), self.max.into(), |number| number.to_string())?;
        u64::try_from(number).ok().and_then(|number| T::try_from(number).ok()).ok_or_else(not_a_number)
    }

    fn show(&self, value: &T) -> String {
        value.to_string()
    }

    fn allowed(&self) -> String {
        format!("a number from {} to {}", self.min, self.max)
    }
}

/// Permission bits, octal.
#[derive(Clone, Copy)]
pub(in crate::config) struct Mode;

impl Kind for Mode {
    type Value = u32;

    fn read(&self, given: &Given) -> Result<u32, String> {
        let text = match given {
            Given::Loose(text) | Given::Typed(Value::Text(text)) => text,
            // A bare 0660 is not TOML and 660 is not octal: asking for quotes beats guessing.
            Given::Typed(other) => return Err(format!("{}, which is not an octal mode in quotes", other.show())),
        };
        match u32::from_str_radix(text.trim(), 8) {
            Ok(mode) if mode <= 0o777 => Ok(mode),
            _ => Err(format!("{text:?}, which is not an octal mode")),
        }
    }

    fn show(&self, value: &u32) -> String {
        format!("\"{value:04o}\"")
    }

    fn allowed(&self) -> String {
        "octal permission bits from \"0000\" to \"0777\"".to_owned()
    }
}

fn within<T: PartialOrd + Copy>(value: T, min: T, max: T, show: impl Fn(T) -> String) -> Result<T, String> {
    if value < min {
        return Err(format!("{}, which is less than {}", show(value), show(min)));
    }
    if value > max {
        return Err(format!("{}, which is more than {}", show(value), show(max)));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{loose, typed};
    use super::*;

    // Goal: plain integers are bytes, and the limits themselves are allowed.
    #[test]
    fn sizes() {
        let kind = Size { min: 1 << 20, max: 1 << 30 };
        for text in ["1048576", "\"1MiB\"", "\"1048576\""] {
            assert_eq!(typed(&kind, text), Ok(1 << 20), "{text}");
        }
        assert_eq!(loose(&kind, "1GiB"), Ok(1 << 30));
        assert_eq!(loose(&kind, "1048575").unwrap_err(), "1048575, which is less than 1MiB");
        assert_eq!(loose(&kind, "1025MiB").unwrap_err(), "1025MiB, which is more than 1GiB");
        assert_eq!(typed(&kind, "-5").unwrap_err(), "-5, which is not a size");
    }

    // Goal: counts stay within their limits and their type, whatever is typed.
    #[test]
    fn counts() {
        let kind = Count::u32(1, 10);
        assert_eq!((typed(&kind, "1"), loose(&kind, "10")), (Ok(1), Ok(10)));
        assert_eq!(loose(&kind, "0").unwrap_err(), "0, which is less than 1");
        assert_eq!(loose(&kind, "99999999999999999999").unwrap_err(), "99999999999999999999, which is more than 10");
        assert_eq!(loose(&kind, "many").unwrap_err(), "\"many\", which is not a whole number");
    }

    // Goal: socket permissions are octal as in chmod.
    #[test]
    fn modes() {
        assert_eq!((typed(&Mode, "\"0660\""), loose(&Mode, "600")), (Ok(0o660), Ok(0o600)));
        assert_eq!(Mode.show(&0o66), "\"0066\"");
        for text in ["\"0888\"", "\"1777\"", "\"rw\"", "660"] {
            assert!(typed(&Mode, text).is_err(), "{text}");
        }
    }
}
