//! A scripted Redis for the worker's tests: what it does is changed while the worker runs, and it remembers what it was given.

use super::super::message::Notification;
use super::super::notifier::{ConnectError, Link, LinkError, Notifier, Tally};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// What the fake does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// Answers at once.
    Well,
    /// Nobody listens; open connections break.
    Away,
    /// Takes connections and bytes, answers nothing.
    Frozen,
    /// Answers everything but publishes nothing in time.
    Sluggish,
    /// Has another password.
    Locked,
    /// Refuses every `PUBLISH`.
    Forbids,
    /// Refuses to publish to channels of the source `secret`.
    ForbidsSecret,
}

/// What the fake was asked, and when.
#[derive(Debug, Default)]
pub(super) struct Diary {
    /// Messages that reached subscribers.
    pub(super) published: Vec<String>,
    /// Size and time of every pipeline.
    pub(super) pipelines: Vec<(usize, Instant)>,
    /// Times of connection attempts.
    pub(super) connects: Vec<Instant>,
}

#[derive(Clone, Debug)]
pub(super) struct Fake(Arc<Mutex<(Mood, Diary)>>);

pub(super) const CONNECT: Duration = Duration::from_secs(1);
pub(super) const RESPONSE: Duration = Duration::from_millis(500);

fn timeout() -> LinkError {
    LinkError::Timeout { millis: RESPONSE.as_millis() }
}

fn lost() -> LinkError {
    LinkError::Lost { detail: "reset".into() }
}

impl Fake {
    pub(super) fn new(mood: Mood) -> Self {
        Self(Arc::new(Mutex::new((mood, Diary::default()))))
    }

    fn lock(&self) -> MutexGuard<'_, (Mood, Diary)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, mood: Mood) {
        self.lock().0 = mood;
    }

    pub(super) fn diary<T>(&self, read: impl FnOnce(&Diary) -> T) -> T {
        read(&self.lock().1)
    }

    fn mood(&self) -> Mood {
        self.lock().0
    }
}

impl Notifier for Fake {
    type Link = Self;

    async fn connect(&self) -> Result<Self, ConnectError> {
        self.lock().1.connects.push(Instant::now());
        let address = "fake:6379".to_owned();
        match self.mood() {
            Mood::Away => Err(ConnectError::Refused { address }),
            Mood::Locked => Err(ConnectError::WrongPassword { address }),
            Mood::Frozen => {
                sleep(CONNECT).await;
                Err(ConnectError::Timeout { address, millis: CONNECT.as_millis() })
            }
            _ => Ok(self.clone()),
        }
    }
}

impl Link for Fake {
    async fn publish(&mut self, batch: &[Notification]) -> Result<Tally, LinkError> {
        self.lock().1.pipelines.push((batch.len(), Instant::now()));
        let allowed = |one: &&Notification| match self.mood() {
            Mood::Forbids => false,
            Mood::ForbidsSecret => !one.channel().ends_with(":secret"),
            _ => true,
        };
        match self.mood() {
            Mood::Away | Mood::Locked => return Err(lost()),
            Mood::Frozen | Mood::Sluggish => {
                sleep(RESPONSE).await;
                return Err(timeout());
            }
            Mood::Well | Mood::Forbids | Mood::ForbidsSecret => {}
        }
        let taken: Vec<String> = batch.iter().filter(allowed).map(|one| one.message().to_owned()).collect();
        let refused = (batch.len() - taken.len()) as u64;
        let tally = Tally { taken: taken.len() as u64, refused, refusal: (refused > 0).then(|| "NOPERM".into()) };
        self.lock().1.published.extend(taken);
        // An answer takes a moment, as over a network: paused time moves, and the script gets its turn.
        sleep(Duration::from_micros(100)).await;
        Ok(tally)
    }

    async fn ping(&mut self) -> Result<(), LinkError> {
        match self.mood() {
            Mood::Away | Mood::Locked => Err(lost()),
            Mood::Frozen => {
                sleep(RESPONSE).await;
                Err(timeout())
            }
            _ => Ok(()),
        }
    }
}
