//! The `dualstream` binary: parse, call the command, return its exit code.

fn main() {}
