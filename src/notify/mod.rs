//! Stage 4: Redis is told, only after Kafka's ack. Takes acknowledged events from the drain, gives notifications to Redis, promises
//! never to slow the drain.

mod message;
mod queue;
mod stats;

pub use message::Notification;
pub use queue::NotifyQueue;
pub use stats::{DROP_REASONS, NotifyStats};
