//! A TCP server whose every byte the test decides: bad framing, half a header, silence.

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::SockRef;

use super::ports::{self, Port};
use super::{wait, wire};

/// Runs a script for each connection, in a thread of its own.
pub struct RawServer {
    port: Port,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stopped: AtomicBool,
    connections: AtomicUsize,
    requests: Mutex<Vec<RawRequest>>,
}

/// A request as a script read it.
#[derive(Debug, Clone)]
pub struct RawRequest {
    /// Request line, fields and their bytes.
    pub head: wire::Head,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// Which connection it came on, from 0.
    pub connection: usize,
}

/// A connection in the hands of a script; closed when the script returns.
pub struct RawConnection {
    /// Which one it is, from 0.
    pub id: usize,
    reader: BufReader<TcpStream>,
    shared: Arc<Shared>,
}

impl RawServer {
    /// Serves with `script`.
    pub fn start(script: impl Fn(&mut RawConnection) + Send + Sync + 'static) -> RawServer {
        let port = ports::reserve();
        let listener = std::net::TcpListener::bind(port.addr()).expect("bind the raw server");
        let shared = Arc::new(Shared::default());
        let script = Arc::new(script);
        let state = shared.clone();
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if state.stopped.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let _ = stream.set_nodelay(true);
                let mut connection = RawConnection {
                    id: state.connections.fetch_add(1, Ordering::SeqCst),
                    reader: BufReader::new(stream),
                    shared: state.clone(),
                };
                let script = script.clone();
                std::thread::spawn(move || script(&mut connection));
            }
        });
        RawServer { port, shared, accepting: Some(accepting) }
    }

    /// Answers every request with these bytes and closes.
    pub fn answering(bytes: impl Into<Vec<u8>>) -> RawServer {
        let bytes = bytes.into();
        RawServer::start(move |connection| {
            if connection.read_request().is_some() {
                connection.send(&bytes);
            }
        })
    }

    /// Answers every request with these bytes and keeps the connection for the next.
    pub fn answering_keep_alive(bytes: impl Into<Vec<u8>>) -> RawServer {
        let bytes = bytes.into();
        RawServer::start(move |connection| while connection.read_request().is_some() && connection.send(&bytes) {})
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// `http://…` without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Requests the scripts have read so far.
    pub fn requests(&self) -> Vec<RawRequest> {
        self.shared.requests.lock().expect("request list").clone()
    }

    /// Waits until the scripts have read `n` requests in all.
    #[track_caller]
    pub fn wait_for_requests(&self, n: usize) {
        wait::until(&format!("{n} requests at the raw server"), || {
            self.shared.requests.lock().expect("request list").len() >= n
        });
    }
}

impl Drop for RawServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.port.addr());
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl RawConnection {
    /// Reads one request and records it; `None` if the peer closed or sent none.
    pub fn read_request(&mut self) -> Option<RawRequest> {
        let head = wire::read_head(&mut self.reader).ok()??;
        let body = wire::read_body(&mut self.reader, &head.headers, false).ok()?;
        let request = RawRequest { head, body, connection: self.id };
        let mut requests = self.shared.requests.lock().expect("request list");
        requests.push(request.clone());
        Some(request)
    }

    /// Reads some bytes that are no request; `None` if the peer closed.
    pub fn read_some(&mut self) -> Option<Vec<u8>> {
        use std::io::BufRead;
        let bytes = self.reader.fill_buf().ok()?.to_vec();
        self.reader.consume(bytes.len());
        (!bytes.is_empty()).then_some(bytes)
    }

    /// Sends exactly these bytes; `false` if the peer is gone.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.reader.get_mut().write_all(bytes).is_ok()
    }

    /// Sends the bytes one at a time, with a pause after each.
    pub fn trickle(&mut self, bytes: &[u8], pause: Duration) {
        for byte in bytes {
            if !self.send(std::slice::from_ref(byte)) {
                break;
            }
            std::thread::sleep(pause);
        }
    }

    /// Says nothing more until the peer closes or the server is dropped.
    pub fn hang(&mut self) {
        use std::io::Read;
        let stream = self.reader.get_ref();
        let _ = stream.set_read_timeout(Some(Duration::from_millis(20)));
        let mut sink = [0; 512];
        while !self.shared.stopped.load(Ordering::SeqCst) {
            match self.reader.read(&mut sink) {
                Ok(0) => break,
                Err(e) if !matches!(e.kind(), std::io::ErrorKind::WouldBlock) => break,
                _ => {}
            }
        }
    }

    /// Makes the close that follows an RST.
    pub fn reset(&mut self) {
        let socket = SockRef::from(self.reader.get_ref());
        let _ = socket.set_linger(Some(Duration::ZERO));
    }
}
