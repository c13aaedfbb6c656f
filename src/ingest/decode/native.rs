//! Events in our own format: the client's JSON is the Kafka value, byte for byte, once `id` and `time` are in it.

use super::assemble::{Assembly, Name, Ready};
use super::error::DecodeError;
use super::framing::Located;
use super::text::{Slot, SlotSeed, TWICE};
use crate::event::body_hash;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use std::fmt;
use uuid::Uuid;

/// The known fields of an event; all others are skipped and stay in its text.
#[derive(Default)]
pub(super) struct NativeEvent<'a> {
    id: Slot<'a>,
    kind: Slot<'a>,
    source_type: Slot<'a>,
    source_id: Slot<'a>,
    time: Slot<'a>,
    payloads: u32,
}

/// Checks an event and adds it to the batch. `scratch` holds the value when something must be put in; it is of no use afterwards.
pub(super) fn take(assembly: &mut Assembly<'_>, scratch: &mut String, event: Located<'_, NativeEvent<'_>>) -> Result<(), DecodeError> {
    let Located { index, json, item } = event;
    let mut checker = assembly.begin(index, json.len())?;
    let Some(item) = checker.object(json, item) else { return Ok(()) };
    if item.payloads > 1 {
        checker.note("payload", TWICE);
    }
    let id = checker.optional_name("id", item.id);
    let kind = checker.name("type", item.kind);
    let source_type = checker.name("source_type", item.source_type);
    let source_id = checker.name("source_id", item.source_id);
    let time = checker.time("time", item.time);
    let (true, Some(kind), Some(source_type), Some(source_id)) = (checker.is_clean(), kind, source_type, source_id) else {
        return Ok(());
    };

    let mut id_buffer = Uuid::encode_buffer();
    let (id_text, id_is_new) = match &id {
        Some(id) => (&**id, false),
        None => (assembly.new_id(&mut id_buffer), true),
    };
    let value = if id_is_new || time.is_none() {
        let new_time = time.is_none().then(|| assembly.time_now());
        complete(scratch, json, id_is_new.then_some(id_text), new_time)
    } else {
        json
    };
    let shift = value.len() - json.len();
    let posted = (shift > 0).then(|| body_hash(json.as_bytes()));
    let id = if id_is_new { Name::at(ID_HEAD.len(), id_text) } else { Name::read_from(json, shift, id_text) };
    let [kind, source_type, source_id] = [&kind, &source_type, &source_id].map(|text| Name::read_from(json, shift, text));
    assembly.push(index, &Ready { value: value.as_bytes(), posted, id, kind, source_type, source_id })
}

/// A new id and a new time, with their names.
const PUT_IN_BYTES: usize = 96;
/// What stands before a new id.
const ID_HEAD: &str = "{\"id\":\"";

/// The event with a new id and a new time, each right after the opening brace.
fn complete<'s>(scratch: &'s mut String, json: &str, id: Option<&str>, time: Option<&str>) -> &'s str {
    scratch.clear();
    scratch.reserve(json.len() + PUT_IN_BYTES);
    match id {
        Some(id) => scratch.extend([ID_HEAD, id, "\","]),
        None => scratch.push('{'),
    }
    if let Some(time) = time {
        scratch.extend(["\"time\":\"", time, "\","]);
    }
    // An event that came this far has fields, so the comma is never the last thing in the object.
    scratch.push_str(&json[1..]);
    scratch
}

enum Key {
    Id,
    Type,
    SourceType,
    SourceId,
    Time,
    Payload,
    Unknown,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;

        impl Visitor<'_> for KeyVisitor {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field name")
            }

            // Also called with escapes resolved, so that "\u0069d" is no second id.
            fn visit_str<E: Error>(self, name: &str) -> Result<Key, E> {
                Ok(match name {
                    "id" => Key::Id,
                    "type" => Key::Type,
                    "source_type" => Key::SourceType,
                    "source_id" => Key::SourceId,
                    "time" => Key::Time,
                    "payload" => Key::Payload,
                    _ => Key::Unknown,
                })
            }
        }

        deserializer.deserialize_identifier(KeyVisitor)
    }
}

impl<'de> Deserialize<'de> for NativeEvent<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EventVisitor;

        impl<'de> Visitor<'de> for EventVisitor {
            type Value = NativeEvent<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<NativeEvent<'de>, A::Error> {
                let mut event = NativeEvent::default();
                while let Some(key) = map.next_key()? {
                    let slot = match key {
                        Key::Id => &mut event.id,
                        Key::Type => &mut event.kind,
                        Key::SourceType => &mut event.source_type,
                        Key::SourceId => &mut event.source_id,
                        Key::Time => &mut event.time,
                        Key::Payload => {
                            event.payloads += 1;
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                        Key::Unknown => {
                            map.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    slot.fill(map.next_value_seed(SlotSeed)?);
                }
                Ok(event)
            }
        }

        deserializer.deserialize_map(EventVisitor)
    }
}
