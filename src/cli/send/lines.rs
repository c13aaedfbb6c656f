//! NDJSON in batches: whole lines, bounded by number and by bytes.

use super::super::exit::{Exit, Failure};
use bytes::Bytes;
use std::io::{BufRead, Read};

/// A batch ends at this many bytes, so that it stays well under a relay's limit for a request.
const BATCH_BYTES: usize = 4 << 20;

/// Longest line, in bytes: the largest event that a relay can be set to take.
const LINE_BYTES: usize = 64 << 20;

/// Events of one request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch {
    /// The lines.
    pub(super) body: Bytes,
    /// For each event, the line where it stands, from 1; never empty.
    pub(super) line_numbers: Vec<u64>,
}

/// Reads batches from a stream of lines.
pub(super) struct Batches<R> {
    input: R,
    max_events: usize,
    line_number: u64,
}

impl<R: BufRead> Batches<R> {
    /// Batches of at most `max_events`.
    pub(super) fn new(input: R, max_events: usize) -> Self {
        Self { input, max_events, line_number: 0 }
    }

    /// The next batch; `None` at the end. Blank lines are passed over.
    pub(super) fn next(&mut self) -> Result<Option<Batch>, Failure> {
        let mut body = Vec::new();
        let mut line_numbers = Vec::new();
        while line_numbers.len() < self.max_events && body.len() < BATCH_BYTES {
            let start = body.len();
            let mut limited = (&mut self.input).take(LINE_BYTES as u64 + 1);
            let length = limited
                .read_until(b'\n', &mut body)
                .map_err(|error| Failure::new(Exit::Failed, format!("cannot read standard input: {error}")))?;
            if length == 0 {
                break;
            }
            self.line_number += 1;
            if length > LINE_BYTES {
                return Err(Failure::new(Exit::Usage, format!("line {} is longer than {LINE_BYTES} bytes", self.line_number)));
            }
            if body[start..].trim_ascii().is_empty() {
                body.truncate(start);
                continue;
            }
            if body.last() != Some(&b'\n') {
                body.push(b'\n');
            }
            line_numbers.push(self.line_number);
        }
        Ok((!line_numbers.is_empty()).then(|| Batch { body: body.into(), line_numbers }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batches(text: &str, max_events: usize) -> Vec<(String, Vec<u64>)> {
        let mut batches = Batches::new(text.as_bytes(), max_events);
        let mut all = Vec::new();
        while let Some(batch) = batches.next().unwrap() {
            all.push((String::from_utf8(batch.body.to_vec()).unwrap(), batch.line_numbers));
        }
        all
    }

    // Goal: every line is sent once, in order, and a refused event can be found by its line, blank lines or not.
    #[test]
    fn lines_become_batches() {
        let expect = [("1\n2\n".to_owned(), vec![1, 3]), ("3\r\n4\n".to_owned(), vec![5, 6])];
        assert_eq!(batches("1\n\n2\n \r\n3\r\n4", 2), expect);
        assert_eq!(batches("\n\n", 2), []);
        assert_eq!(batches("", 2), []);
    }

    // Goal: large events do not pile up into a request that the relay must refuse.
    #[test]
    fn batches_are_bounded_by_bytes() {
        let line = format!("\"{}\"\n", "x".repeat(3 << 20));
        let numbers: Vec<_> = batches(&line.repeat(3), 1000).into_iter().map(|(_, numbers)| numbers).collect();
        assert_eq!(numbers, [vec![1, 2], vec![3]]);
    }
}
