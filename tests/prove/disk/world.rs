//! All files and names at one moment, cheap to copy; what a crash may make of them.

use super::file::{File, Part};
use super::names::{Ino, Names};
use super::page::PAGE;
use crate::chance::{Chance, mix};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

/// A name that is a directory.
const DIRECTORIES: [&str; 1] = ["quarantine"];

#[derive(Clone, Default)]
pub struct World {
    files: BTreeMap<Ino, Arc<File>>,
    names: Arc<Names>,
    next_ino: Ino,
}

/// Something that a crash decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    File(Ino, Part),
    /// How many of an inode's pending operations on names happened.
    Names(Ino),
}

/// What a crash decides, each with the number of ways.
pub type Opens = Vec<(Open, usize)>;

impl World {
    pub fn file(&self, ino: Ino) -> &File {
        &self.files[&ino]
    }

    pub fn file_mut(&mut self, ino: Ino) -> &mut File {
        Arc::make_mut(self.files.get_mut(&ino).expect("an open file"))
    }

    pub fn names(&self) -> &Names {
        &self.names
    }

    pub fn names_mut(&mut self) -> &mut Names {
        Arc::make_mut(&mut self.names)
    }

    /// The inode of a name, made when there is none.
    pub fn create(&mut self, name: &str) -> Ino {
        if let Some(ino) = self.names.get(name) {
            return ino;
        }
        self.next_ino += 1;
        let _ = self.files.insert(self.next_ino, Arc::default());
        let ino = self.next_ino;
        self.names_mut().create(name, ino);
        ino
    }

    pub fn lookup(&self, name: &str) -> io::Result<Ino> {
        self.names.get(name).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The content of a file.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let file = self.file(self.names.get(name)?);
        let mut bytes = vec![0; usize::try_from(file.size()).expect("a small file")];
        let _ = file.read(&mut bytes, 0);
        Some(bytes)
    }

    /// Bytes allocated for everything, a page for each directory included.
    pub fn allocated(&self) -> u64 {
        let dirs = DIRECTORIES.iter().filter(|dir| self.names.get(dir).is_some()).count() + 1;
        self.files.values().map(|file| file.allocated()).sum::<u64>() + (dirs * PAGE) as u64
    }

    /// Forgets the files that have neither a name nor somebody who holds them. Their pending operations on names stay.
    pub fn forget(&mut self, is_open: impl Fn(Ino) -> bool) {
        let named: BTreeSet<Ino> = self.names.all().map(|(_, ino)| ino).collect();
        self.files.retain(|ino, file| {
            let kept = named.contains(ino) || is_open(*ino);
            // A crash may bring its name back; its blocks are free for others until then.
            if !kept && !self.names.is_settled() {
                Arc::make_mut(file).free();
            }
            kept || !self.names.is_settled()
        });
    }

    /// Everything that a crash now would decide.
    pub fn opens(&self) -> Opens {
        let files = self.files.iter().flat_map(|(ino, file)| file.parts().into_iter().map(|(part, ways)| (Open::File(*ino, part), ways)));
        let names = self.names.parts().into_iter().map(|(ino, count)| (Open::Names(ino), count + 1));
        files.chain(names).collect()
    }

    /// The world after a crash with these decisions, one for each of `opens`.
    pub fn crashed(&self, opens: &Opens, choices: &[usize]) -> Self {
        let mut world = self.clone();
        let mut counts = BTreeMap::new();
        for ((open, _), choice) in opens.iter().zip(choices) {
            match *open {
                Open::File(ino, part) if *choice > 0 => world.file_mut(ino).decide(part, *choice),
                Open::File(..) => {}
                Open::Names(ino) => {
                    let _ = counts.insert(ino, *choice);
                }
            }
        }
        if !world.names.is_settled() {
            world.names_mut().settle(counts);
        }
        world.forget(|_| false);
        for file in world.files.values_mut().filter(|file| !file.is_settled()) {
            Arc::make_mut(file).settle();
        }
        world
    }

    /// The world after kill -9: the kernel lives on and has everything.
    pub fn killed(&self) -> Self {
        let opens = self.opens();
        self.crashed(&opens, &opens.iter().map(|(_, ways)| ways - 1).collect::<Vec<_>>())
    }

    /// Decisions by chance: mostly of a kind (nothing, all, all but one, only one), since that is where mistakes are; names by a journal
    /// that was cut somewhere, or each inode's for itself.
    pub fn choose(&self, opens: &Opens, chance: &mut Chance) -> Vec<usize> {
        let style = chance.below(7);
        let special = if opens.is_empty() { 0 } else { chance.index(opens.len()) };
        let mut choices: Vec<usize> = Vec::with_capacity(opens.len());
        for (at, (_, ways)) in opens.iter().enumerate() {
            choices.push(match style {
                0 => 0,
                1 => ways - 1,
                2 if at == special => chance.index(*ways),
                2 => ways - 1,
                3 if at == special => chance.index(*ways),
                3 => 0,
                4 => (ways - 1) * usize::from(at < special),
                5 => (ways - 1) * usize::from(at >= special),
                _ => chance.index(*ways),
            });
        }
        if chance.one_in(2) {
            let prefix = self.names.journal_prefix(chance.index(self.names.pending() + 1));
            let first = opens.len() - prefix.len();
            choices[first..].copy_from_slice(&prefix);
        }
        choices
    }

    /// A fingerprint of what the disk has.
    pub fn hash(&self) -> u64 {
        self.names.all().fold(0, |hash, (name, ino)| {
            let name = name.bytes().fold(7, |hash, byte| mix(hash ^ u64::from(byte)));
            hash.wrapping_add(mix(name ^ self.file(ino).hash()))
        })
    }
}
