//! Waiting events in pages, from a directory or from a running relay.

use super::super::exit::Failure;
use super::super::http_client::Client;
use super::super::status::{get, parse};
use super::directory;
use crate::buffer::Keyring;
use crate::buffer::inspect::WaitingEvent;
use serde::Deserialize;
use std::path::PathBuf;

/// Most events that are asked for at once: the most that a relay gives.
pub(super) const PAGE_EVENTS: usize = 1000;

/// The relay's answer. Read from its text, not from a tree, so that events are shown as they were sent.
#[derive(Deserialize)]
struct Page {
    events: Vec<WaitingEvent>,
}

/// Where pages of events come from.
pub(super) enum Pages {
    Directory(PathBuf, Keyring),
    Relay(Client),
}

impl Pages {
    /// Up to `limit` waiting events from seq `from` on.
    pub(super) async fn page(&self, from: u64, limit: usize, source: Option<&str>) -> Result<Vec<WaitingEvent>, Failure> {
        match self {
            Self::Directory(dir, keyring) => directory::events(dir, keyring, from, limit, source),
            Self::Relay(client) => of_relay(client, from, limit, source).await,
        }
    }
}

/// A page of a running relay.
pub(super) async fn of_relay(client: &Client, from: u64, limit: usize, source: Option<&str>) -> Result<Vec<WaitingEvent>, Failure> {
    let source = source.map(|source| format!("&source={}", percent_encode(source))).unwrap_or_default();
    let body = get(client, &format!("/v1/buffer/events?from={from}&limit={limit}{source}")).await?;
    Ok(parse::<Page>(client, &body)?.events)
}

/// For the value of a query: everything but letters, digits and `-._~`.
pub(in crate::cli) fn percent_encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: any source can be asked for, whatever is in its id.
    #[test]
    fn queries() {
        assert_eq!(percent_encode("user/42"), "user%2F42");
        assert_eq!(percent_encode("a&b=ü %"), "a%26b%3D%C3%BC%20%25");
    }
}
