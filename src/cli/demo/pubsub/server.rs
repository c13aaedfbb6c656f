//! The listener and its connections.

use super::broker::ClientId;
use super::command::{Hub, Next};
use super::outbox::Outbox;
use super::resp::{parse, put_error};
use bytes::{Buf, BytesMut};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Most connections at once.
const MAX_CONNECTIONS: usize = 1024;

/// Longest wait for a client to take its last replies.
const FAREWELL: Duration = Duration::from_secs(1);

/// A Pub/Sub server on loopback.
#[derive(Debug)]
pub(crate) struct PubSubServer {
    listener: TcpListener,
    addr: SocketAddr,
}

type SharedHub = Arc<Mutex<Hub>>;

fn lock(hub: &SharedHub) -> MutexGuard<'_, Hub> {
    hub.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PubSubServer {
    /// Listens on a free port of 127.0.0.1.
    pub(crate) async fn bind() -> io::Result<Self> {
        Self::bind_at((Ipv4Addr::LOCALHOST, 0).into()).await
    }

    /// Listens where another has listened: a restart.
    pub(crate) async fn bind_at(addr: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        Ok(Self { listener, addr })
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `shutdown` resolves, then closes every connection.
    pub(crate) async fn run(self, shutdown: impl Future<Output = ()>) {
        let hub = SharedHub::default();
        let mut connections = JoinSet::new();
        let mut last_client: ClientId = 0;
        tokio::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => return,
                Some(_ended) = connections.join_next() => continue,
                accepted = self.listener.accept() => accepted,
            };
            let Ok((socket, _)) = accepted else {
                // Out of file descriptors, most likely: the next look would find the same at once.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            if connections.len() >= MAX_CONNECTIONS {
                refuse(&socket);
                continue;
            }
            last_client += 1;
            connections.spawn(serve(Arc::clone(&hub), last_client, socket));
        }
    }
}

/// Says why, if the socket takes it at once, and closes.
fn refuse(socket: &TcpStream) {
    let mut text = Vec::new();
    put_error(&mut text, "ERR max number of clients reached");
    // It is closed either way.
    drop(socket.try_write(&text));
}

/// Removes the client however its connection ends, also by the server's shutdown.
struct Registered {
    hub: SharedHub,
    client: ClientId,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut hub = lock(&self.hub);
        hub.outboxes.remove(&self.client);
        hub.broker.remove(self.client);
    }
}

async fn serve(hub: SharedHub, client: ClientId, mut socket: TcpStream) {
    let outbox = Arc::new(Outbox::default());
    lock(&hub).outboxes.insert(client, Arc::clone(&outbox));
    let registered = Registered { hub, client };
    // Small replies must not wait for the next; without the option they still arrive.
    drop(socket.set_nodelay(true));
    let (mut from, mut to) = socket.split();
    let mut pending = BytesMut::new();
    let in_peace = tokio::select! {
        () = read_commands(&registered, &outbox, &mut from) => true,
        () = outbox.write_to(&mut to, &mut pending) => false,
    };
    drop(registered);
    if in_peace {
        // The client may be gone already; then there is nobody to tell.
        drop(tokio::time::timeout(FAREWELL, outbox.flush_to(&mut to, pending)).await);
    }
}

/// Reads and carries out commands until the client ends, quits, or sends what is no command.
async fn read_commands(registered: &Registered, outbox: &Outbox, from: &mut (impl AsyncRead + Unpin)) {
    let mut input = BytesMut::with_capacity(16 << 10);
    loop {
        match from.read_buf(&mut input).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        loop {
            let taken = match parse(&input) {
                Ok(None) => break,
                Ok(Some((args, taken))) => {
                    if lock(&registered.hub).execute(registered.client, &args) == Next::Close {
                        return;
                    }
                    taken
                }
                Err(error) => {
                    outbox.append(|out| put_error(out, &format!("ERR Protocol error: {error}")));
                    return;
                }
            };
            input.advance(taken);
        }
    }
}
