//! Text that no codec makes smaller, the same for the same seed.

/// `len` characters without repetitions.
pub fn dense_text(seed: u64, len: usize) -> String {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[usize::try_from(state >> 58).unwrap()])
    };
    (0..len).map(|_| next()).collect()
}
