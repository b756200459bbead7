//! Endpoints that cannot be reached, break off or keep silent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::bench::{Bench, INACTIVE, INVALID, Refusal, TIMEOUT, UNREACHABLE};
use crate::support::idp::random;
use crate::support::{Answer, RawServer, ports, wait};

const INACTIVE_ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{\"active\":false}";

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
    let bench = Bench::asking(
        "http://nonexistent.invalid/introspect",
        "phantom_token_connect_timeout 20s; phantom_token_timeout 20s;",
    );
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
    for (what, answer) in [
        ("close", &b""[..]),
        ("half a head", b"HTTP/1.1 200 OK\r\nContent-Ty"),
        ("half a body", &INACTIVE_ANSWER[..INACTIVE_ANSWER.len() - 3]),
    ] {
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

/// What a server does from the second request of a connection on.
enum Then {
    /// Close without a byte.
    Close,
    /// Close without a byte, and new connections too.
    CloseAll,
    /// Close after the first bytes of an answer.
    BreakOff,
}

/// Sends pairs of requests until the second of a pair has come over the connection of the first, and gives its
/// response and the connections it came on. (When a connection is free again is the client's to know.)
#[track_caller]
fn over_a_pooled_connection(then: Then) -> (Refusal, Vec<usize>) {
    let broken = Arc::new(AtomicBool::new(false));
    let is_broken = broken.clone();
    let server = RawServer::start(move |connection| {
        let mut answered = 0;
        while connection.read_request().is_some() {
            let broken = is_broken.load(Ordering::SeqCst);
            match then {
                Then::Close if broken && answered > 0 => return,
                Then::CloseAll if broken => return,
                Then::BreakOff if broken => {
                    connection.send(b"HTTP/1.1 200 OK\r\n");
                    return;
                }
                _ => connection.send(INACTIVE_ANSWER),
            };
            answered += 1;
        }
    });
    let bench = Bench::asking(&server.url(), "");
    let connections = |token: &str| -> Vec<usize> {
        let about = |body: &[u8]| body.starts_with(format!("token={token}&").as_bytes());
        server.requests().iter().filter(|request| about(&request.body)).map(|request| request.connection).collect()
    };
    let found = wait::for_value("a request over a pooled connection", || {
        broken.store(false, Ordering::SeqCst);
        let (first, second) = (random(32), random(32));
        INACTIVE.check("the first", &bench.get(&first));
        broken.store(true, Ordering::SeqCst);
        bench.new_log_lines(&[]);
        let response = bench.get(&second);
        let on = connections(&second);
        (on[0] == connections(&first)[0]).then_some((response, on))
    });
    let (response, on) = found;
    let expected = if response.status == 401 { INACTIVE } else { UNREACHABLE };
    expected.check("the second", &response);
    match expected {
        INACTIVE => bench.assert_not_logged("nobody's fault"),
        _ => bench.assert_logged("broken", 1, "[error]", "phantom token: "),
    }
    bench.finish();
    (expected, on)
}

#[test]
fn a_dead_pooled_connection_is_worth_one_retry() {
    let (became, on) = over_a_pooled_connection(Then::Close);
    assert_eq!(became, INACTIVE);
    assert!(on.len() == 2 && on[0] != on[1], "{on:?}");
}

#[test]
fn one_retry_and_no_more() {
    let (became, on) = over_a_pooled_connection(Then::CloseAll);
    assert_eq!(became, UNREACHABLE);
    assert!(on.len() == 2 && on[0] != on[1], "{on:?}");
}

#[test]
fn an_answer_broken_off_in_its_head_costs_one_retry_at_most() {
    let (became, on) = over_a_pooled_connection(Then::BreakOff);
    assert_eq!(became, UNREACHABLE);
    // The HTTP library does not tell it from no answer at all: on a pooled connection it is asked again, once.
    assert!(on.len() <= 2, "{on:?}");
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
    // NGINX's clock has milliseconds
    let at_least = at_least - Duration::from_millis(2);
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
