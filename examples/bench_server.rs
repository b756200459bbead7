//! The authorization server of `scripts/bench.sh` where an answer shall take its time: every token is active, after a delay.
//!
//! `bench_server DELAY_MS JWT_FILE CA_FILE` writes the CA of its certificate to `CA_FILE`, prints its three ports (`http`,
//! HTTP/1.1; `https`, HTTP/2 and HTTP/1.1 by ALPN; `statistics`, which answers any request with the counters so far) and stays until
//! its standard input is closed. One thread: it needs a few microseconds for a request.

#[path = "../tests/support/mod.rs"]
mod support;

use std::convert::Infallible;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use support::tls::Pki;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

struct Shared {
    jwt: Bytes,
    delay: Duration,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    introspections: AtomicUsize,
    opened: AtomicUsize,
    closed: AtomicUsize,
}

/// Counts a connection as closed, however it ends.
struct Open(Arc<Shared>);

impl Open {
    fn count(shared: &Arc<Shared>) -> Open {
        shared.counters.opened.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(shared))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.counters.closed.fetch_add(1, Ordering::Relaxed);
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [delay, jwt, ca] = arguments.as_slice() else {
        eprintln!("usage: bench_server DELAY_MS JWT_FILE CA_FILE");
        std::process::exit(2);
    };
    let jwt = std::fs::read_to_string(jwt).expect("read the JWT");
    let shared = Arc::new(Shared {
        jwt: Bytes::from(jwt.trim_end().to_owned()),
        delay: Duration::from_millis(delay.parse().expect("a delay in milliseconds")),
        counters: Counters::default(),
    });
    let pki = Pki::of("127.0.0.1");
    std::fs::write(ca, &pki.ca).expect("write the CA's certificate");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listeners = [bind().await, bind().await, bind().await];
        let [http, https, statistics] = listeners;
        let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
        println!("http {} https {} statistics {}", port(&http), port(&https), port(&statistics));
        let acceptor = pki.acceptor(&["h2", "http/1.1"]);
        tokio::spawn(accept(statistics, {
            let shared = Arc::clone(&shared);
            move |stream| serve_statistics(stream, Arc::clone(&shared))
        }));
        tokio::spawn(accept(http, {
            let shared = Arc::clone(&shared);
            move |stream| serve(stream, Open::count(&shared))
        }));
        tokio::spawn(accept(https, move |stream| {
            let (acceptor, open) = (acceptor.clone(), Open::count(&shared));
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream, open).await;
                }
            }
        }));
        let (closed, end) = tokio::sync::oneshot::channel::<()>();
        std::thread::spawn(move || {
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            drop(closed);
        });
        let _ = end.await;
    });
}

async fn bind() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("bind a listener")
}

async fn accept<F: Future<Output = ()> + Send + 'static>(listener: TcpListener, serve: impl Fn(TcpStream) -> F) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        tokio::spawn(serve(stream));
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, open: Open) {
    let service = service_fn(|request: Request<Incoming>| {
        let shared = Arc::clone(&open.0);
        async move {
            shared.counters.introspections.fetch_add(1, Ordering::Relaxed);
            let in_header = request.uri().path() == "/introspect-header";
            // read whole, so that the connection can carry the next one
            let _ = request.into_body().collect().await;
            if !shared.delay.is_zero() {
                tokio::time::sleep(shared.delay).await;
            }
            let mut response = Response::builder().header("content-type", "application/jwt");
            if in_header {
                // for those who can read a header of the answer only
                response = response.header("x-jwt", &*shared.jwt);
            }
            Ok::<_, Infallible>(response.body(Full::new(shared.jwt.clone())).expect("an answer"))
        }
    });
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

async fn serve_statistics(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(|_: Request<Incoming>| {
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        let counters = &shared.counters;
        let text = format!(
            "{{\"introspections\": {}, \"opened\": {}, \"closed\": {}}}\n",
            count(&counters.introspections),
            count(&counters.opened),
            count(&counters.closed)
        );
        async move { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text)))) }
    });
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}
