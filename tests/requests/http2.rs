//! HTTP/2: many streams of one connection.

use super::support::gateway::{PROTECT_BY_LOCATION, for_both_endpoints, gateway_that, wait_for_in_progress};
use super::support::http2::{Connection, Pending};
use super::support::{Answer, Api, Echo, Gate, Idp, api::sha256, http};

for_both_endpoints![
    concurrent_streams_with_one_cold_token,
    streams_with_tokens_of_their_own,
    streams_cancelled_while_parked,
    a_connection_lost_with_parked_streams,
    refusals_have_the_body_they_have_in_http_1,
    a_body_sent_while_parked_arrives,
    a_window_that_is_nearly_closed,
    a_preflight_has_no_body,
];

fn concurrent_streams_with_one_cold_token(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway_that(protect, &idp, &api).workers(1).listen_h2().start();
    let gate = Gate::closed();
    idp.answer_all(Answer::normal().gated(&gate));
    let token = idp.issue();
    let connection = Connection::open(nginx.addr_of("h2"));
    let start = |_| connection.start("GET", "/", &[("authorization", &token.bearer())], b"");
    let streams: Vec<Pending> = (0..40).map(start).collect();
    wait_for_in_progress(&nginx, 40);
    gate.open();
    for stream in streams {
        assert_eq!(Echo::of(&stream.response()).bearer(), Some(token.jwt.as_str()));
    }
    assert_eq!(idp.introspection_count(), 1);
    assert_eq!(connection.get("/", &[("authorization", &token.bearer())]).header("x-cache"), Some("HIT"));
    nginx.finish();
}

fn streams_with_tokens_of_their_own(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway_that(protect, &idp, &api).workers(1).listen_h2().start();
    let gate = Gate::closed();
    idp.answer_all(Answer::normal().gated(&gate));
    let tokens: Vec<_> = (0..40).map(|_| idp.issue()).collect();
    let connection = Connection::open(nginx.addr_of("h2"));
    let streams: Vec<_> = tokens
        .iter()
        .map(|token| (connection.start("GET", "/", &[("authorization", &token.bearer())], b""), token))
        .collect();
    wait_for_in_progress(&nginx, 40);
    gate.open();
    for (stream, token) in streams {
        assert_eq!(Echo::of(&stream.response()).bearer(), Some(token.jwt.as_str()));
    }
    nginx.finish();
}

fn streams_cancelled_while_parked(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway_that(protect, &idp, &api).workers(1).listen_h2().start();
    let worker = nginx.workers();
    let gate = Gate::closed();
    idp.answer_all(Answer::normal().gated(&gate));
    let token = idp.issue();
    let connection = Connection::open(nginx.addr_of("h2"));
    let start = |i| {
        let path = if i % 2 == 0 { "/leaver" } else { "/stayer" };
        connection.start("GET", path, &[("authorization", &token.bearer())], b"")
    };
    // the leader leaves too
    let streams: Vec<Pending> = (0..40).map(start).collect();
    wait_for_in_progress(&nginx, 40);
    let mut stayers = Vec::new();
    for (i, stream) in streams.into_iter().enumerate() {
        if i % 2 == 0 { stream.cancel() } else { stayers.push(stream) }
    }
    wait_for_in_progress(&nginx, 20);
    let lines = nginx.wait_for_access_log(20);
    assert!(lines.iter().all(|line| line.contains("\"GET /leaver HTTP/2.0\" 499 ")), "{lines:#?}");
    gate.open();
    for stream in stayers {
        assert_eq!(Echo::of(&stream.response()).bearer(), Some(token.jwt.as_str()));
    }
    // a subrequest goes with the stream that began it, and the one that has waited longest asks again
    let asked = if protect == PROTECT_BY_LOCATION { 2 } else { 1 };
    assert_eq!(idp.introspection_count(), asked);
    assert_eq!(nginx.workers(), worker);
    nginx.finish();
}

fn a_connection_lost_with_parked_streams(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway_that(protect, &idp, &api).workers(1).listen_h2().start();
    let gate = Gate::closed();
    idp.answer_all(Answer::normal().gated(&gate));
    let token = idp.issue();
    let connection = Connection::open(nginx.addr_of("h2"));
    let streams: Vec<Pending> =
        (0..20).map(|_| connection.start("GET", "/", &[("authorization", &token.bearer())], b"")).collect();
    wait_for_in_progress(&nginx, 20);
    drop((streams, connection));
    wait_for_in_progress(&nginx, 0);
    gate.open();
    let next = http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]);
    assert_eq!(Echo::of(&next).bearer(), Some(token.jwt.as_str()));
    // the answer to the module's own client is kept; a subrequest goes with its stream, and those that are still there ask
    let asked = if protect == PROTECT_BY_LOCATION { 2..=21 } else { 1..=1 };
    assert!(asked.contains(&idp.introspection_count()), "{}", idp.introspection_count());
    nginx.finish();
}

