//! The stored form of an event, and batches of them.
//!
//! ```text
//! record:  varint value_len · varint extra_len · 5 × field · value bytes · extra bytes
//! field:   varint length · varint offset into (value ++ extra)      (length 0: absent, and no offset follows)
//! fields:  id · type · source_type · source_id · traceparent
//! ```
//! Fields are spans into the value, so that nothing is stored or parsed twice; text that is not there verbatim (JSON escapes,
//! headers) goes into `extra`. Varints are unsigned LEB128. Where the value is not what the client posted, the hash of that
//! ([`super::Fingerprint`]) stands in the last 8 bytes of `extra`, to which no field points.
//!
//! Invariant: what [`BatchBuilder`] wrote, [`Records`] reads back identically; on any other bytes it returns an error, never panics.

use super::EventRef;
use super::fingerprint::{Fingerprint, body_hash, id_hash};

const FIELDS: usize = 5;
/// What the hash of a posted body takes in `extra`.
const POSTED_LEN: usize = 8;

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
    fingerprints: Vec<Fingerprint>,
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
        // A payload of fewer than 4 GiB does not hold more.
        u32::try_from(self.fingerprints.len()).unwrap_or(u32::MAX)
    }

    /// What each event is known by, in order.
    pub fn fingerprints(&self) -> &[Fingerprint] {
        &self.fingerprints
    }

    /// The batch without some of its events: `left_out` are their ascending positions.
    #[must_use]
    pub fn without(&self, left_out: &[usize]) -> Self {
        let mut rest = Self { payload: Vec::with_capacity(self.payload.len()), ..Self::default() };
        let mut left_out = left_out.iter().copied().peekable();
        let mut records = Records::new(&self.payload);
        for (position, fingerprint) in self.fingerprints.iter().enumerate() {
            let from = records.offset();
            if !matches!(records.next(), Some(Ok(_))) {
                break;
            }
            if left_out.next_if_eq(&position).is_none() {
                rest.payload.extend_from_slice(&self.payload[from..records.offset()]);
                rest.fingerprints.push(*fingerprint);
            }
        }
        rest.crc = crc32c::crc32c(&rest.payload);
        rest
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
    fingerprints: Vec<Fingerprint>,
}

impl BatchBuilder {
    /// A builder with room for about `bytes` of events.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { payload: Vec::with_capacity(bytes), fingerprints: Vec::new() }
    }

    /// Bytes used so far.
    pub fn len(&self) -> usize {
        self.payload.len()
    }

    /// Whether no event was pushed yet.
    pub fn is_empty(&self) -> bool {
        self.fingerprints.is_empty()
    }

    /// Appends one event that is stored as it was posted.
    pub fn push(&mut self, event: &EventParts<'_>) {
        self.push_posted(event, None);
    }

    /// Appends one event; `posted` is the hash of what the client posted, where that is not the value.
    pub fn push_posted(&mut self, event: &EventParts<'_>, posted: Option<u64>) {
        let id = match event.id {
            Field::Text(text) => id_hash(text),
            Field::Span { offset, len } => {
                id_hash(event.value.get(offset..offset + len).and_then(|id| std::str::from_utf8(id).ok()).unwrap_or_default())
            }
            Field::Absent => id_hash(""),
        };
        self.fingerprints.push(Fingerprint { id, body: posted.unwrap_or_else(|| body_hash(event.value)) });
        let fields = [event.id, event.kind, event.source_type, event.source_id, event.traceparent];
        let texts_len: usize = fields.iter().map(|field| if let Field::Text(text) = field { text.len() } else { 0 }).sum();
        let extra_len = texts_len + posted.map_or(0, |_| POSTED_LEN);
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
        if let Some(posted) = posted {
            self.payload.extend_from_slice(&posted.to_le_bytes());
        }
    }

    /// Appends one record as it was stored before.
    ///
    /// # Errors
    /// [`RecordError`] when it is none.
    pub fn push_record(&mut self, record: &[u8]) -> Result<(), RecordError> {
        let (_, fingerprint) = Records::new(record).next_fingerprint().unwrap_or(Err(RecordError { offset: 0 }))?;
        self.payload.extend_from_slice(record);
        self.fingerprints.push(fingerprint);
        Ok(())
    }

    /// The finished batch, its checksum computed.
    pub fn finish(self) -> Batch {
        Batch { crc: crc32c::crc32c(&self.payload), payload: self.payload, fingerprints: self.fingerprints }
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

    /// The next record, with what its event is known by.
    pub fn next_fingerprint(&mut self) -> Option<Result<(EventRef<'a>, Fingerprint), RecordError>> {
        let offset = self.offset;
        let event = match self.next()? {
            Ok(event) => event,
            Err(error) => return Some(Err(error)),
        };
        let body = posted_of(self.payload, offset).unwrap_or_else(|| body_hash(event.value));
        Some(Ok((event, Fingerprint { id: id_hash(event.id), body })))
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

/// The hash that stands behind the texts of the record at `at`, which decodes.
fn posted_of(payload: &[u8], mut at: usize) -> Option<u64> {
    let value_len = take_varint(payload, &mut at)?;
    let extra_len = take_varint(payload, &mut at)?;
    let mut texts_len = 0;
    for _ in 0..FIELDS {
        let len = take_varint(payload, &mut at)?;
        if len > 0 && take_varint(payload, &mut at)? >= value_len {
            texts_len += len;
        }
    }
    let end = at.checked_add(value_len)?.checked_add(extra_len)?;
    let posted = payload.get(..end)?.last_chunk::<POSTED_LEN>()?;
    (extra_len == texts_len + POSTED_LEN).then(|| u64::from_le_bytes(*posted))
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

        // Goal: an event is known again by what was posted, also when it is read back from disk, and also next to others that are taken
        // out.
        #[test]
        fn is_known_again(events in prop::collection::vec(("[a-z]{1,20}", ".{0,60}", prop::option::of(any::<u64>()), any::<bool>()), 1..12)) {
            let mut builder = BatchBuilder::default();
            for (id, text, posted, inside) in &events {
                let value = format!("{id}{text}");
                builder.push_posted(&EventParts {
                    value: value.as_bytes(),
                    id: if *inside { Field::Span { offset: 0, len: id.len() } } else { Field::Text(id) },
                    kind: Field::Text("t"),
                    source_type: Field::Text(text),
                    source_id: Field::Text(id),
                    traceparent: Field::Absent,
                }, *posted);
            }
            let batch = builder.finish();
            let read = |batch: &Batch| {
                let mut records = Records::new(batch.payload());
                std::iter::from_fn(|| records.next_fingerprint()).map(|read| read.unwrap().1).collect::<Vec<_>>()
            };
            prop_assert_eq!(read(&batch), batch.fingerprints());
            for ((id, text, posted, _), found) in events.iter().zip(batch.fingerprints()) {
                prop_assert_eq!(*found, Fingerprint::new(id, posted.unwrap_or_else(|| body_hash(format!("{id}{text}").as_bytes()))));
            }
            let left_out: Vec<usize> = (0..events.len()).step_by(2).collect();
            let rest = batch.without(&left_out);
            let kept: Vec<_> = batch.fingerprints().iter().skip(1).step_by(2).copied().collect();
            prop_assert_eq!(read(&rest), kept.clone());
            prop_assert_eq!((rest.fingerprints(), rest.crc()), (&kept[..], crc32c::crc32c(rest.payload())));
        }

        // Goal: bytes that are no record are an error, never a panic or an endless loop.
        #[test]
        fn survives_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Records::new(&bytes).count() <= bytes.len());
        }
    }
}
