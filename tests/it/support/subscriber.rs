//! What a Redis subscriber receives: channel, message and the moment, collected on a thread.

use std::{
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use redis::RedisResult;

use super::wait;

/// One message as it arrived.
#[derive(Clone, Debug)]
pub struct Message {
    pub channel: String,
    pub payload: String,
    pub received: Instant,
}

impl Message {
    /// The payload as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.payload).expect("a notification is JSON")
    }
}

/// A subscription to a channel pattern. It ends with its server: make a new one after Redis has been away.
pub struct Subscriber {
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    messages: Vec<Message>,
    ended: Option<String>,
}

impl Subscriber {
    /// Subscribes to `pattern` (`events:*`). Everything published from here on is collected.
    #[track_caller]
    pub fn start(url: &str, pattern: &str) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (ready, is_ready) = mpsc::channel();
        let (url, pattern) = (url.to_owned(), pattern.to_owned());
        let subscriber = Self { seen: Arc::clone(&seen) };
        // Not joined: it reads until the server goes, at the latest with the test.
        thread::spawn(move || {
            let ended = collect(&url, &pattern, &ready, &seen).unwrap_err();
            seen.lock().unwrap().ended = Some(ended.to_string());
        });
        let confirmed = is_ready.recv_timeout(Duration::from_secs(10));
        assert!(confirmed.is_ok(), "cannot subscribe: {:?}", subscriber.ended());
        subscriber
    }

    /// Waits until `count` messages or more have arrived; gives all of them.
    #[track_caller]
    pub fn wait_for(&self, count: usize, deadline: Duration) -> Vec<Message> {
        wait::until_ok(&format!("{count} notifications"), deadline, || {
            let seen = self.seen.lock().unwrap();
            let messages = &seen.messages;
            if messages.len() >= count {
                return Ok(messages.clone());
            }
            let (n, last, ended) = (messages.len(), messages.last(), &seen.ended);
            Err(format!("{n} of them, the last {last:?}, subscription ended by {ended:?}"))
        })
    }

    /// What has arrived so far.
    pub fn messages(&self) -> Vec<Message> {
        self.seen.lock().unwrap().messages.clone()
    }

    /// How many have arrived so far.
    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().messages.len()
    }

    /// Why the subscription ended, if it has.
    pub fn ended(&self) -> Option<String> {
        self.seen.lock().unwrap().ended.clone()
    }
}

fn collect(url: &str, pattern: &str, ready: &mpsc::Sender<()>, seen: &Mutex<Seen>) -> RedisResult<std::convert::Infallible> {
    let mut connection = redis::Client::open(url)?.get_connection()?;
    let mut subscription = connection.as_pubsub();
    subscription.psubscribe(pattern)?;
    ready.send(()).expect("the one who started us waits");
    loop {
        let message = subscription.get_message()?;
        let received = Instant::now();
        seen.lock().unwrap().messages.push(Message {
            channel: message.get_channel_name().to_owned(),
            payload: message.get_payload()?,
            received,
        });
    }
}
