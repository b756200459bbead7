//! What an earlier refusal, or another access method, must not leave on a response.

use super::support::gateway::{ELSEWHERE, either, elsewhere, for_both_endpoints};
use super::support::{Answer, Api, Echo, Idp, http};

for_both_endpoints![
    the_retry_after_of_a_refusal_is_not_on_the_answer_that_follows_it,
    no_challenge_where_none_would_help,
];

fn the_retry_after_of_a_refusal_is_not_on_the_answer_that_follows_it(protect: &str) {
    let protect2 = elsewhere(protect);
    let (idp, other, api) = (Idp::start(), Idp::start(), Api::start());
    let token = idp.issue();
    idp.answer_all(Answer::status(503).header("Retry-After", "9"));
    other.answer_all(Answer::jwt(&token.jwt));
    let nginx = either(&idp, &api)
        .var("introspect2", other.introspection_url())
        .server(ELSEWHERE)
        .server(&format!("location / {{ {protect} error_page 503 = @other; }}"))
        .server(&format!("location @other {{ {protect2} proxy_pass @api@; }}"))
        .start();
    other.answer_all(Answer::jwt(&token.jwt));
    let response = http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]);
    assert_eq!(Echo::of(&response).bearer(), Some(token.jwt.as_str()));
    assert_eq!((response.header("Retry-After"), response.header("WWW-Authenticate")), (None, None));
    nginx.finish();
}

fn no_challenge_where_none_would_help(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = either(&idp, &api)
        .file("users", "")
        .server(&format!(
            "location / {{ satisfy any; auth_basic staff; auth_basic_user_file @dir@/users; {protect} proxy_pass @api@; }}"
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
