//! Bytes on a connection as a broken, slow or hostile client sends them.

use std::{
    io::{self, BufReader, Read, Write},
    thread,
    time::Duration,
};

use super::{
    http::{Response, read_response},
    socket::{Address, Socket},
};

/// A connection without manners. Dropped, it is closed.
pub struct Raw {
    stream: BufReader<Socket>,
}

impl Raw {
    /// Connects; reads that take longer than 30 s fail.
    #[track_caller]
    pub fn connect(address: &Address) -> Self {
        let socket = address.connect(Duration::from_secs(30)).unwrap_or_else(|e| panic!("cannot connect to {address:?}: {e}"));
        Self { stream: BufReader::new(socket) }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes.as_ref())
    }

    /// Sends a few bytes at a time with a pause after each piece, as a slow client does.
    pub fn trickle(&mut self, bytes: &[u8], piece: usize, pause: Duration) -> io::Result<()> {
        for piece in bytes.chunks(piece) {
            self.send(piece)?;
            thread::sleep(pause);
        }
        Ok(())
    }

    /// Ends our side of the connection and goes on listening.
    pub fn half_close(&mut self) -> io::Result<()> {
        self.stream.get_ref().shutdown_write()
    }

    /// Reads one HTTP answer.
    pub fn response(&mut self) -> io::Result<Response> {
        read_response(&mut self.stream, false)
    }

    /// Reads until the server closes the connection. A reset counts as closed.
    pub fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Err(e) if e.kind() != io::ErrorKind::ConnectionReset => Err(e),
            _ => Ok(bytes),
        }
    }
}
