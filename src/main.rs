//! The `dualstream` binary: parse, call the command, return its exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    dualstream::cli::main(std::env::args_os()).into()
}
