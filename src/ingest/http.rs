//! What happens between a request's head and its reply. Two routes: `POST /v1/events`, and `GET /v1/events/{id}` for its receipt.
//!
//! ```text
//! query ─▶ media type ─▶ body (memory, time, size) ─▶ decode ─▶ append (room, sync) ─▶ [Kafka's ack] ─▶ reply
//! ```
//! A request is one atomic unit. When its client hangs up after the buffer took the batch, it is stored all the same; before that
//! nothing is. Browsers cannot be tricked into posting here: every accepted request needs a content type or headers for which they
//! ask permission first, and permission is never given.

use super::admission::{Budget, INFLIGHT_BYTES_MAX};
use super::append::Append;
use super::body::{self, BodyLimits, ReadBody};
use super::decode::{Context, DecodeError, Decoded, Decoder, Format};
use super::problem::{Kind, Problem};
use super::query::Query;
use super::reply::{Acceptance, Ids};
use super::stats::{EventResult, IngestStats};
use super::{media, receipt, trace};
use crate::buffer::{AppendError, AppendOptions, Appended};
use crate::config::{AckLevel, IngestConfig, Template};
use crate::event::Seq;
use crate::lifecycle::Receipt;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::Full;
use hyper::body::Body;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};

/// How long a request with `ack=kafka` and no `timeout` waits for Kafka.
const KAFKA_TIMEOUT: Duration = Duration::from_secs(5);

/// The service behind every connection.
#[derive(Debug)]
pub(super) struct Api<A> {
    appender: A,
    decoder: Decoder,
    budget: Budget,
    stats: Arc<IngestStats>,
    ack: AckLevel,
    full_timeout: Duration,
    request_timeout: Duration,
    max_body_bytes: usize,
    /// True once ingest was told to stop: then nobody waits for Kafka any longer.
    stopping: watch::Receiver<bool>,
}

/// What a request waits for, and how long.
struct Wish {
    ack: AckLevel,
    /// For room in the buffer.
    room: Duration,
    /// For room and Kafka together.
    kafka: Duration,
}

impl<A> Api<A> {
    /// A service for the settings and the template of `kafka.topic`.
    pub(super) fn new(
        config: &IngestConfig,
        topic: &Template,
        appender: A,
        stats: Arc<IngestStats>,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let max_body_bytes = usize::try_from(config.max_body_bytes).unwrap_or(usize::MAX);
        Self {
            appender,
            decoder: Decoder::new(config, topic),
            budget: Budget::new(INFLIGHT_BYTES_MAX, max_body_bytes),
            stats,
            ack: config.ack,
            full_timeout: config.full_timeout,
            request_timeout: config.request_timeout,
            max_body_bytes,
            stopping,
        }
    }

    /// `ingest.request_timeout`
    pub(super) fn request_timeout(&self) -> Duration {
        self.request_timeout
    }
}

