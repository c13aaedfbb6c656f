//! How deep JSON is nested. Pure.
//!
//! The scanner skips payloads without recursion, so depth costs it nothing; the bound protects whoever parses the event later.

/// Deepest nesting of an event, the event's own object counting as 1: what `serde_json` still reads by default.
pub(super) const DEPTH_MAX: usize = 127;

/// The problem of an event that is nested deeper.
pub(super) const TOO_DEEP: &str = "is nested deeper than 127 levels";

/// Whether valid JSON is nested deeper than `levels`.
pub(super) fn is_too_deep(json: &str, levels: usize) -> bool {
    // Counting opening brackets, also those within strings, is a vectorised loop; only what has that many is looked at closely.
    let may_be_deep = json.len() > 2 * levels && openings(json.as_bytes()) > levels;
    may_be_deep && depth(json.as_bytes()) > levels
}

fn openings(json: &[u8]) -> usize {
    // `[` and `{` differ in one bit. At most 255 per chunk, so a byte holds the count and the loop vectorises.
    let in_chunk = |chunk: &[u8]| chunk.iter().map(|byte| u8::from(byte | 0x20 == b'{')).sum::<u8>();
    json.chunks(255).map(|chunk| usize::from(in_chunk(chunk))).sum()
}

fn depth(json: &[u8]) -> usize {
    let (mut now, mut deepest, mut in_string, mut escaped) = (0_usize, 0_usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                now += 1;
                deepest = deepest.max(now);
            }
            b']' | b'}' if !in_string => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: nesting is refused one level beyond the bound; brackets side by side or in texts do not count.
    #[test]
    fn bound() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(!is_too_deep(&nested(DEPTH_MAX), DEPTH_MAX));
        assert!(is_too_deep(&nested(DEPTH_MAX + 1), DEPTH_MAX));
        assert!(is_too_deep(&format!("{}1{}", "{\"a\":".repeat(DEPTH_MAX + 1), "}".repeat(DEPTH_MAX + 1)), DEPTH_MAX));
        assert!(!is_too_deep(&format!("[{}[]]", "[],".repeat(1000)), DEPTH_MAX));
        assert!(!is_too_deep(&format!("[\"\\\"{}\"]", "[{".repeat(1000)), DEPTH_MAX));
    }
}
