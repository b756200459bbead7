//! TLS that does not come about: alerts, silence, certificates that prove nothing.

use super::bench::Bench;
use super::http1::locations;
use super::support::raw::RawConnection;
use super::support::tls::{Pki, TlsServer};
use super::support::{RawServer, nginx};

/// TLS 1.2 record of a fatal alert (RFC 8446 §6): handshake_failure.
const ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 40];

/// Trusts this file, in both kinds of location.
fn trusting(builder: nginx::Builder, url: &str, ca: &str) -> nginx::Builder {
    builder
        .file("ca.pem", ca)
        .server("phantom_token_ssl_trusted_certificate @dir@/ca.pem; proxy_ssl_trusted_certificate @dir@/ca.pem;")
        .server("proxy_ssl_verify on; proxy_ssl_session_reuse off;")
        .server(&locations(url))
}

#[test]
fn handshakes() {
    type Script = fn(&mut RawConnection);
    let ca = Pki::of("127.0.0.1").ca;
    let faults: [(&str, Script, [u16; 2]); 6] = [
        (
            "an alert",
            |connection| {
                connection.read_some();
                connection.send(ALERT);
            },
            [502, 502],
        ),
        (
            "half an alert",
            |connection| {
                connection.read_some();
                connection.send(&ALERT[..4]);
            },
            [502, 502],
        ),
        (
            "a record without end",
            |connection| {
                connection.read_some();
                connection.send(&[22, 3, 3, 0x40, 0]);
                while connection.send(&[0; 4096]) {}
            },
            [502, 502],
        ),
        ("closes", |connection| drop(connection.read_some()), [502, 502]),
        (
            "resets",
            |connection| {
                connection.read_some();
                connection.reset();
            },
            [502, 502],
        ),
        (
            "is silent",
            |connection| {
                connection.read_some();
                connection.hang();
            },
            [504, 504],
        ),
    ];
    for (name, script, status) in faults {
        let server = RawServer::start(script);
        let url = format!("https://{}", server.addr());
        let mut bench = Bench::start(|builder| trusting(builder, &url, &ca));
        bench.ask(name, ["/url", "/uri"], status);
        bench.finish();
    }
}

#[test]
fn certificates() {
    for (name, pki, known) in [
        ("expired", Pki::expired("127.0.0.1"), true),
        ("another's", Pki::of("other.example"), true),
        ("of an unknown CA", Pki::of("127.0.0.1"), false),
    ] {
        let server = TlsServer::start(&pki, &["http/1.1"]);
        let ca = if known { pki.ca.clone() } else { Pki::of("127.0.0.1").ca };
        let url = format!("https://{}", server.addr());
        let mut bench = Bench::start(|builder| trusting(builder, &url, &ca));
        bench.ask(name, ["/url", "/uri"], [502, 502]);
        bench.finish();
        assert_eq!(server.requests().len(), 0, "{name}: a token was sent");
    }
}
