//! A small blocking HTTP/1.1 client that hides nothing: no retries, no redirects, one connection kept alive.

use std::{
    fmt::Write as _,
    io::{self, BufRead, BufReader, Write as _},
    time::Duration,
};

use super::socket::{Address, Socket};

/// Headers for a request.
pub type Headers<'a> = &'a [(&'a str, &'a str)];

const TIMEOUT: Duration = Duration::from_secs(60);

/// One connection to one listener, opened when needed and kept while the server keeps it.
pub struct Client {
    address: Address,
    timeout: Duration,
    connection: Option<BufReader<Socket>>,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    /// Names in lower case, in the order of arrival.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of this name, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(n, _)| n == name);
        found.next().map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("not JSON: {e}: {} {:?}", self.status, self.text()))
    }

    /// Itself, or a panic that shows the answer when the status is another.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }
}

impl Client {
    /// A client for a listener; connects with the first request.
    pub fn new(address: Address) -> Self {
        Self { address, timeout: TIMEOUT, connection: None }
    }

    /// The longest wait for an answer; 60 s unless told.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// POST; panics when there is no answer.
    #[track_caller]
    pub fn post(&mut self, path: &str, content_type: &str, headers: Headers<'_>, body: impl AsRef<[u8]>) -> Response {
        let headers = [headers, &[("content-type", content_type)]].concat();
        self.request("POST", path, &headers, body)
    }

    /// POST of JSON.
    #[track_caller]
    pub fn post_json(&mut self, path: &str, body: &serde_json::Value) -> Response {
        self.post(path, "application/json", &[], body.to_string())
    }

    /// GET; panics when there is no answer.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Response {
        self.request("GET", path, &[], "")
    }

    /// Any method; panics when there is no answer.
    #[track_caller]
    pub fn request(&mut self, method: &str, path: &str, headers: Headers<'_>, body: impl AsRef<[u8]>) -> Response {
        self.try_request(method, path, headers, body.as_ref())
            .unwrap_or_else(|e| panic!("no answer to {method} {path} at {:?}: {e}", self.address))
    }

    /// Any method. After an error the request may or may not have been carried out; the next one connects anew.
    pub fn try_request(&mut self, method: &str, path: &str, headers: Headers<'_>, body: &[u8]) -> io::Result<Response> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => BufReader::new(self.address.connect(self.timeout)?),
        };
        let request = render(method, path, headers, body);
        connection.get_mut().write_all(&request)?;
        let response = read_response(&mut connection, method == "HEAD")?;
        let closes = response.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if !closes {
            self.connection = Some(connection);
        }
        Ok(response)
    }
}

/// The bytes of a request with a `content-length`.
pub fn render(method: &str, path: &str, headers: Headers<'_>, body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
    if method != "GET" || !body.is_empty() {
        write!(head, "content-length: {}\r\n", body.len()).expect("a String takes all");
    }
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").expect("a String takes all");
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

/// Reads one answer; interim ones (100) are skipped.
pub fn read_response(stream: &mut impl BufRead, without_body: bool) -> io::Result<Response> {
    loop {
        let mut response = read_head(stream)?;
        if (100..200).contains(&response.status) {
            continue;
        }
        if !without_body && ![204, 304].contains(&response.status) {
            response.body = read_body(stream, &response)?;
        }
        return Ok(response);
    }
}

fn read_head(stream: &mut impl BufRead) -> io::Result<Response> {
    let first = read_line(stream)?;
    let status = first
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1)?.parse().ok())
        .ok_or_else(|| invalid(format!("not a status line: {first:?}")))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| invalid(format!("not a header: {line:?}")))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Ok(Response { status, headers, body: Vec::new() })
}

fn read_body(stream: &mut impl BufRead, head: &Response) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if head.header("transfer-encoding") == Some("chunked") {
        while read_chunk(stream, &mut body)? {}
    } else if let Some(length) = head.header("content-length") {
        let length = length.parse().map_err(|_| invalid(length.to_owned()))?;
        body.resize(length, 0);
        stream.read_exact(&mut body)?;
    } else {
        stream.read_to_end(&mut body)?;
    }
    Ok(body)
}

/// Appends one chunk; false after the last.
fn read_chunk(stream: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<bool> {
    let line = read_line(stream)?;
    let digits = line.split(';').next().unwrap_or_default().trim();
    let size = usize::from_str_radix(digits, 16).map_err(|_| invalid(line.clone()))?;
    let start = body.len();
    body.resize(start + size, 0);
    stream.read_exact(&mut body[start..])?;
    // The line end after a chunk; after the last, trailers come first.
    while !read_line(stream)?.is_empty() {}
    Ok(size > 0)
}

fn read_line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
