//! What may happen to files behind everybody's back.

use super::store::Store;
use crate::disk::{PAGE, SECTOR, World};
use std::ops::Range;

#[derive(Clone, Debug)]
pub enum Change {
    Flip {
        file: String,
        bit: u64,
    },
    Zero {
        file: String,
        sector: u64,
    },
    Cut {
        file: String,
        len: u64,
    },
    Delete {
        file: String,
    },
    /// A copy, in place of what may have had that name.
    Copy {
        from: String,
        to: String,
    },
    Swap {
        one: String,
        other: String,
    },
    Unreadable {
        file: String,
        range: Range<u64>,
    },
}

impl Change {
    /// There are few of these, and each is of its own kind.
    pub fn is_rare(&self) -> bool {
        matches!(self, Change::Delete { .. } | Change::Copy { .. } | Change::Swap { .. } | Change::Unreadable { .. })
    }

    /// Whether it leaves nothing in a file that tells of the last events: they are cut off, or there are zeros as in what was never written. One
    /// sector may hold the last group and the mark that proves it.
    pub fn leaves_no_trace(&self, name: &str) -> bool {
        match self {
            Change::Zero { file, sector } => file == name && *sector >= 16,
            Change::Cut { file, len } => file == name && *len >= 92,
            Change::Delete { file } => file == name,
            _ => false,
        }
    }

    /// Whether it takes away what tells how many events a file held, and leaves what tells that there was a file.
    pub fn hides_how_many(&self, name: &str) -> bool {
        match self {
            Change::Cut { file, .. } | Change::Unreadable { file, .. } => file == name,
            Change::Copy { to, .. } => to == name,
            _ => false,
        }
    }

    pub fn apply(&self, world: &World) -> World {
        let mut world = world.clone();
        let ino = |world: &World, name: &str| world.names().get(name).expect("a file of the store");
        match self {
            Change::Flip { file, bit } => {
                let ino = ino(&world, file);
                world.file_mut(ino).rot(bit / 8, |bytes| bytes[0] ^= 1 << (bit % 8), 1);
            }
            Change::Zero { file, sector } => {
                let ino = ino(&world, file);
                world.file_mut(ino).rot(sector * SECTOR as u64, |bytes| bytes.fill(0), SECTOR);
            }
            Change::Cut { file, len } => {
                let ino = ino(&world, file);
                world.file_mut(ino).cut(*len);
            }
            Change::Delete { file } => {
                let _ = world.names_mut().remove(file);
            }
            Change::Copy { from, to } => {
                let bytes = world.content(from).expect("a file of the store");
                let _ = world.names_mut().remove(to);
                let ino = world.create(to);
                world.file_mut(ino).write(&bytes, 0);
                world.file_mut(ino).sync();
            }
            Change::Swap { one, other } => {
                let _ = world.names_mut().rename(one, "between");
                let _ = world.names_mut().rename(other, one);
                let _ = world.names_mut().rename("between", other);
            }
            Change::Unreadable { .. } => {}
        }
        world.names_mut().sync("");
        world.killed()
    }
}

/// All changes of a store that are tried: every bit and length of what holds something; of blank and stale bytes, which are one class, one bit
/// and one length in each sector; every sector; every file and pair of files.
pub fn changes(store: &Store) -> Vec<Change> {
    let names: Vec<String> = store.world.names().all().map(|(name, _)| name.clone()).filter(|name| holds_data(name)).collect();
    let mut changes = Vec::new();
    for file in &names {
        let bytes = store.world.content(file).expect("just listed");
        for at in 0..bytes.len() as u64 {
            let of_use = is_of_use(file, &bytes, at);
            let bits = if of_use { 0..8 } else { at % 8..at % 8 + u64::from(at.is_multiple_of(SECTOR as u64)) };
            changes.extend(bits.map(|bit| Change::Flip { file: file.clone(), bit: at * 8 + bit }));
            if of_use || at.is_multiple_of(SECTOR as u64) {
                changes.push(Change::Cut { file: file.clone(), len: at });
            }
        }
        changes.extend((0..(bytes.len() / SECTOR) as u64).map(|sector| Change::Zero { file: file.clone(), sector }));
        changes.push(Change::Delete { file: file.clone() });
        let len = bytes.len() as u64;
        let pages = (0..16).map(|page| page * PAGE as u64..(page + 1) * PAGE as u64);
        changes.extend(pages.chain([0..len, 8192..len]).map(|range| Change::Unreadable { file: file.clone(), range }));
        for other in names.iter().filter(|other| *other != file) {
            changes.push(Change::Copy { from: file.clone(), to: other.clone() });
            changes.extend((other < file).then(|| Change::Swap { one: file.clone(), other: other.clone() }));
        }
        changes.push(Change::Copy { from: file.clone(), to: "seg-0000000000000100.log".to_owned() });
    }
    changes
}

fn holds_data(name: &str) -> bool {
    name == "cursor" || name.starts_with("seg-")
}

/// Whether a byte is part of a header, a seal, a slot or a frame.
fn is_of_use(file: &str, bytes: &[u8], at: u64) -> bool {
    let word = |at: usize| bytes.get(at..at + 8).map_or(0, |word| u64::from_le_bytes(*word.first_chunk().expect("8 bytes")));
    if file == "cursor" {
        let slot = at / 65_536 * 65_536;
        let body = word(usize::try_from(slot).expect("small") + 12) & 0xFFFF_FFFF;
        return at - slot < 32 + body;
    }
    let end = if bytes[4096..].starts_with(b"DSTRMEND") { word(4096 + 48) } else { last_frame_end(bytes) };
    at < 92 || (4096..4096 + 68).contains(&at) || (8192..end).contains(&at)
}

fn last_frame_end(bytes: &[u8]) -> u64 {
    let mut at = 8192;
    while bytes.get(at..at + 4) == Some(b"DSF1") {
        let len = u32::from_le_bytes(*bytes[at + 36..].first_chunk().expect("4 bytes")) as usize;
        at += 56 + len.next_multiple_of(8);
    }
    at as u64
}
