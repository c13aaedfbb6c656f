//! Where dead letters are read: a directory, or a running relay.

use super::super::buffer::{WhereArgs, failure, percent_encode};
use super::super::exit::{Exit, Failure};
use super::super::http_client::Client;
use super::super::status::{get, parse};
use super::super::target::{Door, TargetArgs};
use crate::buffer::Keyring;
use crate::buffer::dead_letters::{DeadLetterError, DeadLetterView, list};
use crate::buffer::inspect::inspect;
use crate::buffer::log::storage::DiskStorage;
use crate::error::chain;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;

/// Most letters that are asked for at once.
const PAGE_LETTERS: usize = 1000;

#[derive(Deserialize)]
struct Page {
    dead_letters: Vec<DeadLetterView>,
    next_from: Option<u64>,
}

/// The place.
pub(super) enum Letters {
    Directory(PathBuf, Keyring),
    Relay(Client),
}

impl Letters {
    pub(super) fn of(place: &WhereArgs, target: &TargetArgs, timeout: Duration) -> Result<Self, Failure> {
        Ok(match &place.dir {
            Some(dir) => {
                // Refuses what is no buffer.
                let _ = inspect(&DiskStorage::new(dir)).map_err(|error| failure(&error))?;
                Self::Directory(dir.clone(), target.keyring()?)
            }
            None => Self::Relay(target.client(Door::Ops, timeout)?),
        })
    }

    /// Shows letters in seq order from `from` on, until `show` says that it has seen enough.
    pub(super) async fn each(
        &self,
        from: u64,
        source: Option<&str>,
        show: &mut dyn FnMut(&DeadLetterView) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        match self {
            Self::Directory(dir, keyring) => {
                let mut ended = Ok(true);
                list(&DiskStorage::new(dir), keyring, from, &mut |kept| {
                    let wanted = source.is_none_or(|source| kept.letter.event().is_some_and(|event| event.is_of_source(source)));
                    if let Some(view) = kept.view(true).filter(|_| wanted) {
                        ended = show(&view);
                    }
                    matches!(ended, Ok(true))
                })
                .map_err(|error| failed(&error))?;
                ended.map(|_| ())
            }
            Self::Relay(client) => {
                let mut from = Some(from);
                while let Some(first) = from {
                    let source = source.map(|source| format!("&source={}", percent_encode(source))).unwrap_or_default();
                    let body = get(client, &format!("/v1/dead-letters?from={first}&limit={PAGE_LETTERS}{source}")).await?;
                    let page: Page = parse(client, &body)?;
                    for letter in &page.dead_letters {
                        if !show(letter)? {
                            return Ok(());
                        }
                    }
                    from = page.next_from;
                }
                Ok(())
            }
        }
    }

    /// One letter.
    pub(super) async fn one(&self, seq: u64) -> Result<DeadLetterView, Failure> {
        match self {
            Self::Directory(dir, keyring) => {
                let kept = crate::buffer::dead_letters::read(&DiskStorage::new(dir), keyring, seq).map_err(|error| failed(&error))?;
                let view = kept.and_then(|kept| kept.view(true));
                view.ok_or_else(|| Failure::new(Exit::Failed, format!("there is no dead letter with seq {seq} in {}", dir.display())))
            }
            Self::Relay(client) => parse(client, &get(client, &format!("/v1/dead-letters/{seq}")).await?),
        }
    }
}

/// Damage is told from everything else.
pub(super) fn failed(error: &DeadLetterError) -> Failure {
    let exit = if matches!(error, DeadLetterError::Damaged { .. }) { Exit::Damaged } else { Exit::Failed };
    Failure::new(exit, chain(error))
}
