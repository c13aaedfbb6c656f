//! One look at Redis for `dualstream check --connect`: is it there, does it let us in, may we publish?
//!
//! Publishes nothing: the `PUBLISH` is queued in a transaction, which is where Redis checks the permission, and then discarded.

use super::notifier::{ConnectError, LinkError, Notifier};
use super::redis::{Answer, RedisLink, RedisTarget};
use super::run::{BuildError, channel};
use crate::config::RedisConfig;
use crate::event::EventRef;
use redis::{FromRedisValue, cmd};

/// What a look at Redis found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisFacts {
    /// Host and port, or the socket path.
    pub address: String,
    /// The server's version, when it tells.
    pub version: Option<String>,
    /// The channel of an example event.
    pub channel: String,
    /// Whether that channel may be published to; `None` when Redis does not let us ask.
    pub can_publish: Option<bool>,
}

/// Why notifications would not arrive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// The settings can never work.
    #[error(transparent)]
    Config(#[from] BuildError),
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection broke during the questions.
    #[error("redis at {address} stopped answering: {detail}")]
    Link {
        /// Host and port, or the socket path.
        address: String,
        /// Why.
        detail: String,
    },
}

/// Looks at the Redis of a config, within about three seconds. `None` when notifications are off.
///
/// # Errors
/// [`ProbeError`], a sentence that names the address.
pub async fn probe(config: &RedisConfig) -> Result<Option<RedisFacts>, ProbeError> {
    let Some(url) = &config.url else { return Ok(None) };
    let target = RedisTarget::parse(url).map_err(BuildError::Url)?;
    let example = EventRef { id: "", kind: "example", source_type: "example", source_id: "example", traceparent: None, value: &[] };
    let mut name = String::new();
    channel(config)?.render_into(&example, &mut name);
    let mut link = target.connect().await?;
    let address = target.address().to_owned();
    let broken = |error: LinkError| ProbeError::Link { address: address.clone(), detail: error.to_string() };
    let version = version(&mut link).await.map_err(broken)?;
    let can_publish = can_publish(&mut link, &name).await.map_err(broken)?;
    Ok(Some(RedisFacts { address, version, channel: name, can_publish }))
}

async fn version(link: &mut RedisLink) -> Result<Option<String>, LinkError> {
    let Answer::Value(value) = link.ask(cmd("INFO").arg("server")).await? else { return Ok(None) };
    let info = String::from_redis_value(value).unwrap_or_default();
    Ok(info.lines().find_map(|line| line.strip_prefix("redis_version:")).map(str::to_owned))
}

/// One command at a time: were `MULTI` refused, a pipelined `PUBLISH` behind it would be carried out.
async fn can_publish(link: &mut RedisLink, channel: &str) -> Result<Option<bool>, LinkError> {
    let Answer::Value(_) = link.ask(&cmd("MULTI")).await? else { return Ok(None) };
    let allowed = match link.ask(cmd("PUBLISH").arg(channel).arg("")).await? {
        Answer::Value(_) => Some(true),
        Answer::Refused { code } => (code == "NOPERM").then_some(false),
    };
    // Whatever it answers, the connection is dropped right after, and an open transaction with it.
    let _answer = link.ask(&cmd("DISCARD")).await?;
    Ok(allowed)
}
