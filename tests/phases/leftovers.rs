//! What an earlier refusal, or another access method, must not leave on a response.

use super::support::gateway::{PROTECT, PROTECT2, bare};
use super::support::{Answer, Api, Echo, Idp, http};

#[test]
fn the_retry_after_of_a_refusal_is_not_on_the_answer_that_follows_it() {
    let (idp, other, api) = (Idp::start(), Idp::start(), Api::start());
    let token = idp.issue();
    idp.answer_all(Answer::status(503).header("Retry-After", "9"));
    other.answer_all(Answer::jwt(&token.jwt));
    let nginx = bare(&idp, &api)
        .var("introspect2", other.introspection_url())
        .server(&format!("location / {{ {PROTECT} error_page 503 = @other; }}"))
        .server(&format!("location @other {{ {PROTECT2} proxy_pass @api@; }}"))
        .start();
    other.answer_all(Answer::jwt(&token.jwt));
    let response = http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]);
    assert_eq!(Echo::of(&response).bearer(), Some(token.jwt.as_str()));
    assert_eq!((response.header("Retry-After"), response.header("WWW-Authenticate")), (None, None));
    nginx.finish();
}

#[test]
fn no_challenge_where_none_would_help() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = bare(&idp, &api)
        .file("users", "")
        .server(&format!(
            "location / {{ satisfy any; auth_basic staff; auth_basic_user_file @dir@/users; {PROTECT} proxy_pass @api@; }}"
        ))
        .start();
    let preflight = [("Origin", "https://app.example"), ("Access-Control-Request-Method", "GET")];
    let response = http::request(nginx.addr(), "OPTIONS", "/", &preflight, b"");
    assert_eq!((response.status, response.header("WWW-Authenticate")), (204, None));

    let token = idp.issue();
    idp.answer_for(&token.opaque, Answer::status(503));
    let response = http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]);
    assert_eq!((response.status, response.header("WWW-Authenticate")), (503, None));
    nginx.finish();
}
