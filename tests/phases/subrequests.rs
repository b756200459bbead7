//! Subrequests are not protected; `post_action` is no second chance.

use super::support::gateway::{PROTECT, PROTECT_BY_LOCATION, either, for_both_endpoints, wait_for_in_progress};
use super::support::http::{Client, request_bytes};
use super::support::{Answer, Api, Echo, Gate, Idp, api::sha256, http};

for_both_endpoints![
    auth_request_and_mirror_are_not_introspected,
    a_mirror_gets_the_body_and_the_jwt,
    a_subrequest_of_an_unprotected_location_is_not_introspected,
];

fn auth_request_and_mirror_are_not_introspected(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = either(&idp, &api)
        .server(&format!("{protect} phantom_token_cache off;"))
        .server("location / { auth_request /-/auth; mirror /-/mirror; proxy_pass @api@; }")
        .server("location /-/auth { internal; proxy_pass @api@; }")
        .server("location /-/mirror { internal; proxy_pass @api@; }")
        .start();
    let token = idp.issue();
    let echo = Echo::of(&http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]));
    assert_eq!(echo.all("authorization"), [token.jwt_bearer()]);
    api.wait_for_requests(3);
    let of = |uri: &str| {
        let requests = api.requests();
        let found = requests.iter().find(|request| request.uri == uri).unwrap_or_else(|| panic!("no {uri}"));
        found.header("authorization").map(str::to_owned)
    };
    assert_eq!(of("/-/auth"), Some(token.bearer()), "before the access phase it is the client's");
    assert_eq!(of("/-/mirror"), Some(token.jwt_bearer()), "after it, the JWT");
    assert_eq!(idp.introspection_count(), 1);
    nginx.finish();
}

fn a_mirror_gets_the_body_and_the_jwt(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = either(&idp, &api)
        .server(&format!("location / {{ {protect} mirror /-/mirror; proxy_pass @api@; }}"))
        .server("location = /-/mirror { internal; proxy_pass @api@/mirrored; }")
        .start();
    let body = vec![b'm'; 50_000];
    let token = idp.issue();
    let response = http::request(nginx.addr(), "POST", "/x", &[("Authorization", &token.bearer())], &body);
    assert_eq!(response.status, 200);
    api.wait_for_requests(2);
    let mut requests = api.requests();
    requests.sort_by(|a, b| a.uri.cmp(&b.uri));
    for (request, uri) in requests.iter().zip(["/mirrored", "/x"]) {
        assert_eq!((request.uri.as_str(), request.method.as_str()), (uri, "POST"));
        assert_eq!(request.all("authorization"), [token.jwt_bearer()], "{uri}");
        assert_eq!((request.body_length, &request.body_sha256), (body.len(), &sha256(&body)), "{uri}");
    }
    // what is refused is not mirrored
    assert_eq!(http::request(nginx.addr(), "POST", "/x", &[], &body).status, 401);
    assert_eq!(http::get(nginx.addr(), "/x", &[("Authorization", &token.bearer())]).status, 200);
    api.wait_for_requests(4);
    assert_eq!(api.requests().iter().filter(|request| request.uri == "/mirrored").count(), 2);
    nginx.finish();
}

fn a_subrequest_of_an_unprotected_location_is_not_introspected(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = either(&idp, &api)
        .server("location / { auth_request /-/auth; proxy_pass @api@; }")
        .server(&format!("location /-/auth {{ {protect} proxy_pass @api@; }}"))
        .start();
    assert_eq!(http::get(nginx.addr(), "/", &[]).status, 200);
    assert_eq!((idp.introspection_count(), api.request_count()), (0, 2));
    nginx.finish();
}

#[test]
fn post_action_of_a_parked_request_whose_client_leaves() {
    let (idp, api) = (Idp::start(), Api::start());
    for (protect, protected) in
        [(PROTECT, "off"), (PROTECT, "on"), (PROTECT_BY_LOCATION, "off"), (PROTECT_BY_LOCATION, "on")]
    {
        let mut nginx = either(&idp, &api)
            .workers(1)
            .server(&format!("{protect} phantom_token_cache off; phantom_token_timeout 60s;"))
            .server("location / { post_action /done; proxy_pass @api@; }")
            .server(&format!("location = /done {{ phantom_token {protected}; proxy_pass @api@; }}"))
            .start();
        let worker = nginx.workers();
        let (token, gate, served) = (idp.issue(), Gate::closed(), api.request_count());
        idp.forget_introspections();
        idp.answer_for(&token.opaque, Answer::normal().gated(&gate));
        let mut client = Client::connect(nginx.addr());
        client.send(&request_bytes("GET", "/", &[("Authorization", &token.bearer())], b""));
        idp.wait_for_introspections(1);
        client.reset();
        if protected == "off" {
            api.wait_for_requests(served + 1);
            assert_eq!(api.requests()[served].uri, "/done");
        }
        nginx.wait_for_log("client prematurely closed connection");
        gate.open();
        wait_for_in_progress(&nginx, 0);
        for request in &api.requests()[served..] {
            assert_eq!(request.uri, "/done", "protected: {protected}");
        }
        let next = idp.issue();
        let echo = Echo::of(&http::get(nginx.addr(), "/", &[("Authorization", &next.bearer())]));
        assert_eq!(echo.bearer(), Some(next.jwt.as_str()));
        assert_eq!(nginx.workers(), worker);
        assert!(nginx.quit() < std::time::Duration::from_secs(3));
        nginx.finish();
    }
}
