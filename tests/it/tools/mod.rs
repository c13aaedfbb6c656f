//! The tools for buffers at three in the morning: every one on every kind of directory, and what they do for a running relay.

mod directories;
mod drain_only;
mod fixtures;
mod running;

use std::time::Duration;

const SOON: Duration = Duration::from_secs(90);
