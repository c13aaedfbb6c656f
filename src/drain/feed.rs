//! What to send next: a cursor over the frames that the buffer leases. Skips events that Kafka already has.

use super::source::Source;
use crate::buffer::{Leased, ParkedEvent, ReadError};
use crate::event::{EventRef, RecordError, Records, Seq};
use bytes::Bytes;

/// The cursor.
#[derive(Debug, Default)]
pub(super) struct Feed {
    lease: Option<Lease>,
}

#[derive(Debug)]
struct Lease {
    frame: Leased,
    /// Events of the frame that are behind the cursor.
    index: u32,
    /// Where the next record begins.
    offset: usize,
}

/// The event at the cursor.
#[derive(Debug)]
pub(super) struct Next<'a> {
    pub(super) seq: Seq,
    pub(super) event: EventRef<'a>,
    /// Milliseconds since the Unix epoch.
    pub(super) accepted_ms: u64,
    /// The frame's records.
    pub(super) payload: &'a Bytes,
    /// Where this record begins in it.
    pub(super) offset: usize,
    /// Its length in bytes.
    pub(super) len: usize,
}

/// Why there is no next event although there is backlog.
#[derive(Debug, thiserror::Error)]
pub(super) enum FeedError {
    #[error("the buffer cannot be read")]
    Read(#[from] ReadError),
    #[error("event {seq} does not decode")]
    Malformed {
        seq: Seq,
        #[source]
        source: RecordError,
    },
    #[error("the frame of event {seq} ends too early")]
    Short { seq: Seq },
}

impl Feed {
    /// Moves to the next event that Kafka does not have; false when everything durable was handed out.
    pub(super) fn seek<S: Source>(&mut self, source: &mut S) -> Result<bool, FeedError> {
        loop {
            match &mut self.lease {
                Some(lease) if lease.index < lease.frame.count => {
                    if !source.is_acked(lease.seq()) {
                        return Ok(true);
                    }
                    let len = lease.decode()?.len;
                    lease.advance(len);
                }
                _ => {
                    self.lease = source.next()?.map(|frame| Lease { frame, index: 0, offset: 0 });
                    if self.lease.is_none() {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// The event at the cursor; `None` when [`Feed::seek`] did not find one.
    pub(super) fn current(&self) -> Result<Option<Next<'_>>, FeedError> {
        self.lease.as_ref().filter(|lease| lease.index < lease.frame.count).map(Lease::decode).transpose()
    }

    /// The next event that Kafka does not have; `None` when there is none up to `last`.
    pub(super) fn next_up_to<S: Source>(&mut self, source: &mut S, last: Seq) -> Result<Option<Next<'_>>, FeedError> {
        if !self.seek(source)? {
            return Ok(None);
        }
        Ok(self.current()?.filter(|next| next.seq <= last))
    }

    /// Moves past the event at the cursor, whose record is `len` bytes long.
    pub(super) fn advance(&mut self, len: usize) {
        if let Some(lease) = &mut self.lease {
            lease.advance(len);
        }
    }

    /// Forgets the lease, before the source is rewound.
    pub(super) fn clear(&mut self) {
        self.lease = None;
    }
}

impl Next<'_> {
    /// The event as it is parked.
    pub(super) fn to_park(&self) -> ParkedEvent {
        let record = self.payload.slice(self.offset..self.offset + self.len);
        ParkedEvent { seq: self.seq.0, accepted_ms: self.accepted_ms, record }
    }
}

impl Lease {
    fn seq(&self) -> Seq {
        self.frame.first_seq.plus(u64::from(self.index))
    }

    fn advance(&mut self, len: usize) {
        self.index += 1;
        self.offset += len;
    }

    fn decode(&self) -> Result<Next<'_>, FeedError> {
        let seq = self.seq();
        let mut records = Records::starting_at(&self.frame.payload, self.offset);
        let event = records.next().ok_or(FeedError::Short { seq })?.map_err(|source| FeedError::Malformed { seq, source })?;
        Ok(Next {
            seq,
            event,
            accepted_ms: self.frame.accepted_ms,
            payload: &self.frame.payload,
            offset: self.offset,
            len: records.offset() - self.offset,
        })
    }
}
