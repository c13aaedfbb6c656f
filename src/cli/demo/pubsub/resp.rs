//! RESP2: requests parsed from bytes, replies written as bytes; pure.

/// Largest argument, in bytes.
pub(super) const MAX_BULK: usize = 1 << 20;

/// Most arguments of a command.
pub(super) const MAX_ARGS: usize = 1024;

/// Largest command, in bytes: what a connection may make us keep while the rest of it is on its way.
pub(super) const MAX_COMMAND: usize = 4 << 20;

/// Longest line: a length, or a command typed by hand.
const MAX_LINE: usize = 4096;

/// Bytes that are no request, or too large a one; the connection ends after saying so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProtocolError {
    /// A number of arguments that is none, or too many.
    #[error("invalid multibulk length")]
    Args,
    /// A length that is none, or too large.
    #[error("invalid bulk length")]
    Bulk,
    /// Something else where an argument should begin.
    #[error("expected '$'")]
    Dollar,
    /// A line without end.
    #[error("too big inline request")]
    Line,
    /// All arguments together.
    #[error("too big request")]
    Command,
}

/// A command: its name and arguments. Never empty.
pub(super) type Args<'a> = Vec<&'a [u8]>;

/// Takes the first command of `input`: its arguments and its length in bytes; `None` when it is not all there yet.
///
/// An empty command (an empty line, `*0`) has no arguments, and is to be skipped.
pub(super) fn parse(input: &[u8]) -> Result<Option<(Args<'_>, usize)>, ProtocolError> {
    let Some((line, mut at)) = line(input, 0)? else { return Ok(None) };
    let Some(count) = line.strip_prefix(b"*") else {
        let words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).take(MAX_ARGS);
        return Ok(Some((words.collect(), at)));
    };
    let count = number(count).filter(|count| *count <= MAX_ARGS).ok_or(ProtocolError::Args)?;
    let mut args = Vec::with_capacity(count.min(8));
    for _ in 0..count {
        let Some((header, start)) = self::line(input, at)? else { return within(input) };
        let length = header.strip_prefix(b"$").ok_or(ProtocolError::Dollar)?;
        let length = number(length).filter(|length| *length <= MAX_BULK).ok_or(ProtocolError::Bulk)?;
        let Some(bytes) = input.get(start..start + length + 2) else { return within(input) };
        args.push(bytes.strip_suffix(b"\r\n").ok_or(ProtocolError::Bulk)?);
        at = start + length + 2;
    }
    Ok(Some((args, at)))
}

/// "Not all there yet", unless it already is too much.
fn within<T>(input: &[u8]) -> Result<Option<T>, ProtocolError> {
    if input.len() > MAX_COMMAND { Err(ProtocolError::Command) } else { Ok(None) }
}

/// The line at `at`, and where the next begins. A bare `\n` ends a line too: people use netcat.
fn line(input: &[u8], at: usize) -> Result<Option<(&[u8], usize)>, ProtocolError> {
    let rest = &input[at..];
    match rest.iter().take(MAX_LINE).position(|byte| *byte == b'\n') {
        Some(end) => Ok(Some((rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]), at + end + 1))),
        None if rest.len() >= MAX_LINE => Err(ProtocolError::Line),
        None => Ok(None),
    }
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// `+OK`
pub(super) fn put_ok(out: &mut Vec<u8>) {
    out.extend_from_slice(b"+OK\r\n");
}

/// An error, on one line whatever the text holds.
pub(super) fn put_error(out: &mut Vec<u8>, text: &str) {
    out.push(b'-');
    out.extend(text.bytes().map(|byte| if byte < b' ' { b' ' } else { byte }));
    out.extend_from_slice(b"\r\n");
}

/// An integer.
pub(super) fn put_integer(out: &mut Vec<u8>, value: usize) {
    out.extend_from_slice(format!(":{value}\r\n").as_bytes());
}

/// A string; `None` is the null string.
pub(super) fn put_bulk(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    let Some(bytes) = bytes else { return out.extend_from_slice(b"$-1\r\n") };
    out.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// The head of an array of `len` elements that follow.
pub(super) fn put_array(out: &mut Vec<u8>, len: usize) {
    out.extend_from_slice(format!("*{len}\r\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(args: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        put_array(&mut out, args.len());
        for arg in args {
            put_bulk(&mut out, Some(arg));
        }
        out
    }

    // Goal: commands typed by hand work, whatever ends the line.
    #[test]
    fn inline_commands() {
        assert_eq!(parse(b"PING\r\nrest"), Ok(Some((vec![&b"PING"[..]], 6))));
        assert_eq!(parse(b"  publish  a   b \n"), Ok(Some((vec![&b"publish"[..], b"a", b"b"], 18))));
        assert_eq!(parse(b"\r\n"), Ok(Some((vec![], 2))));
        assert_eq!(parse(b"*0\r\n"), Ok(Some((vec![], 4))));
        assert_eq!(parse(b"PIN"), Ok(None));
    }

    // Goal: too much, or nonsense, is refused as soon as it shows, before any of it is kept.
    #[test]
    fn limits() {
        for (input, expected) in [
            (&b"*-1\r\n"[..], ProtocolError::Args),
            (b"*1025\r\n", ProtocolError::Args),
            (b"*x\r\n", ProtocolError::Args),
            (b"*1\r\n+PING\r\n", ProtocolError::Dollar),
            (b"*1\r\n$-1\r\n", ProtocolError::Bulk),
            (b"*1\r\n$1048577\r\n", ProtocolError::Bulk),
            (b"*1\r\n$99999999999999999999\r\n", ProtocolError::Bulk),
            (b"*1\r\n$1\r\nab\r\n", ProtocolError::Bulk),
        ] {
            assert_eq!(parse(input), Err(expected), "{}", input.escape_ascii());
        }
        assert_eq!(parse(&vec![b'x'; MAX_LINE]), Err(ProtocolError::Line));
        let large = encode(&vec![vec![b'x'; MAX_BULK]; 5]);
        assert_eq!(parse(&large[..=MAX_COMMAND]), Err(ProtocolError::Command));
    }

    // Goal: an error stays one line, so that it cannot be taken for the next reply.
    #[test]
    fn errors_are_one_line() {
        let mut out = Vec::new();
        put_error(&mut out, "ERR a\r\n+OK");
        assert_eq!(out, b"-ERR a  +OK\r\n");
    }

    proptest! {
        // Goal: any command survives the wire, in one piece or byte by byte, with more behind it.
        #[test]
        fn reads_what_was_written(
            args in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..10),
            more in any::<Vec<u8>>(),
        ) {
            let bytes = encode(&args);
            for cut in 0..bytes.len() {
                prop_assert_eq!(parse(&bytes[..cut]), Ok(None));
            }
            let wire = [&bytes[..], &more].concat();
            let parsed = parse(&wire);
            prop_assert_eq!(parsed, Ok(Some((args.iter().map(Vec::as_slice).collect(), bytes.len()))));
        }

        // Goal: no bytes make it panic, take nothing, or take more than there is.
        #[test]
        fn survives_any_bytes(input in "[*$\\r\\n0-9a-]{0,60}|.{0,60}") {
            if let Ok(Some((args, taken))) = parse(input.as_bytes()) {
                prop_assert!(taken > 0 && taken <= input.len());
                prop_assert!(args.len() <= MAX_ARGS);
            }
        }
    }
}
