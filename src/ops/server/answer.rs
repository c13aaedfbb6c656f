//! From a request to its answer.

use super::super::metrics;
use super::super::peek::{Peek, bound_values};
use super::super::purge::Purge;
use super::super::source::StatusSource;
use super::authority::{Authority, Caller};
use super::reply::{self, Reply, Verdict};
use super::route::{self, PeekQuery, PurgeQuery, Route};
use crate::buffer::purge::PurgeError;
use crate::error::chain;
use http::header::{ACCEPT, AUTHORIZATION, HOST};
use http::{Request, StatusCode};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What every connection shares.
#[derive(Debug)]
pub(super) struct Answers {
    source: Arc<StatusSource>,
    authority: Authority,
    /// One look into the buffer, or change of it, at a time: it reads the disk and holds what it read.
    peeking: Arc<Semaphore>,
}

impl Answers {
    pub(super) fn new(source: Arc<StatusSource>, authority: Authority) -> Self {
        Self { source, authority, peeking: Arc::new(Semaphore::new(1)) }
    }

    /// Answers a request; its body, if it has one, is not looked at.
    pub(super) async fn answer<B>(&self, caller: &Caller, request: &Request<B>) -> Reply {
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let as_json = header(ACCEPT).is_some_and(|accept| accept.contains("application/json"));
        let uri = request.uri();
        let route = match route::route(caller.surface, request.method(), header(HOST), uri.path(), uri.query()) {
            Ok(route) => route,
            Err(error) => return reply::refusal(&error),
        };
        let source = &self.source;
        match route {
            Route::Index => reply::text(route::INDEX),
            Route::Startup => Verdict::startup(source.started()).reply(as_json),
            Route::Live => Verdict::live(&source.late_loops()).reply(as_json),
            Route::Ready => Verdict::ready(&source.snapshot().health).reply(as_json),
            Route::Status => reply::json(StatusCode::OK, &source.snapshot()),
            Route::Metrics => match metrics::render(source.snapshot()) {
                Ok(body) => reply::reply(StatusCode::OK, metrics::CONTENT_TYPE, body),
                Err(error) => reply::problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", &error.to_string()),
            },
            Route::Peek(query) => match source.peek() {
                Some(peek) => self.look_into_buffer(peek, query).await,
                None => reply::starting(),
            },
            Route::Purge(query) => match (self.authority.check(caller, header(AUTHORIZATION)), source.purge()) {
                (Err(denied), _) => reply::denied(&denied),
                (Ok(()), None) => reply::starting(),
                (Ok(()), Some(purge)) => self.purge(purge, query, caller).await,
            },
        }
    }

    /// Changes the buffer on a thread that may block.
    async fn purge(&self, purge: Arc<dyn Purge>, query: PurgeQuery, caller: &Caller) -> Reply {
        let Ok(permit) = Arc::clone(&self.peeking).acquire_owned().await else { return reply::shutting_down() };
        let who = caller.name.clone();
        let work = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let PurgeQuery { selection, dry_run } = query;
            let purged = purge.purge(&selection, dry_run);
            // Here, not by the request: it is done, and has to be told, whether or not the client still waits.
            match &purged {
                Ok(purged) if dry_run => tracing::info!(who, ?selection, events = purged.events, "a purge was tried out"),
                Ok(purged) => tracing::warn!(who, ?selection, events = purged.events, "waiting events were purged"),
                Err(error) => tracing::warn!(who, ?selection, error = chain(error), "a purge was refused"),
            }
            purged
        });
        match work.await {
            Ok(Ok(purged)) => reply::json(StatusCode::OK, &purged),
            Ok(Err(error @ PurgeError::TooScattered { .. })) => reply::problem(StatusCode::CONFLICT, "too-scattered", &chain(&error)),
            Ok(Err(error)) => reply::problem(StatusCode::INTERNAL_SERVER_ERROR, "cannot-purge", &chain(&error)),
            Err(error) => reply::problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", &error.to_string()),
        }
    }

    /// Reads events on a thread that may block.
    async fn look_into_buffer(&self, peek: Arc<dyn Peek>, query: PeekQuery) -> Reply {
        let Ok(permit) = Arc::clone(&self.peeking).acquire_owned().await else {
            return reply::shutting_down();
        };
        let limit = query.limit;
        let look = tokio::task::spawn_blocking(move || {
            // Held by the look, not by the request: a client that hangs up must not let a second look begin beside the first.
            let _permit = permit;
            let mut events = peek.peek(query.from, query.limit, query.source.as_deref())?;
            events.truncate(query.limit);
            bound_values(&mut events);
            Ok::<_, String>(events)
        });
        match look.await {
            Ok(Ok(events)) => reply::events(&events, limit),
            Ok(Err(reason)) => reply::problem(StatusCode::INTERNAL_SERVER_ERROR, "cannot-read-buffer", &reason),
            Err(error) => reply::problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", &error.to_string()),
        }
    }
}
