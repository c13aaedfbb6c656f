//! The stored form of an event, and batches of them.
//!
//! ```text
//! record:  varint value_len · varint extra_len · 5 × field · value bytes · extra bytes
//! field:   varint length · varint offset into (value ++ extra)      (length 0: absent, and no offset follows)
//! fields:  id · type · source_type · source_id · traceparent
//! ```
//! Fields are spans into the value, so that nothing is stored or parsed twice; text that is not there verbatim (JSON escapes,
//! headers) goes into `extra`. Varints are unsigned LEB128.
//!
//! Invariant: what [`BatchBuilder`] wrote, [`Records`] reads back identically; on any other bytes it returns an error, never panics.

use super::EventRef;

const FIELDS: usize = 5;

/// Where the text of a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// `len` bytes at `offset` of the value, verbatim.
    Span {
        /// Byte offset into the value.
        offset: usize,
        /// Length in bytes.
        len: usize,
    },
    /// Text that does not stand verbatim in the value; stored beside it.
    Text(&'a str),
    /// Not there (only `traceparent` may be).
    Absent,
}

/// An event about to be stored.
#[derive(Clone, Copy, Debug)]
pub struct EventParts<'a> {
    /// The full event as JSON.
    pub value: &'a [u8],
    /// The event's id.
    pub id: Field<'a>,
    /// The event's `type`.
    pub kind: Field<'a>,
    /// The event's `source_type`.
    pub source_type: Field<'a>,
    /// The event's `source_id`.
    pub source_id: Field<'a>,
    /// W3C trace context of the request.
    pub traceparent: Field<'a>,
}

/// The records of one request: stored whole or not at all.
#[derive(Debug, Default)]
pub struct Batch {
    payload: Vec<u8>,
    count: u32,
    crc: u32,
}

impl Batch {
    /// The encoded records.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The encoded records, taken out.
    pub fn into_payload(self) -> Vec<u8> {
        self.payload
    }

    /// Number of events; at least 1 once built from any.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// CRC-32C of the payload, computed by the caller's thread so that the committer need not.
    pub fn crc(&self) -> u32 {
        self.crc
    }
}

/// Builds a [`Batch`].
#[derive(Debug, Default)]
pub struct BatchBuilder {
    payload: Vec<u8>,
    count: u32,
}

impl BatchBuilder {
    /// A builder with room for about `bytes` of events.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { payload: Vec::with_capacity(bytes), count: 0 }
    }

    /// Bytes used so far.
    pub fn len(&self) -> usize {
        self.payload.len()
    }

    /// Whether no event was pushed yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Appends one event.
    pub fn push(&mut self, event: &EventParts<'_>) {
        let fields = [event.id, event.kind, event.source_type, event.source_id, event.traceparent];
        let extra_len: usize = fields.iter().map(|field| if let Field::Text(text) = field { text.len() } else { 0 }).sum();
        put_varint(&mut self.payload, event.value.len() as u64);
        put_varint(&mut self.payload, extra_len as u64);
        let mut extra_at = event.value.len();
        for field in fields {
            let (offset, len) = match field {
                Field::Span { offset, len } => (offset, len),
                Field::Text(text) => {
                    extra_at += text.len();
                    (extra_at - text.len(), text.len())
                }
                Field::Absent => (0, 0),
            };
            put_varint(&mut self.payload, len as u64);
            if len > 0 {
                put_varint(&mut self.payload, offset as u64);
            }
        }
        self.payload.extend_from_slice(event.value);
        for field in fields {
            if let Field::Text(text) = field {
                self.payload.extend_from_slice(text.as_bytes());
            }
        }
        self.count += 1;
    }

    /// Appends one record as it was stored before.
    pub fn push_record(&mut self, record: &[u8]) {
        self.payload.extend_from_slice(record);
        self.count += 1;
    }

    /// The finished batch, its checksum computed.
    pub fn finish(self) -> Batch {
        Batch { crc: crc32c::crc32c(&self.payload), payload: self.payload, count: self.count }
    }
}

