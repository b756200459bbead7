//! Other access rules come first, and NGINX's own means work on refusals.

use std::time::{Duration, Instant};

use super::support::gateway::{PROTECT, PROTECT_BY_LOCATION, either, for_both_endpoints, publish};
use super::support::http::request;
use super::support::{Api, Echo, Idp, http};

for_both_endpoints![
    what_others_refuse_is_never_introspected,
    auth_request_that_allows_is_followed_by_introspection,
    auth_delay_delays_401,
    preflights_beside_other_rules,
    gzip_leaves_refusals_whole,
];

fn what_others_refuse_is_never_introspected(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = either(&idp, &api)
        .server(protect)
        .server("location /deny { deny all; proxy_pass @api@; }")
        .server("location /basic { auth_basic x; auth_basic_user_file @dir@/users; proxy_pass @api@; }")
        .server("location /request401 { auth_request /-/401; proxy_pass @api@; }")
        .server("location /request403 { auth_request /-/403; proxy_pass @api@; }")
        .server("location /request500 { auth_request /-/500; proxy_pass @api@; }")
        .server("location /both { auth_request /-/204; deny all; proxy_pass @api@; }")
        .server("location /return { return 204; }")
        .server("location = /-/204 { internal; return 204; }")
        .server("location = /-/401 { internal; return 401; }")
        .server("location = /-/403 { internal; return 403; }")
        .server("location = /-/500 { internal; return 500; }")
        .start();
    publish(&nginx, "users", "jane:{PLAIN}secret\n");
    let token = idp.issue();
    for (path, status) in [
        ("/deny", 403),
        ("/basic", 401),
        ("/request401", 401),
        ("/request403", 403),
        ("/request500", 500),
        ("/both", 403),
        ("/return", 204),
    ] {
        let response = http::get(nginx.addr(), path, &[("Authorization", &token.bearer())]);
        assert_eq!(response.status, status, "{path}");
        assert!(response.all("www-authenticate").iter().all(|value| !value.starts_with("Bearer")), "{path}");
        assert_ne!(response.header("content-type"), Some("application/json"), "{path}: not our refusal");
    }
    assert_eq!((idp.introspection_count(), api.request_count()), (0, 0));
    nginx.finish();
}

fn auth_request_that_allows_is_followed_by_introspection(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = either(&idp, &api)
        .server("location = /-/204 { internal; return 204; }")
        .server(&format!("location / {{ {protect} auth_request /-/204; proxy_pass @api@; }}"))
        .start();
    let token = idp.issue();
    let echo = Echo::of(&http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]));
    assert_eq!((echo.bearer(), idp.introspection_count()), (Some(token.jwt.as_str()), 1));
    assert_eq!(http::get(nginx.addr(), "/", &[]).status, 401);
    nginx.finish();
}

fn auth_delay_delays_401(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx =
        either(&idp, &api).server(&format!("location / {{ {protect} auth_delay 1s; proxy_pass @api@; }}")).start();
    let (good, bad) = (idp.issue(), idp.issue());
    idp.revoke(&bad.opaque);
    for authorization in ["Basic eA==", &bad.bearer()] {
        let begun = Instant::now();
        let response = http::get(nginx.addr(), "/", &[("Authorization", authorization)]);
        let elapsed = begun.elapsed();
        assert_eq!((response.status, &response.json()["code"]), (401, &"unauthorized_request".into()));
        assert_eq!(response.all("www-authenticate").len(), 1);
        assert!(elapsed >= Duration::from_millis(940), "{elapsed:?}");
    }
    assert_eq!(http::get(nginx.addr(), "/", &[("Authorization", &good.bearer())]).status, 200);
    nginx.finish();
}

