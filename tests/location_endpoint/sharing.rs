//! Which requests share answers: locations, servers, `cache_key`, `cache_bypass`.

use super::support::gateway::{PROTECT, bare};
use super::support::{Answer, Api, Echo, Gate, Idp, http};

/// Two servers, one name: two endpoints.
#[test]
fn servers_do_not_share_what_their_locations_answer() {
    let (mine, other, api) = (Idp::start(), Idp::start(), Api::start());
    let token = mine.issue();
    other.answer_all(Answer::ok("application/json", "{\"active\":false}"));
    let protected = "location / { phantom_token on; phantom_token_introspection_endpoint curity; proxy_pass @api@; }";
    let nginx = bare(&mine, &api)
        .workers(1)
        .var("basic", mine.client_authorization())
        .var("other", other.introspection_url())
        .port("second")
        .server(protected)
        .server("location curity { internal; proxy_set_header Authorization \"@basic@\"; proxy_pass @introspect@; }")
        .http(&format!(
            "server {{ listen 127.0.0.1:@second@; {protected} location curity {{ internal; proxy_pass @other@; }} }}"
        ))
        .start();
    let headers = [("Authorization", token.bearer())];
    let headers = [(headers[0].0, headers[0].1.as_str())];
    for _ in 0..2 {
        assert_eq!(http::get(nginx.addr(), "/", &headers).status, 200);
        assert_eq!(http::get(nginx.addr_of("second"), "/", &headers).status, 401);
    }
    assert_eq!((mine.introspection_count(), other.introspection_count()), (1, 1));
    nginx.finish();
}

/// Locations of one server share, whether each says it or all inherit it.
#[test]
fn locations_of_a_server_share() {
    let (idp, api) = (Idp::start(), Api::start());
    let token = idp.issue();
    let nginx = bare(&idp, &api)
        .workers(1)
        .var("basic", idp.client_authorization())
        .http("phantom_token_introspection_endpoint curity;")
        .server("location /a { phantom_token on; proxy_pass @api@; }")
        .server("location /b { phantom_token on; phantom_token_introspection_endpoint curity; phantom_token_client_id unused; proxy_pass @api@; }")
        .server("location curity { internal; proxy_set_header Authorization \"@basic@\"; proxy_pass @introspect@; }")
        .test();
    // the last block says both
    nginx.assert_emerg(&["\"phantom_token_client_id\" has no effect beside"]);
    let nginx = bare(&idp, &api)
        .workers(1)
        .var("basic", idp.client_authorization())
        .http("phantom_token_introspection_endpoint curity;")
        .server("location /a { phantom_token on; proxy_pass @api@; }")
        .server("location /b { phantom_token on; phantom_token_introspection_endpoint curity; proxy_pass @api@; }")
        .server("location /c { phantom_token on; phantom_token_client_id unused; phantom_token_ssl_verify off; proxy_pass @api@; }")
        .server("location curity { internal; proxy_set_header Authorization \"@basic@\"; proxy_pass @introspect@; }")
        .start();
    for path in ["/a", "/b", "/c"] {
        let response = http::get(nginx.addr(), path, &[("Authorization", &token.bearer())]);
        assert_eq!(Echo::of(&response).bearer(), Some(token.jwt.as_str()));
    }
    assert_eq!(idp.introspection_count(), 1);
    nginx.finish();
}

/// A location that depends on the request needs `cache_key`, and is served right with it.
#[test]
fn cache_key() {
    let (idp, api) = (Idp::start(), Api::start());
    let token = idp.issue();
    let nginx = bare(&idp, &api)
        .workers(1)
        .server("location / { phantom_token on; phantom_token_introspection_endpoint /ask; phantom_token_cache_key $host; proxy_pass @api@; }")
        .server(&format!(
            "location = /ask {{ internal; default_type application/jwt; if ($host = a.example) {{ return 200 {}; }} return 204; }}",
            token.jwt
        ))
        .server("add_header X-Cache $phantom_token_cache_status always;")
        .start();
    for (host, status) in [("a.example", 200), ("b.example", 401)] {
        for word in ["MISS", "HIT"] {
            let headers = [("Host", host), ("Authorization", "Bearer any")];
            let response = http::get(nginx.addr(), "/", &headers);
            assert_eq!((response.status, response.header("X-Cache")), (status, Some(word)), "{host}");
        }
    }
    nginx.finish();
}

