//! Buffer files as text: what is not zero, row by row, so that a difference can be read and the files stay small.
//!
//! ```text
//! length 65536
//! 2000 44534631 …          offset in hexadecimal, up to 32 bytes in hexadecimal
//! 2080 78*30000            the same byte, that many times
//! ```
//! Rows begin at multiples of 32; what no row names is zero.

use std::fmt::Write as _;

const ROW: usize = 32;

/// Bytes as text.
pub(in crate::buffer) fn encode(bytes: &[u8]) -> String {
    let mut text = format!("length {}\n", bytes.len());
    let rows: Vec<&[u8]> = bytes.chunks(ROW).collect();
    let mut at = 0;
    while at < rows.len() {
        let first = rows[at][0];
        let same = rows[at..].iter().take_while(|row| row.iter().all(|byte| *byte == first)).count();
        if same > 0 {
            let count: usize = rows[at..at + same].iter().map(|row| row.len()).sum();
            if first != 0 {
                writeln!(text, "{:x} {first:02x}*{count}", at * ROW).unwrap();
            }
            at += same;
            continue;
        }
        let used = rows[at].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        write!(text, "{:x} ", at * ROW).unwrap();
        rows[at][..used].iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
        text.push('\n');
        at += 1;
    }
    text
}

/// The bytes of such a text; panics with the line that is none.
pub(in crate::buffer) fn decode(text: &str) -> Vec<u8> {
    let mut lines = text.lines();
    let length = lines.next().and_then(|line| line.strip_prefix("length ")?.parse().ok()).expect("the first line is the length");
    let mut bytes = vec![0; length];
    for line in lines {
        row(line, &mut bytes).unwrap_or_else(|| panic!("not a row of a file of {length} bytes: {line:?}"));
    }
    bytes
}

fn row(line: &str, bytes: &mut [u8]) -> Option<()> {
    let (offset, content) = line.split_once(' ')?;
    let place = bytes.get_mut(usize::from_str_radix(offset, 16).ok()?..)?;
    if let Some((byte, count)) = content.split_once('*') {
        place.get_mut(..count.parse().ok()?)?.fill(u8::from_str_radix(byte, 16).ok()?);
        return Some(());
    }
    for (i, byte) in place.get_mut(..content.len() / 2)?.iter_mut().enumerate() {
        *byte = u8::from_str_radix(content.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(())
}

// Goal: the text holds every byte.
#[test]
fn text_is_the_bytes() {
    let mut bytes = vec![0; 5000];
    bytes[70..1500].fill(0x78);
    bytes[1501] = 1;
    bytes[4999] = 2;
    for end in [0, 1, 31, 32, 33, 100, 1500, 4990, 5000] {
        assert_eq!(decode(&encode(&bytes[..end])), bytes[..end], "{end}");
    }
    assert!(encode(&bytes).len() < 500);
}
