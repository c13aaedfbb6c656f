//! One event from flags.

use super::super::exit::{Exit, Failure};
use clap::Args;
use serde_json::Value;
use serde_json::value::RawValue;
use std::path::Path;

/// The event.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "One event")]
pub(super) struct EventArgs {
    /// What happened
    #[arg(long = "type", value_name = "TYPE", requires_all = ["source_type", "source_id"])]
    kind: Option<String>,

    /// What kind of thing it happened to
    #[arg(long, value_name = "TYPE", requires = "kind")]
    source_type: Option<String>,

    /// Which one: the key by which order is kept
    #[arg(long, value_name = "ID", requires = "kind")]
    source_id: Option<String>,

    /// Any JSON, or @FILE to read it from
    #[arg(long, value_name = "JSON|@FILE", requires = "kind")]
    payload: Option<String>,

    /// Id of the event [default: made by the relay]
    #[arg(long, value_name = "ID", requires = "kind")]
    id: Option<String>,
}

impl EventArgs {
    /// The event as JSON; `None` when no flag asks for one.
    pub(super) fn build(&self) -> Result<Option<String>, Failure> {
        let Some(kind) = &self.kind else { return Ok(None) };
        let texts = [
            ("id", self.id.as_ref()),
            ("type", Some(kind)),
            ("source_type", self.source_type.as_ref()),
            ("source_id", self.source_id.as_ref()),
        ];
        let texts = texts.into_iter().filter_map(|(name, text)| Some(format!("\"{name}\":{}", Value::from(text?.as_str()))));
        let mut fields: Vec<String> = texts.collect();
        if let Some(payload) = &self.payload {
            // As it was given: numbers keep their digits and keys their order.
            fields.push(format!("\"payload\":{}", payload_text(payload)?.trim()));
        }
        Ok(Some(format!("{{{}}}", fields.join(","))))
    }
}

fn payload_text(given: &str) -> Result<String, Failure> {
    let text = match given.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(Path::new(path))
            .map_err(|error| Failure::new(Exit::Usage, format!("--payload: cannot read {path}: {error}")))?,
        None => given.to_owned(),
    };
    let parsed: Result<&RawValue, _> = serde_json::from_str(&text);
    match parsed {
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::new(Exit::Usage, format!("--payload is not JSON: {error}; a text needs quotes: '\"text\"'"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(payload: &str) -> EventArgs {
        let text = |text: &str| Some(text.to_owned());
        EventArgs { kind: text("t\""), source_type: text("user"), source_id: text("42"), payload: text(payload), id: None }
    }

    // Goal: the payload arrives digit by digit as it was typed, and what is not JSON is not sent.
    #[test]
    fn events() {
        let payload = "{\"b\": 1.10, \"a\": 12345678901234567890123}";
        let expect = format!("{{\"type\":\"t\\\"\",\"source_type\":\"user\",\"source_id\":\"42\",\"payload\":{payload}}}");
        assert_eq!(args(payload).build(), Ok(Some(expect)));
        assert!(args("hello").build().unwrap_err().message.contains("a text needs quotes"));
        assert!(args("{} {}").build().is_err());
        assert!(args("@/absent/file").build().unwrap_err().message.contains("cannot read /absent/file"));
        assert_eq!(EventArgs::default().build(), Ok(None));
    }

    // Goal: a payload can come from a file.
    #[test]
    fn payload_from_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), " [1]\n").unwrap();
        let event = args(&format!("@{}", file.path().display())).build().unwrap().unwrap();
        assert!(event.ends_with(",\"payload\":[1]}"), "{event}");
    }
}
