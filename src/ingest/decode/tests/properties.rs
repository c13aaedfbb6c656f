//! What holds for any input.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

const FORMATS: [Format; 5] = [Format::Json, Format::JsonLines, Format::CloudEvent, Format::CloudEventBatch, Format::CloudEventBinary];

fn name() -> impl Strategy<Value = String> {
    "[^\\p{Cc}]{1,12}"
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(".{0,4}", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

prop_compose! {
    fn event()(id in prop::option::of(name()), texts in (name(), name(), name()), payload in prop::option::of(any_json()), extra in any_json()) -> Value {
        let mut event = json!({"type": texts.0, "source_type": texts.1, "source_id": texts.2, "extra": extra});
        if let Some(id) = id {
            event["id"] = id.into();
        }
        if let Some(payload) = payload {
            event["payload"] = payload;
        }
        event
    }
}

proptest! {
    // Goal: any valid events come through whole and in order, as an array and as lines alike.
    #[test]
    fn valid_events_round_trip(events in prop::collection::vec(event(), 1..8), pretty in any::<bool>()) {
        let array = if pretty { serde_json::to_string_pretty(&events) } else { serde_json::to_string(&events) }.unwrap();
        let lines = events.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
        for (format, body) in [(Format::Json, array), (Format::JsonLines, lines)] {
            let decoded = decode(format, &HeaderMap::new(), body.as_bytes()).unwrap();
            prop_assert_eq!(decoded.batch.count() as usize, events.len());
            prop_assert_eq!(decoded.made_ids, events.iter().any(|event| event.get("id").is_none()));
            for (record, sent) in Records::new(decoded.batch.payload()).zip(&events) {
                let record = record.unwrap();
                let mut stored: Value = serde_json::from_slice(record.value).unwrap();
                prop_assert_eq!(&stored["id"], record.id);
                prop_assert_eq!(&stored["type"], record.kind);
                prop_assert_eq!(&stored["source_type"], record.source_type);
                prop_assert_eq!(&stored["source_id"], record.source_id);
                let fields = stored.as_object_mut().unwrap();
                prop_assert_eq!(fields.remove("time"), Some(NOW.into()));
                if sent.get("id").is_none() {
                    fields.remove("id");
                }
                prop_assert_eq!(&stored, sent);
            }
        }
    }

    // Goal: a structured CloudEvent names the same source as an event in our format.
    #[test]
    fn cloud_events_round_trip(texts in (name(), "[a-z%]{1,8}", name()), data in any_json()) {
        let source = format!("/{}/{}", percent_encoding::utf8_percent_encode(&texts.1, percent_encoding::NON_ALPHANUMERIC),
            percent_encoding::utf8_percent_encode(&texts.2, percent_encoding::NON_ALPHANUMERIC));
        let event = json!({"specversion": "1.0", "id": texts.0, "type": "t", "source": source, "data": data});
        let decoded = decode(Format::CloudEvent, &HeaderMap::new(), event.to_string().as_bytes()).unwrap();
        let record = Records::new(decoded.batch.payload()).next().unwrap().unwrap();
        prop_assert_eq!((record.id, record.source_type, record.source_id), (&*texts.0, &*texts.1, &*texts.2));
        let stored: Value = serde_json::from_slice(record.value).unwrap();
        prop_assert_eq!(&stored["payload"], &data);
        prop_assert_eq!(&stored["source_id"], &*texts.2);
    }

    // Goal: no bytes whatever bring the relay down.
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        for format in FORMATS {
            drop(decode(format, &HeaderMap::new(), &bytes));
        }
    }

    // Goal: nor does anything that is nearly an event; and what is accepted is JSON, and what is not JSON is refused.
    #[test]
    fn nearly_events_are_answered(event in event(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut body = event.to_string().into_bytes();
        let at = at.index(body.len());
        if cut { body.truncate(at) } else { body[at] = byte }
        for format in FORMATS {
            let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok();
            match decode(format, &HeaderMap::new(), &body) {
                Ok(_) => prop_assert!(is_json),
                Err(DecodeError::Malformed(malformed)) => prop_assert!(malformed.at <= body.len()),
                Err(_) => {}
            }
        }
    }
}
