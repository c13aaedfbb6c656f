//! Stage 4: Redis is told, only after Kafka's ack. Takes acknowledged events from the drain, gives notifications to Redis, promises
//! never to slow the drain.

mod message;
mod queue;

pub use message::{ChannelTemplate, Notification, TemplateError};
pub use queue::{NotifyQueue, NotifyStats};
