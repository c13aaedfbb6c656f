//! The content of a file: pages that copies share until one of them writes.

use crate::chance::mix;
use std::sync::{Arc, OnceLock};

/// What a disk writes whole or not at all.
pub const SECTOR: usize = 512;
/// What a file system allocates.
pub const PAGE: usize = 4096;

pub type Sector = [u8; SECTOR];
const BLANK: Sector = [0; SECTOR];

#[derive(Clone)]
struct Page {
    bytes: [u8; PAGE],
    hash: OnceLock<u64>,
}

/// Bytes from 0 on; what was never written is zeros. A clone costs nothing.
#[derive(Clone, Default)]
pub struct Pages(Arc<Vec<Option<Arc<Page>>>>);

impl Pages {
    pub fn sector(&self, number: usize) -> &Sector {
        let per_page = PAGE / SECTOR;
        let page = self.0.get(number / per_page).and_then(Option::as_ref);
        page.map_or(&BLANK, |page| page.bytes[number % per_page * SECTOR..].first_chunk().expect("a whole sector"))
    }

    pub fn set_sector(&mut self, number: usize, bytes: &Sector) {
        let at = number % (PAGE / SECTOR) * SECTOR;
        self.page_mut(number / (PAGE / SECTOR))[at..at + SECTOR].copy_from_slice(bytes);
    }

    pub fn read(&self, buf: &mut [u8], offset: usize) {
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done;
            let n = (PAGE - at % PAGE).min(buf.len() - done);
            match self.0.get(at / PAGE).and_then(Option::as_ref) {
                Some(page) => buf[done..done + n].copy_from_slice(&page.bytes[at % PAGE..at % PAGE + n]),
                None => buf[done..done + n].fill(0),
            }
            done += n;
        }
    }

    /// Nothing is left from `len` on.
    pub fn truncate(&mut self, len: usize) {
        let pages = len.div_ceil(PAGE);
        if self.0.len() > pages {
            Arc::make_mut(&mut self.0).truncate(pages);
        }
        if !len.is_multiple_of(PAGE) && self.0.get(len / PAGE).is_some_and(Option::is_some) {
            self.page_mut(len / PAGE)[len % PAGE..].fill(0);
        }
    }

    /// A fingerprint of the content.
    pub fn hash(&self) -> u64 {
        self.0.iter().enumerate().fold(0, |hash, (n, page)| match page {
            Some(page) => hash ^ mix(page.hash().wrapping_add(n as u64)),
            None => hash,
        })
    }

    fn page_mut(&mut self, number: usize) -> &mut [u8; PAGE] {
        let pages = Arc::make_mut(&mut self.0);
        if pages.len() <= number {
            pages.resize(number + 1, None);
        }
        let page = Arc::make_mut(pages[number].get_or_insert_with(|| Arc::new(Page { bytes: [0; PAGE], hash: OnceLock::new() })));
        page.hash = OnceLock::new();
        &mut page.bytes
    }
}

impl Page {
    /// 0 for a page of zeros, which is no different from one that was never written.
    fn hash(&self) -> u64 {
        *self.hash.get_or_init(|| {
            let words = self.bytes.chunks_exact(8).map(|word| u64::from_le_bytes(*word.first_chunk().expect("8 bytes")));
            let (hash, any) = words
                .fold((0_u64, 0_u64), |(hash, any), word| ((hash.rotate_left(5) ^ word).wrapping_mul(0x517C_C1B7_2722_0A95), any | word));
            if any == 0 { 0 } else { mix(hash) | 1 }
        })
    }
}
