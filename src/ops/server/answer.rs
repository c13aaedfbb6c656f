//! From a request to its answer.

use super::super::metrics;
use super::super::peek::{Peek, bound_values};
use super::super::source::StatusSource;
use super::authority::{Authority, Caller};
use super::reply::{self, Reply, Verdict};
use super::route::{self, PeekQuery, Route};
use http::header::{ACCEPT, AUTHORIZATION, HOST};
use http::{Request, StatusCode};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What every connection shares.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) source: Arc<StatusSource>,
    authority: Authority,
    /// One look into the buffer, or change of it, at a time: it reads the disk and holds what it read.
    pub(super) peeking: Arc<Semaphore>,
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
            Route::DeadLetters(query) => self.list_dead_letters(query).await,
            Route::DeadLetter(seq) => self.show_dead_letter(seq).await,
            change => match self.authority.check(caller, header(AUTHORIZATION)) {
                Err(denied) => reply::denied(&denied),
                Ok(()) => self.change(change, caller).await,
            },
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
