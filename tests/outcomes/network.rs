//! Endpoints that cannot be reached, break off or keep silent.

use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::bench::{Bench, INVALID, TIMEOUT, UNREACHABLE, field};
use crate::support::idp::random;
use crate::support::{Answer, RawServer, ports};

const INACTIVE_ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{\"active\":false}";

fn authorization() -> String {
    format!("Bearer {}", random(32))
}

#[test]
fn a_refused_connection() {
    let port = ports::reserve();
    let bench = Bench::asking(&format!("http://{}/introspect", port.addr()), "");
    bench.assert_refused("refused", &[("Authorization", &authorization())], UNREACHABLE);
    bench.assert_logged("refused", 2, "[error]", "refused");
    bench.finish();
}

#[test]
fn a_host_that_does_not_exist() {
    let bench = Bench::asking("http://nonexistent.invalid/introspect", "phantom_token_connect_timeout 20s; phantom_token_timeout 20s;");
    bench.assert_refused("no such host", &[("Authorization", &authorization())], UNREACHABLE);
    let lines = bench.new_log_lines(&["[error]"]);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines.iter().all(|line| line.contains("phantom token: ")), "{lines:?}");
    bench.finish();
}

#[test]
fn tls_with_someone_who_does_not_speak_it() {
    let server = RawServer::start(|connection| {
        connection.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        connection.hang();
    });
    let bench = Bench::asking(&format!("https://{}/introspect", server.addr()), "");
    bench.assert_refused("no TLS", &[("Authorization", &authorization())], UNREACHABLE);
    bench.assert_logged("no TLS", 2, "[error]", "cannot be reached");
    bench.finish();
}

#[test]
fn a_new_connection_that_breaks_is_not_tried_again() {
    for (what, answer) in [("close", &b""[..]), ("half a head", b"HTTP/1.1 200 OK\r\nContent-Ty"), ("half a body", &INACTIVE_ANSWER[..INACTIVE_ANSWER.len() - 3])] {
        let server = RawServer::answering(answer);
        let bench = Bench::asking(&server.url(), "");
        bench.assert_refused(what, &[("Authorization", &authorization())], UNREACHABLE);
        bench.assert_logged(what, 2, "[error]", "phantom token: ");
        assert_eq!((server.requests().len(), server.connections()), (2, 2), "{what}: two requests of the client");
        bench.finish();
    }
    let bench = Bench::start();
    let token = bench.token_answered(Answer::reset());
    bench.assert_token_refused("reset", &token, UNREACHABLE, 2);
    bench.finish();
}

#[test]
fn something_that_is_not_http() {
    let server = RawServer::answering("220 smtp.example ESMTP\r\n");
    let bench = Bench::asking(&server.url(), "");
    let authorization = authorization();
    let response = crate::support::http::get(bench.addr(), "/", &[("Authorization", &authorization)]);
    let expected = if response.header("x-status") == Some(INVALID.word) { INVALID } else { UNREACHABLE };
    bench.assert_refused("SMTP", &[("Authorization", &authorization)], expected);
    bench.assert_logged("SMTP", 3, "[error]", "phantom token: ");
    bench.finish();
}

#[test]
fn a_dead_pooled_connection_is_worth_one_retry() {
    // the first connection answers once and dies at the second request
    let server = RawServer::start(|connection| {
        let requests = if connection.id == 0 { 1 } else { 9 };
        for _ in 0..requests {
            if connection.read_request().is_none() || !connection.send(INACTIVE_ANSWER) {
                return;
            }
        }
        connection.read_request();
    });
    let bench = Bench::asking(&server.url(), "");
    for token in ["token-one", "token-two", "token-three"] {
        let response = bench.get(token);
        assert_eq!((response.status, response.header("x-status")), (401, Some("INACTIVE")), "{token}");
    }
    let asked = server.requests();
    let on: Vec<usize> = asked.iter().map(|request| request.connection).collect();
    assert_eq!(on, [0, 0, 1, 1], "one on each, the second on both");
    assert!(asked.iter().all(|request| field(&request.head, "host") == Some(&server.addr().to_string())));
    assert_eq!(asked[1].body, asked[2].body);
    bench.assert_not_logged("nobody's fault");
    bench.finish();
}

