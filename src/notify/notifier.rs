//! The seam to Redis: what the worker needs of it, and how it can fail. No error here holds a password.

use super::message::Notification;

/// Somewhere to connect to.
pub(super) trait Notifier: Send {
    /// A connection that has answered once.
    type Link: Link;

    /// Connects and hears one answer; gives up after a second or so.
    fn connect(&self) -> impl Future<Output = Result<Self::Link, ConnectError>> + Send;
}

/// A connection. It never reconnects by itself; dropping it closes it.
pub(super) trait Link: Send {
    /// Publishes a batch in order, as one pipeline, and tells what became of each command. Gives up after the response timeout;
    /// on an error the fate of the batch is unknown.
    fn publish(&mut self, batch: &[Notification]) -> impl Future<Output = Result<Tally, LinkError>> + Send;

    /// Hears one answer, whatever it says.
    fn ping(&mut self) -> impl Future<Output = Result<(), LinkError>> + Send;
}

/// What became of the commands of a pipeline that was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Commands that Redis carried out. It does not matter how many subscribers there were, also none.
    pub(super) taken: u64,
    /// Commands that it answered with an error.
    pub(super) refused: u64,
    /// The first of those errors, in Redis' words.
    pub(super) refusal: Option<String>,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Nobody listens there.
    #[error("nothing listens at {address} (connection refused)")]
    Refused {
        /// Host and port, or the socket path.
        address: String,
    },
    /// Nothing came back in time.
    #[error("no answer from {address} within {millis} ms")]
    Timeout {
        /// Host and port, or the socket path.
        address: String,
        /// How long was waited.
        millis: u128,
    },
    /// The password or user name is wrong, or one was given where Redis expects none.
    #[error("redis at {address} does not accept the user name or password of redis.url")]
    WrongPassword {
        /// Host and port, or the socket path.
        address: String,
    },
    /// Redis wants a password and got none.
    #[error("redis at {address} wants a password, and redis.url has none (write redis://user:password@host:port)")]
    PasswordNeeded {
        /// Host and port, or the socket path.
        address: String,
    },
    /// Anything else: a name that does not resolve, no route, a database that does not exist.
    #[error("cannot connect to redis at {address}: {detail}")]
    Other {
        /// Host and port, or the socket path.
        address: String,
        /// The system's or Redis' own words, without secrets.
        detail: String,
    },
}

/// Why a connection did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LinkError {
    /// Nothing came back in time; the connection may still be good.
    #[error("redis did not answer within {millis} ms")]
    Timeout {
        /// How long was waited.
        millis: u128,
    },
    /// The connection is gone, or must be given up.
    #[error("the connection to redis is lost: {detail}")]
    Lost {
        /// The system's or Redis' own words, without secrets.
        detail: String,
    },
}
