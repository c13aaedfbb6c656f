//! Acceptances, written by hand: their shape is small and fixed, and there is one per request.

use super::json_text::push_string;
use crate::buffer::Appended;
use crate::event::{Batch, Records};
use crate::lifecycle::Receipt;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

/// The ids of a request's events in order, kept while the batch itself is with the buffer.
#[derive(Debug, Default)]
pub(super) struct Ids {
    /// All ids, one after the other.
    text: String,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Ids {
    /// The ids of a batch.
    pub(super) fn of(batch: &Batch) -> Self {
        let mut ids = Self::default();
        for event in Records::new(batch.payload()).flatten() {
            ids.text.push_str(event.id);
            ids.ends.push(ids.text.len());
        }
        ids
    }

    fn get(&self, index: usize) -> Option<&str> {
        let start = if index == 0 { 0 } else { *self.ends.get(index - 1)? };
        self.text.get(start..*self.ends.get(index)?)
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.ends.len()).filter_map(|index| self.get(index))
    }
}

/// What is told about a stored request.
#[derive(Debug)]
pub(super) struct Acceptance<'a> {
    /// What the buffer answered.
    pub appended: Appended,
    /// The ids of all events by position, when the relay made any of them.
    pub made_ids: Option<&'a Ids>,
    /// Where Kafka put the events, by position, and what their ids are, when it was waited for and came in time.
    pub receipts: Option<(&'a [Receipt], &'a Ids)>,
}

impl Acceptance<'_> {
    /// The reply: 200 when Kafka has the events, 202 when they are durable here.
    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::from(self.body()));
        *response.status_mut() = if self.receipts.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    fn body(&self) -> String {
        let Appended { first_seq, count, durable, ref repeats } = self.appended;
        let (last_seq, duplicates) = (self.appended.last_seq(), repeats.len());
        let ack = if self.receipts.is_some() { "kafka" } else { "buffered" };
        let mut out = format!(
            r#"{{"accepted":{count},"duplicates":{duplicates},"first_seq":{first_seq},"last_seq":{last_seq},"ack":"{ack}","durable":{durable}"#
        );
        if let Some(ids) = self.made_ids {
            out.push_str(",\"ids\":");
            push_list(&mut out, ids.iter(), |out, id| {
                push_string(out, id);
            });
        }
        if let Some((receipts, ids)) = self.receipts {
            out.push_str(",\"receipts\":");
            push_list(&mut out, receipts.iter().zip(ids.iter()), |out, (receipt, id)| push_receipt(out, receipt, id));
        }
        out.push('}');
        out
    }
}

fn push_receipt(out: &mut String, receipt: &Receipt, id: &str) {
    out.push_str("{\"id\":");
    push_string(out, id);
    let Receipt { seq, place } = receipt;
    out.extend([",\"seq\":", &seq.to_string(), ",\"topic\":"]);
    push_string(out, &place.topic);
    out.extend([",\"partition\":", &place.partition.to_string(), ",\"offset\":", &place.offset.to_string(), "}"]);
}

fn push_list<T>(out: &mut String, items: impl IntoIterator<Item = T>, mut push: impl FnMut(&mut String, T)) {
    out.push('[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        push(out, item);
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{BatchBuilder, EventParts, Field, Place, Seq};

    fn ids(texts: &[&str]) -> Ids {
        let mut builder = BatchBuilder::default();
        for id in texts {
            let field = Field::Text("x");
            builder.push(&EventParts {
                value: b"{}",
                id: Field::Text(id),
                kind: field,
                source_type: field,
                source_id: field,
                traceparent: Field::Absent,
            });
        }
        Ids::of(&builder.finish())
    }

    const APPENDED: Appended = Appended { first_seq: Seq(41), count: 2, durable: true, repeats: Vec::new() };

    // Goal: the reply has exactly the shape of the contract.
    #[test]
    fn buffered() {
        let plain = Acceptance { appended: APPENDED, made_ids: None, receipts: None };
        assert_eq!(plain.body(), r#"{"accepted":2,"duplicates":0,"first_seq":41,"last_seq":42,"ack":"buffered","durable":true}"#);
        let ids = ids(&["a", "b\"c"]);
        let one = Appended { count: 1, durable: false, ..APPENDED };
        let with_ids = Acceptance { appended: one, made_ids: Some(&ids), receipts: None };
        assert_eq!(
            with_ids.body(),
            r#"{"accepted":1,"duplicates":0,"first_seq":41,"last_seq":41,"ack":"buffered","durable":false,"ids":["a","b\"c"]}"#
        );
        assert_eq!(plain.into_response().status(), 202);
    }

    // Goal: with ack=kafka I learn where each of my events is.
    #[test]
    fn kafka() {
        let receipt = |seq, offset| Receipt { seq: Seq(seq), place: Place { topic: "events".into(), partition: 3, offset } };
        let (receipts, ids) = ([receipt(41, 7), receipt(42, -1)], ids(&["a", "b"]));
        let reply = Acceptance { appended: APPENDED, made_ids: None, receipts: Some((&receipts, &ids)) };
        assert_eq!(
            reply.body(),
            concat!(
                r#"{"accepted":2,"duplicates":0,"first_seq":41,"last_seq":42,"ack":"kafka","durable":true,"receipts":["#,
                r#"{"id":"a","seq":41,"topic":"events","partition":3,"offset":7},{"id":"b","seq":42,"topic":"events","partition":3,"offset":-1}]}"#
            )
        );
        assert_eq!(reply.into_response().status(), 200);
    }
}