#[test]
fn one_retry_and_no_more() {
    // every connection but the first breaks at its first request
    let server = RawServer::start(|connection| {
        if connection.read_request().is_some() && connection.id == 0 && connection.send(INACTIVE_ANSWER) {
            connection.read_request();
        }
    });
    let bench = Bench::asking(&server.url(), "");
    assert_eq!(bench.get("token-one").status, 401);
    UNREACHABLE.check("dead twice", &bench.get("token-two"));
    assert_eq!(server.requests().len(), 3);
    bench.assert_logged("dead twice", 1, "[error]", "phantom token: ");
    bench.finish();
}

#[test]
fn no_retry_after_the_first_byte_of_an_answer() {
    let server = RawServer::start(|connection| {
        if connection.read_request().is_some() && connection.send(INACTIVE_ANSWER) && connection.read_request().is_some() {
            connection.send(b"HTTP/1.1 200 OK\r\n");
        }
    });
    let bench = Bench::asking(&server.url(), "");
    assert_eq!(bench.get("token-one").status, 401);
    UNREACHABLE.check("broke off", &bench.get("token-two"));
    assert_eq!(server.requests().len(), 2);
    bench.finish();
}

#[test]
fn connections_the_server_closed_while_idle() {
    let bench = Bench::start();
    for _ in 0..5 {
        bench.assert_healthy();
        bench.idp.drop_connections();
        bench.idp.wait_for_open_connections(0);
    }
    assert_eq!(bench.idp.introspection_count(), 5);
    bench.assert_not_logged("nobody's fault");
    bench.finish();
}

/// Refused with 504 not before `at_least` and long before the default deadline.
#[track_caller]
fn assert_times_out(bench: &Bench, what: &str, token: &str, at_least: Duration) {
    let begun = Instant::now();
    TIMEOUT.check(what, &bench.get(token));
    let took = begun.elapsed();
    assert!(took >= at_least && took < Duration::from_millis(1900), "{what}: {took:?}");
    bench.assert_logged(what, 1, "[error]", "timed out");
}

#[test]
fn the_deadline() {
    let deadline = Duration::from_millis(300);
    let bench = Bench::with("phantom_token_timeout 300ms;");
    let token = bench.token_answered(Answer::hang());
    assert_times_out(&bench, "silence", &token, deadline);
    assert_times_out(&bench, "silence, not cached", &token, deadline);
    bench.assert_healthy();
    bench.finish();
    let stalled: [(&str, &[u8]); 3] = [
        ("half a head", b"HTTP/1.1 200 OK\r\nContent-Ty"),
        ("half a body", &INACTIVE_ANSWER[..INACTIVE_ANSWER.len() - 3]),
        ("interim", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ];
    for (what, bytes) in stalled {
        let server = RawServer::start(move |connection| {
            connection.read_request();
            connection.send(bytes);
            connection.hang();
        });
        let bench = Bench::asking(&server.url(), "phantom_token_timeout 300ms;");
        assert_times_out(&bench, what, "some-token", deadline);
        assert_eq!(bench.api.request_count(), 0);
        bench.finish();
    }
}

#[test]
fn a_connection_nobody_accepts() {
    // a full backlog: further SYNs are dropped
    let port = ports::reserve();
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.set_reuse_address(true).unwrap();
    listener.bind(&port.addr().into()).unwrap();
    listener.listen(0).unwrap();
    let _filler = std::net::TcpStream::connect(port.addr()).unwrap();
    let bench = Bench::asking(&format!("http://{}", port.addr()), "phantom_token_connect_timeout 300ms;");
    assert_times_out(&bench, "connect", "some-token", Duration::from_millis(300));
    bench.finish();
}
