//! An HTTP/2 client on one clear-text connection (prior knowledge): many requests at once, each
//! of which can be reset.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::OnceLock;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use hyper::Request;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};

use super::http::Response;
use super::wait::DEADLINE;
use super::wire;

/// One connection.
pub struct Connection {
    sender: SendRequest<Bytes>,
    authority: String,
}

/// A request on its way. Dropping it resets the stream.
pub struct Pending {
    response: ResponseFuture,
    stream: SendStream<Bytes>,
}

impl Connection {
    /// Connects.
    #[track_caller]
    pub fn open(addr: SocketAddr) -> Connection {
        Connection::with_window(addr, 65_535)
    }

    /// Connects; the server may send so many bytes of content on a stream before the client has read them.
    #[track_caller]
    pub fn with_window(addr: SocketAddr, window: u32) -> Connection {
        let sender = block_on("an HTTP/2 connection", async move {
            let stream = TcpStream::connect(addr).await.expect("connect for HTTP/2");
            let opened = h2::client::Builder::new().initial_window_size(window).handshake(stream).await;
            let (sender, connection) = opened.expect("HTTP/2 preface");
            tokio::spawn(connection);
            sender
        });
        Connection { sender, authority: addr.to_string() }
    }

    /// Sends a request and does not wait for anything.
    #[track_caller]
    pub fn start(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Pending {
        let uri = format!("http://{}{path}", self.authority);
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("an HTTP/2 request");
        let body = Bytes::copy_from_slice(body);
        let sender = self.sender.clone();
        block_on("a free HTTP/2 stream", async move {
            let mut sender = sender.ready().await.expect("HTTP/2 connection is open");
            let sent = sender.send_request(request, body.is_empty());
            let (response, mut stream) = sent.expect("send an HTTP/2 request");
            if !body.is_empty() {
                stream.send_data(body, true).expect("send an HTTP/2 body");
            }
            Pending { response, stream }
        })
    }

    /// GET, and its response.
    #[track_caller]
    pub fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        self.start("GET", path, headers, b"").response()
    }
}

impl Pending {
    /// Waits for the response.
    #[track_caller]
    pub fn response(self) -> Response {
        self.try_response().expect("an HTTP/2 response")
    }

    /// As above; a stream the server reset is an error to look at.
    pub fn try_response(self) -> Result<Response, h2::Error> {
        block_on("an HTTP/2 response", async move {
            let (parts, mut content) = self.response.await?.into_parts();
            let mut body = Vec::new();
            while let Some(data) = content.data().await {
                let data = data?;
                body.extend_from_slice(&data);
                content.flow_control().release_capacity(data.len())?;
            }
            let field = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
                (name.as_str().to_owned(), wire::text(value.as_bytes()))
            };
            Ok(Response {
                version: "HTTP/2.0".to_owned(),
                status: parts.status.as_u16(),
                headers: parts.headers.iter().map(field).collect(),
                body,
            })
        })
    }

    /// Resets the stream: RST_STREAM with CANCEL.
    pub fn cancel(mut self) {
        self.stream.send_reset(Reason::CANCEL);
    }

    /// Waits until the server has reset the stream.
    #[track_caller]
    pub fn wait_for_reset(mut self) -> Reason {
        block_on("a reset by the server", async move {
            poll_fn(|context| self.stream.poll_reset(context)).await.expect("a reset")
        })
    }
}

/// Runs on the thread all HTTP/2 clients share, with the usual deadline.
#[track_caller]
fn block_on<T: Send + 'static>(what: &str, future: impl Future<Output = T> + Send + 'static) -> T {
    static RUNTIME: OnceLock<Handle> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("runtime of the HTTP/2 clients");
        let handle = runtime.handle().clone();
        std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        handle
    });
    let (done, result) = std::sync::mpsc::sync_channel(1);
    runtime.spawn(async move { done.send(future.await) });
    match result.recv_timeout(DEADLINE) {
        Ok(value) => value,
        Err(error) => panic!("waited for {what}: {error}"),
    }
}
