//! Channel and payload of a notification; pure.

/// A notification ready to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Redis channel.
    pub channel: Box<[u8]>,
    /// `{"id":…,"type":…,"source_id":…}`.
    pub message: Box<[u8]>,
}
