//! The parts of the other tests work themselves: no module, plain HTTP.

mod support;

use std::time::Duration;

use serde_json::json;
use support::http::{self, Client, Response};
use support::idp::ClientAuth;
use support::{Answer, Api, Echo, Gate, Idp, Nginx, RawServer, Shape, TokenSpec, http2, jwt, nginx};

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

fn introspect_as(idp: &Idp, path: &str, token: &str, authorization: &str) -> Response {
    let headers = [("Authorization", authorization), ("Accept", "application/jwt"), FORM];
    let body = format!("token={token}");
    http::request(idp.addr(), "POST", path, &headers, body.as_bytes())
}

fn introspect(idp: &Idp, token: &str) -> Response {
    introspect_as(idp, "/oauth/introspect", token, &idp.client_authorization())
}

#[test]
fn shapes_of_introspection_answers() {
    let idp = Idp::start();
    let token = idp.issue();
    assert_eq!(token.opaque.len(), 43);

    let raw = introspect(&idp, &token.opaque);
    assert_eq!((raw.status, raw.text()), (200, token.jwt.clone()));
    assert_eq!(raw.header("content-type"), Some("application/jwt"));
    assert!(raw.header("cache-control").is_some_and(|v| v.starts_with("max-age=")));
    let unknown = introspect(&idp, "unknown");
    assert_eq!((unknown.status, unknown.body.len()), (204, 0));

    for (shape, member) in [(Shape::CurityProcedure, "phantom_token"), (Shape::Keycloak, "jwt")] {
        idp.set_shape(shape);
        let answer = introspect(&idp, &token.opaque);
        assert_eq!(answer.json()[member], token.jwt, "{shape:?}");
        assert_eq!(answer.json()["active"], true, "{shape:?}");
        assert_eq!(introspect(&idp, "unknown").json(), json!({"active": false}), "{shape:?}");
    }

    let plain = introspect_as(&idp, "/oauth/introspect/Plain", &token.opaque, &idp.client_authorization());
    assert_eq!((&plain.json()["active"], &plain.json()["jwt"]), (&json!(true), &json!(null)));

    idp.set_shape(Shape::Rfc9701);
    let answer = introspect(&idp, &token.opaque);
    assert!(idp.signer().verifies(&answer.text()));
    let (header, payload) = jwt::decode(&answer.text()).expect("a JWT");
    assert_eq!(header["typ"], "token-introspection+jwt");
    assert_eq!(payload["token_introspection"]["active"], true);
}

#[test]
fn jwts_are_signed_and_tokens_end() {
    let idp = Idp::start();
    let token = idp.issue_token(TokenSpec::new().scope("read write").claim("tenant", 7).jwt_at_least(16_000));
    assert!(token.jwt.len() >= 16_000);
    assert!(idp.signer().verifies(&token.jwt));
    let mut forged = token.jwt.clone();
    forged.insert(20, 'A');
    assert!(!idp.signer().verifies(&forged));
    let (header, payload) = jwt::decode(&token.jwt).expect("a JWT");
    assert_eq!((&header["alg"], &payload["tenant"], &payload["iss"]), (&json!("ES256"), &json!(7), &json!(idp.url())));

    idp.revoke(&token.opaque);
    assert_eq!(introspect(&idp, &token.opaque).status, 204);
    let expired = idp.issue_token(TokenSpec::new().expires_in(-5));
    assert_eq!(introspect(&idp, &expired.opaque).status, 204);
    let expired = idp.issue_token(TokenSpec::new().expires_in(-5).active_after_exp());
    assert_eq!(introspect(&idp, &expired.opaque).status, 200);
}

