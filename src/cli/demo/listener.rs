//! The consumer of what must be seen now: subscribes to all sources' channels.

use super::numbered::number;
use super::shared::{Consumer, Shared};
use crate::cli::exit::{Exit, Failure};
use crate::cli::human::plain;
use redis::{Client, Msg, RedisResult};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

/// The channels of all sources.
const PATTERN: &str = "events:*";

/// Longest wait for the connection and the subscription.
const CONNECT: Duration = Duration::from_secs(5);

/// Longest wait for the next message.
const POLL: Duration = Duration::from_millis(100);

/// Subscribes; everything that is published from then on is heard.
pub(super) fn start(redis: SocketAddr, shared: &Arc<Shared>) -> Result<Consumer, Failure> {
    let failed = |text: String| Failure::new(Exit::Failed, format!("cannot subscribe to Redis: {text}"));
    let (tell, subscribed) = sync_channel(1);
    let consumer = Consumer::spawn("listener", shared, move |shared| {
        if let Err(error) = listen(redis, shared, &tell) {
            shared.fail(format!("the subscription to Redis ended: {error}"));
        }
    });
    let consumer = consumer.map_err(|error| failed(error.to_string()))?;
    // Longer than the thread's own waits, so that it can say what was wrong.
    if subscribed.recv_timeout(3 * CONNECT).is_ok() {
        return Ok(consumer);
    }
    Err(failed(shared.trouble().unwrap_or_else(|| "it does not answer".into())))
}

fn listen(redis: SocketAddr, shared: &Shared, subscribed: &SyncSender<()>) -> RedisResult<()> {
    let mut connection = Client::open(format!("redis://{redis}/"))?.get_connection_with_timeout(CONNECT)?;
    connection.set_read_timeout(Some(CONNECT))?;
    let mut subscription = connection.as_pubsub();
    subscription.psubscribe(PATTERN)?;
    subscription.set_read_timeout(Some(POLL))?;
    // When nobody waits any more, the stop sign says so, too.
    let _waits = subscribed.send(());
    while !shared.stopping() {
        match subscription.get_message() {
            Ok(message) => heard(&message, shared),
            Err(error) if error.is_timeout() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn heard(message: &Msg, shared: &Shared) {
    let payload = message.get_payload_bytes();
    if let Some(number) = number(payload, shared.events) {
        shared.witness().notified(number);
    } else {
        let text = String::from_utf8_lossy(payload);
        shared.overhear(format!("Redis  {}  {}", plain(message.get_channel_name()), plain(&text)));
    }
}
