//! A scripted relay for tests: answers each request with the next reply of a list, and keeps what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, spawn};

/// A reply: status line, further headers, body.
#[derive(Clone, Debug)]
pub(super) struct Scripted {
    status: &'static str,
    headers: &'static str,
    body: String,
}

impl Scripted {
    pub(super) fn new(status: &'static str, body: impl Into<String>) -> Self {
        Self { status, headers: "", body: body.into() }
    }

    pub(super) fn with(mut self, headers: &'static str) -> Self {
        self.headers = headers;
        self
    }
}

/// The running server.
pub(super) struct FakeRelay {
    /// What to connect to.
    pub(super) url: String,
    asked: Arc<Mutex<Vec<String>>>,
    thread: JoinHandle<()>,
}

impl FakeRelay {
    /// Listens on loopback.
    pub(super) fn tcp(script: Vec<Scripted>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        Self::start(url, script, move || listener.accept().unwrap().0)
    }

    /// Listens on a Unix socket.
    pub(super) fn socket(path: &Path, script: Vec<Scripted>) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        Self::start(format!("unix:{}", path.display()), script, move || listener.accept().unwrap().0)
    }

    fn start<S: Read + Write>(url: String, script: Vec<Scripted>, accept: impl Fn() -> S + Send + 'static) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let thread = spawn(move || {
            let mut script = script.into_iter().peekable();
            while script.peek().is_some() {
                serve(accept(), &mut script, &log);
            }
        });
        Self { url, asked, thread }
    }

    /// Each request as `METHOD target body`, once the script is played to its end.
    pub(super) fn asked(self) -> Vec<String> {
        self.thread.join().unwrap();
        Arc::into_inner(self.asked).unwrap().into_inner().unwrap()
    }
}

/// Serves one connection: one request, as the client asks for.
fn serve<S: Read + Write>(stream: S, script: &mut impl Iterator<Item = Scripted>, log: &Mutex<Vec<String>>) {
    let mut stream = BufReader::new(stream);
    let Some(request) = read_request(&mut stream) else { return };
    let Some(reply) = script.next() else { return };
    log.lock().unwrap().push(request);
    let length = reply.body.len();
    let text = format!("HTTP/1.1 {}\r\ncontent-length: {length}\r\n{}\r\n{}", reply.status, reply.headers, reply.body);
    stream.get_mut().write_all(text.as_bytes()).unwrap();
}

fn read_request(stream: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |text| text.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let request = head.split(" HTTP/1.1").next()?;
    Some(format!("{request} {}", String::from_utf8(body).unwrap()).trim_end().to_owned())
}
