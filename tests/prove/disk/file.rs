//! One file: what the platter has, what the page cache shows, and what is between them.

use super::page::{PAGE, Pages, SECTOR, Sector};
use crate::chance::Chance;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Default)]
pub struct File {
    disk: Pages,
    cache: Pages,
    disk_size: u64,
    size: u64,
    /// Sizes that it had since the last sync; the last one is `size`.
    sizes: Vec<u64>,
    /// Contents that each sector had since the last sync: the disk may have any of them.
    dirty: BTreeMap<usize, Vec<Arc<Sector>>>,
    /// A sync failed: what the cache shows and what the disk has may differ without being dirty.
    limbo: bool,
    /// Bytes that belong to it on the volume.
    allocated: u64,
    /// Removed, and its removal may be undone by a crash.
    freed: bool,
}

/// What may be chosen about a file when a crash comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Which of its contents a sector has.
    Sector(usize),
    Size,
}

impl File {
    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn allocated(&self) -> u64 {
        self.allocated
    }

    /// Bytes that a write or reservation up to `end` would add.
    pub fn growth(&self, end: u64) -> u64 {
        end.next_multiple_of(PAGE as u64).saturating_sub(self.allocated)
    }

    pub fn read(&self, buf: &mut [u8], offset: u64) -> usize {
        let n = usize::try_from(self.size.saturating_sub(offset)).expect("a small file").min(buf.len());
        self.cache.read(&mut buf[..n], usize::try_from(offset).expect("a small file"));
        n
    }

    pub fn reserve(&mut self, len: u64) {
        self.allocated += self.growth(len);
        self.grow(len);
    }

    pub fn write(&mut self, buf: &[u8], offset: u64) {
        self.allocated += self.growth(offset + buf.len() as u64);
        let offset = usize::try_from(offset).expect("a small file");
        let mut done = 0;
        while done < buf.len() {
            let (number, at) = ((offset + done) / SECTOR, (offset + done) % SECTOR);
            let n = (SECTOR - at).min(buf.len() - done);
            let (old, new) = (self.cache.sector(number), &buf[done..done + n]);
            if old[at..at + n] != *new {
                let mut sector = *old;
                sector[at..at + n].copy_from_slice(new);
                self.cache.set_sector(number, &sector);
                self.dirty.entry(number).or_default().push(Arc::new(sector));
            } else if self.limbo && self.disk.sector(number) != old {
                // The same again, and this time it is dirty.
                self.dirty.entry(number).or_default().push(Arc::new(*old));
            }
            done += n;
        }
        self.grow((offset + buf.len()) as u64);
    }

    fn grow(&mut self, len: u64) {
        if len > self.size {
            self.size = len;
            self.sizes.push(len);
        }
    }

    pub fn sync(&mut self) {
        if self.limbo {
            for (number, contents) in std::mem::take(&mut self.dirty) {
                self.disk.set_sector(number, contents.last().expect("at least one"));
            }
        } else {
            self.dirty.clear();
            self.disk = self.cache.clone();
        }
        self.sizes.clear();
        self.disk_size = self.size;
    }

    /// A sync that fails: each dirty sector reached the disk or did not, all are clean now, and the cache shows either.
    pub fn fail_sync(&mut self, chance: &mut Chance) {
        for (number, contents) in std::mem::take(&mut self.dirty) {
            if let Some(content) = contents.get(chance.index(contents.len() + 1)) {
                self.disk.set_sector(number, content);
            }
            if chance.one_in(2) {
                self.cache.set_sector(number, &self.disk.sector(number).to_owned());
            }
        }
        if let Some(size) = self.sizes.get(chance.index(self.sizes.len() + 1)) {
            self.disk_size = *size;
        }
        self.sizes.clear();
        self.limbo = true;
    }

    /// What is not settled, with the number of ways in which it may turn out.
    pub fn parts(&self) -> Vec<(Part, usize)> {
        let sectors = self.dirty.iter().map(|(number, contents)| (Part::Sector(*number), contents.len() + 1));
        let size = (!self.sizes.is_empty()).then_some((Part::Size, self.sizes.len() + 1));
        sectors.chain(size).collect()
    }

    /// Nothing is left for a sync.
    pub fn is_clean(&self) -> bool {
        self.dirty.is_empty() && self.sizes.is_empty()
    }

    pub fn is_settled(&self) -> bool {
        self.dirty.is_empty() && self.sizes.is_empty() && !self.limbo && !self.freed
    }

    /// Its blocks are free for others, for as long as no crash undoes its removal.
    pub fn free(&mut self) {
        self.allocated = 0;
        self.freed = true;
    }

    /// Decides a part; 0 is what the last sync left.
    pub fn decide(&mut self, part: Part, choice: usize) {
        let Some(choice) = choice.checked_sub(1) else { return };
        match part {
            Part::Sector(number) => {
                let content = Arc::clone(&self.dirty[&number][choice]);
                self.disk.set_sector(number, &content);
            }
            Part::Size => self.disk_size = self.sizes[choice],
        }
    }

    /// After a crash the cache is what the disk has.
    pub fn settle(&mut self) {
        self.disk.truncate(usize::try_from(self.disk_size).expect("a small file"));
        self.cache = self.disk.clone();
        self.size = self.disk_size;
        self.sizes.clear();
        self.dirty.clear();
        self.limbo = false;
        let most = self.size.next_multiple_of(PAGE as u64);
        self.allocated = if std::mem::take(&mut self.freed) { most } else { self.allocated.min(most) };
    }

    pub fn hash(&self) -> u64 {
        crate::chance::mix(self.disk.hash() ^ self.disk_size)
    }

    /// Changes bytes on the disk behind everybody's back: rot.
    pub fn rot(&mut self, offset: u64, change: impl FnOnce(&mut [u8]), len: usize) {
        let mut bytes = vec![0; len];
        let n = self.read(&mut bytes, offset);
        change(&mut bytes[..n]);
        self.write(&bytes[..n], offset);
        self.sync();
    }

    /// Cuts the file off, on the disk.
    pub fn cut(&mut self, len: u64) {
        self.sync();
        self.disk_size = len;
        self.settle();
    }
}
