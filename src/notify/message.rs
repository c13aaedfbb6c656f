//! Channel and payload of a notification; pure.

use crate::config::Template;
use crate::event::{EventRef, Seq};

/// What an allocation and a place in the queue cost beside the text, in bytes (the entry itself and the allocator's share).
const ENTRY_BYTES: usize = size_of::<Notification>() + 16;

/// Bytes of a message around its three values: `{"id":"","type":"","source_id":""}`.
const FRAME_BYTES: usize = r#"{"id":"","type":"","source_id":""}"#.len();

/// A notification ready to be published. Channel and message share one allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notification {
    /// The event's.
    pub(super) seq: Seq,
    text: String,
    channel_len: usize,
}

impl Notification {
    /// Redis channel.
    pub(super) fn channel(&self) -> &str {
        &self.text[..self.channel_len]
    }

    /// `{"id":…,"type":…,"source_id":…}`.
    pub(super) fn message(&self) -> &str {
        &self.text[self.channel_len..]
    }

    /// Bytes of channel and message.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// Bytes of memory it holds while it waits.
    pub(super) fn footprint(&self) -> usize {
        self.text.capacity() + ENTRY_BYTES
    }
}

/// Makes notifications of events.
#[derive(Debug)]
pub(super) struct Composer {
    channel: Template,
    /// Bytes of the channel template's own text.
    channel_text_len: usize,
}

impl Composer {
    /// A composer for a channel template.
    pub(super) fn new(channel: Template) -> Self {
        let mut text = String::new();
        channel.render_into(&EventRef { id: "", kind: "", source_type: "", source_id: "", traceparent: None, value: &[] }, &mut text);
        Self { channel, channel_text_len: text.len() }
    }

    /// The notification of an event.
    pub(super) fn compose(&self, seq: Seq, event: &EventRef<'_>) -> Notification {
        let EventRef { id, kind, source_type, source_id, .. } = *event;
        // Enough for the usual template and no escapes, so that the text is allocated once; otherwise it grows.
        let in_channel = self.channel_text_len + source_type.len() + source_id.len();
        let mut text = String::with_capacity(in_channel + FRAME_BYTES + id.len() + kind.len() + source_id.len());
        self.channel.render_into(event, &mut text);
        let channel_len = text.len();
        for (key, value) in [(r#"{"id":""#, id), (r#"","type":""#, kind), (r#"","source_id":""#, source_id)] {
            text.push_str(key);
            push_escaped(&mut text, value);
        }
        text.push_str("\"}");
        Notification { seq, text, channel_len }
    }
}

/// Appends a text as it stands between the quotes of a JSON string; the same bytes as `serde_json` writes.
fn push_escaped(out: &mut String, text: &str) {
    let mut clean_from = 0;
    for (at, byte) in text.bytes().enumerate().filter(|(_, byte)| needs_escape(*byte)) {
        out.push_str(&text[clean_from..at]);
        clean_from = at + 1;
        out.push('\\');
        match byte {
            b'\n' => out.push('n'),
            b'\r' => out.push('r'),
            b'\t' => out.push('t'),
            0x08 => out.push('b'),
            0x0c => out.push('f'),
            b'"' | b'\\' => out.push(char::from(byte)),
            control => {
                out.push_str("u00");
                out.extend([control >> 4, control & 0xf].map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0')));
            }
        }
    }
    out.push_str(&text[clean_from..]);
}

/// JSON needs only these escaped; all of them are ASCII, so cutting the text beside them keeps it UTF-8.
fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::Placeholder;
    use proptest::prelude::*;

    const ALLOWED: [Placeholder; 3] = [Placeholder::Type, Placeholder::SourceType, Placeholder::SourceId];

    /// A composer for the default channel.
    pub(in crate::notify) fn composer() -> Composer {
        Composer::new(Template::parse("events:{source_type}:{source_id}", &ALLOWED).unwrap())
    }

    /// An event with an id and a source.
    pub(in crate::notify) fn event<'a>(id: &'a str, source_id: &'a str) -> EventRef<'a> {
        EventRef { id, kind: "created", source_type: "user", source_id, traceparent: None, value: b"{}" }
    }

    // Goal: the channel and the message are exactly what the contract shows, key order included.
    #[test]
    fn looks_like_the_contract() {
        let made = composer().compose(Seq(1), &event("e-1", "42"));
        assert_eq!(made.channel(), "events:user:42");
        assert_eq!(made.message(), r#"{"id":"e-1","type":"created","source_id":"42"}"#);
    }

    // Goal: the usual notification costs one allocation of the right size.
    #[test]
    fn allocates_once() {
        let made = composer().compose(Seq(1), &event("0192d2f4-7d3e-7c3a-9d70-1f2e3d4c5b6a", "user-123"));
        assert_eq!(made.footprint() - ENTRY_BYTES, made.len());
    }

    // Goal: any control character, quote and backslash is escaped as JSON wants it.
    #[test]
    fn escapes_every_ascii_character_like_serde_json() {
        for byte in 0..=0x7f_u8 {
            let text = format!("a{}b", char::from(byte));
            let mut out = String::from("\"");
            push_escaped(&mut out, &text);
            assert_eq!(out + "\"", serde_json::to_string(&text).unwrap());
        }
    }

    proptest! {
        // Goal: whatever the texts hold, a subscriber parses the message and finds them unchanged; bytes as serde_json writes them.
        #[test]
        fn same_bytes_as_serde_json(id in any::<String>(), kind in any::<String>(), source in "[\\x00-\\x7fé𝄞\u{2028}]{0,40}") {
            let event = EventRef { id: &id, kind: &kind, source_type: "t", source_id: &source, traceparent: None, value: b"" };
            let made = composer().compose(Seq(1), &event);
            let quoted = |text: &str| serde_json::to_string(text).unwrap();
            let expected = format!(r#"{{"id":{},"type":{},"source_id":{}}}"#, quoted(&id), quoted(&kind), quoted(&source));
            prop_assert_eq!(made.message(), expected);
            prop_assert_eq!(made.channel(), format!("events:t:{source}"));
        }
    }
}
