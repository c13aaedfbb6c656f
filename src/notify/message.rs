//! Channel and payload of a notification; pure.

/// A notification ready to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Redis channel.
    pub channel: Box<[u8]>,
    /// `{"id":…,"type":…,"source_id":…}`.
    pub message: Box<[u8]>,
}

/// A parsed channel template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelTemplate {}

/// Why a channel template is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TemplateError(pub String);
