//! The server: plain HTTP/1.1, on a runtime of its own if the assembly wants it.
//!
//! Takes requests from `listener`, decides with `route`, answers with `answer` and `reply`; `connection` keeps each client within bounds.

mod answer;
mod authority;
mod change;
mod connection;
mod listener;
mod reply;
mod route;

use super::source::StatusSource;
use super::watch::watch;
use crate::config::OpsConfig;
use answer::Answers;
use authority::Authority;
use connection::Listener;
use listener::Bound;
use std::future::Future;
use std::io;
use std::sync::Arc;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch as signal;
use tokio::task::JoinSet;

pub use listener::{BindError, OpsAddresses};

/// The ops stage, bound and ready to serve.
#[derive(Debug)]
pub struct Ops {
    source: Arc<StatusSource>,
    bound: Vec<Bound>,
    addresses: OpsAddresses,
    authority: Authority,
}

impl Ops {
    /// Binds the listeners that the settings name. Needs no runtime.
    ///
    /// # Errors
    /// [`BindError`] names the setting and what stands in the way.
    pub fn bind(config: &OpsConfig, source: Arc<StatusSource>) -> Result<Self, BindError> {
        let (bound, addresses) = listener::bind(config)?;
        Ok(Self { source, bound, addresses, authority: Authority::new(config.token_file.clone()) })
    }

    /// Where it listens, with the ports that the system chose.
    pub fn addresses(&self) -> &OpsAddresses {
        &self.addresses
    }

    /// Serves on a runtime of its own on this thread until `shutdown` resolves: probes then answer whatever the other runtime does.
    ///
    /// # Errors
    /// When the runtime or a listener cannot be set up.
    pub fn run_blocking(self, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build()?;
        let result = runtime.block_on(self.run(shutdown));
        // A look into the buffer may still be reading; nobody waits for its answer any more.
        runtime.shutdown_background();
        result
    }

    /// Serves on the current runtime until `shutdown` resolves, then gives open requests a moment to finish.
    ///
    /// # Errors
    /// When a listener cannot be handed to the runtime.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let answers = Arc::new(Answers::new(Arc::clone(&self.source), self.authority));
        let (stop, stopped) = signal::channel(());
        let mut listeners = JoinSet::new();
        let mut files = Vec::new();
        for bound in self.bound {
            let listener = match bound {
                Bound::Tcp(listener, surface) => Listener::Tcp(TcpListener::from_std(listener)?, surface),
                Bound::Socket(listener, file) => {
                    files.push(file);
                    Listener::Unix(UnixListener::from_std(listener)?)
                }
            };
            let _ = listeners.spawn(connection::accept_loop(listener, Arc::clone(&answers), stopped.clone()));
        }
        tokio::select! {
            () = shutdown => {}
            () = watch(&self.source) => {}
        }
        drop(stop);
        let _ = listeners.join_all().await;
        drop(files);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
