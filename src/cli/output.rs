//! The one place that writes to standard output and standard error.

use super::exit::{Failure, write_failure};
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

/// Where a command prints.
pub struct Output {
    stdout: Box<dyn Write>,
    stderr: Box<dyn Write>,
    styled: bool,
}

/// What a colour means; never the only carrier of that meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    Good,
    Doubtful,
    Bad,
    Faint,
}

impl Output {
    /// The process's own streams. Colours only on a terminal, and not when `NO_COLOR` is set or the terminal is dumb.
    pub fn of_process() -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { stdout: Box::new(io::stdout()), stderr: Box::new(io::stderr()), styled: io::stdout().is_terminal() && !plain && !dumb }
    }

    /// Other streams, without colours.
    pub fn to(stdout: impl Write + 'static, stderr: impl Write + 'static) -> Self {
        Self { stdout: Box::new(stdout), stderr: Box::new(stderr), styled: false }
    }

    /// Prints a line of the result.
    ///
    /// # Errors
    /// When standard output takes nothing more; silent and successful when its reader has gone.
    pub fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        writeln!(self.stdout, "{text}").map_err(|error| write_failure(&error))
    }

    /// Prints bytes of the result as they are.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.stdout.write_all(bytes).map_err(|error| write_failure(&error))
    }

    /// Passes on what is still held back.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.stdout.flush().map_err(|error| write_failure(&error))
    }

    /// Prints a line for people beside the result. When even standard error is gone there is nobody left to tell.
    pub fn note(&mut self, text: impl Display) {
        drop(writeln!(self.stderr, "{text}"));
    }

    /// Colours a text, on a terminal.
    pub(super) fn paint(&self, paint: Paint, text: &str) -> String {
        let code = match paint {
            Paint::Good => 32,
            Paint::Doubtful => 33,
            Paint::Bad => 31,
            Paint::Faint => 2,
        };
        if self.styled { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::exit::Exit;
    use super::*;
    use std::sync::{Arc, Mutex};

    /// Keeps what a command printed.
    #[derive(Clone, Default)]
    pub(in crate::cli) struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Captured {
        pub(in crate::cli) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// An output whose streams can be read: output, stdout, stderr.
    pub(in crate::cli) fn captured() -> (Output, Captured, Captured) {
        let (stdout, stderr) = (Captured::default(), Captured::default());
        (Output::to(stdout.clone(), stderr.clone()), stdout, stderr)
    }

    struct Refusing(io::ErrorKind);

    impl Write for Refusing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    // Goal: `dualstream … | head` is a success without a word; a full disk is a failure.
    #[test]
    fn a_reader_that_has_seen_enough_is_no_failure() {
        let exit = |kind| Output::to(Refusing(kind), io::sink()).line("x").unwrap_err();
        assert_eq!(exit(io::ErrorKind::BrokenPipe), Failure::new(Exit::Done, ""));
        assert_eq!(exit(io::ErrorKind::StorageFull).exit, Exit::Failed);
    }

    // Goal: no escape codes where no terminal reads.
    #[test]
    fn colours_only_on_a_terminal() {
        let (mut out, ..) = captured();
        assert_eq!(out.paint(Paint::Bad, "x"), "x");
        out.styled = true;
        assert_eq!(out.paint(Paint::Bad, "x"), "\x1b[31mx\x1b[0m");
    }
}