impl<A: Append> Api<A> {
    /// Answers a request.
    pub(super) async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let response = self.route(request).await.unwrap_or_else(Problem::into_response);
        self.stats.count_reply(response.status().as_u16());
        response
    }

    async fn route<B>(&self, request: Request<B>) -> Result<Response<Full<Bytes>>, Problem>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let path = request.uri().path();
        if let Some(id) = path.strip_prefix("/v1/events/").filter(|id| !id.is_empty()) {
            return Ok(self.receipt(id, request.method()));
        }
        if path != "/v1/events" {
            return Err(Problem::new(
                Kind::NOT_FOUND,
                format!("there is nothing at {path:?}; events go to POST /v1/events, a receipt is at GET /v1/events/ID"),
            ));
        }
        if request.method() != Method::POST {
            return Err(Problem::new(Kind::METHOD, "events are sent with POST").allowing("POST"));
        }
        self.post_events(request).await
    }

    /// What became of an event.
    fn receipt(&self, id: &str, method: &Method) -> Response<Full<Bytes>> {
        if method != Method::GET {
            let problem = Problem::new(Kind::METHOD, "a receipt is read with GET; events go to POST /v1/events");
            return problem.allowing("GET").into_response();
        }
        let (id, history) = (receipt::id_in(id), self.appender.history());
        match self.appender.find(&id).and_then(|seq| Some((seq, history.get(seq)?))) {
            Some((seq, fate)) => receipt::response(&id, seq, &fate),
            None => receipt::unknown(&id, history.limit()).into_response(),
        }
    }

    async fn post_events<B>(&self, request: Request<B>) -> Result<Response<Full<Bytes>>, Problem>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let wish = self.wish(Query::parse(request.uri().query())?);
        let format = media::format(request.headers())?;
        let (head, body) = request.into_parts();
        let limits = BodyLimits { max_bytes: self.max_body_bytes, admission_timeout: wish.room, read_timeout: self.request_timeout };
        let ReadBody { bytes, share, waited } = body::read(body, &self.budget, limits).await?;
        let Decoded { batch, made_ids } = self.decode(format, &bytes, &head.headers)?;
        drop(bytes);

        let start = Instant::now();
        let needs_ids = made_ids || wish.ack == AckLevel::Kafka;
        let ids = if needs_ids { Ids::of(&batch) } else { Ids::default() };
        let (sender, receipts) = (wish.ack == AckLevel::Kafka).then(oneshot::channel).unzip();
        let options = AppendOptions { deadline: start + wish.room.saturating_sub(waited), receipts: sender };
        let events = batch.count();
        let appended = self.appender.append(batch, options).await;
        let appended = appended.inspect_err(|error| self.stats.count_events(result_of(error), events))?;
        self.stats.append_seconds.observe(start.elapsed());
        self.stats.count_events(EventResult::Accepted, appended.count);
        self.stats.count_events(EventResult::Duplicate, events - appended.count);
        drop(share);

        let receipts = match receipts {
            Some(receipts) => self.wait_for_kafka(receipts, start + wish.kafka.saturating_sub(waited), &appended).await,
            None => None,
        };
        let receipts = receipts.as_deref().map(|receipts| (receipts, &ids));
        Ok(Acceptance { appended, made_ids: made_ids.then_some(&ids), receipts }.into_response())
    }

    fn wish(&self, query: Query) -> Wish {
        Wish {
            ack: query.ack.unwrap_or(self.ack),
            room: query.timeout.unwrap_or(self.full_timeout),
            kafka: query.timeout.unwrap_or(KAFKA_TIMEOUT),
        }
    }

    fn decode(&self, format: Format, body: &[u8], headers: &HeaderMap) -> Result<Decoded, DecodeError> {
        let context = Context { headers, traceparent: trace::traceparent(headers), now: jiff::Timestamp::now() };
        let decoded = self.decoder.decode(format, body, &context);
        decoded.inspect_err(|error| self.stats.count_events(EventResult::Invalid, error.events()))
    }

    /// The receipts of all events, unless Kafka takes too long or the relay stops; the events are durable and will be delivered.
    async fn wait_for_kafka(
        &self,
        receipts: oneshot::Receiver<Vec<Receipt>>,
        deadline: Instant,
        appended: &Appended,
    ) -> Option<Vec<Receipt>> {
        let mut stopping = self.stopping.clone();
        tokio::select! {
            biased;
            received = self.receipts(receipts, appended) => received,
            () = tokio::time::sleep_until(deadline.into()) => None,
            _ = stopping.wait_for(|stopping| *stopping) => None,
        }
    }

    /// The receipts of all events by position: of those that were stored now as they come, of the others as they are known.
    async fn receipts(&self, receipts: oneshot::Receiver<Vec<Receipt>>, appended: &Appended) -> Option<Vec<Receipt>> {
        let stored = if appended.count == 0 { Vec::new() } else { receipts.await.ok()? };
        if stored.len() != appended.count as usize {
            return None;
        }
        if appended.repeats.is_empty() {
            return Some(stored);
        }
        let repeats: Vec<Seq> = appended.repeats.iter().map(|repeat| repeat.seq).collect();
        let mut known = stored;
        known.extend(self.appender.history().receipts(&repeats).await?);
        known.sort_unstable_by_key(|receipt| receipt.seq);
        let of = |seq| Some(known[known.binary_search_by_key(&seq, |receipt: &Receipt| receipt.seq).ok()?].clone());
        appended.seqs().map(of).collect()
    }
}

fn result_of(error: &AppendError) -> EventResult {
    match error {
        AppendError::Full(_) => EventResult::Full,
        AppendError::TooLarge { .. } => EventResult::Invalid,
        AppendError::Conflict(_) => EventResult::Conflict,
        AppendError::ShuttingDown | AppendError::StorageFailed { .. } => EventResult::Failed,
    }
}