fn refusals_have_the_body_they_have_in_http_1(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway_that(protect, &idp, &api).workers(1).listen_h2().start();
    let connection = Connection::open(nginx.addr_of("h2"));
    let bad = idp.issue();
    idp.revoke(&bad.opaque);
    idp.answer_for("broken", Answer::status(500));
    for (authorization, status) in [("Basic eA==", 401), (&bad.bearer(), 401), ("Bearer broken", 502)] {
        let over_http1 = http::get(nginx.addr(), "/", &[("Authorization", authorization)]);
        let response = connection.get("/", &[("authorization", authorization)]);
        assert_eq!((over_http1.status, response.status), (status, status), "{authorization}");
        assert_eq!(response.body, over_http1.body, "{authorization}");
        let fields = |response: &http::Response| {
            ["content-type", "content-length", "www-authenticate"].map(|name| response.all(name).join(", "))
        };
        assert_eq!(fields(&response), fields(&over_http1), "{authorization}");
        assert_eq!(response.header("content-type"), Some("application/json"));
        let head = connection.start("HEAD", "/", &[("authorization", authorization)], b"").response();
        assert_eq!((head.status, head.body.len()), (status, 0));
        assert_eq!(fields(&head), fields(&response), "{authorization}");
    }
    nginx.finish();
}

fn a_body_sent_while_parked_arrives(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let unbuffered = format!(
        "location /unbuffered {{ {protect} proxy_pass @api@; proxy_http_version 1.1; proxy_request_buffering off; }}"
    );
    let nginx = gateway_that(protect, &idp, &api).workers(1).listen_h2().server(&unbuffered).start();
    let body: Vec<u8> = (0..300_000u32).map(|i| (i * 7 % 251) as u8).collect();
    let connection = Connection::open(nginx.addr_of("h2"));
    for (n, path) in ["/buffered", "/unbuffered"].into_iter().enumerate() {
        let gate = Gate::closed();
        let token = idp.issue();
        idp.answer_for(&token.opaque, Answer::normal().gated(&gate));
        let stream = connection.start("POST", path, &[("authorization", &token.bearer())], &body);
        idp.wait_for_introspections(n + 1);
        wait_for_in_progress(&nginx, 1);
        gate.open();
        let echo = Echo::of(&stream.response());
        assert_eq!((echo.body_length, &echo.body_sha256), (body.len(), &sha256(&body)), "{path}");
        assert_eq!(echo.bearer(), Some(token.jwt.as_str()), "{path}");
        // a refused one harms no other stream
        let refused = connection.start("POST", path, &[], &body);
        assert_eq!(refused.try_response().map(|response| response.status).unwrap_or(401), 401, "{path}");
        assert_eq!(connection.get("/", &[("authorization", &token.bearer())]).status, 200, "{path}");
    }
    assert_eq!(api.request_count(), 4);
    nginx.finish();
}

fn a_window_that_is_nearly_closed(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway_that(protect, &idp, &api).workers(1).listen_h2().start();
    let token = idp.issue();
    let connection = Connection::with_window(nginx.addr_of("h2"), 7);
    // refused, as the content that takes the place of NGINX's page; and let through
    let stuck = connection.start("GET", "/", &[], b"");
    wait_for_in_progress(&nginx, 1);
    let refused = connection.get("/", &[]);
    assert_eq!((refused.status, refused.body), (401, http::get(nginx.addr(), "/", &[]).body));
    let echo = Echo::of(&connection.get("/", &[("authorization", &token.bearer())]));
    assert_eq!(echo.bearer(), Some(token.jwt.as_str()));
    stuck.cancel();
    wait_for_in_progress(&nginx, 0);
    nginx.finish();
}

/// Here a body needs no field that announces it.
fn a_preflight_has_no_body(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway_that(protect, &idp, &api).workers(1).listen_h2().start();
    let connection = Connection::open(nginx.addr_of("h2"));
    let preflight = [("origin", "https://app.example"), ("access-control-request-method", "PUT")];
    for (body, status, word) in [(&b""[..], 204, "PREFLIGHT"), (b"x", 401, "ABSENT"), (b"", 204, "PREFLIGHT")] {
        let response = connection.start("OPTIONS", "/", &preflight, body).response();
        assert_eq!((response.status, response.header("x-status")), (status, Some(word)), "{body:?}");
    }
    assert_eq!((api.request_count(), idp.introspection_count()), (0, 0));
    nginx.finish();
}
