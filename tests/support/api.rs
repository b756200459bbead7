//! The protected API: answers with what it received, so that a test can compare byte for byte.

use std::collections::HashMap;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use super::http::Response;
use super::idp::Gate;
use super::ports::{self, Port};
use super::wire::{self, Headers};
use super::{jwt, wait};

/// A request as the API received it, read back from its answer or from its own list.
#[derive(Debug, Clone, PartialEq)]
pub struct Echo {
    /// The method.
    pub method: String,
    /// The request target as on the wire.
    pub uri: String,
    /// `HTTP/1.0` or `HTTP/1.1`.
    pub protocol: String,
    /// The fields in order, case and repetitions kept.
    pub headers: Headers,
    /// Length of the body.
    pub body_length: usize,
    /// SHA-256 of the body, in hexadecimal.
    pub body_sha256: String,
}

impl Echo {
    /// Reads the API's answer; panics with the response if it is something else.
    #[track_caller]
    pub fn of(response: &Response) -> Echo {
        assert_eq!(response.status, 200, "not the API's answer: {response:?}");
        let value = response.json();
        Echo::from_json(&value).unwrap_or_else(|| panic!("not the API's answer: {value}"))
    }

    fn from_json(value: &Value) -> Option<Echo> {
        let text = |name: &str| Some(value[name].as_str()?.to_owned());
        let field = |field: &Value| Some((field[0].as_str()?.to_owned(), field[1].as_str()?.to_owned()));
        Some(Echo {
            method: text("method")?,
            uri: text("uri")?,
            protocol: text("protocol")?,
            headers: value["headers"].as_array()?.iter().map(field).collect::<Option<_>>()?,
            body_length: value["body_length"].as_u64()? as usize,
            body_sha256: text("body_sha256")?,
        })
    }

    fn to_json(&self) -> Value {
        json!({
            "method": self.method, "uri": self.uri, "protocol": self.protocol,
            "headers": self.headers, "body_length": self.body_length,
            "body_sha256": self.body_sha256,
        })
    }

    /// The first value of a field.
    pub fn header(&self, name: &str) -> Option<&str> {
        wire::values(&self.headers, name).next()
    }

    /// All values of a field, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        wire::values(&self.headers, name).collect()
    }

    /// What follows `Bearer ` in `Authorization`.
    pub fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }

    /// Header and payload of the JWT received.
    pub fn jwt(&self) -> Option<(Value, Value)> {
        jwt::decode(self.bearer()?)
    }
}

/// SHA-256 in hexadecimal, to compare with [`Echo::body_sha256`].
pub fn sha256(body: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, body);
    digest.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// The running API: a thread a connection.
pub struct Api {
    port: Port,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stopped: AtomicBool,
    requests: Mutex<Vec<Echo>>,
    scripts: Mutex<HashMap<String, Script>>,
}

/// What a path does other than echo at once.
#[derive(Clone)]
enum Script {
    Verbatim(Vec<u8>),
    Hold(Gate),
}

impl Api {
    /// Starts on a free port.
    pub fn start() -> Api {
        Api::start_on(ports::reserve())
    }

    /// Starts on this port.
    pub fn start_on(port: Port) -> Api {
        let listener = TcpListener::bind(port.addr()).expect("bind the API");
        let shared = Arc::new(Shared::default());
        let state = shared.clone();
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if state.stopped.load(Ordering::SeqCst) {
                    break;
                }
                let (Ok(stream), state) = (stream, state.clone()) else {
                    continue;
                };
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Api { port, shared, accepting: Some(accepting) }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// `http://…` without a path: for `proxy_pass`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// Answers requests for this path with these bytes: status line, fields, body.
    pub fn answer(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.script(path, Script::Verbatim(bytes.into()));
    }

    /// Echoes requests for this path only when `gate` is open.
    pub fn hold(&self, path: &str, gate: &Gate) {
        self.script(path, Script::Hold(gate.clone()));
    }

    /// All requests so far, in order of arrival.
    pub fn requests(&self) -> Vec<Echo> {
        self.shared.requests.lock().expect("requests").clone()
    }

    /// How many there were.
    pub fn request_count(&self) -> usize {
        self.shared.requests.lock().expect("requests").len()
    }

    /// Waits until `n` requests have arrived in all; held ones count.
    #[track_caller]
    pub fn wait_for_requests(&self, n: usize) {
        wait::until(&format!("{n} requests at the API"), || self.request_count() >= n);
    }

    fn script(&self, path: &str, script: Script) {
        let mut scripts = self.shared.scripts.lock().expect("scripts");
        scripts.insert(path.to_owned(), script);
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.port.addr());
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

/// Serves a connection until it ends; an error of the peer's ends it too.
fn serve(stream: TcpStream, shared: &Shared) {
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::new(stream);
    while let Ok(Some(head)) = wire::read_head(&mut reader) {
        let has = |name: &str, value: &str| wire::values(&head.headers, name).any(|v| v.eq_ignore_ascii_case(value));
        if has("expect", "100-continue") {
            let _ = reader.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let Ok(body) = wire::read_body(&mut reader, &head.headers, false) else {
            return;
        };
        let mut start = head.start.split(' ').map(str::to_owned);
        let mut next = || start.next().unwrap_or_default();
        let echo = Echo {
            method: next(),
            uri: next(),
            protocol: next(),
            headers: head.headers.clone(),
            body_length: body.len(),
            body_sha256: sha256(&body),
        };
        shared.requests.lock().expect("requests").push(echo.clone());
        let path = echo.uri.split('?').next().unwrap_or_default();
        let script = shared.scripts.lock().expect("scripts").get(path).cloned();
        let bytes = match script {
            Some(Script::Verbatim(bytes)) => bytes,
            Some(Script::Hold(gate)) => {
                let released = || gate.is_open() || shared.stopped.load(Ordering::SeqCst);
                while !released() {
                    std::thread::sleep(std::time::Duration::from_millis(3));
                }
                answer(&echo)
            }
            None => answer(&echo),
        };
        let sent = reader.get_mut().write_all(&bytes);
        if sent.is_err() || echo.protocol == "HTTP/1.0" || has("connection", "close") {
            return;
        }
    }
}

fn answer(echo: &Echo) -> Vec<u8> {
    let body = echo.to_json().to_string();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    let body = if echo.method == "HEAD" { "" } else { &body };
    format!("{head}{body}").into_bytes()
}
