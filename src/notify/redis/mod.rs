//! The Redis adapter: standalone Redis over TCP or a Unix socket, by the `redis` crate's multiplexed connection, which never
//! reconnects by itself. Reconnecting is the worker's business.
//!
//! A half-open link is noticed by the response timeout, by `TCP_USER_TIMEOUT` (unacknowledged data) and by keepalive (silence).

use super::message::Notification;
use super::notifier::{ConnectError, Link, LinkError, Notifier, Tally};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::io::tcp::socket2::TcpKeepalive;
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ErrorKind, Pipeline, RedisError, RedisResult, Value};
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for a connection, handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Longest wait for the answer to a pipeline.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Silence before the kernel asks whether the other side is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Longest that sent data may stay unacknowledged before the kernel gives the connection up.
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(5);

/// What a secret is replaced by.
const REDACTED: &str = "***";

/// A parsed `redis.url`.
#[derive(Clone, Debug)]
pub(super) struct RedisTarget {
    client: Client,
    place: Arc<Place>,
}

/// How a target is spoken of without its secrets.
struct Place {
    address: String,
    password: Option<String>,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A connection to Redis.
pub(super) struct RedisLink {
    connection: MultiplexedConnection,
    place: Arc<Place>,
}

/// Why `redis.url` is refused; reads well after "redis.url". The URL itself is not repeated, since it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlError(String);

impl RedisTarget {
    /// Parses `redis://user:password@host:port/`, `redis+unix:///path`.
    pub(super) fn parse(url: &str) -> Result<Self, UrlError> {
        if url.starts_with("rediss:") || url.starts_with("valkeys:") {
            return Err(UrlError("asks for TLS, which this version does not speak to Redis; use redis://".into()));
        }
        let info: ConnectionInfo = url.parse().map_err(|error: RedisError| {
            // The crate's own texts name the part that is wrong and at most quote the query.
            let what = error.to_string();
            UrlError(format!(
                "is not a Redis URL ({}); write redis://user:password@host:port, with '%40' for an '@' in the password",
                what.split(" - ").next().unwrap_or_default()
            ))
        })?;
        let place = Place { address: info.addr().to_string(), password: info.redis_settings().password().map(str::to_owned) };
        let settings = tcp_settings(info.tcp_settings().clone());
        let redis = info.redis_settings().clone().set_lib_name("dualstream", env!("CARGO_PKG_VERSION"));
        let client = Client::open(info.set_tcp_settings(settings).set_redis_settings(redis))
            .map_err(|_| UrlError("is not an address that this system can connect to".into()))?;
        Ok(Self { client, place: Arc::new(place) })
    }

    /// Host and port, or the socket path: the part of the URL that may be shown.
    pub(super) fn address(&self) -> &str {
        &self.place.address
    }
}

fn tcp_settings(default: TcpSettings) -> TcpSettings {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3);
    let settings = default.set_nodelay(true).set_keepalive(keepalive);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(USER_TIMEOUT);
    settings
}

impl Place {
    /// An error in words, whatever the server put into it: Redis repeats the arguments of a command that it does not know.
    fn describe(&self, error: &RedisError) -> String {
        let text = error.to_string();
        match self.password.as_deref() {
            Some(password) if !password.is_empty() => text.replace(password, REDACTED),
            _ => text,
        }
    }

    fn connect_error(&self, error: &RedisError) -> ConnectError {
        let address = self.address.clone();
        if error.kind() == ErrorKind::AuthenticationFailed || error.code() == Some("WRONGPASS") {
            ConnectError::WrongPassword { address }
        } else if error.code() == Some("NOAUTH") {
            ConnectError::PasswordNeeded { address }
        } else if error.is_connection_refusal() {
            ConnectError::Refused { address }
        } else if error.is_timeout() {
            ConnectError::Timeout { address, millis: CONNECT_TIMEOUT.as_millis() }
        } else {
            ConnectError::Other { address, detail: self.describe(error) }
        }
    }

    fn link_error(&self, error: &RedisError) -> LinkError {
        if error.is_timeout() {
            LinkError::Timeout { millis: RESPONSE_TIMEOUT.as_millis() }
        } else {
            LinkError::Lost { detail: self.describe(error) }
        }
    }
}

impl Notifier for RedisTarget {
    type Link = RedisLink;

    async fn connect(&self) -> Result<RedisLink, ConnectError> {
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_TIMEOUT)).set_response_timeout(Some(RESPONSE_TIMEOUT));
        let refused = |error: RedisError| self.place.connect_error(&error);
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await.map_err(refused)?;
        let mut link = RedisLink { connection, place: Arc::clone(&self.place) };
        // Without a password in the URL the handshake asks nothing, and would miss that one is wanted.
        match link.command(&redis::cmd("PING")).await {
            Ok(Answer::Refused { code }) if code == "NOAUTH" => Err(ConnectError::PasswordNeeded { address: self.place.address.clone() }),
            Ok(_) => Ok(link),
            Err(error) => Err(refused(error)),
        }
    }
}

/// What Redis says to one command.
pub(super) enum Answer {
    /// A value.
    Value(Value),
    /// An error of its own: it lives, and does not want to.
    Refused {
        /// The first word, such as `NOPERM`.
        code: String,
    },
}

impl RedisLink {
    async fn command(&mut self, command: &Cmd) -> RedisResult<Answer> {
        match self.connection.send_packed_command(command).await? {
            Value::ServerError(error) => Ok(Answer::Refused { code: error.code().to_owned() }),
            value => Ok(Answer::Value(value)),
        }
    }

    /// Sends one command and hears what Redis says to it.
    pub(super) async fn ask(&mut self, command: &Cmd) -> Result<Answer, LinkError> {
        self.command(command).await.map_err(|error| self.place.link_error(&error))
    }
}

impl Link for RedisLink {
    async fn publish(&mut self, batch: &[Notification]) -> Result<Tally, LinkError> {
        let mut pipeline = Pipeline::with_capacity(batch.len());
        for notification in batch {
            let mut command = Cmd::with_capacity(3, "PUBLISH".len() + notification.len());
            command.arg("PUBLISH").arg(notification.channel()).arg(notification.message());
            pipeline.add_command(command);
        }
        // One refused command must not hide what became of the others.
        let answers = pipeline.ignore_errors().query_async::<Vec<RedisResult<Value>>>(&mut self.connection).await;
        let mut tally = Tally::default();
        for answer in answers.map_err(|error| self.place.link_error(&error))? {
            match answer {
                Ok(_) => tally.taken += 1,
                Err(error) if error.code() == Some("NOAUTH") => {
                    // Our login was taken back; only a new connection logs in again.
                    return Err(LinkError::Lost { detail: self.place.describe(&error) });
                }
                Err(error) => {
                    tally.refused += 1;
                    tally.refusal.get_or_insert_with(|| self.place.describe(&error));
                }
            }
        }
        Ok(tally)
    }

    async fn ping(&mut self) -> Result<(), LinkError> {
        // Also "no permission for ping" is an answer.
        self.ask(&redis::cmd("PING")).await.map(drop)
    }
}

#[cfg(test)]
mod tests;
