//! Names made from an event's fields: the Kafka topic and the Redis channel. Pure.

use crate::event::EventRef;
use std::fmt;

/// A field that may stand in a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// `{type}`
    Type,
    /// `{source_type}`
    SourceType,
    /// `{source_id}`
    SourceId,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(Placeholder),
}

/// A parsed template such as `events:{source_type}:{source_id}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

/// Why a template is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Nothing there.
    #[error("is empty")]
    Empty,
    /// A brace without its partner.
    #[error("has an unbalanced brace at byte {at}; write placeholders as {{type}}")]
    Brace {
        /// Byte offset.
        at: usize,
    },
    /// `{id}`: one channel or topic per event would grow without bound.
    #[error("contains {{id}}: that would make one name per event, without bound; use {{source_id}} or {{type}}")]
    PerEvent,
    /// Not a placeholder of this template.
    #[error("contains {{{name}}}, which is not one of {allowed}")]
    Unknown {
        /// What stands in the braces.
        name: String,
        /// What may.
        allowed: String,
    },
}

impl Template {
    /// Parses a template that may use the `allowed` placeholders.
    ///
    /// # Errors
    /// [`TemplateError`], which reads well after the name of the setting.
    pub fn parse(text: &str, allowed: &[Placeholder]) -> Result<Self, TemplateError> {
        if text.is_empty() {
            return Err(TemplateError::Empty);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find(['{', '}']) {
            let at = text.len() - rest.len() + open;
            let Some((name, after)) = rest[open..].strip_prefix('{').and_then(|tail| tail.split_once('}')) else {
                return Err(TemplateError::Brace { at });
            };
            if open > 0 {
                parts.push(Part::Text(rest[..open].to_owned()));
            }
            parts.push(Part::Field(placeholder(name, allowed)?));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// The text itself when no placeholder is in it.
    pub fn constant(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Appends the name for an event.
    pub fn render_into(&self, event: &EventRef<'_>, out: &mut String) {
        for part in &self.parts {
            out.push_str(match part {
                Part::Text(text) => text,
                Part::Field(Placeholder::Type) => event.kind,
                Part::Field(Placeholder::SourceType) => event.source_type,
                Part::Field(Placeholder::SourceId) => event.source_id,
            });
        }
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Type => "{type}",
            Self::SourceType => "{source_type}",
            Self::SourceId => "{source_id}",
        })
    }
}

fn placeholder(name: &str, allowed: &[Placeholder]) -> Result<Placeholder, TemplateError> {
    let found = match name {
        "type" => Some(Placeholder::Type),
        "source_type" => Some(Placeholder::SourceType),
        "source_id" => Some(Placeholder::SourceId),
        "id" => return Err(TemplateError::PerEvent),
        _ => None,
    };
    found.filter(|field| allowed.contains(field)).ok_or_else(|| TemplateError::Unknown {
        name: name.to_owned(),
        allowed: allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    })
}

/// Why a text cannot be a Kafka topic name; `None` when it can.
///
/// The rules are those of Apache Kafka's `org.apache.kafka.common.internals.Topic`: 1 to 249 of `[a-zA-Z0-9._-]`, not `.` or `..`.
pub fn topic_name_problem(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("is empty"),
        "." | ".." => Some("must not be \".\" or \"..\""),
        _ if name.len() > 249 => Some("is longer than 249 characters"),
        _ if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) => {
            Some("may hold only letters, digits, '.', '_' and '-'")
        }
        _ => None,
    }
}
