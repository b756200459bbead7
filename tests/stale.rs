//! `phantom_token_stale_if_error`: when the last answer may be used, and each case in which it must not.

mod support;

use std::time::{Duration, Instant};

use support::gateway::{PROTECT, PROTECT_BY_LOCATION, asked_by_location, bare};
use support::nginx::Builder;
use support::{Answer, Api, Echo, Idp, Nginx, Token, TokenSpec, http, wait};

/// The lifetime of answers in these tests.
const TTL: Duration = Duration::from_millis(100);

const STALE: &str = "phantom_token_cache_max_ttl 100ms; phantom_token_cache_inactive_ttl 0; phantom_token_timeout 500ms; \
     phantom_token_stale_if_error 60s;";

fn gateway(idp: &Idp, api: &Api) -> Builder {
    asked_by_location(bare(idp, api), idp)
        .workers(1)
        .server(STALE)
        .server(
            "add_header X-Cache $phantom_token_cache_status always; add_header X-Status $phantom_token_status always;",
        )
        .server(&format!("location /url {{ {PROTECT} proxy_pass @api@; }}"))
        .server(&format!("location /uri {{ {PROTECT_BY_LOCATION} proxy_pass @api@; }}"))
        .allow_log("introspection of token")
        .allow_log("connect() failed")
        .allow_log("while reading response header from upstream")
}

fn get(nginx: &Nginx, path: &str, token: &Token) -> http::Response {
    http::get(nginx.addr(), path, &[("Authorization", &token.bearer())])
}

/// Has an answer stored, and its lifetime end.
#[track_caller]
fn store(nginx: &Nginx, path: &str, token: &Token) {
    assert_eq!(get(nginx, path, token).status, 200);
    let stored = Instant::now();
    wait::until("the end of the answer's lifetime", || stored.elapsed() > TTL + Duration::from_millis(20));
}

/// What the server does, the status, and whether the last answer is used.
#[test]
fn outages_and_opinions() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api).start();
    for path in ["/url", "/uri"] {
        for (answer, status) in [
            (Answer::status(500), 200),
            (Answer::status(502), 200),
            (Answer::status(503), 200),
            (Answer::status(429), 200),
            (Answer::close(), 200),
            (Answer::reset(), 200),
            (Answer::hang(), 200),
            // these say something
            (Answer::status(400), 502),
            (Answer::status(401), 502),
            (Answer::status(403), 502),
            (Answer::status(404), 502),
            (Answer::status(302), 502),
            (Answer::status(200), 502),
            (Answer::ok("text/html", "<html>"), 502),
            (Answer::ok("application/json", "{\"active\":\"true\"}"), 502),
            (Answer::status(204), 401),
        ] {
            idp.answer_normally();
            let token = idp.issue();
            store(&nginx, path, &token);
            idp.answer_all(answer.clone());
            let response = get(&nginx, path, &token);
            assert_eq!(response.status, status, "{path} {answer:?}");
            let words = (response.header("X-Cache"), response.header("X-Status"));
            if status == 200 {
                assert_eq!(words, (Some("STALE"), Some("ACTIVE")), "{path} {answer:?}");
                assert_eq!(Echo::of(&response).bearer(), Some(token.jwt.as_str()));
            } else {
                assert_eq!(words.0, Some("MISS"), "{path} {answer:?}");
            }
        }
        idp.answer_normally();
        let token = idp.issue();
        store(&nginx, path, &token);
        idp.go_down();
        assert_eq!(get(&nginx, path, &token).header("X-Cache"), Some("STALE"), "{path}");
        idp.come_up();
        assert_eq!(get(&nginx, path, &token).header("X-Cache"), Some("MISS"), "{path}: asked again each time");
    }
    assert!(nginx.wait_for_log("its last answer is used").contains("[warn]"));
    nginx.finish();
}

/// One who was refused meanwhile stays refused, whatever happens to the server afterwards.
#[test]
fn an_inactive_answer_ends_it() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api).start();
    let token = idp.issue();
    store(&nginx, "/url", &token);
    idp.revoke(&token.opaque);
    assert_eq!(get(&nginx, "/url", &token).status, 401);
    idp.go_down();
    assert_eq!(get(&nginx, "/url", &token).status, 502);
    nginx.finish();
}

/// Not past the window, not past `exp`, not without `exp`, not what was never stored, not for another token.
#[test]
fn bounds() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api)
        .server(&format!("location /short {{ {PROTECT} phantom_token_stale_if_error 300ms; proxy_pass @api@; }}"))
        .start();
    let lasting = idp.issue();
    let brief = idp.issue_token(TokenSpec::new().expires_in(3));
    let endless = idp.issue_token(TokenSpec::new().without_exp());
    let (unstored, unknown) = (idp.issue(), idp.issue());
    idp.answer_for(&unstored.opaque, Answer::normal().header("Cache-Control", "no-store"));
    idp.answer_for(&endless.opaque, Answer::normal().without_header("Cache-Control"));
    for token in [&lasting, &brief, &endless, &unstored] {
        store(&nginx, "/url", token);
    }
    let stored = Instant::now();
    idp.go_down();
    let status = |path, token| get(&nginx, path, token).status;
    assert_eq!([status("/url", &lasting), status("/url", &brief)], [200, 200]);
    assert_eq!([status("/url", &endless), status("/url", &unstored), status("/url", &unknown)], [502, 502, 502]);
    wait::until("the end of the short window", || stored.elapsed() > Duration::from_millis(400));
    assert_eq!([status("/short", &lasting), status("/url", &lasting)], [502, 200]);
    wait::until("the end of the token", || brief.remaining().is_some_and(|seconds| seconds <= 0));
    assert_eq!([status("/url", &brief), status("/url", &lasting)], [502, 200]);
    nginx.finish();
}

/// Off by default, and where the cache is off or bypassed; what a location requires is required all the same.
#[test]
fn not_everywhere() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api)
        .server(&format!("location /zero {{ {PROTECT} phantom_token_stale_if_error 0; proxy_pass @api@; }}"))
        .server(&format!("location /off {{ {PROTECT} phantom_token_cache off; proxy_pass @api@; }}"))
        .server(&format!("location /fresh {{ {PROTECT} phantom_token_cache_bypass 1; proxy_pass @api@; }}"))
        .server(&format!("location /admin {{ {PROTECT} phantom_token_require_scopes admin; proxy_pass @api@; }}"))
        .start();
    let token = idp.issue();
    store(&nginx, "/url", &token);
    idp.go_down();
    for (path, status) in
        [("/url", 200), ("/zero", 502), ("/off", 502), ("/fresh", 502), ("/admin", 403), ("/url", 200)]
    {
        assert_eq!(get(&nginx, path, &token).status, status, "{path}");
    }
    nginx.finish();
}

/// Our own limit is no outage of the server.
#[test]
fn not_for_max_pending() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api)
        .server(&format!("location /one {{ {PROTECT} phantom_token_max_pending 1; proxy_pass @api@; }}"))
        .start();
    let token = idp.issue();
    store(&nginx, "/url", &token);
    idp.answer_all(Answer::hang());
    let mut client = http::Client::connect(nginx.addr());
    let before = idp.introspection_count();
    client.send(&http::request_bytes("GET", "/url", &[("Authorization", "Bearer other")], b""));
    idp.wait_for_introspections(before + 1);
    assert_eq!(get(&nginx, "/one", &token).status, 503);
    assert_eq!(client.read_response().status, 504);
    nginx.finish();
}
