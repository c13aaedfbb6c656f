//! The locks with which the buffer's threads hand work to each other, under one name: `tests/handover` compiles the same code with
//! locks that try every order in which threads may run.

pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
