//! Numbers of few bytes when they are small: seven bits a byte, the lowest first, as in the cursor. Pure.

/// Appends a number.
pub(super) fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7F) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push((number & 0x7F) as u8);
}

/// Takes a number off the front; `None` when there is none, or one of more than 64 bits.
pub(super) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for at in 0..10 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        if at == 9 && *byte > 1 {
            return None;
        }
        number |= u64::from(byte & 0x7F) << (7 * at);
        if *byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        // Goal: what was written is read, and nothing else makes it fall over.
        #[test]
        fn there_and_back(numbers in prop::collection::vec(any::<u64>(), 0..20), noise in prop::collection::vec(any::<u8>(), 0..30)) {
            let mut bytes = Vec::new();
            for (i, number) in numbers.iter().enumerate() {
                put(&mut bytes, number >> (i % 64));
            }
            let mut rest = bytes.as_slice();
            for (i, number) in numbers.iter().enumerate() {
                prop_assert_eq!(take(&mut rest), Some(number >> (i % 64)));
            }
            prop_assert!(take(&mut rest).is_none());
            let mut rest = noise.as_slice();
            while take(&mut rest).is_some() {}
        }
    }
}
