//! Bodies: intact when forwarded, never taken for a request when refused.

use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::support::api::sha256;
use super::support::gateway::{either, for_both_endpoints, gateway_that, wait_for_in_progress};
use super::support::http::{Client, request_bytes};
use super::support::wait::DEADLINE;
use super::support::{Answer, Api, Echo, Gate, Idp, wire};

for_both_endpoints![
    a_large_body_arrives_intact,
    the_whole_body_sent_while_parked,
    the_body_of_a_refused_request_is_not_the_next_request,
    a_body_that_arrives_before_a_late_refusal_is_not_the_next_request,
    no_100_continue_before_a_refusal,
];

fn body() -> Vec<u8> {
    (0..300_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// Fields and bytes of a body.
fn framed(body: &[u8], chunked: bool) -> (String, Vec<u8>) {
    if !chunked {
        return (format!("Content-Length: {}\r\n", body.len()), body.to_vec());
    }
    let mut bytes = Vec::new();
    for chunk in body.chunks(7001) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    ("Transfer-Encoding: chunked\r\n".to_owned(), bytes)
}

fn a_large_body_arrives_intact(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let unbuffered = format!(
        "location /unbuffered {{ {protect} proxy_pass @api@; proxy_http_version 1.1; proxy_request_buffering off; }}"
    );
    let nginx = gateway_that(protect, &idp, &api).workers(1).server(&unbuffered).start();
    let body = body();
    for path in ["/buffered", "/unbuffered"] {
        for chunked in [false, true] {
            let (framing, bytes) = framed(&body, chunked);
            for while_parked in [false, true] {
                let gate = Gate::closed();
                let token = idp.issue();
                idp.forget_introspections();
                idp.answer_all(Answer::normal().gated(&gate));
                let head = format!(
                    "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {}\r\n{framing}\r\n",
                    token.bearer()
                );
                let mut client = Client::connect(nginx.addr());
                if while_parked {
                    client.send(head.as_bytes());
                    idp.wait_for_introspections(1);
                    client.send(&bytes[..1000]);
                    wait_for_in_progress(&nginx, 1);
                    gate.open();
                    client.send(&bytes[1000..]);
                } else {
                    client.send(&[head.as_bytes(), &bytes].concat());
                    idp.wait_for_introspections(1);
                    gate.open();
                }
                let echo = Echo::of(&client.read_response());
                let case = format!("{path}, chunked: {chunked}, while parked: {while_parked}");
                assert_eq!((echo.body_length, &echo.body_sha256), (body.len(), &sha256(&body)), "{case}");
                assert_eq!(echo.bearer(), Some(token.jwt.as_str()), "{case}");
                // the connection is at the start of the next request
                let next = client.request("GET", "/next", &[("Authorization", &token.bearer())], b"");
                assert_eq!(Echo::of(&next).uri, "/next", "{case}");
            }
        }
    }
    nginx.finish();
}

fn the_whole_body_sent_while_parked(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway_that(protect, &idp, &api).workers(1).start();
    let gate = Gate::closed();
    idp.answer_all(Answer::normal().gated(&gate));
    let (token, body) = (idp.issue(), body());
    let mut client = Client::connect(nginx.addr());
    let request = request_bytes("POST", "/", &[("Authorization", &token.bearer())], &body);
    let head = request.len() - body.len();
    client.send(&request[..head]);
    idp.wait_for_introspections(1);
    std::thread::scope(|scope| {
        // more than the socket buffers may hold
        let sending = scope.spawn(|| {
            client.send(&request[head..]);
            client
        });
        wait_for_in_progress(&nginx, 1);
        gate.open();
        let mut client = sending.join().expect("the client sends");
        let echo = Echo::of(&client.read_response());
        assert_eq!((echo.body_length, echo.body_sha256), (body.len(), sha256(&body)));
    });
    nginx.finish();
}

fn the_body_of_a_refused_request_is_not_the_next_request(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = either(&idp, &api)
        .workers(1)
        .server("location /smuggled { proxy_pass @api@; }")
        .server(&format!("location / {{ {protect} proxy_pass @api@; }}"))
        .start();
    let (good, bad) = (idp.issue(), idp.issue());
    idp.revoke(&bad.opaque);
    idp.answer_for("broken", Answer::status(500));
    let smuggled = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\nX-Rest: ".as_slice();
    let padding = [smuggled, b"\r\n\r\n"].concat().repeat(6000);
    let mut closed = 0;
    for authorization in [None, Some(bad.bearer()), Some("Bearer broken".to_owned()), Some("Basic eA==".to_owned())] {
        for (chunked, body) in [(false, smuggled), (true, smuggled), (false, padding.as_slice()), (true, &padding)] {
            for late in [false, true] {
                let (framing, bytes) = framed(body, chunked);
                let field = authorization.as_ref().map_or(String::new(), |value| format!("Authorization: {value}\r\n"));
                let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\n{field}{framing}\r\n");
                let case = format!("{authorization:?}, chunked: {chunked}, {} bytes, late: {late}", body.len());
                let mut client = Client::connect(nginx.addr());
                let expected = if field.contains("broken") { 502 } else { 401 };
                // the server may close while we still send: an error to ignore
                if late {
                    client.send(head.as_bytes());
                    assert_eq!(client.read_response().status, expected, "{case}");
                    let _ = client.try_send(&bytes);
                } else {
                    let _ = client.try_send(&[head.as_bytes(), &bytes].concat());
                    assert_eq!(client.read_response().status, expected, "{case}");
                }
                let next = request_bytes("GET", "/next", &[("Authorization", &good.bearer())], b"");
                let next = client.try_send(&next).and_then(|()| client.try_read_response_to("GET"));
                match next {
                    Ok(Some(response)) => assert_eq!(Echo::of(&response).uri, "/next", "{case}"),
                    // closed instead
                    Ok(None) | Err(_) => closed += 1,
                }
            }
        }
    }
    assert!(closed < 32, "no connection was usable after a refusal");
    assert!(api.requests().iter().all(|request| request.uri == "/next"), "a body became a request");
    assert!(!nginx.access_log().contains("/smuggled"), "a body became a request");
    nginx.finish();
}

fn a_body_that_arrives_before_a_late_refusal_is_not_the_next_request(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = either(&idp, &api)
        .workers(1)
        .server("location /smuggled { proxy_pass @api@; }")
        .server(&format!("location / {{ {protect} proxy_pass @api@; }}"))
        .start();
    let good = idp.issue();
    for chunked in [false, true] {
        let gate = Gate::closed();
        idp.forget_introspections();
        let bad = idp.issue();
        idp.revoke(&bad.opaque);
        idp.answer_for(&bad.opaque, Answer::normal().gated(&gate));
        let (framing, bytes) = framed(b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n", chunked);
        let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: {}\r\n{framing}\r\n", bad.bearer());
        let mut client = Client::connect(nginx.addr());
        client.send(head.as_bytes());
        idp.wait_for_introspections(1);
        client.send(&bytes);
        client.send(&request_bytes("GET", "/next", &[("Authorization", &good.bearer())], b""));
        gate.open();
        assert_eq!(client.read_response().status, 401);
        if let Ok(Some(response)) = client.try_read_response_to("GET") {
            assert_eq!(Echo::of(&response).uri, "/next");
        }
    }
    assert!(!nginx.access_log().contains("/smuggled"), "a body became a request");
    nginx.finish();
}

fn no_100_continue_before_a_refusal(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway_that(protect, &idp, &api).workers(1).start();
    let (good, bad) = (idp.issue(), idp.issue());
    idp.revoke(&bad.opaque);
    let begin = |authorization: &str| {
        let stream = TcpStream::connect(nginx.addr()).expect("connect");
        stream.set_read_timeout(Some(DEADLINE)).expect("set timeout");
        let head = format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\n{authorization}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        );
        let mut reader = BufReader::new(stream);
        reader.get_mut().write_all(head.as_bytes()).expect("send the head");
        reader
    };
    let start = |reader: &mut BufReader<TcpStream>| {
        wire::read_head(reader).expect("read a response").expect("a response").start
    };
    for authorization in [String::new(), format!("Authorization: {}\r\n", bad.bearer())] {
        assert_eq!(start(&mut begin(&authorization)), "HTTP/1.1 401 Unauthorized");
    }
    // and while it waits, none either
    let gate = Gate::closed();
    idp.answer_all(Answer::normal().gated(&gate));
    let mut reader = begin(&format!("Authorization: {}\r\n", good.bearer()));
    idp.wait_for_introspections(2);
    wait_for_in_progress(&nginx, 1);
    let mut byte = [0];
    reader.get_ref().set_read_timeout(Some(Duration::from_millis(200))).expect("set timeout");
    assert!(reader.get_ref().peek(&mut byte).is_err(), "a response while parked");
    reader.get_ref().set_read_timeout(Some(DEADLINE)).expect("set timeout");
    gate.open();
    assert_eq!(start(&mut reader), "HTTP/1.1 100 Continue");
    reader.get_mut().write_all(b"hello").expect("send the body");
    assert_eq!(start(&mut reader), "HTTP/1.1 200 OK");
    assert_eq!(api.requests()[0].body_sha256, sha256(b"hello"));
    nginx.finish();
}
