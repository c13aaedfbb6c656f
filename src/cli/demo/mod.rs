//! `dualstream demo`: everything in one process, nothing to install.

// The demo command, which is to use it, is not here yet.
#[cfg_attr(not(test), expect(dead_code, unused_imports, reason = "the demo command is its user"))]
mod pubsub;
