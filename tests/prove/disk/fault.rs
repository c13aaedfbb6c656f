//! Calls that fail on demand.

use std::io;

/// The calls that a storage takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Read,
    Write,
    Sync,
    Size,
    Allocated,
    Allocate,
    Open,
    Rename,
    Remove,
    SyncDir,
    MakeDir,
    List,
    Lock,
    FreeBytes,
    Volume,
}

/// In which way a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The device.
    Eio,
    /// The volume is full.
    Enospc,
    /// The quota is used up.
    Edquot,
    /// A signal came.
    Eintr,
    /// Less than was asked for.
    Short,
}

pub const WAYS: [Way; 5] = [Way::Eio, Way::Enospc, Way::Edquot, Way::Eintr, Way::Short];

impl Way {
    /// Whether the kernel lets this call fail in this way.
    pub fn can_happen_to(self, call: Call) -> bool {
        match self {
            Way::Eio => true,
            Way::Enospc | Way::Edquot => {
                matches!(call, Call::Write | Call::Sync | Call::Allocate | Call::Open | Call::Rename | Call::SyncDir | Call::MakeDir)
            }
            Way::Eintr => matches!(call, Call::Read | Call::Write | Call::Allocate),
            Way::Short => matches!(call, Call::Read | Call::Write),
        }
    }

    /// The error, if it is one.
    pub fn error(self) -> Option<io::Error> {
        let errno = match self {
            Way::Eio => 5,
            Way::Enospc => 28,
            Way::Edquot => 122,
            Way::Eintr => 4,
            Way::Short => return None,
        };
        Some(io::Error::from_raw_os_error(errno))
    }
}

/// From the `at`-th call on, `calls` of them fail, where they can.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub at: u64,
    pub calls: u64,
    pub way: Way,
}

impl Fault {
    pub fn hits(&self, number: u64, call: Call) -> bool {
        (self.at..self.at.saturating_add(self.calls)).contains(&number) && self.way.can_happen_to(call)
    }
}
