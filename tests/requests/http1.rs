//! HTTP/1.1 and HTTP/1.0 connections.

use super::support::gateway::{for_both_endpoints, gateway_that, wait_for_in_progress};
use super::support::http::{Client, request_bytes};
use super::support::{Answer, Api, Echo, Gate, Idp, wait::DEADLINE};

for_both_endpoints![
    many_requests_on_one_connection,
    pipelined_requests_are_answered_in_order,
    a_request_pipelined_while_the_first_is_parked,
    http_1_0,
    head_is_get_without_the_body,
];

fn many_requests_on_one_connection(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway_that(protect, &idp, &api).workers(1).start();
    let mut client = Client::connect(nginx.addr());
    let (good, bad) = (idp.issue(), idp.issue());
    idp.revoke(&bad.opaque);
    for round in 0..3 {
        for (authorization, status) in [(Some(good.bearer()), 200), (None, 401), (Some(bad.bearer()), 401)] {
            let headers: Vec<_> = authorization.iter().map(|value| ("Authorization", value.as_str())).collect();
            let response = client.request("GET", "/", &headers, b"");
            assert_eq!(response.status, status, "round {round}: {response:?}");
            assert_ne!(response.header("connection"), Some("close"), "{response:?}");
            if status == 200 {
                assert_eq!(Echo::of(&response).bearer(), Some(good.jwt.as_str()));
            }
        }
    }
    assert_eq!(idp.introspection_count(), 2);
    nginx.finish();
}

fn pipelined_requests_are_answered_in_order(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway_that(protect, &idp, &api).workers(1).start();
    let gate = Gate::closed();
    idp.answer_all(Answer::normal().gated(&gate));
    let (one, other) = (idp.issue(), idp.issue());
    let of = |path: &str, bearer: String| request_bytes("GET", path, &[("Authorization", &bearer)], b"");
    let requests = [
        of("/1", one.bearer()),
        request_bytes("GET", "/2", &[], b""),
        of("/3", one.bearer()),
        of("/4", other.bearer()),
    ];
    let mut client = Client::connect(nginx.addr());
    client.send(&requests.concat());
    idp.wait_for_introspections(1);
    gate.open();
    let first = client.read_response();
    assert_eq!((Echo::of(&first).uri.as_str(), Echo::of(&first).bearer()), ("/1", Some(one.jwt.as_str())));
    assert_eq!(client.read_response().status, 401);
    for (uri, token) in [("/3", &one), ("/4", &other)] {
        let echo = Echo::of(&client.read_response());
        assert_eq!((echo.uri.as_str(), echo.bearer()), (uri, Some(token.jwt.as_str())));
    }
    assert_eq!(idp.introspection_count(), 2);
    nginx.finish();
}

fn a_request_pipelined_while_the_first_is_parked(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway_that(protect, &idp, &api).workers(1).start();
    let gate = Gate::closed();
    idp.answer_all(Answer::normal().gated(&gate));
    let token = idp.issue();
    let mut client = Client::connect(nginx.addr());
    client.send(&request_bytes("GET", "/1", &[("Authorization", &token.bearer())], b""));
    idp.wait_for_introspections(1);
    client.send(&request_bytes("GET", "/2", &[("Authorization", &token.bearer())], b""));
    // the bytes are there, and neither end the first request nor spin
    assert!(!client.closes_within(std::time::Duration::from_millis(300)));
    wait_for_in_progress(&nginx, 1);
    gate.open();
    for uri in ["/1", "/2"] {
        let echo = Echo::of(&client.read_response());
        assert_eq!((echo.uri.as_str(), echo.bearer()), (uri, Some(token.jwt.as_str())));
    }
    nginx.finish();
}

fn http_1_0(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway_that(protect, &idp, &api).workers(1).start();
    let token = idp.issue();
    for _ in ["cold", "cached"] {
        let mut client = Client::connect(nginx.addr());
        client.send(format!("GET /old HTTP/1.0\r\nAuthorization: {}\r\n\r\n", token.bearer()).as_bytes());
        assert_eq!(Echo::of(&client.read_response()).bearer(), Some(token.jwt.as_str()));
        assert!(client.closes_within(DEADLINE));
    }
    let mut client = Client::connect(nginx.addr());
    client.send(b"GET /old HTTP/1.0\r\n\r\n");
    let refused = client.read_response();
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer realm=\"api\"")));
    assert_eq!(refused.header("transfer-encoding"), None, "HTTP/1.0 has no chunks");
    assert_eq!(refused.json()["code"], "unauthorized_request");
    assert!(client.closes_within(DEADLINE));
    nginx.finish();
}

fn head_is_get_without_the_body(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway_that(protect, &idp, &api).workers(1).start();
    let token = idp.issue();
    let mut client = Client::connect(nginx.addr());
    let (get, head) = (client.request("GET", "/", &[], b""), client.request("HEAD", "/", &[], b""));
    assert_eq!((get.status, head.status), (401, 401));
    assert!(!get.body.is_empty() && head.body.is_empty());
    let comparable = |response: &super::support::http::Response| {
        response.headers.iter().filter(|(name, _)| name != "Date").cloned().collect::<Vec<_>>()
    };
    assert_eq!(comparable(&get), comparable(&head));
    assert_eq!(get.header("content-length"), Some(get.body.len().to_string().as_str()));
    // nothing of the refusal's body is left on the connection, and HEAD is introspected as GET is
    let response = client.request("HEAD", "/", &[("Authorization", &token.bearer())], b"");
    assert_eq!(response.status, 200);
    assert_eq!(client.request("GET", "/", &[("Authorization", &token.bearer())], b"").header("x-cache"), Some("HIT"));
    assert_eq!(api.requests()[0].method, "HEAD");
    assert_eq!(api.requests()[0].bearer(), Some(token.jwt.as_str()));
    nginx.finish();
}
