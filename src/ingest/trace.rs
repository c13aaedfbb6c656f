//! The W3C trace context of a request. Pure.

use http::HeaderMap;

/// Longest `traceparent` that is carried; version 00 has 55 bytes, later versions may have more.
const TRACEPARENT_BYTES_MAX: usize = 128;

/// The `traceparent` of a request when there is exactly one and it is valid; a bad one is as good as none, as the standard asks.
pub(super) fn traceparent(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all("traceparent").iter();
    let value = values.next()?.to_str().ok()?;
    (values.next().is_none() && is_valid(value.as_bytes())).then_some(value)
}

/// `version-trace_id-parent_id-flags` in lower-case hex, neither id all zero; only versions after 00 may go on, with a dash.
fn is_valid(value: &[u8]) -> bool {
    const SHAPE: &[u8; 55] = b"hh-hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh-hhhhhhhhhhhhhhhh-hh";
    let Some((head, rest)) = value.split_at_checked(SHAPE.len()) else { return false };
    let has_shape = SHAPE.iter().zip(head).all(|(want, got)| match want {
        b'h' => matches!(got, b'0'..=b'9' | b'a'..=b'f'),
        dash => dash == got,
    });
    let is_zero = |id: &[u8]| id.iter().all(|digit| *digit == b'0');
    let version = &head[..2];
    let ends_well = rest.is_empty() || version != b"00" && rest[0] == b'-' && value.len() <= TRACEPARENT_BYTES_MAX;
    has_shape && version != b"ff" && !is_zero(&head[3..35]) && !is_zero(&head[36..52]) && ends_well
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    // Goal: only what tracing tools accept is carried to Kafka.
    #[test]
    fn shapes() {
        for good in [GOOD, &GOOD.replace("00-", "cc-"), &format!("{}-more", GOOD.replace("00-", "01-"))] {
            assert!(is_valid(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "00-",
            &GOOD[..54],
            &format!("{GOOD}-more"),
            &GOOD.to_uppercase(),
            &GOOD.replace("00-", "ff-"),
            &GOOD.replace("0af7651916cd43dd8448eb211c80319c", "00000000000000000000000000000000"),
            &GOOD.replace("b7ad6b7169203331", "0000000000000000"),
            &GOOD.replace('-', "_"),
            &format!("01{}-{}", &GOOD[2..], "x".repeat(100)),
        ] {
            assert!(!is_valid(bad.as_bytes()), "{bad}");
        }
    }

    // Goal: of two traces neither is believed.
    #[test]
    fn only_one() {
        let mut headers = HeaderMap::new();
        assert_eq!(traceparent(&headers), None);
        headers.append("traceparent", HeaderValue::from_static(GOOD));
        assert_eq!(traceparent(&headers), Some(GOOD));
        headers.append("traceparent", HeaderValue::from_static(GOOD));
        assert_eq!(traceparent(&headers), None);
    }
}
