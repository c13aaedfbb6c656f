//! Writes JSON strings by hand, for the few places where a value is put together from parts.

/// Appends `text` as a JSON string; gives the offset of the text when it stands there verbatim, without escapes.
pub(super) fn push_string(out: &mut String, text: &str) -> Option<usize> {
    if text.bytes().any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        out.push_str(&serde_json::Value::from(text).to_string());
        return None;
    }
    out.push('"');
    let at = out.len();
    out.extend([text, "\""]);
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        // Goal: whatever the text is, a JSON parser reads it back.
        #[test]
        fn reads_back(text in "(?s).{0,40}") {
            let mut out = String::from("-");
            let at = push_string(&mut out, &text);
            prop_assert_eq!(serde_json::from_str::<String>(&out[1..]).unwrap(), text.clone());
            if let Some(at) = at {
                prop_assert_eq!(&out[at..at + text.len()], text);
            }
        }
    }
}
