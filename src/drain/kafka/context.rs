//! What librdkafka tells while it is polled: reports, errors, statistics, log lines.
//!
//! All of it arrives on the drain's thread, inside `poll`; the locks are never contended and exist because rdkafka asks for `Sync`.

use super::super::sink::{Refusal, Report};
use super::diagnosis::diagnose;
use super::log::LogLimiter;
use super::token::TokenFile;
use crate::error::Disposition;
use crate::event::{Place, Seq};
use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use serde::Deserialize;
use std::collections::HashMap;
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The callbacks' end of a handle.
#[derive(Debug, Default)]
pub(super) struct Context {
    inbox: Mutex<Inbox>,
    /// Events served so far, of whatever kind.
    served: AtomicU64,
    connected: AtomicBool,
    fatal: AtomicBool,
    trouble: Mutex<Option<Refusal>>,
    log: Mutex<LogLimiter>,
    /// Where librdkafka's next token comes from, for OAUTHBEARER.
    token: Option<TokenFile>,
}

#[derive(Debug, Default)]
struct Inbox {
    reports: Vec<Report>,
    /// The newest report's topic, so that reports share its name.
    topic: Option<Arc<str>>,
}

impl Inbox {
    fn topic(&mut self, name: &str) -> Arc<str> {
        match &self.topic {
            Some(topic) if **topic == *name => Arc::clone(topic),
            _ => Arc::clone(self.topic.insert(Arc::from(name))),
        }
    }
}

impl Context {
    pub(super) fn new(token: Option<TokenFile>) -> Self {
        Self { token, ..Self::default() }
    }

    pub(super) fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    pub(super) fn connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    pub(super) fn saw_fatal(&self) -> bool {
        self.fatal.load(Ordering::Relaxed)
    }

    pub(super) fn take_reports(&self, reports: &mut Vec<Report>) {
        reports.append(&mut lock(&self.inbox).reports);
    }

    pub(super) fn take_trouble(&self) -> Option<Refusal> {
        lock(&self.trouble).take()
    }

    fn count(&self) {
        let _ = self.served.fetch_add(1, Ordering::Relaxed);
    }
}

impl ProducerContext for Context {
    /// The event's seq.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, seq: usize) {
        self.count();
        let seq = Seq(seq as u64);
        let mut inbox = lock(&self.inbox);
        let result = match result {
            Ok(message) => {
                self.connected.store(true, Ordering::Relaxed);
                Ok(Place { topic: inbox.topic(message.topic()), partition: message.partition(), offset: message.offset() })
            }
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown)),
        };
        inbox.reports.push(Report { seq, result });
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.count();
        let Some(token) = &self.token else { return Err("kafka.sasl_token_file is not set".into()) };
        Ok(token.read(jiff::Timestamp::now().as_millisecond())?)
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.count();
        lock(&self.log).log(level, facility, message, Instant::now());
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.count();
        match any_broker_up(statistics) {
            Ok(up) => self.connected.store(up, Ordering::Relaxed),
            Err(error) => tracing::debug!(%error, "librdkafka's statistics are not what they were"),
        }
    }

    fn error(&self, error: KafkaError, text: &str) {
        self.count();
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        match code {
            // What it was comes with `fatal_error`.
            RDKafkaErrorCode::Fatal => self.fatal.store(true, Ordering::Relaxed),
            // Why was told before, connection by connection.
            RDKafkaErrorCode::AllBrokersDown => self.connected.store(false, Ordering::Relaxed),
            _ => {
                let refusal = Refusal { class: diagnose(code, text), detail: text.to_owned() };
                let mut trouble = lock(&self.trouble);
                // Credentials that are not accepted say more than the connection that closes because of them.
                if trouble.as_ref().is_none_or(|known| known.class.disposition != Disposition::Block || refusal.class == known.class) {
                    *trouble = Some(refusal);
                }
            }
        }
    }
}

/// Whether any broker connection is up, by librdkafka's own statistics. Its "all brokers down" event alone is not enough: it tells of
/// the end of the last connection, never of the first one's beginning.
fn any_broker_up(statistics: &[u8]) -> Result<bool, serde_json::Error> {
    #[derive(Deserialize)]
    struct Statistics {
        brokers: HashMap<String, Broker>,
    }
    #[derive(Deserialize)]
    struct Broker {
        state: String,
    }
    let statistics: Statistics = serde_json::from_slice(statistics)?;
    Ok(statistics.brokers.values().any(|broker| broker.state == "UP" || broker.state == "UPDATE"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: "Kafka is there" is told from librdkafka's statistics, not guessed.
    #[test]
    fn a_broker_counts_as_connected_when_it_is_up() {
        let stats =
            |state| format!(r#"{{"name":"x","brokers":{{"a:1/1":{{"state":"DOWN","toppars":{{}}}},"b:2/2":{{"state":"{state}"}}}}}}"#);
        assert!(any_broker_up(stats("UP").as_bytes()).unwrap());
        assert!(!any_broker_up(stats("CONNECT").as_bytes()).unwrap());
        assert!(any_broker_up(b"[]").is_err());
    }

    // Goal: wrong credentials stay the explanation, although the closed connection is reported after them.
    #[test]
    fn the_telling_trouble_is_kept() {
        let context = Context::default();
        context.error(KafkaError::Global(RDKafkaErrorCode::Authentication), "SASL authentication failed");
        context.error(KafkaError::Global(RDKafkaErrorCode::BrokerTransportFailure), "Disconnected");
        context.error(KafkaError::Global(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
        assert_eq!(context.take_trouble().map(|refusal| refusal.class.reason), Some("authentication"));
        assert_eq!(context.take_trouble(), None);
    }
}
