//! The real binary as the tool that people and scripts call: arguments and standard input in, exit code and text out.

use std::{
    fs::File,
    io::{Seek, Write},
    process::{Command, Stdio},
};

use serde_json::Value;

/// Far longer than any command waits by itself; one that hangs is killed then, and its exit code is 124.
const PATIENCE_SECONDS: &str = "60";

/// A call in the making. The environment is empty but for what is given: the developer's own settings do not count.
pub struct Call {
    command: Command,
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// `dualstream` with arguments.
pub fn dualstream<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Call {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=1", PATIENCE_SECONDS, env!("CARGO_BIN_EXE_dualstream")]).args(arguments);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.current_dir(env!("CARGO_TARGET_TMPDIR")).stdin(Stdio::null());
    Call { command }
}

impl Call {
    /// With a variable in its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// With text to read from standard input.
    pub fn stdin(mut self, text: &str) -> Self {
        let mut file: File = tempfile::tempfile().expect("a file for standard input");
        file.write_all(text.as_bytes()).and_then(|()| file.rewind()).expect("the file takes it");
        self.command.stdin(file);
        self
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(mut self) -> Ended {
        let output = self.command.output().expect("the binary starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is text");
        let code = output.status.code().unwrap_or_else(|| panic!("ended by {}", output.status));
        Ended { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Ended {
    /// Itself, or a panic that shows everything when the exit code is another.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// Standard output as one JSON document.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("not JSON: {e}: {self:#?}"))
    }

    /// Standard output as JSON, a document a line.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let lines = self.stdout.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().unwrap_or_else(|e| panic!("not JSON lines: {e}: {self:#?}"))
    }
}
