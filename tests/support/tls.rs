//! An introspection endpoint over TLS: every token is active. Certificates are made when the test runs.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{ServerConfig, crypto::ring};

use super::idp::{Gate, random};
use super::ports::{self, Port};
use super::{jwt, wait};

/// A CA and the certificate it issued for a server.
pub struct Pki {
    /// The CA's certificate, PEM: for `phantom_token_ssl_trusted_certificate`.
    pub ca: String,
    server: ServerConfig,
}

impl Pki {
    /// A certificate for this name or address.
    pub fn of(name: &str) -> Pki {
        Pki::issue(CertificateParams::new(vec![name.to_owned()]).expect("a name for a certificate"))
    }

    /// The same, but past its end.
    pub fn expired(name: &str) -> Pki {
        let mut certificate = CertificateParams::new(vec![name.to_owned()]).expect("a name for a certificate");
        certificate.not_before = date_time_ymd(2019, 1, 1);
        certificate.not_after = date_time_ymd(2020, 1, 1);
        Pki::issue(certificate)
    }

    /// For a server of the test's own.
    pub fn acceptor(&self, alpn: &[&str]) -> TlsAcceptor {
        let mut config = self.server.clone();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }

    fn issue(certificate: CertificateParams) -> Pki {
        let ca_key = KeyPair::generate().expect("generate a CA's key");
        let mut ca = CertificateParams::new(Vec::new()).expect("a CA without a name");
        // of another name each, or a foreign one would look like a forged one
        ca.distinguished_name.push(DnType::CommonName, random(9));
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_pem = ca.self_signed(&ca_key).expect("sign the CA's certificate").pem();
        let key = KeyPair::generate().expect("generate a server's key");
        let certificate = certificate.signed_by(&key, &Issuer::new(ca, ca_key)).expect("sign a server's certificate");
        let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("protocol versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .expect("a certificate for rustls");
        Pki { ca: ca_pem, server }
    }
}

/// The running server.
pub struct TlsServer {
    port: Port,
    shared: Arc<Shared>,
    gate: Gate,
    /// Dropped, it ends the thread.
    _alive: oneshot::Sender<()>,
}

#[derive(Default)]
struct Shared {
    accepted: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
    handshakes: AtomicUsize,
    in_flight: AtomicUsize,
    requests: Mutex<Vec<TlsRequest>>,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct TlsRequest {
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// `Host`, or `:authority`.
    pub host: String,
    /// The name in the TLS handshake (SNI).
    pub server_name: Option<String>,
    /// Which connection it came on, from 0.
    pub connection: usize,
    /// The content.
    pub body: String,
}

impl TlsServer {
    /// Starts; `alpn` is what it speaks, the best first.
    pub fn start(pki: &Pki, alpn: &[&str]) -> TlsServer {
        let port = ports::reserve();
        let (shared, gate) = (Arc::new(Shared::default()), Gate::closed());
        gate.open();
        let acceptor = pki.acceptor(alpn);
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind(port.addr())).expect("bind the TLS server");
        let accepting = accept(listener, acceptor, shared.clone(), gate.clone());
        let (alive, ended) = oneshot::channel::<()>();
        std::thread::spawn(move || {
            runtime.spawn(accepting);
            let _ = runtime.block_on(ended);
        });
        TlsServer { port, shared, gate, _alive: alive }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Its URL at this host.
    pub fn url(&self, host: &str) -> String {
        format!("https://{host}:{}/introspect", self.port.number())
    }

    /// Answers pass this gate; it is open at first.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// TCP connections so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// The most connections that were open at once.
    pub fn most_open(&self) -> usize {
        self.shared.most_open.load(Ordering::SeqCst)
    }

    /// Requests received and not answered yet.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::SeqCst)
    }

    /// Requests so far.
    pub fn requests(&self) -> Vec<TlsRequest> {
        self.shared.requests.lock().expect("requests").clone()
    }

    /// Waits until so many requests wait for their answer.
    #[track_caller]
    pub fn wait_for_in_flight(&self, n: usize) {
        wait::until(&format!("{n} requests in flight"), || self.in_flight() >= n);
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>, gate: Gate) {
    while let Ok((stream, _)) = listener.accept().await {
        shared.accepted.fetch_add(1, Ordering::SeqCst);
        let (acceptor, shared, gate) = (acceptor.clone(), shared.clone(), gate.clone());
        tokio::spawn(async move {
            let _open = Open::count(&shared);
            let _ = stream.set_nodelay(true);
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let id = shared.handshakes.fetch_add(1, Ordering::SeqCst);
            let server_name = stream.get_ref().1.server_name().map(str::to_owned);
            let service =
                service_fn(move |request| answer(shared.clone(), gate.clone(), id, server_name.clone(), request));
            let builder = auto::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Counts a connection as open, however it ends.
struct Open(Arc<Shared>);

impl Open {
    fn count(shared: &Arc<Shared>) -> Open {
        let open = shared.open.fetch_add(1, Ordering::SeqCst) + 1;
        shared.most_open.fetch_max(open, Ordering::SeqCst);
        Open(shared.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn answer(
    shared: Arc<Shared>,
    gate: Gate,
    connection: usize,
    server_name: Option<String>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = String::from_utf8_lossy(&body.collect().await?.to_bytes()).into_owned();
    let authority = parts.uri.authority().map(ToString::to_string);
    let host = parts.headers.get("host").and_then(|host| host.to_str().ok()).map(str::to_owned);
    let version = format!("{:?}", parts.version);
    let host = authority.or(host).unwrap_or_default();
    shared.in_flight.fetch_add(1, Ordering::SeqCst);
    shared.requests.lock().expect("requests").push(TlsRequest { version, host, server_name, connection, body });
    gate.pass().await;
    shared.in_flight.fetch_sub(1, Ordering::SeqCst);
    let jwt = format!("{}.c2lnbmF0dXJl", jwt::unsigned(&json!({"alg": "ES256"}), &json!({"sub": "jane"})));
    let mut response = Response::new(Full::from(jwt));
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("application/jwt"));
    Ok(response)
}
