//! The endpoint over TLS: whom the module trusts, and how many connections it needs.

mod support;

use support::http::{self, Client};
use support::nginx::Builder;
use support::tls::{Pki, TlsServer};
use support::{Api, Echo, Nginx};

const BOTH: &[&str] = &["h2", "http/1.1"];
const HTTP1: &[&str] = &["http/1.1"];

/// One worker; `directives` are those of the protected location.
fn builder(api: &Api, url: &str, ca: &str, directives: &str) -> Builder {
    Nginx::builder()
        .workers(1)
        .var("api", api.url())
        .var("url", url)
        .file("ca.pem", ca)
        .server(&format!("location / {{ phantom_token on; {directives} proxy_pass @api@; }}"))
}

const ENDPOINT: &str = "phantom_token_introspection_endpoint @url@; phantom_token_client_id gateway; \
                        phantom_token_client_secret not-so-secret;";
const TRUSTED: &str = "phantom_token_ssl_trusted_certificate @dir@/ca.pem;";

fn start(api: &Api, url: &str, ca: &str, directives: &str) -> Nginx {
    builder(api, url, ca, &format!("{ENDPOINT} {directives}")).start()
}

#[test]
fn certificates() {
    let api = Api::start();
    let trusted_name = format!("{TRUSTED} phantom_token_ssl_name as.example;");
    let wrong_name = format!("{TRUSTED} phantom_token_ssl_name other.example;");
    let off = "phantom_token_ssl_verify off;";
    let (of, expired) = (Pki::of as fn(&str) -> Pki, Pki::expired as fn(&str) -> Pki);
    // The certificate, the URL's host, directives, whether the CA is the one in the file, and what the log says of a
    // failure: what is wrong, and which directive is about it.
    let table: Vec<(_, &str, &str, &str, bool, &[&str])> = vec![
        (of, "localhost", "localhost", TRUSTED, true, &[]),
        (of, "127.0.0.1", "127.0.0.1", TRUSTED, true, &[]),
        (of, "as.example", "127.0.0.1", &trusted_name, true, &[]),
        (of, "as.example", "localhost", &trusted_name, true, &[]),
        (of, "as.example", "localhost", off, true, &[]),
        (expired, "localhost", "localhost", off, true, &[]),
        (of, "as.example", "localhost", TRUSTED, true, &["name", "as.example", "phantom_token_ssl_name"]),
        (of, "localhost", "localhost", &wrong_name, true, &["name", "localhost", "phantom_token_ssl_name"]),
        (of, "localhost", "localhost", TRUSTED, false, &["phantom_token_ssl_trusted_certificate"]),
        // The system's CAs do not know ours.
        (of, "localhost", "localhost", "", true, &["phantom_token_ssl_trusted_certificate"]),
        (expired, "localhost", "localhost", TRUSTED, true, &["expired"]),
    ];
    let mut failed = Vec::new();
    for (make, name, host, directives, known, failure) in table {
        let case = format!("certificate for {name}, {host}, {directives}, CA known: {known}");
        let pki = make(name);
        let server = TlsServer::start(&pki, HTTP1);
        let ca = if known { pki.ca.clone() } else { Pki::of("other").ca };
        let nginx = start(&api, &server.url(host), &ca, directives);
        let response = http::get(nginx.addr(), "/", &[("Authorization", "Bearer opaque")]);
        if failure.is_empty() {
            assert_eq!(Echo::of(&response).jwt().expect("a JWT").1["sub"], "jane", "{case}");
        } else {
            assert_eq!((response.status, server.requests().len()), (502, 0), "{case}");
            let line = nginx.wait_for_log("introspection of token");
            assert!(line.contains("[error]"), "{case}: {line}");
            // all of them, so that one run tells everything
            failed.extend(
                failure.iter().filter(|part| !line.contains(**part)).map(|part| format!("{part}: {case}: {line}")),
            );
        }
        nginx.finish();
    }
    assert!(failed.is_empty(), "not in the log:\n{}", failed.join("\n"));
}

#[test]
fn host_and_server_name() {
    let api = Api::start();
    for (host, directives, server_name) in [
        ("localhost", "", Some("localhost")),
        // RFC 6066 §3: no literal addresses
        ("127.0.0.1", "", None),
        ("127.0.0.1", "phantom_token_ssl_name as.example;", Some("as.example")),
        ("localhost", "phantom_token_ssl_name as.example;", Some("as.example")),
    ] {
        let server = TlsServer::start(&Pki::of("as.example"), BOTH);
        let nginx = start(&api, &server.url(host), "", &format!("phantom_token_ssl_verify off; {directives}"));
        let response = http::get(nginx.addr(), "/", &[("Authorization", "Bearer opaque")]);
        assert_eq!(response.status, 200, "{host} {directives}");
        let request = &server.requests()[0];
        // the name is for TLS only: HTTP is about the URL's host
        assert_eq!(request.host, format!("{host}:{}", server.addr().port()), "{directives}");
        assert_eq!(request.server_name.as_deref(), server_name, "{host} {directives}");
        nginx.finish();
    }
}

