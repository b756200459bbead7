//! Configurations as users of the C module have them.

use std::time::Duration;

use super::support::gateway::bare;
use super::support::nginx::Builder;
use super::support::{Answer, Api, Echo, Idp, Nginx, http};

/// The location its documentation has, up to `proxy_pass`.
const CREDENTIALS: &str = "internal; proxy_pass_request_headers off; proxy_set_header Accept \"application/jwt\"; \
     proxy_set_header Content-Type \"application/x-www-form-urlencoded\"; proxy_set_header Authorization \"@basic@\";";

const API: &str = "location /api { phantom_token on; phantom_token_introspection_endpoint curity; \
     phantom_token_realm \"myGoodAPI\"; phantom_token_scopes \"scope_a scope_b scope_c\"; proxy_pass @api@/api; }";

fn c_module(idp: &Idp, api: &Api) -> Builder {
    bare(idp, api).workers(1).var("basic", idp.client_authorization())
}

#[track_caller]
fn assert_protected(nginx: &Nginx, idp: &Idp) {
    let refused = http::get(nginx.addr(), "/api", &[]);
    let challenge = "Bearer realm=\"myGoodAPI\", scope=\"scope_a scope_b scope_c\"";
    assert_eq!((refused.status, refused.header("WWW-Authenticate")), (401, Some(challenge)));

    let token = idp.issue();
    let headers = [("Authorization", token.bearer()), ("Cookie", "a=b".to_owned()), ("X-Custom", "1".to_owned())];
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    for _ in 0..2 {
        let echo = Echo::of(&http::request(nginx.addr(), "PUT", "/api/x?y=z", &headers, b"content"));
        assert_eq!(echo.bearer(), Some(token.jwt.as_str()));
        assert_eq!((echo.method.as_str(), echo.uri.as_str(), echo.body_length), ("PUT", "/api/x?y=z", 7));
        assert_eq!(echo.header("x-custom"), Some("1"));
    }
    let asked = idp.introspections();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0].body, format!("token={}&token_type_hint=access_token", token.opaque));
    assert_eq!((asked[0].method.as_str(), asked[0].path.as_str()), ("POST", "/oauth/introspect"));
    for gone in ["cookie", "x-custom"] {
        assert!(asked[0].headers.iter().all(|(name, _)| name != gone), "{asked:?}");
    }

    let unknown = http::get(nginx.addr(), "/api", &[("Authorization", "Bearer unknown")]);
    assert_eq!(unknown.status, 401);
    assert!(unknown.header("WWW-Authenticate").is_some_and(|value| value.contains("error=\"invalid_token\"")));
}

#[test]
fn simple() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = c_module(&idp, &api)
        .server(API)
        .server(&format!("location curity {{ {CREDENTIALS} proxy_pass \"@introspect@\"; }}"))
        .start();
    assert_protected(&nginx, &idp);
    nginx.finish();
}

#[test]
fn separate_servers() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = c_module(&idp, &api)
        .port("second")
        .var("as", idp.url())
        .server(API)
        .server(&format!("location curity {{ {CREDENTIALS} proxy_pass \"http://127.0.0.1:@second@/oauth/introspect\"; }}"))
        .http("server { listen 127.0.0.1:@second@; server_name server2.example.com; location / { proxy_pass \"@as@\"; } }")
        .start();
    assert_protected(&nginx, &idp);
    nginx.finish();
}

fn with_proxy_cache(idp: &Idp, api: &Api) -> Builder {
    c_module(idp, api)
        .http("proxy_cache_path @dir@/cache levels=1:2 keys_zone=my_cache:1m inactive=60m use_temp_path=off;")
        .server(&format!(
            "location curity {{ {CREDENTIALS} proxy_cache_methods POST; proxy_cache my_cache; \
             proxy_cache_key $request_body; proxy_ignore_headers Set-Cookie; proxy_pass \"@introspect@\"; }}"
        ))
}

#[test]
fn proxy_cache() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = with_proxy_cache(&idp, &api).server(API).start();
    assert_protected(&nginx, &idp);
    nginx.finish();
}

/// NGINX's cache then answers for all workers, and its key is the token and not what the client has sent.
#[test]
fn proxy_cache_instead_of_our_own() {
    let (idp, api) = (Idp::start(), Api::start());
    let (mine, other) = (idp.issue(), idp.issue());
    let nginx = with_proxy_cache(&idp, &api)
        .workers(2)
        .server("set $logged \"\"; if ($request_body) { set $logged 1; }")
        .server(&API.replace("phantom_token on;", "phantom_token on; phantom_token_cache off;"))
        .start();
    for _ in 0..3 {
        for token in [&mine, &other] {
            let form = format!("token={}&token_type_hint=access_token", mine.opaque);
            let response =
                http::request(nginx.addr(), "POST", "/api", &[("Authorization", &token.bearer())], form.as_bytes());
            assert_eq!(Echo::of(&response).bearer(), Some(token.jwt.as_str()));
        }
    }
    assert_eq!(idp.introspection_count(), 2);
    nginx.finish();
}

/// The time an answer has been in NGINX's cache is not granted a second time.
#[test]
fn the_age_of_what_the_proxy_cache_has_counts() {
    let (idp, api) = (Idp::start(), Api::start());
    let token = idp.issue();
    idp.answer_for(&token.opaque, Answer::normal().header("Cache-Control", "max-age=3600").header("Age", "3598"));
    let nginx = with_proxy_cache(&idp, &api)
        .server("add_header X-Cache $phantom_token_cache_status always;")
        .server(API)
        .server(
            "location /other { phantom_token on; phantom_token_introspection_endpoint curity; \
                 phantom_token_accept application/x; proxy_pass @api@; }",
        )
        .start();
    let get = |path| http::get(nginx.addr(), path, &[("Authorization", &token.bearer())]);
    assert_eq!(get("/api").status, 200);
    // Two seconds of life were left. Another profile gets the stored answer, and less than two from now on.
    let asked = std::time::Instant::now();
    super::support::wait::until("a second", || asked.elapsed() > Duration::from_millis(1100));
    assert_eq!(get("/other").header("X-Cache"), Some("MISS"));
    super::support::wait::until("the rest", || asked.elapsed() > Duration::from_millis(2200));
    assert_eq!(get("/other").header("X-Cache"), Some("MISS"));
    assert_eq!(idp.introspection_count(), 1);
    nginx.finish();
}

#[test]
fn cacheless() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = c_module(&idp, &api)
        .server(API)
        .server(&format!(
            "location curity {{ {CREDENTIALS} proxy_ignore_headers Set-Cookie; proxy_buffer_size 16k; \
             proxy_buffers 4 16k; proxy_pass \"@introspect@\"; }}"
        ))
        .start();
    assert_protected(&nginx, &idp);
    nginx.finish();
}