#[test]
fn clients_must_authenticate() {
    // id and secret with every character that the encoding of RFC 6749 §2.3.1 changes
    let client = ("gate:way", "s%3A &=+ü");
    let idp = Idp::builder().client(client.0, client.1).start();
    let token = idp.issue();
    assert_eq!(introspect(&idp, &token.opaque).status, 200);
    for wrong in ["Basic Z2F0ZXdheTp3cm9uZw==", "Basic ###", "Bearer x"] {
        let refused = introspect_as(&idp, "/oauth/introspect", &token.opaque, wrong);
        assert_eq!((refused.status, refused.json()), (401, json!({"error": "invalid_client"})), "{wrong}");
    }

    let granted = http::request(
        idp.addr(),
        "POST",
        "/oauth/token",
        &[("Authorization", &idp.client_authorization()), FORM],
        b"grant_type=client_credentials&scope=a+b",
    );
    let granted = granted.json();
    assert_eq!((&granted["scope"], &granted["token_type"]), (&json!("a b"), &json!("Bearer")));
    let opaque = granted["access_token"].as_str().expect("an access token");
    assert_eq!(introspect(&idp, opaque).status, 200);

    let idp = Idp::builder().client_auth(ClientAuth::Post).start();
    let body = format!("token=x&client_id={}&client_secret={}", idp.client_id(), idp.client_secret());
    let answer = http::request(idp.addr(), "POST", "/oauth/introspect", &[FORM], body.as_bytes());
    assert_eq!(answer.json(), json!({"active": false}));
}

#[test]
fn scripted_answers_and_what_was_asked() {
    let idp = Idp::start();
    let token = idp.issue();
    idp.answer_all(Answer::status(503).header("Retry-After", "7").body("later"));
    idp.answer_for(&token.opaque, Answer::normal().header("Cache-Control", "no-store").chunked());
    idp.answer_next(Answer::jwt("a.b.c"));

    assert_eq!(introspect(&idp, "first").text(), "a.b.c");
    let normal = introspect(&idp, &token.opaque);
    assert_eq!((normal.text(), normal.header("cache-control")), (token.jwt.clone(), Some("no-store")));
    assert_eq!(normal.header("transfer-encoding"), Some("chunked"));
    let all = introspect(&idp, "other");
    assert_eq!((all.status, all.header("retry-after"), all.text()), (503, Some("7"), "later".to_owned()));
    idp.answer_normally();
    assert_eq!(introspect(&idp, "other").status, 204);

    assert_eq!(idp.introspection_count(), 4);
    assert_eq!((idp.introspections_of("other"), idp.introspections_of(&token.opaque)), (2, 1));
    let first = &idp.introspections()[0];
    assert_eq!((first.method.as_str(), first.path.as_str()), ("POST", "/oauth/introspect"));
    assert_eq!((first.version.as_str(), first.body.as_str()), ("HTTP/1.1", "token=first"));
    let names: Vec<_> = first.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["host", "connection", "authorization", "accept", "content-type", "content-length"]);
    assert_eq!(first.header("accept"), Some("application/jwt"));
    assert_eq!((first.connection, idp.connections_opened()), (0, 4));
    idp.wait_for_answers(4);
    idp.wait_for_open_connections(0);
}

