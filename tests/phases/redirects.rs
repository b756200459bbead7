//! Internal redirects: one verdict for one credential, and never our own JWT introspected.

use super::support::gateway::{PROTECT_BY_LOCATION, either, for_both_endpoints, publish, wait_for_in_progress};
use super::support::http::{Client, request_bytes};
use super::support::{Answer, Api, Echo, Gate, Idp, http};

for_both_endpoints![
    one_introspection_whatever_way_a_request_takes,
    an_unprotected_location_afterwards_leaves_the_header,
    an_unprotected_location_before_hands_the_token_on,
    a_client_that_leaves_while_parked_after_a_redirect,
];

fn one_introspection_whatever_way_a_request_takes(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    // nothing is cached: what is known on the second pass is known from the first
    let nginx = either(&idp, &api)
        .server(&format!("{protect} phantom_token_cache off;"))
        .server("location / { proxy_pass @api@; }")
        .server("location /rewrite { rewrite ^ /rewritten last; }")
        .server("location /try { try_files /.none /tried; }")
        .server("location /named { try_files /.none @named; }")
        .server("location @named { error_page 404 = /end; proxy_intercept_errors on; rewrite ^ /absent break; proxy_pass @api@; }")
        .server("location = /dir/ { root @dir@; index .none page.html; }")
        .server("location = /dir/page.html { proxy_pass @api@; }")
        .server("location /accel { proxy_pass @api@; }")
        .server("location /protected { internal; proxy_pass @api@; }")
        .start();
    std::fs::create_dir(nginx.dir().join("dir")).expect("create a directory");
    publish(&nginx, "dir/page.html", "found by index");
    api.answer("/accel", "HTTP/1.1 200 OK\r\nX-Accel-Redirect: /protected/x\r\nContent-Length: 0\r\n\r\n");
    api.answer("/absent", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    for (path, end) in [
        ("/rewrite", "/rewritten"),
        ("/try", "/tried"),
        ("/named", "/end"),
        ("/dir/", "/dir/page.html"),
        ("/accel", "/protected/x"),
    ] {
        let token = idp.issue();
        idp.forget_introspections();
        let before = api.request_count();
        let echo = Echo::of(&http::get(nginx.addr(), path, &[("Authorization", &token.bearer())]));
        assert_eq!(echo.uri, end, "{path}");
        for request in &api.requests()[before..] {
            assert_eq!(request.all("authorization"), [token.jwt_bearer()], "{path}: {}", request.uri);
        }
        let asked: Vec<_> = idp.introspections().iter().map(|asked| asked.token().map(str::to_owned)).collect();
        assert_eq!(asked, [Some(token.opaque.clone())], "{path}");
        // and without a token nobody comes through
        let refused = http::get(nginx.addr(), path, &[]);
        assert_eq!((refused.status, refused.all("www-authenticate").len()), (401, 1), "{path}");
    }
    nginx.finish();
}

fn an_unprotected_location_afterwards_leaves_the_header(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    api.answer("/accel", "HTTP/1.1 200 OK\r\nX-Accel-Redirect: /open/x\r\nContent-Length: 0\r\n\r\n");
    let nginx = either(&idp, &api)
        .server(&format!("location /accel {{ {protect} proxy_pass @api@; }}"))
        .server("location /open { proxy_pass @api@; }")
        .start();
    let token = idp.issue();
    for cache in ["cold", "cached"] {
        let echo = Echo::of(&http::get(nginx.addr(), "/accel", &[("Authorization", &token.bearer())]));
        assert_eq!((echo.uri.as_str(), echo.all("authorization")), ("/open/x", vec![&*token.jwt_bearer()]), "{cache}");
    }
    nginx.finish();
}

fn an_unprotected_location_before_hands_the_token_on(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = either(&idp, &api)
        .server("location / { try_files /.none /protected; }")
        .server(&format!("location /protected {{ {protect} proxy_pass @api@; }}"))
        .start();
    let token = idp.issue();
    let echo = Echo::of(&http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]));
    assert_eq!((echo.bearer(), idp.introspection_count()), (Some(token.jwt.as_str()), 1));
    nginx.finish();
}

fn a_client_that_leaves_while_parked_after_a_redirect(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = either(&idp, &api)
        .workers(1)
        .server("location / { try_files /.none @protected; }")
        .server(&format!("location @protected {{ {protect} proxy_pass @api@; }}"))
        .start();
    let worker = nginx.workers();
    let (token, gate) = (idp.issue(), Gate::closed());
    idp.answer_all(Answer::normal().gated(&gate));
    let mut client = Client::connect(nginx.addr());
    client.send(&request_bytes("GET", "/", &[("Authorization", &token.bearer())], b""));
    idp.wait_for_introspections(1);
    client.reset();
    wait_for_in_progress(&nginx, 0);
    gate.open();
    let echo = Echo::of(&http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]));
    // a subrequest goes with the request that began it, and nothing was left to cache
    let asked = if protect == PROTECT_BY_LOCATION { 2 } else { 1 };
    assert_eq!((echo.bearer(), idp.introspection_count()), (Some(token.jwt.as_str()), asked));
    assert_eq!(nginx.workers(), worker);
    nginx.finish();
}
