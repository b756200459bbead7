//! What stands beside the module in a location: limits, `internal`, SSI, `limit_except` with its own settings.

use super::support::gateway::{
    PROTECT, PROTECT_BY_LOCATION, either, for_both_endpoints, publish, wait_for_in_progress,
};
use super::support::{Answer, Api, Echo, Gate, Idp, http};

for_both_endpoints![limits, internal,];

/// They run before: whom they turn away causes no introspection.
fn limits(protect: &str) {
    let (idp, api, gate) = (Idp::start(), Api::start(), Gate::closed());
    idp.answer_all(Answer::normal().gated(&gate));
    let nginx = either(&idp, &api)
        .http("limit_req_zone $server_name zone=r:1m rate=1r/m; limit_conn_zone $server_name zone=c:1m;")
        .server("limit_req_status 429; limit_conn_status 430;")
        .server(&format!("location /req {{ {protect} limit_req zone=r; proxy_pass @api@; }}"))
        .server(&format!("location /conn {{ {protect} limit_conn c 1; proxy_pass @api@; }}"))
        .allow_log("limiting requests, excess")
        .allow_log("limiting connections by zone")
        .start();
    for (path, status) in [("/req", 429), ("/conn", 430)] {
        gate.close();
        idp.forget_introspections();
        let (first, second) = (idp.issue(), idp.issue());
        let mut client = http::Client::connect(nginx.addr());
        client.send(&http::request_bytes("GET", path, &[("Authorization", &first.bearer())], b""));
        wait_for_in_progress(&nginx, 1);
        let response = http::get(nginx.addr(), path, &[("Authorization", &second.bearer())]);
        assert_eq!((response.status, response.header("WWW-Authenticate")), (status, None), "{path}");
        gate.open();
        assert_eq!(Echo::of(&client.read_response()).bearer(), Some(first.jwt.as_str()), "{path}");
        assert_eq!((idp.introspections_of(&second.opaque), idp.introspection_count()), (0, 1), "{path}");
    }
    nginx.finish();
}

/// A delay of `limit_req` comes before ours, and the two do not get into each other's way.
#[test]
fn a_delayed_request_is_parked_afterwards() {
    let (idp, api) = (Idp::start(), Api::start());
    for protect in [PROTECT, PROTECT_BY_LOCATION] {
        let nginx = either(&idp, &api)
            .http("limit_req_zone $server_name zone=r:1m rate=20r/s;")
            .server(&format!("location / {{ {protect} limit_req zone=r burst=10; proxy_pass @api@; }}"))
            .allow_log("delaying request, excess")
            .start();
        let mut client = http::Client::connect(nginx.addr());
        for _ in 0..5 {
            let token = idp.issue();
            let response = client.request("GET", "/", &[("Authorization", &token.bearer())], b"");
            assert_eq!(Echo::of(&response).bearer(), Some(token.jwt.as_str()));
        }
        nginx.finish();
    }
}

/// From outside it does not exist, with or without a token.
fn internal(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = either(&idp, &api)
        .server(&format!("location /in {{ internal; {protect} proxy_pass @api@; }}"))
        .server("location /out { rewrite ^ /in last; }")
        .start();
    let token = idp.issue();
    for headers in [&[("Authorization", token.bearer())][..], &[]] {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let response = http::get(nginx.addr(), "/in", &headers);
        assert_eq!((response.status, response.header("WWW-Authenticate")), (404, None));
    }
    assert_eq!(idp.introspection_count(), 0);
    let response = http::get(nginx.addr(), "/out", &[("Authorization", &token.bearer())]);
    assert_eq!(Echo::of(&response).bearer(), Some(token.jwt.as_str()));
    assert_eq!(http::get(nginx.addr(), "/out", &[]).status, 401);
    nginx.finish();
}

/// The page is protected, its parts are not asked about again; they get the JWT.
#[test]
fn ssi() {
    let (idp, api) = (Idp::start(), Api::start());
    for protect in [PROTECT, PROTECT_BY_LOCATION] {
        let nginx = either(&idp, &api)
            .server(&format!("{protect} phantom_token_cache off;"))
            .server("location / { root @dir@; ssi on; }")
            .server("location /part { proxy_pass @api@; }")
            .start();
        publish(&nginx, "page.html", "[<!--#include virtual=\"/part/1\" -->|<!--#include virtual=\"/part/2\" -->]");
        let token = idp.issue();
        let served = api.request_count();
        let response = http::get(nginx.addr(), "/page.html", &[("Authorization", &token.bearer())]);
        assert_eq!(response.status, 200);
        assert!(response.text().starts_with("[{") && response.text().ends_with("}]"), "{}", response.text());
        for request in &api.requests()[served..] {
            assert_eq!(request.all("authorization"), [token.jwt_bearer()], "{}", request.uri);
        }
        assert_eq!((api.request_count() - served, idp.introspections_of(&token.opaque)), (2, 1));
        assert_eq!(http::get(nginx.addr(), "/page.html", &[]).status, 401);
        nginx.finish();
    }
}
