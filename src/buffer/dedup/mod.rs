//! Each id once: a window over the newest events, and what makes it survive a crash.
//!
//! ```text
//! append ──claim──▶ window ──about once a second──▶ journal         open: journal + the segments that it does not cover ──▶ window
//! ```
//! Invariants: an event that was answered is known for as long as fewer than `limit` newer ones are durable, through kill -9 and power
//! failure; what was refused, or lost, is not; a repeat is answered as one only when the first is durable. Nothing is synced for it on the
//! way of a request: a crash costs the reading of the segments that the journal does not cover, and no segment is freed before the journal
//! covers it.

mod block;
pub(crate) mod journal;
mod restore;
pub(crate) mod window;

pub(crate) use journal::{Journal, window_within};
pub(crate) use restore::{Restored, restore};
pub(crate) use window::{Durable, Original, Seen, Window};
