//! What a failure means for the event that met it, and how a chain of causes is printed.

use std::error::Error;

/// What to do about a failure to deliver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Passing: try again, with backoff, for as long as it takes.
    Retry,
    /// Not the event's fault, and somebody must act (a missing topic, a revoked right): wait, say so, lose nothing.
    Block,
    /// Kafka will never take this event.
    DeadLetter,
    /// This handle is finished; build a new one and send again.
    Fatal,
}

/// Prints an error and all its causes on one line, `outer: inner: innermost`.
///
/// The project's errors do not repeat their source in their own text, so that each cause appears once.
pub fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
