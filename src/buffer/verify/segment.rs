//! Every byte of one segment. Reads only.
//!
//! An unfinished segment is judged as recovery will judge it (its module doc has the cases), but by code of its own: two books that can
//! disagree.

use super::super::inspect::look::Opened;
use super::super::log::frame::{FrameHeader, HEADER_LEN, Kind};
use super::super::log::recovery::account;
use super::super::log::scan::{Found, Scanner};
use super::super::log::segment::{DATA_START, Seal};
use super::super::log::storage::read_full;
use super::super::log::unseen::{self, Held};
use crate::event::Records;
use std::io;

/// How often a place that does not verify is read again while a relay may be writing there.
const LIVE_READS: u32 = 3;

/// What is known before a segment is read, in seqs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// The log goes on here.
    pub(super) in_log: u64,
    /// The first that is neither found so far nor at its end.
    pub(super) unended: u64,
    /// Every seq up to this one is known to have been durable.
    pub(super) proof: u64,
    /// A later segment begins with this seq: what is here with it, or a higher one, is no data.
    pub(super) ceiling: u64,
    /// A relay may be writing.
    pub(super) live: bool,
}

/// Bytes that do not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) what: &'static str,
    pub(super) offset: u64,
    pub(super) bytes: u64,
    /// Which events were in it, inclusive, by its neighbours.
    pub(super) seqs: Option<(u64, u64)>,
}

/// What a segment holds.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// What the seal says, or should say.
    pub(super) seal: Seal,
    /// Seqs of the events that can be read, as inclusive ranges.
    pub(super) found: Vec<(u64, u64)>,
    /// Damaged, with good data or a proof behind.
    pub(super) pieces: Vec<Piece>,
    /// The unfinished write at the end.
    pub(super) torn: Option<Piece>,
    /// Offsets of frames whose checksum is right and whose events do not decode.
    pub(super) malformed: Vec<(u64, (u64, u64))>,
    /// Offsets of frames that are followed by something other than zeros up to the next multiple of 8.
    pub(super) unpadded: Vec<u64>,
    /// The highest seq that a frame knew to be durable.
    pub(super) proof: u64,
    /// What may have been behind the end of an unsealed segment.
    pub(super) behind: Option<Held>,
}

/// Reads a segment from front to back.
pub(super) fn scan(opened: &Opened, expected: Expected) -> io::Result<Scan> {
    let mut walk = Walk {
        opened,
        scanner: patient(),
        limit: if opened.seal.is_some() { opened.limit() } else { opened.file.size()? },
        at: DATA_START,
        in_log: expected.in_log.max(opened.header.base_seq),
        scan: Scan { seal: Seal { end: DATA_START, ..Seal::default() }, ..Scan::default() },
    };
    if opened.seal.is_some() {
        walk.sealed()?;
    } else {
        walk.unsealed(expected)?;
    }
    Ok(walk.scan)
}

/// What the disk does not give is damage.
fn patient() -> Scanner {
    let mut scanner = Scanner::default();
    scanner.insist(false);
    scanner
}

struct Walk<'a> {
    opened: &'a Opened,
    scanner: Scanner,
    limit: u64,
    at: u64,
    /// The log goes on here.
    in_log: u64,
    scan: Scan,
}

