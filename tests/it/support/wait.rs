//! Waiting for a state, never for a time: poll until it holds or the deadline passes.

use std::{
    fmt::Display,
    thread,
    time::{Duration, Instant},
};

/// How long to rest between two looks.
pub const POLL: Duration = Duration::from_millis(10);

/// Polls until `look` gives a value; panics with `what` after `deadline`.
#[track_caller]
pub fn until<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    until_ok(what, deadline, || look().ok_or("not yet"))
}

/// Polls until `look` gives `Ok`; panics with `what` and the last error, which says what was seen instead.
#[track_caller]
pub fn until_ok<T, E: Display>(what: &str, deadline: Duration, look: impl FnMut() -> Result<T, E>) -> T {
    try_until(deadline, look).unwrap_or_else(|seen| panic!("waited {deadline:?} for {what}; last seen: {seen}"))
}

/// Polls until `look` gives the value `wanted`; panics with the value that was last seen.
#[track_caller]
pub fn until_eq<T: PartialEq + std::fmt::Debug>(what: &str, deadline: Duration, wanted: &T, mut look: impl FnMut() -> T) {
    until_ok(what, deadline, || {
        let seen = look();
        if seen == *wanted { Ok(()) } else { Err(format!("{seen:?}, not {wanted:?}")) }
    });
}

/// Polls until `look` gives `Ok` or the deadline has passed; the last error then. Looks at least once.
pub fn try_until<T, E>(deadline: Duration, mut look: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let end = Instant::now() + deadline;
    loop {
        match look() {
            Ok(value) => return Ok(value),
            Err(seen) if Instant::now() >= end => return Err(seen),
            Err(_) => thread::sleep(POLL),
        }
    }
}
