//! Changes, for whom may ask for them, and looks at dead letters. Each change is logged with who and what.

use super::answer::Answers;
use super::authority::Caller;
use super::reply::{self, Reply};
use super::route::{PeekQuery, PurgeQuery, Route};
use crate::buffer::dead_letters::DeadLetterError;
use crate::buffer::purge::{PurgeError, Purged, Selection};
use crate::error::chain;
use http::StatusCode;
use serde::Serialize;
use serde_json::json;
use std::error::Error;
use std::sync::Arc;

/// A failure, as a problem's name.
trait Name: Error + Send + Sync + 'static {
    fn name(&self) -> (StatusCode, &'static str);
}

impl Name for PurgeError {
    fn name(&self) -> (StatusCode, &'static str) {
        match self {
            Self::TooScattered { .. } => (StatusCode::CONFLICT, "too-scattered"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "cannot-purge"),
        }
    }
}

impl Name for DeadLetterError {
    fn name(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NotTaken(_) => (StatusCode::SERVICE_UNAVAILABLE, "buffer-full"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "dead-letters"),
        }
    }
}

/// What was done, in figures.
trait Done: Serialize + Send + 'static {
    fn events(&self) -> u64;
}

impl Done for Purged {
    fn events(&self) -> u64 {
        self.events
    }
}

impl Done for crate::buffer::dead_letters::Retried {
    fn events(&self) -> u64 {
        self.events
    }
}

impl Answers {
    /// Does what was asked; `caller` may.
    pub(super) async fn change(&self, route: Route, caller: &Caller) -> Reply {
        match route {
            Route::Purge(query) => match self.source.purge() {
                Some(purge) => self.work("purge of waiting events", query, caller, move |selection, dry| purge.purge(selection, dry)).await,
                None => reply::starting(),
            },
            Route::PurgeDeadLetters(query) => match self.source.dead_letters() {
                Some(letters) => {
                    self.work("purge of dead letters", query, caller, move |selection, dry| letters.purge(selection, dry)).await
                }
                None => reply::starting(),
            },
            Route::RetryDeadLetters(query) => match self.source.dead_letters() {
                Some(letters) => {
                    self.work("retry of dead letters", query, caller, move |selection, dry| letters.retry(selection, dry)).await
                }
                None => reply::starting(),
            },
            Route::Pause => self.pause(true, caller),
            Route::Resume => self.pause(false, caller),
            _ => reply::problem(StatusCode::NOT_FOUND, "not-found", "there is nothing to change here"),
        }
    }

    fn pause(&self, pause: bool, caller: &Caller) -> Reply {
        let Some(stop) = self.source.drain_stop() else { return reply::starting() };
        let changed = if pause { stop.pause() } else { stop.resume() };
        if changed {
            let done = if pause { "the drain was paused: nothing is sent to Kafka until it is resumed" } else { "the drain was resumed" };
            tracing::warn!(who = caller.name, "{done}");
        }
        reply::json(StatusCode::OK, &json!({ "paused": pause, "changed": changed }))
    }

    /// Changes something on a thread that may block.
    async fn work<T: Done, E: Name>(
        &self,
        what: &'static str,
        query: PurgeQuery,
        caller: &Caller,
        work: impl FnOnce(&Selection, bool) -> Result<T, E> + Send + 'static,
    ) -> Reply {
        let Ok(permit) = Arc::clone(&self.peeking).acquire_owned().await else { return reply::shutting_down() };
        let who = caller.name.clone();
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let PurgeQuery { selection, dry_run } = query;
            let done = work(&selection, dry_run);
            // Here, not by the request: it is done, and has to be told, whether or not the client still waits.
            match &done {
                Ok(done) if dry_run => tracing::info!(who, ?selection, events = done.events(), "a {what} was tried out"),
                Ok(done) => tracing::warn!(who, ?selection, events = done.events(), "a {what} was done"),
                Err(error) => tracing::warn!(who, ?selection, error = chain(error), "a {what} was refused"),
            }
            done
        });
        match done.await {
            Ok(Ok(done)) => reply::json(StatusCode::OK, &done),
            Ok(Err(error)) => refused(&error),
            Err(error) => reply::problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", &error.to_string()),
        }
    }

    /// Dead letters in order of their seqs.
    pub(super) async fn list_dead_letters(&self, query: PeekQuery) -> Reply {
        let Some(letters) = self.source.dead_letters() else { return reply::starting() };
        let limit = query.limit;
        let found = self.read(move || letters.list(query.from, query.limit, query.source.as_deref())).await;
        found.map_or_else(|problem| problem, |letters| reply::dead_letters(&letters, limit))
    }

    /// One dead letter.
    pub(super) async fn show_dead_letter(&self, seq: u64) -> Reply {
        let Some(letters) = self.source.dead_letters() else { return reply::starting() };
        match self.read(move || letters.get(seq)).await {
            Ok(Some(letter)) => reply::json(StatusCode::OK, &letter),
            Ok(None) => reply::problem(StatusCode::NOT_FOUND, "not-found", &format!("there is no dead letter with seq {seq}")),
            Err(problem) => problem,
        }
    }

    async fn read<T: Send + 'static>(&self, look: impl FnOnce() -> Result<T, DeadLetterError> + Send + 'static) -> Result<T, Reply> {
        let permit = Arc::clone(&self.peeking).acquire_owned().await.map_err(|_| reply::shutting_down())?;
        let found = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            look()
        });
        match found.await {
            Ok(found) => found.map_err(|error| refused(&error)),
            Err(error) => Err(reply::problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", &error.to_string())),
        }
    }
}

fn refused(error: &impl Name) -> Reply {
    let (status, name) = error.name();
    reply::problem(status, name, &chain(error))
}