/// An assertion is for the endpoint as it is configured, whatever name its certificate has.
#[test]
fn audience_of_an_assertion() {
    let api = Api::start();
    let server = TlsServer::start(&Pki::of("as.example"), BOTH);
    let url = server.url("localhost");
    let directives = "phantom_token_introspection_endpoint @url@?x=y; phantom_token_client_id gateway; \
                      phantom_token_client_auth private_key_jwt; phantom_token_client_key @dir@/key.pem; \
                      phantom_token_ssl_verify off; phantom_token_ssl_name as.example;";
    let nginx = builder(&api, &url, "", directives)
        .file("key.pem", include_str!("../src/client_assertion/ed25519.pem"))
        .start();
    assert_eq!(http::get(nginx.addr(), "/", &[("Authorization", "Bearer opaque")]).status, 200);
    nginx.finish();
    let request = &server.requests()[0];
    assert_eq!(request.server_name.as_deref(), Some("as.example"));
    let form: Vec<_> = form_urlencoded::parse(request.body.as_bytes()).collect();
    let (_, assertion) = form.iter().find(|(name, _)| name == "client_assertion").expect("an assertion");
    assert_eq!(support::jwt::decode(assertion).expect("a JWT").1["aud"], url);
}

#[test]
fn files_that_are_no_certificates_are_refused() {
    for (content, directive) in [
        ("", "phantom_token_ssl_trusted_certificate @dir@/ca.pem;"),
        ("no PEM\n", "phantom_token_ssl_trusted_certificate @dir@/ca.pem;"),
        ("", "phantom_token_ssl_trusted_certificate @dir@/missing.pem;"),
        ("", "phantom_token_ssl_name \"not a name\";"),
    ] {
        let api = Api::start();
        let test = builder(&api, "https://localhost/", content, &format!("{ENDPOINT} {directive}")).test();
        let name = directive.split(' ').next().unwrap_or_default();
        test.assert_emerg(&[name, &test.line_of(name)]);
    }
}

/// 200 distinct tokens at once, from the start or after a first one; gives the server, to count connections.
fn burst(alpn: &[&str], warm: bool, directives: &str) -> TlsServer {
    let (pki, api) = (Pki::of("localhost"), Api::start());
    let server = TlsServer::start(&pki, alpn);
    let nginx = start(&api, &server.url("localhost"), &pki.ca, &format!("{TRUSTED} {directives}"));
    if warm {
        assert_eq!(http::get(nginx.addr(), "/", &[("Authorization", "Bearer first")]).status, 200);
    }
    server.gate().close();
    let mut clients: Vec<Client> = (0..200)
        .map(|i| {
            let mut client = Client::connect(nginx.addr());
            client.send(&http::request_bytes("GET", "/", &[("Authorization", &format!("Bearer token-{i}"))], b""));
            client
        })
        .collect();
    server.wait_for_in_flight(64);
    assert_eq!(server.in_flight(), 64, "at most 64 exchanges in flight");
    server.gate().open();
    for client in &mut clients {
        assert_eq!(client.read_response().status, 200);
    }
    let expected = if alpn[0] == "h2" { "HTTP/2.0" } else { "HTTP/1.1" };
    assert!(server.requests().iter().all(|request| request.version == expected));
    assert_eq!(server.requests().len(), 200 + usize::from(warm));
    nginx.finish();
    println!("{alpn:?}: {} connections, at most {} at once", server.accepted(), server.most_open());
    server
}

#[test]
fn http2_needs_few_connections() {
    for warm in [true, false] {
        let connections = burst(BOTH, warm, "").accepted();
        // one for as many exchanges as there may be idle connections, one for the others
        assert!(connections <= 2, "{connections} connections, warm: {warm}");
    }
}

#[test]
fn http1_opens_no_connection_for_each_exchange() {
    for warm in [true, false] {
        let connections = burst(HTTP1, warm, "").accepted();
        // one for each exchange in flight
        assert!(connections <= 64, "{connections} connections, warm: {warm}");
    }
}

/// Where no connection is kept for another exchange, none waits for another's.
#[test]
fn http2_without_idle_connections() {
    let server = burst(BOTH, false, "phantom_token_keepalive 0;");
    assert_eq!(server.accepted(), 200);
}
