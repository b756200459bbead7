//! A client for HTTP/1.1 that sends exactly the bytes it is given and reports exactly what came.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use socket2::SockRef;

use super::wait::DEADLINE;
use super::wire::{self, Headers};

/// A response as received.
#[derive(Debug, Clone)]
pub struct Response {
    /// `HTTP/1.1`, or `HTTP/2.0` from the HTTP/2 client.
    pub version: String,
    /// The status code.
    pub status: u16,
    /// The fields, in order.
    pub headers: Headers,
    /// The body without its framing.
    pub body: Vec<u8>,
}

impl Response {
    /// The first value of a field.
    pub fn header(&self, name: &str) -> Option<&str> {
        wire::values(&self.headers, name).next()
    }

    /// All values of a field, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        wire::values(&self.headers, name).collect()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        wire::text(&self.body)
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("body is not JSON: {error}: {self:?}"))
    }
}

/// GET on a connection of its own.
#[track_caller]
pub fn get(addr: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Response {
    request(addr, "GET", path, headers, b"")
}

/// Any request on a connection of its own; `Content-Length` is added if there is a body.
#[track_caller]
pub fn request(addr: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let mut all = vec![("Connection", "close")];
    all.extend_from_slice(headers);
    Client::connect(addr).request(method, path, &all, body)
}

/// Sends these bytes on a connection of its own and reads one response.
#[track_caller]
pub fn send(addr: SocketAddr, bytes: &[u8]) -> Response {
    let mut client = Client::connect(addr);
    client.send(bytes);
    client.read_response()
}

/// The bytes of a request; `Host` comes first unless given, `Content-Length` if there is a body.
pub fn request_bytes(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let given = |name: &str| headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    if !given("host") {
        head += "Host: localhost\r\n";
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() && !given("content-length") && !given("transfer-encoding") {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

/// One connection: keep-alive, pipelining, leaving early.
pub struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    /// Connects; reads and writes then time out after the usual deadline.
    #[track_caller]
    pub fn connect(addr: SocketAddr) -> Client {
        let stream =
            TcpStream::connect_timeout(&addr, DEADLINE).unwrap_or_else(|error| panic!("connect to {addr}: {error}"));
        stream.set_nodelay(true).expect("set TCP_NODELAY");
        stream.set_read_timeout(Some(DEADLINE)).expect("set timeout");
        stream.set_write_timeout(Some(DEADLINE)).expect("set timeout");
        Client { reader: BufReader::new(stream) }
    }

    /// Sends exactly these bytes.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("send request bytes");
    }

    /// As `send`; a peer that closed is an error to look at.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Sends a request and reads its response; the connection stays open.
    #[track_caller]
    pub fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        self.send(&request_bytes(method, path, headers, body));
        self.read_response_to(method)
    }

    /// Reads the response to a request other than HEAD.
    #[track_caller]
    pub fn read_response(&mut self) -> Response {
        self.read_response_to("GET")
    }

    /// Reads the response to a request of this method; interim responses but 101 are skipped.
    #[track_caller]
    pub fn read_response_to(&mut self, method: &str) -> Response {
        match self.try_read_response_to(method) {
            Ok(Some(response)) => response,
            Ok(None) => panic!("connection closed instead of a response"),
            Err(error) => panic!("read response: {error}"),
        }
    }

    /// As above; `None` if the peer closed without a byte.
    pub fn try_read_response_to(&mut self, method: &str) -> io::Result<Option<Response>> {
        loop {
            let Some(head) = wire::read_head(&mut self.reader)? else {
                return Ok(None);
            };
            let mut start = head.start.splitn(3, ' ');
            let version = start.next().unwrap_or_default().to_owned();
            let status = start.next().and_then(|code| code.parse().ok());
            let status: u16 = status.ok_or(io::ErrorKind::InvalidData)?;
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            let bodiless = method == "HEAD" || status == 101 || matches!(status, 204 | 304);
            let body = if bodiless { Vec::new() } else { wire::read_body(&mut self.reader, &head.headers, true)? };
            return Ok(Some(Response { version, status, headers: head.headers, body }));
        }
    }

    /// Reads so many bytes as they are.
    #[track_caller]
    pub fn read_exact(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.reader.read_exact(&mut bytes).expect("read bytes");
        bytes
    }

    /// Whether the peer closes within `timeout` without another byte; unread bytes are a `false`.
    pub fn closes_within(&mut self, timeout: Duration) -> bool {
        use std::io::BufRead;
        let stream = self.reader.get_ref();
        stream.set_read_timeout(Some(timeout)).expect("set timeout");
        let closed = match self.reader.fill_buf() {
            Ok(rest) => rest.is_empty(),
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        };
        let stream = self.reader.get_ref();
        stream.set_read_timeout(Some(DEADLINE)).expect("set timeout");
        closed
    }

    /// The client's own address: what NGINX logs as its peer.
    pub fn local_addr(&self) -> SocketAddr {
        self.reader.get_ref().local_addr().expect("local address")
    }

    /// Closes the sending side only.
    pub fn shutdown_write(&self) {
        self.reader.get_ref().shutdown(Shutdown::Write).expect("shutdown");
    }

    /// Leaves at once, with RST.
    pub fn reset(self) {
        let stream = self.reader.into_inner();
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("set SO_LINGER");
    }
}
