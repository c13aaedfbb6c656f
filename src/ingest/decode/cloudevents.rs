//! `CloudEvents` 1.0 in the JSON format, rewritten to ours.
//!
//! `source` becomes `source_type` and `source_id`, `data` becomes `payload`, `data_base64` becomes `payload_base64`; every other
//! attribute, `specversion` included, is kept under its own name. As in any `CloudEvents` JSON, an attribute that is `null` is absent.

use super::assemble::Assembly;
use super::cloud_value::{Attribute, CloudEvent, JSON_NAMES, Payload, push};
use super::error::DecodeError;
use super::framing::Located;
use super::text::{Slot, SlotSeed, TWICE};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The attributes of an event, as they stand in it.
#[derive(Default)]
pub(super) struct StructuredEvent<'a> {
    id: Slot<'a>,
    kind: Slot<'a>,
    source: Slot<'a>,
    specversion: Slot<'a>,
    time: Slot<'a>,
    data: Option<&'a RawValue>,
    data_twice: bool,
    data_base64: Slot<'a>,
    others: Vec<(Cow<'a, str>, &'a RawValue)>,
}

/// Checks an event and adds it to the batch. `scratch` holds the value; it is of no use afterwards.
pub(super) fn take(assembly: &mut Assembly<'_>, scratch: &mut String, event: Located<'_, StructuredEvent<'_>>) -> Result<(), DecodeError> {
    let Located { index, json, item } = event;
    let mut checker = assembly.begin(index, json.len())?;
    let Some(item) = checker.object(json, item) else { return Ok(()) };
    if item.data_twice {
        checker.note("data", TWICE);
    }
    let base64 = checker.text("data_base64", item.data_base64.null_is_absent());
    // The alphabet and padding of RFC 4648; what the bytes mean is the consumer's.
    if base64.as_ref().is_some_and(|text| BASE64_STANDARD.decode(text.as_bytes()).is_err()) {
        checker.note("data_base64", "is not base64");
    }
    let payload = match (item.data, base64) {
        (Some(_), Some(_)) => {
            checker.note("data_base64", "must not stand beside data");
            None
        }
        (Some(data), None) => Some(Payload::Json(data.get())),
        (None, Some(text)) => Some(Payload::Base64(text)),
        (None, None) => None,
    };
    let event = CloudEvent {
        id: item.id.null_is_absent(),
        kind: item.kind.null_is_absent(),
        source: item.source.null_is_absent(),
        specversion: item.specversion.null_is_absent(),
        time: item.time.null_is_absent(),
        payload,
        others: item.others.into_iter().map(|(name, raw)| (name, Attribute::Json(raw.get()))).collect(),
    };
    push(assembly, scratch, index, event, &JSON_NAMES)
}

/// A key with its escapes resolved, borrowed where there were none.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;

        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an attribute name")
            }

            fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(name)))
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(name.to_owned())))
            }
        }

        deserializer.deserialize_identifier(KeyVisitor)
    }
}

impl<'de> Deserialize<'de> for StructuredEvent<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EventVisitor;

        impl<'de> Visitor<'de> for EventVisitor {
            type Value = StructuredEvent<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<StructuredEvent<'de>, A::Error> {
                let mut event = StructuredEvent::default();
                while let Some(Key(name)) = map.next_key()? {
                    let slot = match &*name {
                        "id" => &mut event.id,
                        "type" => &mut event.kind,
                        "source" => &mut event.source,
                        "specversion" => &mut event.specversion,
                        "time" => &mut event.time,
                        "data_base64" => &mut event.data_base64,
                        "data" => {
                            event.data_twice |= event.data.is_some();
                            event.data = Some(map.next_value()?);
                            continue;
                        }
                        _ => {
                            event.others.push((name, map.next_value()?));
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