#[test]
fn held_cut_and_hanging_answers() {
    let idp = Idp::start();
    let token = idp.issue();
    let asking = http::request_bytes(
        "POST",
        "/oauth/introspect",
        &[("Authorization", &idp.client_authorization()), ("Accept", "application/jwt"), FORM],
        format!("token={}", token.opaque).as_bytes(),
    );
    let ask = || {
        let mut client = Client::connect(idp.addr());
        client.send(&asking);
        client
    };
    let (short, soon) = (Duration::from_millis(50), Duration::from_secs(10));

    let gate = Gate::closed();
    idp.answer_all(Answer::normal().gated(&gate));
    let (mut one, mut two) = (ask(), ask());
    idp.wait_for_introspections(2);
    assert!(!one.closes_within(short) && !two.closes_within(short));
    gate.open();
    assert_eq!((one.read_response().text(), two.read_response().text()), (token.jwt.clone(), token.jwt.clone()));

    // the connection is kept and may be dropped while idle
    one.send(&asking);
    assert_eq!(one.read_response().status, 200);
    assert_eq!((idp.introspections()[2].connection, idp.connections_opened()), (0, 2));
    idp.drop_connections();
    assert!(one.closes_within(soon) && two.closes_within(soon));

    idp.answer_all(Answer::close());
    assert!(matches!(ask().try_read_response_to("POST"), Ok(None)));
    idp.answer_all(Answer::reset());
    let error = ask().try_read_response_to("POST").expect_err("a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    idp.answer_all(Answer::hang());
    let mut hanging = ask();
    assert!(!hanging.closes_within(short));

    idp.go_down();
    assert!(hanging.closes_within(soon));
    assert!(std::net::TcpStream::connect(idp.addr()).is_err());
    idp.answer_normally();
    idp.come_up();
    assert_eq!(introspect(&idp, &token.opaque).text(), token.jwt);
}

#[test]
fn http2_streams() {
    let idp = Idp::start();
    let token = idp.issue();
    let (authorization, form) = (idp.client_authorization(), format!("token={}", token.opaque));
    let headers = [("authorization", authorization.as_str()), ("accept", "application/jwt"), ("content-type", FORM.1)];
    let connection = http2::Connection::open(idp.addr());
    let gate = Gate::closed();
    idp.answer_all(Answer::normal().gated(&gate));
    let start = || connection.start("POST", "/oauth/introspect", &headers, form.as_bytes());
    let (left, stays) = (start(), start());
    idp.wait_for_introspections(2);
    left.cancel();
    gate.open();
    let response = stays.response();
    assert_eq!((response.version.as_str(), response.text()), ("HTTP/2.0", token.jwt.clone()));
    assert_eq!((idp.introspections()[1].version.as_str(), idp.connections_opened()), ("HTTP/2.0", 1));
}

#[test]
fn the_api_echoes_every_byte() {
    let api = Api::start();
    let body = b"\x00\x01 body";
    let headers = [("X-Twice", "1"), ("x-other", "a, b"), ("X-Twice", "2")];
    let echo = Echo::of(&http::request(api.addr(), "PUT", "/a%20b?c=d", &headers, body));
    assert_eq!((echo.method.as_str(), echo.uri.as_str(), echo.protocol.as_str()), ("PUT", "/a%20b?c=d", "HTTP/1.1"));
    let sent = [("Host", "localhost"), ("Connection", "close"), headers[0], headers[1], headers[2]];
    let received: Vec<_> = echo.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(received[..5], sent);
    assert_eq!((echo.body_length, echo.body_sha256.as_str()), (body.len(), support::api::sha256(body).as_str()));

    // pipelined, the second chunked; then a scripted path
    api.answer("/own", "HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n");
    let mut client = Client::connect(api.addr());
    client.send(b"HEAD /1 HTTP/1.1\r\n\r\nPOST /2 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\nGET /own HTTP/1.1\r\n\r\n");
    assert_eq!(client.read_response_to("HEAD").body, b"");
    assert_eq!(Echo::of(&client.read_response()).body_sha256, support::api::sha256(b"abcde"));
    assert_eq!(client.read_response().status, 418);
    api.wait_for_requests(4);
    client.reset();
}

#[test]
fn the_raw_server_says_what_it_is_told() {
    let server = RawServer::answering("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
    let mut client = Client::connect(server.addr());
    client.send(b"GET / HTTP/1.1\r\nA: b\r\n\r\n");
    let error = client.try_read_response_to("GET").expect_err("a body cut short");
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    server.wait_for_requests(1);
    assert_eq!(server.requests()[0].head.raw, b"GET / HTTP/1.1\r\nA: b\r\n\r\n");

    let server = RawServer::start(|connection| {
        connection.read_request();
        connection.hang();
    });
    let mut client = Client::connect(server.addr());
    client.send(b"GET / HTTP/1.1\r\n\r\n");
    assert!(!client.closes_within(Duration::from_millis(50)));
    drop(server);
    assert!(client.closes_within(Duration::from_secs(10)));
}

fn proxy(api: &Api) -> nginx::Builder {
    Nginx::builder().without_module().var("api", api.url()).server("location / { proxy_pass @api@; }")
}

#[test]
fn nginx_starts_reloads_and_quits() {
    let api = Api::start();
    let mut nginx = proxy(&api).listen_h2().port("second").http("server { listen 127.0.0.1:@second@; }").start();
    let echo = Echo::of(&http::get(nginx.addr(), "/x", &[("A", "b")]));
    assert_eq!((echo.uri.as_str(), echo.header("A")), ("/x", Some("b")));
    assert_eq!(Echo::of(&http2::Connection::open(nginx.addr_of("h2")).get("/h2", &[])).uri, "/h2");
    assert!(Client::connect(nginx.addr_of("second")).local_addr().ip().is_loopback());
    assert_eq!(nginx.wait_for_access_log(2).len(), 2);

    let old = nginx.workers();
    assert_eq!(old.len(), 2);
    assert!(nginx.open_files(old[0]) > 3 && nginx.resident_kib(old[0]) > 100 && nginx.threads(old[0]) == 1);
    nginx.edit_config("location / {", "location /only {");
    nginx.reload();
    nginx.wait_for_exit_of(&old);
    assert_eq!(http::get(nginx.addr(), "/x", &[]).status, 404);
    assert!(nginx.workers().iter().all(|pid| !old.contains(pid)));

    let gate = Gate::closed();
    api.hold("/only", &gate);
    let mut client = Client::connect(nginx.addr());
    client.send(&http::request_bytes("GET", "/only", &[], b""));
    api.wait_for_requests(3);
    nginx.begin_quit();
    assert!(nginx.is_running());
    gate.open();
    assert_eq!(client.read_response().status, 200);
    nginx.wait_for_exit();
    nginx.finish();

    let mut single = proxy(&api).single_process().start();
    assert_eq!(single.workers(), [single.pid()]);
    assert_eq!(http::get(single.addr(), "/y", &[]).status, 200);
    single.terminate();
    single.finish();
}

#[test]
fn memory_that_grows_is_told_from_memory_that_settles() {
    let mut rounds = [9000, 12_000, 14_000, 14_100].into_iter();
    assert_eq!(nginx::assert_settles(|| rounds.next().expect("it has settled")).len(), 4);
    let mut leak = 0;
    let growing = std::panic::catch_unwind(move || {
        nginx::assert_settles(|| {
            leak += 1000;
            leak
        })
    });
    assert!(growing.is_err());
}

#[test]
fn what_logs_must_not_contain() {
    let idp = Idp::start();
    let api = Api::start();
    let token = idp.issue();
    let logging = "log_format own '$http_authorization'; access_log @dir@/own.log own;";
    let nginx = proxy(&api).idp(&idp).http(logging).start();
    assert_eq!(nginx.complaints(), [""; 0]);
    // secrets issued after the start count as well, JWTs by any of their parts
    let later = idp.issue();
    for leaked in [token.bearer(), later.jwt_bearer()] {
        http::get(nginx.addr(), "/", &[("Authorization", &leaked)]);
    }
    support::wait::until("both requests in the log", || nginx.log("own.log").lines().count() == 2);
    let complaints = nginx.complaints();
    assert_eq!(complaints.len(), 3, "{complaints:?}");
    std::fs::remove_file(nginx.dir().join("own.log")).expect("remove the log that leaks");

    let worker = nginx.workers()[0];
    nginx.signal_to(worker, nix::sys::signal::Signal::SIGKILL);
    nginx.wait_for_log("exited on signal 9");
    assert_eq!(nginx.complaints().len(), 1);
    let kept = nginx.dir().to_owned();
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| nginx.finish()));
    let message = failed.expect_err("a failure");
    let message = message.downcast_ref::<String>().expect("its message");
    assert!(message.contains("exited on signal 9"), "{message}");
    std::fs::remove_dir_all(kept).expect("the directory of a failure is kept");

    let nginx = proxy(&api).allow_log("exited on signal 9").start();
    nginx.signal_to(nginx.workers()[0], nix::sys::signal::Signal::SIGKILL);
    nginx.wait_for_log("exited on signal 9");
    nginx.finish();
}

#[test]
fn configurations_can_be_tested() {
    let test = Nginx::builder().without_module().server("no_such_directive on;").test();
    test.assert_emerg(&["no_such_directive", &test.line_of("no_such_directive")]);
    Nginx::builder().without_module().server("location / { return 204; }").test().assert_ok();
    assert!(nginx::nginx_version() >= (1, 18, 0));
}
