//! The seam between the copier and a Kafka client.

use crate::buffer::DeadLetter;
use crate::buffer::dead_letters::Copied;
use crate::drain::sink::Refusal;
use std::time::Duration;

/// What was heard of the letter that is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing yet.
    Nothing,
    /// All in-sync replicas have it.
    Taken,
    /// It came back, or the handle is finished: it has to be sent again with another one.
    Refused(Refusal),
    /// Something goes wrong, and may pass by itself: the letter is still on its way.
    Trouble(Refusal),
}

/// Brings one letter at a time. Used by one thread.
pub trait Courier {
    /// Hands a letter over; makes a handle when there is none. Never blocks.
    ///
    /// # Errors
    /// What is in the way.
    fn send(&mut self, letter: &DeadLetter, how: Copied) -> Result<(), Refusal>;

    /// What is heard of it within this time.
    fn poll(&mut self, timeout: Duration) -> Heard;

    /// Lets the handle go, and what is on its way with it. Does not wait for that.
    fn close(&mut self);
}
