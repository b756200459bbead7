//! How the endpoint is asked over plain TCP: the bytes, the second attempt, the caps.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ngx_http_phantom_token_module::introspection::{Answer, Failure, Inactive, InvalidAnswer, Phase};
use ngx_http_phantom_token_module::settings::{ClientAuth, ClientKey, Profile, Secret, SigningAlgorithm};

use crate::support::{Bench, FullListener, INACTIVE, LONG_MS, Server, settings};

pub fn inactive() -> Answer {
    Answer::Inactive(Inactive::Stated)
}

#[test]
fn sends_exactly_what_is_needed() {
    let endpoint = Server::bind();
    let bench = Bench::new(settings(&format!("{}?realm=a%20b", endpoint.url())));
    bench.submit(1, LONG_MS);
    let (head, content) = endpoint.accept().request();
    let mut lines: Vec<&str> = head.split_terminator("\r\n").collect();
    lines.sort_unstable();
    assert_eq!(content, "token=token-1&token_type_hint=access_token");
    assert_eq!(
        lines,
        [
            "POST /introspect?realm=a%20b HTTP/1.1",
            "accept: application/jwt",
            "authorization: Basic Z2F0ZXdheTpzZWNyZXQ=",
            "content-length: 42",
            "content-type: application/x-www-form-urlencoded",
            &format!("host: {}", endpoint.listener.local_addr().unwrap()),
        ]
    );
}

#[test]
fn keeps_the_connection() {
    let endpoint = Server::bind();
    let mut bench = Bench::new(settings(&endpoint.url()));
    let server = std::thread::spawn(move || {
        let mut peer = endpoint.accept();
        for _ in 0..3 {
            peer.request();
            peer.answer(INACTIVE);
        }
        assert!(endpoint.is_quiet());
    });
    for id in 0..3 {
        assert_eq!(bench.ask(id).unwrap().0, inactive());
    }
    server.join().unwrap();
}

#[test]
fn asks_again_where_a_pooled_connection_was_dead() {
    for reset in [false, true] {
        let endpoint = Server::bind();
        let mut bench = Bench::new(settings(&endpoint.url()));
        let server = std::thread::spawn(move || {
            let mut pooled = endpoint.accept();
            pooled.request();
            pooled.answer(INACTIVE);
            // Read, so that the client has sent it, or not, which resets the connection when it is closed.
            if reset {
                let mut byte = [0];
                pooled.0.get_ref().peek(&mut byte).unwrap();
            } else {
                pooled.request();
            }
            drop(pooled);
            let mut fresh = endpoint.accept();
            let (_, content) = fresh.request();
            assert_eq!(content, "token=token-2&token_type_hint=access_token");
            fresh.answer(INACTIVE);
            assert!(endpoint.is_quiet());
        });
        assert_eq!(bench.ask(1).unwrap().0, inactive());
        assert_eq!(bench.ask(2).unwrap().0, inactive());
        server.join().unwrap();
    }
}

/// RFC 7523 §3, `jti`: a server may have taken note of the first assertion before the connection broke.
#[test]
fn asks_again_with_an_assertion_of_its_own() {
    let endpoint = Server::bind();
    let mut bench = Bench::new(settings(&endpoint.url()));
    let pem = Secret::new(include_str!("../../src/client_assertion/ed25519.pem").to_owned());
    let key = ClientKey::new(pem, None, SigningAlgorithm::EdDsa, None);
    bench.profile = Arc::new(Profile {
        client_auth: ClientAuth::PrivateKeyJwt { client_id: "gateway".to_owned(), key },
        ..Profile::clone(&bench.profile)
    });
    let server = std::thread::spawn(move || {
        let mut pooled = endpoint.accept();
        pooled.request();
        pooled.answer(INACTIVE);
        let (_, first) = pooled.request();
        drop(pooled);
        let mut fresh = endpoint.accept();
        let (_, second) = fresh.request();
        fresh.answer(INACTIVE);
        [first, second]
    });
    assert_eq!(bench.ask(1).unwrap().0, inactive());
    assert_eq!(bench.ask(2).unwrap().0, inactive());
    let [first, second] = server.join().unwrap().map(|content| {
        let form: Vec<_> = form_urlencoded::parse(content.as_bytes()).into_owned().collect();
        assert_eq!((form[0].1.as_str(), form[3].0.as_str()), ("token-2", "client_assertion"));
        let claims = URL_SAFE_NO_PAD.decode(form[3].1.split('.').nth(1).unwrap()).unwrap();
        serde_json::from_slice::<serde_json::Value>(&claims).unwrap()["jti"].clone()
    });
    assert!(first.is_string() && first != second, "{first}");
}

#[test]
fn asks_again_once() {
    let endpoint = Server::bind();
    let mut bench = Bench::new(settings(&endpoint.url()));
    let server = std::thread::spawn(move || {
        let mut pooled = endpoint.accept();
        pooled.request();
        pooled.answer(INACTIVE);
        pooled.request();
        drop(pooled);
        endpoint.accept().request();
        endpoint
    });
    assert_eq!(bench.ask(1).unwrap().0, inactive());
    assert!(matches!(bench.ask(2), Err(Failure::Unreachable { .. })));
    assert!(server.join().unwrap().is_quiet());
}

