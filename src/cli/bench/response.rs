//! Just enough of HTTP/1.1 to know where a reply ends and whether it is good. Pure.

use std::str;

/// What has arrived of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrived {
    /// Not all of it.
    Part,
    /// All of it: its status, and the bytes it takes up.
    Whole { status: u16, length: usize },
    /// Something that no server under test sends.
    Nonsense,
}

/// Looks at the bytes received so far.
pub(super) fn look(bytes: &[u8]) -> Arrived {
    let Some(head) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Arrived::Part };
    let parsed = status(&bytes[..head]).zip(content_length(&bytes[..head]));
    let Some((status, body)) = parsed else { return Arrived::Nonsense };
    let length = head + 4 + body;
    if bytes.len() < length { Arrived::Part } else { Arrived::Whole { status, length } }
}

fn status(head: &[u8]) -> Option<u16> {
    str::from_utf8(head.strip_prefix(b"HTTP/1.1 ")?.get(..3)?).ok()?.parse().ok()
}

fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    let named = |line: &&[u8]| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME));
    let line = head.split(|byte| *byte == b'\n').find(named)?;
    str::from_utf8(&line[NAME.len()..]).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: a reply counts when all of it is here, and a refusal is seen as one.
    #[test]
    fn replies() {
        let reply = b"HTTP/1.1 202 Accepted\r\ncontent-type: x\r\nContent-Length: 2\r\ndate: now\r\n\r\n{}";
        for end in 0..reply.len() {
            assert_eq!(look(&reply[..end]), Arrived::Part, "{end}");
        }
        assert_eq!(look(reply), Arrived::Whole { status: 202, length: reply.len() });
        assert_eq!(look(b"HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\nrest"), Arrived::Whole { status: 503, length: 37 });
        assert_eq!(look(b"HTTP/1.1 200 OK\r\n\r\n"), Arrived::Nonsense);
        assert_eq!(look(b"SSH-2.0-x\r\n\r\n"), Arrived::Nonsense);
    }
}