/// The same for a URL; an empty value takes an inherited one back.
#[test]
fn cache_key_of_a_url() {
    let (idp, api) = (Idp::start(), Api::start());
    let token = idp.issue();
    let nginx = bare(&idp, &api)
        .workers(1)
        .http("phantom_token_cache_key $http_x_tenant;")
        .server(&format!("location / {{ {PROTECT} proxy_pass @api@; }}"))
        .server(&format!("location /all {{ phantom_token_cache_key \"\"; {PROTECT} proxy_pass @api@; }}"))
        .server("add_header X-Cache $phantom_token_cache_status always;")
        .start();
    for (path, tenant, word) in
        [("/", "a", "MISS"), ("/", "a", "HIT"), ("/", "b", "MISS"), ("/all", "a", "MISS"), ("/all", "b", "HIT")]
    {
        let headers = [("X-Tenant", tenant), ("Authorization", &token.bearer())];
        let response = http::get(nginx.addr(), path, &headers);
        assert_eq!((response.status, response.header("X-Cache")), (200, Some(word)), "{path} {tenant}");
    }
    nginx.finish();
}

/// Neither reads the cache nor joins; its answer replaces the entry.
#[test]
fn cache_bypass() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = bare(&idp, &api)
        .workers(1)
        .var("basic", idp.client_authorization())
        .server("phantom_token_cache_bypass $http_x_fresh $arg_fresh;")
        .server("add_header X-Cache $phantom_token_cache_status always;")
        .server(&format!("location /url {{ {PROTECT} proxy_pass @api@; }}"))
        .server("location /uri { phantom_token on; phantom_token_introspection_endpoint /ask; proxy_pass @api@; }")
        .server("location = /ask { internal; proxy_set_header Authorization \"@basic@\"; proxy_pass @introspect@; }")
        .start();
    for path in ["/url", "/uri"] {
        let token = idp.issue();
        let get = |fresh: &str, status: u16, word: &str| {
            let headers = [("X-Fresh", fresh), ("Authorization", &token.bearer())];
            let response = http::get(nginx.addr(), path, &headers);
            assert_eq!((response.status, response.header("X-Cache")), (status, Some(word)), "{path}");
        };
        get("", 200, "MISS");
        get("0", 200, "HIT");
        get("1", 200, "BYPASS");
        idp.revoke(&token.opaque);
        get("", 200, "HIT");
        get("1", 401, "BYPASS");
        get("", 401, "HIT");
        assert_eq!(idp.introspections_of(&token.opaque), 3);
    }

    // It begins an exchange of its own beside the one under way, and its answer is the one that counts.
    for path in ["/url", "/uri"] {
        let (token, gate) = (idp.issue(), Gate::closed());
        let count = idp.introspection_count();
        idp.answer_next(Answer::normal().gated(&gate));
        let mut first = http::Client::connect(nginx.addr());
        first.send(&http::request_bytes("GET", path, &[("Authorization", &token.bearer())], b""));
        idp.wait_for_introspections(count + 1);
        idp.answer_next(Answer::status(204));
        let response = http::get(nginx.addr(), &format!("{path}?fresh=1"), &[("Authorization", &token.bearer())]);
        assert_eq!((response.status, response.header("X-Cache")), (401, Some("BYPASS")), "{path}");
        gate.open();
        assert_eq!(first.read_response().status, 200, "{path}");
        let response = http::get(nginx.addr(), path, &[("Authorization", &token.bearer())]);
        assert_eq!((response.status, response.header("X-Cache")), (401, Some("HIT")), "{path}");
    }
    nginx.finish();
}
