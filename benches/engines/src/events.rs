//! The events: text that gains nothing from compression, numbered, and recognised when it comes back.
//!
//! The first 16 bytes are the position in hexadecimal digits, the rest is cut from a fixed piece of noise.

use anyhow::{Result, ensure};

/// A prime, so that neighbouring events differ, well below the size of the noise they are cut from.
const STRIDE: u64 = 7_919;
const NOISE_BYTES: usize = 64 * 1024;
/// Bytes of the number that an event begins with.
pub(crate) const NUMBER_BYTES: usize = 16;
const HEX: [u8; 16] = *b"0123456789abcdef";
const LETTERS: [u8; 64] = *b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

/// Makes the event of any position, and checks one.
pub(crate) struct Events {
    noise: Vec<u8>,
    event_bytes: usize,
}

impl Events {
    /// Events of `event_bytes` each.
    pub(crate) fn new(event_bytes: usize) -> Self {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let noise = (0..NOISE_BYTES).map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            LETTERS[nibbles(state)[0] * 4 + nibbles(state)[1] / 4]
        });
        Self { noise: noise.collect(), event_bytes }
    }

    /// Writes the events from `first` on into `buffer`, one after the other, until it is full.
    pub(crate) fn fill(&self, first: u64, buffer: &mut [u8]) {
        for (position, event) in (first..).zip(buffer.chunks_exact_mut(self.event_bytes)) {
            let (number, body) = event.split_at_mut(NUMBER_BYTES);
            number.copy_from_slice(&number_text(position));
            body.copy_from_slice(self.body(position));
        }
    }

    /// Is `event` the one of `position`, byte for byte?
    pub(crate) fn check(&self, position: u64, event: &[u8]) -> Result<()> {
        let same = event.len() == self.event_bytes
            && event[..NUMBER_BYTES] == number_text(position)
            && event[NUMBER_BYTES..] == *self.body(position);
        ensure!(same, "the engine gave something else than the event at position {position}");
        Ok(())
    }

    fn body(&self, position: u64) -> &[u8] {
        let length = self.event_bytes - NUMBER_BYTES;
        let starts = (NOISE_BYTES - length) as u64;
        #[expect(clippy::cast_possible_truncation, reason = "below NOISE_BYTES")]
        let start = (position.wrapping_mul(STRIDE) % starts) as usize;
        &self.noise[start..start + length]
    }
}

/// Its 16 digits in base 16, the highest first.
fn nibbles(number: u64) -> [usize; 16] {
    std::array::from_fn(|digit| {
        let value = (number >> (60 - 4 * digit)) & 0xF;
        usize::try_from(value).unwrap_or_default()
    })
}

fn number_text(position: u64) -> [u8; NUMBER_BYTES] {
    nibbles(position).map(|nibble| HEX[nibble])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_recognised_and_only_at_its_position() {
        let events = Events::new(300);
        let mut buffer = vec![0; 600];
        events.fill(41, &mut buffer);
        assert_eq!(&buffer[..16], b"0000000000000029");
        events.check(41, &buffer[..300]).expect("the first");
        events.check(42, &buffer[300..]).expect("the second");
        events.check(42, &buffer[..300]).expect_err("another position");
        buffer[299] ^= 1;
        events.check(41, &buffer[..300]).expect_err("a flipped bit");
    }
}