impl Walk<'_> {
    fn sealed(&mut self) -> io::Result<()> {
        let (base_seq, last_seq) = (self.opened.header.base_seq, self.opened.seal.map_or(0, |seal| seal.last_seq));
        while self.at < self.limit {
            match self.frame()? {
                Found::Frame(header, payload) => self.good(&header, &payload)?,
                Found::BadPayload(header) => {
                    let seqs = (header.count > 0).then(|| (header.first_seq, header.next_seq() - 1));
                    self.damaged("a payload fails its checksum", (self.at + header.stored_len()).min(self.limit), seqs);
                    self.in_log = self.in_log.max(header.next_seq());
                }
                Found::NoFrame { .. } => {
                    let (end, last) = match self.resync(base_seq)? {
                        Some((good, header)) => (good, header.first_seq.saturating_sub(1)),
                        None => (self.limit, last_seq),
                    };
                    self.damaged("a frame header does not verify", end, (self.in_log <= last).then_some((self.in_log, last)));
                }
            }
        }
        Ok(())
    }

    fn unsealed(&mut self, expected: Expected) -> io::Result<()> {
        let Expected { live, ceiling, .. } = expected;
        let proof = expected.proof.min(ceiling.saturating_sub(1));
        let mut unended = expected.unended.max(self.in_log);
        let mut reads = 0;
        loop {
            let found = self.frame()?;
            if let Found::Frame(header, payload) = &found
                && header.first_seq >= self.in_log
                && header.next_seq() <= expected.ceiling
            {
                self.good(header, payload)?;
                (unended, reads) = (unended.max(self.in_log), 0);
                continue;
            }
            let what =
                if matches!(found, Found::BadPayload(_)) { "a payload fails its checksum" } else { "a frame header does not verify" };
            let resumed = self.resync(self.in_log)?;
            let blank = matches!(found, Found::NoFrame { blank: true });
            if live && reads < LIVE_READS && (resumed.is_some() || !blank) {
                // It may have been half written when it was read. Once something behind it verifies, it must, too.
                reads += 1;
                self.scanner.reset();
                continue;
            }
            let was_durable = proof >= unended || (resumed.is_some() && self.is_proven(unended)?);
            match resumed {
                Some((good, header)) if header.first_seq <= unended || was_durable => {
                    let last = header.first_seq.saturating_sub(1);
                    self.damaged(what, good, (unended <= last).then_some((unended, last)));
                }
                _ if proof >= unended => {
                    self.scan.behind = Some(self.behind(&found));
                    self.damaged("the end of the data does not verify", self.limit, Some((unended, proof)));
                    return Ok(());
                }
                _ => {
                    self.scan.behind = Some(self.behind(&found));
                    if !blank && self.at + HEADER_LEN as u64 <= self.limit {
                        self.scan.torn = Some(self.torn(&found));
                    }
                    return Ok(());
                }
            }
        }
    }

    fn behind(&self, found: &Found) -> Held {
        let bytes = if let Found::BadPayload(header) = found { header.stored_len() } else { HEADER_LEN as u64 };
        unseen::behind_the_end(&*self.opened.file, &self.opened.header, self.scan.seal.end, self.at, bytes)
    }

    fn frame(&mut self) -> io::Result<Found> {
        self.scanner.frame_at(&*self.opened.file, self.opened.header.seed(), self.at, self.limit)
    }

    fn resync(&mut self, min_seq: u64) -> io::Result<Option<(u64, FrameHeader)>> {
        self.scanner.resync(&*self.opened.file, self.opened.header.seed(), self.at, self.limit, min_seq)
    }

    /// Whether a frame farther on says that `seq` was durable when it was written.
    fn is_proven(&mut self, seq: u64) -> io::Result<bool> {
        let (file, seed, mut at) = (&*self.opened.file, self.opened.header.seed(), self.at);
        while let Some((good, header)) = self.scanner.resync(file, seed, at, self.limit, seq)? {
            if header.durable_seq >= seq {
                return Ok(true);
            }
            at = good + header.stored_len() - 8;
        }
        Ok(false)
    }

    fn good(&mut self, header: &FrameHeader, payload: &[u8]) -> io::Result<()> {
        let offset = self.at;
        account(&mut self.scan.seal, header, offset);
        self.at += header.stored_len();
        self.scan.proof = self.scan.proof.max(header.durable_seq);
        if !self.padding_is_blank(header, offset)? {
            self.scan.unpadded.push(offset);
        }
        if header.kind == Kind::Mark || header.next_seq() <= self.in_log {
            return Ok(());
        }
        let seqs = (header.first_seq.max(self.in_log), header.next_seq() - 1);
        self.in_log = header.next_seq();
        let decoded: Result<u32, _> = Records::new(payload).try_fold(0, |count, record| record.map(|_| count + 1));
        // What is encrypted cannot be decoded without the key; its checksum covers what is on disk.
        if !header.encrypted && decoded.ok() != Some(header.count) {
            self.scan.malformed.push((offset, seqs));
        }
        match self.scan.found.last_mut() {
            Some((_, to)) if *to + 1 == seqs.0 => *to = seqs.1,
            _ => self.scan.found.push(seqs),
        }
        Ok(())
    }

    fn padding_is_blank(&self, header: &FrameHeader, offset: u64) -> io::Result<bool> {
        let used = HEADER_LEN as u64 + u64::from(header.len);
        let mut padding = [0_u8; 8];
        let padding = &mut padding[..usize::try_from(header.stored_len() - used).unwrap_or_default()];
        let _ = read_full(&*self.opened.file, padding, offset + used)?;
        Ok(padding.iter().all(|byte| *byte == 0))
    }

    fn damaged(&mut self, what: &'static str, end: u64, seqs: Option<(u64, u64)>) {
        self.scan.pieces.push(Piece { what, offset: self.at, bytes: end - self.at, seqs });
        self.at = end;
    }

    fn torn(&self, found: &Found) -> Piece {
        let rest = self.limit - self.at;
        let (bytes, seqs) = match found {
            Found::BadPayload(header) if header.count > 0 => {
                (header.stored_len().min(rest), Some((header.first_seq, header.next_seq() - 1)))
            }
            _ => (rest, None),
        };
        Piece { what: "the last write is unfinished", offset: self.at, bytes, seqs }
    }
}
