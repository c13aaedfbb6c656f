//! Where exported lines go: standard output, or a file that appears when it is complete.

use super::super::super::exit::{Exit, Failure};
use super::super::super::output::Output;
use super::super::words::events;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Lines for standard output are handed over in pieces of about this size, in bytes.
const PIECE_BYTES: usize = 1 << 16;

/// Takes lines and counts them.
pub(in crate::cli) struct Sink {
    file: Option<(PathBuf, BufWriter<NamedTempFile>)>,
    piece: Vec<u8>,
    limit: u64,
    count: u64,
    seqs: Option<(u64, u64)>,
}

impl Sink {
    /// A sink for at most `limit` lines.
    pub(in crate::cli) fn open(path: Option<&Path>, limit: u64) -> Result<Self, Failure> {
        let open = |path: &Path| {
            // Beside its final place, so that it gets there in one step.
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let made = NamedTempFile::new_in(folder).map_err(|error| cannot(path, &error))?;
            Ok::<_, Failure>((path.to_owned(), BufWriter::new(made)))
        };
        Ok(Self { file: path.map(open).transpose()?, piece: Vec::new(), limit, count: 0, seqs: None })
    }

    /// Whether nothing more is wanted.
    pub(in crate::cli) fn is_full(&self) -> bool {
        self.count >= self.limit
    }

    /// Takes the line of an event.
    pub(in crate::cli) fn put(&mut self, seq: u64, line: &str, out: &mut Output) -> Result<(), Failure> {
        self.count += 1;
        self.seqs = Some((self.seqs.map_or(seq, |(first, _)| first), seq));
        if let Some((path, file)) = &mut self.file {
            return writeln!(file, "{line}").map_err(|error| cannot(path, &error));
        }
        self.piece.extend_from_slice(line.as_bytes());
        self.piece.push(b'\n');
        if self.piece.len() >= PIECE_BYTES { self.hand_over(out) } else { Ok(()) }
    }

    /// Puts the file in its place; says what was exported.
    pub(in crate::cli) fn finish(mut self, out: &mut Output) -> Result<String, Failure> {
        self.hand_over(out)?;
        let full = self.is_full();
        if let Some((path, file)) = self.file {
            put_in_place(file, &path).map_err(|error| cannot(&path, &error))?;
        }
        Ok(match self.seqs {
            None => "exported nothing: no waiting event matches".to_owned(),
            Some((first, last)) => {
                let more = if full { format!("; go on with --from-seq {}", last.saturating_add(1)) } else { String::new() };
                format!("exported {}, seq {first} to {last}{more}", events(self.count))
            }
        })
    }

    fn hand_over(&mut self, out: &mut Output) -> Result<(), Failure> {
        let handed = out.bytes(&self.piece);
        self.piece.clear();
        handed
    }
}

fn put_in_place(file: BufWriter<NamedTempFile>, path: &Path) -> io::Result<()> {
    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.as_file().sync_all()?;
    let _ = file.persist(path)?;
    Ok(())
}

fn cannot(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::super::super::output::tests::captured;
    use super::*;

    // Goal: an export that does not get to its end leaves no file, and no half of one where a good one was.
    #[test]
    fn a_file_is_whole_or_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.ndjson");
        let (mut out, ..) = captured();
        let export = |lines: u64, finish: bool, out: &mut Output| {
            let mut sink = Sink::open(Some(&path), 3).unwrap();
            (1..=lines).for_each(|seq| sink.put(seq, "{}", out).unwrap());
            finish.then(|| sink.finish(out).unwrap())
        };
        assert_eq!(export(2, false, &mut out), None);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(export(2, true, &mut out).as_deref(), Some("exported 2 events, seq 1 to 2"));
        assert_eq!(export(1, false, &mut out), None);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{}\n{}\n");
        assert_eq!(export(3, true, &mut out).as_deref(), Some("exported 3 events, seq 1 to 3; go on with --from-seq 4"));
    }
}
