//! Why the line stands, and what to show and count of it. Pure.

use super::classify::{MALFORMED, REJECTED, UNREADABLE};
use super::feed::FeedError;
use super::sink::Refusal;
use super::stats::DrainState;
use crate::error::{Disposition, chain};

/// Why the line was stopped.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) kind: StopKind,
    pub(super) refusal: Refusal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopKind {
    /// An event was not taken, or not read: nothing later is with the handle, everything on its way may end well.
    NotSent,
    /// An event came back: what the handle still holds must not overtake it.
    CameBack,
    /// The handle stands still: there is nothing to wait for.
    Stalled,
}

/// Of two explanations, the one that tells more.
pub(super) fn worse(first: Option<Refusal>, second: Option<Refusal>) -> Option<Refusal> {
    match (first, second) {
        (Some(first), Some(second)) if second.class.rank() > first.class.rank() => Some(second),
        (first, second) => first.or(second),
    }
}

/// The buffer's own trouble.
pub(super) fn unreadable(error: &FeedError) -> Refusal {
    let class = if matches!(error, FeedError::Read(_)) { UNREADABLE } else { MALFORMED };
    Refusal { class, detail: chain(error) }
}

/// The same, as a stop.
pub(super) fn unread(error: &FeedError) -> Stop {
    Stop { kind: StopKind::NotSent, refusal: unreadable(error) }
}

/// The label under which the stop is counted.
pub(super) fn retry_label(refusal: &Refusal) -> &'static str {
    match refusal.class.disposition {
        Disposition::Fatal => "fatal",
        Disposition::Retry => "transient",
        Disposition::DeadLetter => "rejected",
        Disposition::Block => "blocked",
    }
}

/// What to show while the line stands. An event that Kafka will never take blocks like an outage, until the search for it begins.
pub(super) fn stopped_state(refusal: &Refusal) -> DrainState {
    let Refusal { class, detail } = refusal;
    match class.disposition {
        Disposition::Block => DrainState::Blocked { reason: class.reason, detail: format!("{}: {detail}", class.meaning) },
        Disposition::DeadLetter => DrainState::Blocked { reason: REJECTED, detail: format!("{}: {detail}", class.meaning) },
        Disposition::Retry | Disposition::Fatal => DrainState::Recovering { reason: format!("{}: {detail}", class.meaning) },
    }
}
