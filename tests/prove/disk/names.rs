//! The directory: names as everybody sees them, names as the disk has them, and the operations in between.

use std::collections::BTreeMap;

pub type Ino = u32;

#[derive(Clone, Debug)]
struct Operation {
    ino: Ino,
    /// The name that goes, when it is this inode's.
    from: Option<String>,
    /// The name that comes.
    to: Option<String>,
    /// Directories that have to be synced before this is on the disk for sure.
    unsynced: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Names {
    seen: BTreeMap<String, Ino>,
    disk: BTreeMap<String, Ino>,
    pending: Vec<Operation>,
}

/// The directory that a name is in.
fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(dir, _)| dir)
}

impl Names {
    pub fn get(&self, name: &str) -> Option<Ino> {
        self.seen.get(name).copied()
    }

    /// Names directly in a directory.
    pub fn list(&self, dir: &str) -> Vec<String> {
        let names = self.seen.keys().filter(|name| parent(name) == dir);
        names.map(|name| name.rsplit_once('/').map_or(name.as_str(), |(_, last)| last).to_owned()).collect()
    }

    pub fn all(&self) -> impl Iterator<Item = (&String, Ino)> {
        self.seen.iter().map(|(name, ino)| (name, *ino))
    }

    pub fn create(&mut self, name: &str, ino: Ino) {
        let _ = self.seen.insert(name.to_owned(), ino);
        self.pend(ino, None, Some(name));
    }

    /// Takes the name away; the inode that had it.
    pub fn remove(&mut self, name: &str) -> Option<Ino> {
        let ino = self.seen.remove(name)?;
        self.pend(ino, Some(name), None);
        Some(ino)
    }

    /// Gives an inode another name; the inode whose name that was.
    pub fn rename(&mut self, from: &str, to: &str) -> Option<Ino> {
        let ino = self.seen.remove(from)?;
        let replaced = self.seen.insert(to.to_owned(), ino);
        self.pend(ino, Some(from), Some(to));
        replaced
    }

    fn pend(&mut self, ino: Ino, from: Option<&str>, to: Option<&str>) {
        let mut unsynced: Vec<String> = from.iter().chain(to.iter()).map(|name| parent(name).to_owned()).collect();
        unsynced.dedup();
        self.pending.push(Operation { ino, from: from.map(str::to_owned), to: to.map(str::to_owned), unsynced });
    }

    pub fn sync(&mut self, dir: &str) {
        let (mut left, pending) = (Vec::new(), std::mem::take(&mut self.pending));
        for mut operation in pending {
            operation.unsynced.retain(|unsynced| unsynced != dir);
            if operation.unsynced.is_empty() {
                apply(&mut self.disk, &operation);
            } else {
                left.push(operation);
            }
        }
        self.pending = left;
    }

    /// The inodes with pending operations, and how many each has.
    pub fn parts(&self) -> Vec<(Ino, usize)> {
        let mut counts: Vec<(Ino, usize)> = Vec::new();
        for operation in &self.pending {
            match counts.iter_mut().find(|(ino, _)| *ino == operation.ino) {
                Some((_, count)) => *count += 1,
                None => counts.push((operation.ino, 1)),
            }
        }
        counts
    }

    /// How many operations of each inode (in the order of [`Names::parts`]) a journal has that was cut after `n` operations.
    pub fn journal_prefix(&self, n: usize) -> Vec<usize> {
        let of = |ino| self.pending.iter().take(n).filter(|operation| operation.ino == ino).count();
        self.parts().into_iter().map(|(ino, _)| of(ino)).collect()
    }

    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// After a crash: of each inode's operations only the first `counts` happened.
    pub fn settle(&mut self, mut counts: BTreeMap<Ino, usize>) {
        for operation in std::mem::take(&mut self.pending) {
            if let Some(left @ 1..) = counts.get_mut(&operation.ino) {
                *left -= 1;
                apply(&mut self.disk, &operation);
            }
        }
        // What is in a directory that is not there is not there either.
        let dirs: Vec<String> = self.disk.keys().cloned().collect();
        self.disk.retain(|name, _| parent(name).is_empty() || dirs.iter().any(|dir| dir == parent(name)));
        self.seen = self.disk.clone();
    }

    pub fn is_settled(&self) -> bool {
        self.pending.is_empty()
    }
}

fn apply(disk: &mut BTreeMap<String, Ino>, operation: &Operation) {
    if let Some(from) = operation.from.as_ref().filter(|from| disk.get(*from) == Some(&operation.ino)) {
        let _ = disk.remove(from);
    }
    if let Some(to) = &operation.to {
        let _ = disk.insert(to.clone(), operation.ino);
    }
}