#[test]
fn asks_again_past_every_dead_connection_of_the_pool() {
    let endpoint = Server::bind();
    let mut bench = Bench::new(settings(&endpoint.url()));
    bench.submit(1, LONG_MS);
    bench.submit(2, LONG_MS);
    let mut pooled = [endpoint.accept(), endpoint.accept()];
    for peer in &mut pooled {
        peer.request();
    }
    for peer in &mut pooled {
        peer.answer(INACTIVE);
    }
    bench.next();
    bench.next();
    let server = std::thread::spawn(move || {
        // Which of the two is used next is the pool's choice: neither ever answers, and both are closed once it is sent.
        let [first, second] = pooled;
        for peer in [first, second] {
            std::thread::spawn(move || {
                let mut peer = peer;
                peer.request();
            });
        }
        let mut fresh = endpoint.accept();
        fresh.request();
        fresh.answer(INACTIVE);
    });
    assert_eq!(bench.ask(3).unwrap().0, inactive());
    server.join().unwrap();
}

#[test]
fn does_not_ask_again_over_a_connection_of_its_own() {
    let endpoint = Server::bind();
    let mut bench = Bench::new(settings(&endpoint.url()));
    let server = std::thread::spawn(move || {
        endpoint.accept().request();
        endpoint
    });
    assert!(matches!(bench.ask(1), Err(Failure::Unreachable { .. })));
    assert!(server.join().unwrap().is_quiet());
}

#[test]
fn does_not_ask_again_after_a_bad_answer() {
    for answer in ["SMTP ready\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{"] {
        let endpoint = Server::bind();
        let mut bench = Bench::new(settings(&endpoint.url()));
        let server = std::thread::spawn(move || {
            let mut pooled = endpoint.accept();
            pooled.request();
            pooled.answer(INACTIVE);
            pooled.request();
            pooled.answer(answer);
            drop(pooled);
            endpoint
        });
        assert_eq!(bench.ask(1).unwrap().0, inactive());
        assert!(matches!(bench.ask(2), Err(Failure::Unreachable { .. })), "{answer}");
        assert!(server.join().unwrap().is_quiet());
    }
}

#[test]
fn reads_no_more_than_the_cap() {
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    for (head, chunks) in [
        // Not one byte of content is needed.
        ("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 65537\r\n\r\n", 0),
        ("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n", 17),
    ] {
        let endpoint = Server::bind();
        let mut bench = Bench::new(settings(&endpoint.url()));
        let chunk = chunk.clone();
        let server = std::thread::spawn(move || {
            let mut peer = endpoint.accept();
            peer.request();
            peer.answer(head);
            for _ in 0..chunks {
                peer.answer(&chunk);
            }
            peer.closed();
        });
        assert_eq!(bench.ask(1), Err(Failure::Invalid(InvalidAnswer::TooLong)));
        server.join().unwrap();
    }
}

#[test]
fn a_status_decides_whatever_its_content() {
    let endpoint = Server::bind();
    let mut bench = Bench::new(settings(&endpoint.url()));
    let server = std::thread::spawn(move || {
        let mut peer = endpoint.accept();
        peer.request();
        peer.answer("HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 99999999\r\n\r\n");
        peer.closed();
    });
    assert_eq!(bench.ask(1), Err(Failure::Overloaded { retry_after: 7 }));
    server.join().unwrap();
}

#[test]
fn follows_no_redirect() {
    let endpoint = Server::bind();
    let mut bench = Bench::new(settings(&endpoint.url()));
    let elsewhere = endpoint.url();
    let server = std::thread::spawn(move || {
        let mut peer = endpoint.accept();
        peer.request();
        peer.answer(&format!("HTTP/1.1 307 Moved\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\n\r\n"));
        (endpoint, peer)
    });
    assert_eq!(bench.ask(1), Err(Failure::UnexpectedStatus { status: 307 }));
    assert!(server.join().unwrap().0.is_quiet());
}

#[test]
fn times_out_waiting_for_the_answer() {
    let endpoint = Server::bind();
    let mut bench = Bench::new(settings(&endpoint.url()));
    assert_eq!(bench.ask_within(1, 50), Err(Failure::Timeout { phase: Phase::Answer }));
    let mut peer = endpoint.accept();
    peer.request();
    peer.closed();
}

#[test]
fn says_why_it_could_not_connect() {
    let endpoint = Server::bind();
    let url = endpoint.url();
    drop(endpoint);
    let Err(Failure::Unreachable { cause }) = Bench::new(settings(&url)).ask(1) else { panic!() };
    assert!(cause.starts_with("Connection refused"), "{cause}");
    let Err(Failure::Unreachable { cause }) = Bench::new(settings("http://as.invalid/introspect")).ask(1) else {
        panic!()
    };
    assert!(cause.contains("lookup"), "{cause}");
}

#[test]
fn times_out_connecting() {
    // A listener whose queue of one is full ignores further SYNs.
    let listener = FullListener::new();
    let mut settings = settings(&format!("http://{}/", listener.address));
    settings.connect_timeout = std::time::Duration::from_millis(50);
    let mut bench = Bench::new(settings.clone());
    assert_eq!(bench.ask(1), Err(Failure::Timeout { phase: Phase::Connect }));
    settings.connect_timeout = std::time::Duration::from_secs(10);
    let mut bench = Bench::new(settings);
    assert_eq!(bench.ask_within(2, 50), Err(Failure::Timeout { phase: Phase::Connect }));
}