/// Stored bytes that are not a record: a bug or a forged file, since checksums were verified before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record at byte {offset} of its batch is malformed")]
pub struct RecordError {
    /// Byte offset within the payload.
    pub offset: usize,
}

/// Reads the records of a payload in order.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    payload: &'a [u8],
    offset: usize,
}

impl<'a> Records<'a> {
    /// A reader over a batch payload.
    pub fn new(payload: &'a [u8]) -> Self {
        Self { payload, offset: 0 }
    }

    /// A reader that starts at a byte offset where a record is known to begin (from [`Records::offset`]).
    pub fn starting_at(payload: &'a [u8], offset: usize) -> Self {
        Self { payload, offset }
    }

    /// Byte offset of the next record.
    pub fn offset(&self) -> usize {
        self.offset
    }

    fn decode(&mut self) -> Option<EventRef<'a>> {
        let mut at = self.offset;
        let value_len = take_varint(self.payload, &mut at)?;
        let extra_len = take_varint(self.payload, &mut at)?;
        let mut spans = [(0_usize, 0_usize); FIELDS];
        for span in &mut spans {
            span.1 = take_varint(self.payload, &mut at)?;
            if span.1 > 0 {
                span.0 = take_varint(self.payload, &mut at)?;
            }
        }
        let body_len = value_len.checked_add(extra_len)?;
        let body = self.payload.get(at..at.checked_add(body_len)?)?;
        let text = |(offset, len): (usize, usize)| std::str::from_utf8(body.get(offset..offset.checked_add(len)?)?).ok();
        let event = EventRef {
            id: text(spans[0])?,
            kind: text(spans[1])?,
            source_type: text(spans[2])?,
            source_id: text(spans[3])?,
            traceparent: if spans[4].1 == 0 { None } else { Some(text(spans[4])?) },
            value: &body[..value_len],
        };
        self.offset = at + body_len;
        Some(event)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<EventRef<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.offset >= self.payload.len() {
            return None;
        }
        let offset = self.offset;
        let decoded = self.decode().ok_or(RecordError { offset });
        if decoded.is_err() {
            self.offset = self.payload.len();
        }
        Some(decoded)
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        #[expect(clippy::cast_possible_truncation, reason = "the low seven bits are what is wanted")]
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "below 0x80")]
    out.push(value as u8);
}

fn take_varint(bytes: &[u8], at: &mut usize) -> Option<usize> {
    let mut value = 0_u64;
    for shift in (0..35).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return usize::try_from(value).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        // Goal: whatever was stored is read back identically, wherever its texts stand.
        #[test]
        fn reads_back_what_was_written(events in prop::collection::vec((".{0,200}", ".{1,30}", ".{1,30}", prop::option::of(".{1,55}")), 1..20)) {
            let mut builder = BatchBuilder::default();
            for (value, id, text, trace) in &events {
                let value = format!("{id}{value}");
                builder.push(&EventParts {
                    value: value.as_bytes(),
                    id: Field::Span { offset: 0, len: id.len() },
                    kind: Field::Text(text),
                    source_type: Field::Text(id),
                    source_id: Field::Text(text),
                    traceparent: trace.as_deref().map_or(Field::Absent, Field::Text),
                });
            }
            let batch = builder.finish();
            prop_assert_eq!(batch.count() as usize, events.len());
            let read: Vec<_> = Records::new(batch.payload()).map(Result::unwrap).collect();
            prop_assert_eq!(read.len(), events.len());
            for (event, (value, id, text, trace)) in read.iter().zip(&events) {
                prop_assert_eq!(event.id, id);
                prop_assert_eq!(event.kind, text);
                prop_assert_eq!(event.source_type, id);
                prop_assert_eq!(event.source_id, text);
                prop_assert_eq!(event.traceparent, trace.as_deref());
                let expected = format!("{id}{value}");
                prop_assert_eq!(event.value, expected.as_bytes());
            }
        }

        // Goal: bytes that are no record are an error, never a panic or an endless loop.
        #[test]
        fn survives_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Records::new(&bytes).count() <= bytes.len());
        }
    }
}
