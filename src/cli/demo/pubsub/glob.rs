//! Patterns of `PSUBSCRIBE`: `*`, `?`, `[abc]`, `[^a-z]` and `\` before a character that means itself; pure.
//!
//! Time is at most pattern × text: only the last `*` is ever tried again.

/// Whether the whole text matches the pattern.
pub(super) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut rest, mut at) = (pattern, 0);
    // Behind the last star: what must match next, and where it was tried.
    let mut star: Option<(&[u8], usize)> = None;
    loop {
        if let Some((b'*', after)) = rest.split_first() {
            star = Some((after, at));
            rest = after;
        } else if at == text.len() && rest.is_empty() {
            return true;
        } else if at < text.len()
            && let Some(after) = match_one(rest, text[at])
        {
            (rest, at) = (after, at + 1);
        } else if let Some((after, tried)) = star
            && tried < text.len()
        {
            star = Some((after, tried + 1));
            (rest, at) = (after, tried + 1);
        } else {
            return false;
        }
    }
}

/// The pattern after its first element, if that matches the byte.
fn match_one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    let (matched, rest) = match pattern {
        [] => return None,
        [b'?', rest @ ..] => (true, rest),
        [b'[', class @ ..] => match_class(class, byte),
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => (*literal == byte, rest),
    };
    matched.then_some(rest)
}

/// Matches a byte against what follows a `[`. A class without its `]` ends with the pattern, as in Redis.
fn match_class(class: &[u8], byte: u8) -> (bool, &[u8]) {
    let (negated, mut rest) = match class {
        [b'^', rest @ ..] => (true, rest),
        _ => (false, class),
    };
    let mut found = false;
    loop {
        rest = match rest {
            [] => return (found != negated, rest),
            [b']', after @ ..] => return (found != negated, after),
            [low, b'-', high, after @ ..] if *low != b'\\' => {
                found |= (*low.min(high)..=*low.max(high)).contains(&byte);
                after
            }
            [b'\\', literal, after @ ..] | [literal, after @ ..] => {
                found |= *literal == byte;
                after
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // Goal: the patterns that people write for channels match what Redis' own matching does.
    #[test]
    fn matches_like_redis() {
        for (pattern, text, expected) in [
            ("events:*", "events:user:1", true),
            ("events:*", "events", false),
            ("events:*:1", "events:user:1", true),
            ("events:*:1", "events:user:12", false),
            ("*", "", true),
            ("**", "ab", true),
            ("", "", true),
            ("", "a", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("h[\\]]llo", "h]llo", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("[abc", "c", true),
            ("a\\", "a\\", true),
            ("*a*b", "xaxxb", true),
            ("*a*b", "xaxxbx", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    // Goal: a hostile pattern costs no exponential time.
    #[test]
    fn many_stars_are_cheap() {
        assert!(!matches("*a".repeat(500).as_bytes(), "a".repeat(400).as_bytes()));
    }

    proptest! {
        // Goal: any pattern terminates without a panic, and an escaped text matches exactly itself.
        #[test]
        fn escaped_text_matches_itself(text in any::<Vec<u8>>(), pattern in any::<Vec<u8>>()) {
            let escaped: Vec<u8> = text.iter().flat_map(|byte| [b'\\', *byte]).collect();
            prop_assert!(matches(&escaped, &text));
            let _terminates = matches(&pattern, &text);
        }
    }
}
