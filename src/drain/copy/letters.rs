//! The seam between the copier and the buffer.

use crate::buffer::dead_letters::{Copied, Copies};
use crate::buffer::{DeadLetter, DeadLetterError};

/// The letters to copy; see the methods of [`Copies`].
pub trait Letters {
    /// The first that is not copied.
    ///
    /// # Errors
    /// [`DeadLetterError`] when it cannot be read.
    fn first(&self) -> Result<Option<DeadLetter>, DeadLetterError>;

    /// Whether it is still there.
    fn holds(&self, seq: u64) -> bool;

    /// Notes durably that it is copied.
    ///
    /// # Errors
    /// [`DeadLetterError`]; it counts as not copied then.
    fn copied(&mut self, seq: u64, how: Copied) -> Result<(), DeadLetterError>;
}

impl Letters for Copies {
    fn first(&self) -> Result<Option<DeadLetter>, DeadLetterError> {
        Ok(Copies::first(self)?.map(|kept| kept.letter))
    }

    fn holds(&self, seq: u64) -> bool {
        Copies::holds(self, seq)
    }

    fn copied(&mut self, seq: u64, how: Copied) -> Result<(), DeadLetterError> {
        Copies::copied(self, seq, how)
    }
}
