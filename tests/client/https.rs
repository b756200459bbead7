//! Whom the client trusts over TLS, under which name, and which protocol it speaks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;

use ngx_http_phantom_token_module::client;
use ngx_http_phantom_token_module::introspection::Failure;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio_rustls::rustls::{self, ServerConfig, ServerConnection, StreamOwned};

use crate::exchange::inactive;
use crate::support::{Bench, INACTIVE, settings, trusted};

/// A CA and the certificate it issued.
struct Pki {
    ca: String,
    server: ServerConfig,
}

fn pki(name: &str) -> Pki {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.into())
        .unwrap();
    Pki { ca: ca_pem, server }
}

/// What the server saw of one connection.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    server_name: Option<String>,
    alpn: Option<Vec<u8>>,
    host: String,
}

/// Answers one request; `None` where the handshake failed.
fn serve(listener: TcpListener, config: ServerConfig) -> JoinHandle<Option<Seen>> {
    std::thread::spawn(move || {
        let (tcp, _) = listener.accept().unwrap();
        let mut stream = BufReader::new(StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), tcp));
        let mut seen = Seen::default();
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some(host) = line.strip_prefix("host: ") {
                host.trim_end().clone_into(&mut seen.host);
            } else if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            } else if line == "\r\n" {
                break;
            }
        }
        stream.read_exact(&mut vec![0; length]).unwrap();
        let stream = stream.get_mut();
        seen.server_name = stream.conn.server_name().map(ToOwned::to_owned);
        seen.alpn = stream.conn.alpn_protocol().map(ToOwned::to_owned);
        stream.write_all(INACTIVE.as_bytes()).unwrap();
        stream.flush().unwrap();
        Some(seen)
    })
}

fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[test]
fn verifies_the_certificate() {
    // Issued for, asked as, its CA known, verified, what becomes of it.
    for (issued, host, known, verify, expected) in [
        ("localhost", "localhost", true, true, None),
        ("127.0.0.1", "127.0.0.1", true, true, None),
        ("as.example", "localhost", true, true, Some("not valid for name")),
        ("localhost", "localhost", false, true, Some("invalid peer certificate")),
        ("as.example", "localhost", false, false, None),
    ] {
        let (listener, port) = listen();
        let pki = pki(issued);
        let server = serve(listener, pki.server);
        let mut settings = settings(&format!("https://{host}:{port}/introspect"));
        settings.tls.verify = verify;
        settings.tls.trusted_certificate = if known { trusted(&pki.ca) } else { trusted(&self::pki("other").ca) };
        client::check(&settings).unwrap();
        let result = Bench::new(settings).ask(1);
        match expected {
            None => assert_eq!(result.unwrap().0, inactive(), "{issued} {host}"),
            Some(text) => {
                let Err(Failure::Unreachable { cause }) = result else { panic!("{result:?}") };
                assert!(cause.contains(text), "{cause}");
            }
        }
        assert_eq!(server.join().unwrap().is_some(), expected.is_none());
    }
}

#[test]
fn asks_for_another_server_name() {
    for (host, h2) in [("127.0.0.1", true), ("localhost", false)] {
        let (listener, port) = listen();
        let mut pki = pki("as.example");
        if h2 {
            pki.server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        }
        let server = serve(listener, pki.server);
        let mut settings = settings(&format!("https://{host}:{port}/introspect"));
        settings.tls.trusted_certificate = trusted(&pki.ca);
        settings.tls.server_name = Some("as.example".to_owned());
        client::check(&settings).unwrap();
        assert_eq!(Bench::new(settings).ask(1).unwrap().0, inactive());
        let seen = server.join().unwrap().unwrap();
        assert_eq!(seen.server_name.as_deref(), Some("as.example"));
        assert_eq!(seen.host, format!("{host}:{port}"));
        assert_eq!(seen.alpn.as_deref(), h2.then_some(&b"http/1.1"[..]));
    }
}

#[test]
fn speaks_http2_and_asks_again_on_a_pooled_connection_going_away() {
    let (listener, port) = listen();
    let mut pki = pki("localhost");
    pki.server.alpn_protocols = vec![b"h2".to_vec()];
    let config = Arc::new(pki.server);
    let server = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            listener.set_nonblocking(true).unwrap();
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let acceptor = tokio_rustls::TlsAcceptor::from(config);
            let (mut heads, mut connections) = (Vec::new(), Vec::new());
            for refuse_second in [true, false] {
                let (tcp, _) = listener.accept().await.unwrap();
                let tls = acceptor.accept(tcp).await.unwrap();
                let mut connection = h2::server::handshake(tls).await.unwrap();
                let (request, mut respond) = connection.accept().await.unwrap().unwrap();
                heads.push(request.into_parts().0);
                let answer = http::Response::builder().status(204).body(()).unwrap();
                respond.send_response(answer, true).unwrap();
                if refuse_second {
                    let (_, mut respond) = connection.accept().await.unwrap().unwrap();
                    respond.send_reset(h2::Reason::REFUSED_STREAM);
                }
                connection.graceful_shutdown();
                connections.push(tokio::spawn(async move { while let Some(Ok(_)) = connection.accept().await {} }));
            }
            // answers are sent by these: they end when the client does
            for connection in connections {
                connection.await.unwrap();
            }
            heads
        })
    });
    let mut settings = settings(&format!("https://localhost:{port}/introspect"));
    settings.tls.trusted_certificate = trusted(&pki.ca);
    let mut bench = Bench::new(settings);
    assert_eq!(bench.ask(1).unwrap().0, inactive());
    assert_eq!(bench.ask(2).unwrap().0, inactive());
    drop(bench);
    for head in server.join().unwrap() {
        assert_eq!(head.version, http::Version::HTTP_2);
        assert_eq!(head.uri.to_string(), format!("https://localhost:{port}/introspect"));
        let mut names: Vec<&str> = head.headers.keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "authorization", "content-length", "content-type"]);
    }
}

#[test]
fn refuses_settings_no_client_can_be_made_from() {
    let pem = pki("localhost").ca;
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (url, pem, name, expected) in [
        ("https://as.example/", Some(&*pem), None, Ok(())),
        ("https://as.example/", Some(&*pem), Some("other.example"), Ok(())),
        ("https://as.example/", Some(""), None, Err("no certificate found in \"/etc/ca.pem\"")),
        ("https://as.example/", Some(broken), None, Err("cannot use certificate \"/etc/ca.pem\": ")),
        (
            "https://as.example/",
            Some("-----BEGIN CERTIFICATE-----\n"),
            None,
            Err("cannot read certificate \"/etc/ca.pem\": "),
        ),
        ("https://as.example/", Some(&*pem), Some("a b"), Err("invalid server name \"a b\"")),
        ("https://as.example/", Some(&*pem), Some("10.0.0.1"), Err("invalid server name \"10.0.0.1\"")),
        ("https://10.0.0.1/", Some(&*pem), Some("10.0.0.1"), Ok(())),
        ("https://[::1]/", Some(&*pem), Some("::1"), Ok(())),
        ("http://as.example/", None, Some("a b"), Ok(())),
    ] {
        let mut settings = settings(url);
        settings.tls.trusted_certificate = pem.and_then(trusted);
        settings.tls.server_name = name.map(ToOwned::to_owned);
        let checked = client::check(&settings);
        match expected {
            Ok(()) => assert_eq!(checked, Ok(()), "{url} {name:?}"),
            Err(text) => assert!(checked.as_ref().is_err_and(|e| e.starts_with(text)), "{checked:?}"),
        }
        assert_eq!(client::Client::new(&settings).is_ok(), expected.is_ok());
    }
}