/// (`phantom_token_preflight`, other rules, has a credential, status, reaches the API, introspections)
fn preflights_beside_other_rules(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let cases = [
        ("no_content", "", false, 204, 0, 0),
        ("no_content", "", true, 200, 1, 1),
        ("no_content", "deny all;", false, 403, 0, 0),
        ("no_content", "satisfy any; deny all;", false, 204, 0, 0),
        ("forward", "", false, 200, 1, 0),
        ("forward", "", true, 200, 1, 1),
        ("forward", "deny all;", false, 403, 0, 0),
        ("forward", "deny all;", true, 403, 0, 0),
        ("forward", "satisfy any; deny all;", false, 403, 0, 0),
        ("forward", "satisfy any; deny all;", true, 200, 1, 1),
        ("authenticate", "", false, 401, 0, 0),
        ("authenticate", "", true, 200, 1, 1),
        ("authenticate", "satisfy any; deny all;", false, 401, 0, 0),
    ];
    let locations = cases.iter().enumerate().map(|(i, (preflight, rules, ..))| {
        format!("location /{i}/ {{ {protect} phantom_token_preflight {preflight}; {rules} proxy_pass @api@; }}")
    });
    let nginx = either(&idp, &api)
        .server(&locations.collect::<String>())
        .server("phantom_token_cache off;")
        .allow_log("access forbidden by rule")
        .start();
    for (i, (preflight, rules, credential, status, served, asked)) in cases.into_iter().enumerate() {
        let (before, token) = (api.request_count(), idp.issue());
        let bearer = token.bearer();
        let mut headers = vec![("Origin", "https://app.example"), ("Access-Control-Request-Method", "PUT")];
        if credential {
            headers.push(("Authorization", bearer.as_str()));
        }
        let response = http::request(nginx.addr(), "OPTIONS", &format!("/{i}/"), &headers, b"");
        let got = (response.status, api.request_count() - before, idp.introspections_of(&token.opaque));
        assert_eq!(got, (status, served, asked), "{preflight}, {rules}, {credential}");
        assert_eq!(response.all("www-authenticate").len(), usize::from(status == 401), "{preflight}, {rules}");
        if served == 1 {
            let expected = credential.then(|| token.jwt.clone());
            assert_eq!(Echo::of(&response).bearer().map(str::to_owned), expected, "{preflight}, {rules}");
        }
    }
    nginx.finish();
}

#[test]
fn limit_except_protects_methods() {
    let (idp, api) = (Idp::start(), Api::start());
    for protect in [PROTECT, PROTECT_BY_LOCATION] {
        let nginx = either(&idp, &api)
            .server(&format!("location / {{ limit_except GET {{ {protect} }} proxy_pass @api@; }}"))
            .start();
        let token = idp.issue();
        let authorization = ("Authorization", &*token.bearer());
        let get = Echo::of(&request(nginx.addr(), "GET", "/", &[authorization], b""));
        assert_eq!((get.all("authorization"), idp.introspections_of(&token.opaque)), (vec![&*token.bearer()], 0));
        assert_eq!(request(nginx.addr(), "GET", "/", &[], b"").status, 200);
        let refused = request(nginx.addr(), "POST", "/", &[], b"body");
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer realm=\"api\"")));
        let post = Echo::of(&request(nginx.addr(), "POST", "/", &[authorization], b"body"));
        assert_eq!((post.bearer(), post.body_length), (Some(token.jwt.as_str()), 4));
        assert_eq!(request(nginx.addr(), "DELETE", "/", &[], b"").status, 401);
        nginx.finish();
    }
}

fn gzip_leaves_refusals_whole(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = either(&idp, &api)
        .server("gzip on; gzip_types application/json; gzip_min_length 1; gzip_vary on; gzip_http_version 1.0;")
        .server(&format!("location / {{ {protect} proxy_pass @api@; }}"))
        .start();
    let plain = http::get(nginx.addr(), "/", &[]);
    let asked = http::get(nginx.addr(), "/", &[("Accept-Encoding", "gzip")]);
    assert_eq!((plain.status, asked.status), (401, 401));
    // NGINX compresses 200, 403 and 404 only
    assert_eq!((asked.header("content-encoding"), &asked.body), (None, &plain.body));
    assert_eq!(asked.json()["code"], "unauthorized_request");
    let token = idp.issue();
    let headers = [("Accept-Encoding", "gzip"), ("Authorization", &*token.bearer())];
    assert_eq!(http::get(nginx.addr(), "/", &headers).header("content-encoding"), Some("gzip"));
    nginx.finish();
}
