//! CORS preflights, and OPTIONS that are none.

use crate::bench::{ABSENT, Bench, MALFORMED};
use crate::support::http::{self, Response};
use crate::support::{Answer, Echo};

const PREFLIGHT: [(&str, &str); 2] = [("Origin", "https://app.example"), ("Access-Control-Request-Method", "PUT")];

fn options(bench: &Bench, more: &[(&str, &str)], body: &[u8]) -> Response {
    http::request(bench.addr(), "OPTIONS", "/x", &[&PREFLIGHT, more].concat(), body)
}

#[track_caller]
fn assert_answered(bench: &Bench, what: &str, response: &Response) {
    assert_eq!(response.status, 204, "{what}: {response:?}");
    assert_eq!(response.header("x-status"), Some("PREFLIGHT"), "{what}");
    assert_eq!((response.header("www-authenticate"), response.header("content-type")), (None, None), "{what}");
    assert_eq!(response.body, b"", "{what}");
    assert_eq!((bench.api.request_count(), bench.idp.introspection_count()), (0, 0), "{what}");
}

#[test]
fn a_preflight_is_answered() {
    let bench = Bench::start();
    assert_answered(&bench, "plain", &options(&bench, &[], b""));
    assert_answered(&bench, "length 0", &options(&bench, &[("Content-Length", "0")], b""));
    let fields = [("Access-Control-Request-Headers", "authorization"), ("Cookie", "a=b")];
    assert_answered(&bench, "with headers", &options(&bench, &fields, b""));
    let lower = [("origin", "null"), ("access-control-request-method", "GET")];
    assert_answered(&bench, "names in lower case", &http::request(bench.addr(), "OPTIONS", "/", &lower, b""));
    bench.assert_not_logged("preflights");
    bench.finish();
}

#[test]
fn every_other_options_is_an_ordinary_request() {
    let bench = Bench::start();
    let [origin, method] = PREFLIGHT;
    let plain = |what: &str, headers: &[(&str, &str)], body: &[u8]| {
        ABSENT.check(what, &http::request(bench.addr(), "OPTIONS", "/", headers, body));
    };
    plain("neither field", &[], b"");
    plain("no Origin", &[method], b"");
    plain("no method", &[origin], b"");
    plain("a body", &[origin, method], b"x");
    ABSENT.check("another credential", &options(&bench, &[("Authorization", "Basic x")], b""));
    MALFORMED.check("a bad credential", &options(&bench, &[("Authorization", "Bearer a b")], b""));
    let chunked = b"OPTIONS / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nOrigin: https://a\r\n\
        Access-Control-Request-Method: PUT\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    ABSENT.check("a chunked body", &http::send(bench.addr(), chunked));
    for other in ["GET", "POST", "HEAD", "options"] {
        let response = http::request(bench.addr(), other, "/", &PREFLIGHT, b"");
        assert!(response.status != 204, "{other}: {response:?}");
    }
    assert_eq!((bench.api.request_count(), bench.idp.introspection_count()), (0, 0));
    let token = bench.idp.issue();
    let echo = Echo::of(&options(&bench, &[("Authorization", &token.bearer())], b""));
    assert_eq!((echo.method.as_str(), echo.bearer()), ("OPTIONS", Some(token.jwt.as_str())));
    let unknown = bench.token_answered(Answer::status(204));
    let refused = options(&bench, &[("Authorization", &format!("Bearer {unknown}"))], b"");
    crate::bench::INACTIVE.check("an inactive token", &refused);
    bench.finish();
}

#[test]
fn a_preflight_may_be_forwarded() {
    let bench = Bench::with("phantom_token_preflight forward;");
    let response = options(&bench, &[], b"");
    let echo = Echo::of(&response);
    assert_eq!((echo.method.as_str(), echo.header("origin")), ("OPTIONS", Some("https://app.example")));
    assert_eq!(echo.header("authorization"), None);
    assert_eq!(response.header("x-status"), Some("PREFLIGHT"));
    ABSENT.check("no preflight", &http::request(bench.addr(), "OPTIONS", "/", &[], b""));
    assert_eq!((bench.api.request_count(), bench.idp.introspection_count()), (1, 0));
    bench.finish();
    let denied = Bench::with("phantom_token_preflight forward; deny all;");
    assert_eq!(options(&denied, &[], b"").status, 403);
    assert_eq!(denied.api.request_count(), 0);
    denied.nginx.wait_for_log("access forbidden by rule");
    denied.finish();
}

#[test]
fn a_preflight_may_need_a_token() {
    let bench = Bench::with("phantom_token_preflight authenticate;");
    ABSENT.check("no token", &options(&bench, &[], b""));
    let token = bench.idp.issue();
    assert_eq!(
        Echo::of(&options(&bench, &[("Authorization", &token.bearer())], b"")).bearer(),
        Some(token.jwt.as_str())
    );
    bench.finish();
}
