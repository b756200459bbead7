//! What the client gets when the location cannot answer.

use std::time::{Duration, Instant};

use super::support::gateway::bare;
use super::support::{Answer, Api, Echo, Idp, RawServer, http};

/// (what the upstream of the location does, status, what the variable says)
#[test]
fn each_fault_has_its_status() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = bare(&idp, &api)
        .var("basic", idp.client_authorization())
        .server(
            "location / { phantom_token on; phantom_token_introspection_endpoint /ask; phantom_token_timeout 2s; \
             add_header X-Status $phantom_token_status always; add_header X-Time $phantom_token_time always; \
             proxy_pass @api@; }",
        )
        .server(
            "location = /ask { internal; log_subrequest on; proxy_set_header Authorization \"@basic@\"; \
             proxy_next_upstream off; proxy_pass @introspect@; }",
        )
        .allow_log("introspection of token")
        .allow_log("while reading response header from upstream")
        .allow_log("connect() failed")
        .start();
    let jwt = idp.issue().jwt;
    for (answer, status, word) in [
        (Answer::status(204), 401, "INACTIVE"),
        (Answer::ok("application/json", "{\"active\":false}"), 401, "INACTIVE"),
        (Answer::status(200), 502, "INVALID_RESPONSE"),
        (Answer::ok("text/html", "<html>"), 502, "INVALID_RESPONSE"),
        (Answer::ok("application/jwt", "x"), 502, "INVALID_RESPONSE"),
        (Answer::jwt(&jwt).header("Content-Encoding", "gzip"), 502, "INVALID_RESPONSE"),
        (Answer::status(201), 502, "INVALID_RESPONSE"),
        (Answer::status(302).header("Location", "/"), 502, "INVALID_RESPONSE"),
        (Answer::status(400), 502, "REFUSED"),
        (Answer::status(401).header("WWW-Authenticate", "Basic realm=\"as\""), 502, "REFUSED"),
        (Answer::status(404), 502, "REFUSED"),
        (Answer::status(429).header("Retry-After", "7"), 503, "OVERLOADED"),
        (Answer::status(500), 502, "UNREACHABLE"),
        (Answer::status(502), 502, "UNREACHABLE"),
        (Answer::status(503), 503, "OVERLOADED"),
        (Answer::status(504), 502, "UNREACHABLE"),
        (Answer::close(), 502, "UNREACHABLE"),
        (Answer::reset(), 502, "UNREACHABLE"),
        (Answer::hang(), 504, "TIMEOUT"),
    ] {
        idp.answer_all(answer.clone());
        let token = idp.issue();
        let response = http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]);
        assert_eq!((response.status, response.header("X-Status")), (status, Some(word)), "{answer:?}");
        let challenges = response.all("WWW-Authenticate");
        assert_eq!(challenges.len(), usize::from(status == 401), "{answer:?}");
        let challenge = "Bearer realm=\"api\", error=\"invalid_token\"";
        assert!(challenges.iter().all(|value| *value == challenge), "{answer:?}: {challenges:?}");
        let code = if status == 401 { "unauthorized_request" } else { "server_error" };
        assert_eq!(
            (response.header("Content-Type"), &response.json()["code"]),
            (Some("application/json"), &code.into())
        );
        let waited: f64 = response.header("X-Time").expect("a time").parse().expect("seconds");
        assert!(waited < 10.0 && (status != 504 || waited >= 1.99), "{answer:?}: {waited}");
        if word == "OVERLOADED" {
            let seconds = if format!("{answer:?}").contains("429") { "7" } else { "1" };
            assert_eq!(response.header("Retry-After"), Some(seconds), "{answer:?}");
        }
    }
    idp.go_down();
    let response = http::get(nginx.addr(), "/", &[("Authorization", "Bearer any")]);
    assert_eq!((response.status, response.header("X-Status")), (502, Some("UNREACHABLE")));
    idp.come_up();
    idp.answer_normally();
    let token = idp.issue();
    let response = http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]);
    assert_eq!(Echo::of(&response).bearer(), Some(token.jwt.as_str()));
    nginx.finish();
}

/// The time limits of the location, where they are shorter than ours.
#[test]
fn a_timeout_of_the_location() {
    let (idp, api) = (Idp::start(), Api::start());
    idp.answer_all(Answer::hang());
    let nginx = bare(&idp, &api)
        .server("location / { phantom_token on; phantom_token_introspection_endpoint /ask; phantom_token_timeout 60s; proxy_pass @api@; }")
        .server("location = /ask { internal; proxy_read_timeout 200ms; proxy_pass @introspect@; }")
        .allow_log("upstream timed out")
        .allow_log("introspection of token")
        .start();
    let begun = Instant::now();
    assert_eq!(http::get(nginx.addr(), "/", &[("Authorization", "Bearer any")]).status, 504);
    assert!(begun.elapsed() < Duration::from_secs(10));
    nginx.finish();
}

/// An answer cut off is none, even if what came of it were one.
#[test]
fn a_short_answer() {
    let (idp, api) = (Idp::start(), Api::start());
    let jwt = idp.issue().jwt;
    let length = jwt.len() + 1;
    for answer in [
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/jwt\r\nContent-Length: {length}\r\n\r\n{jwt}"),
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/jwt\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{jwt}\r\n",
            jwt.len()
        ),
    ] {
        let server = RawServer::answering(answer);
        for extra in [
            "",
            "proxy_buffering off;",
            "proxy_cache c; proxy_cache_methods POST; proxy_cache_valid 1m; proxy_cache_key $request_body;",
        ] {
            let nginx = bare(&idp, &api)
                .http("proxy_cache_path @dir@/cache keys_zone=c:1m;")
                .server("location / { phantom_token on; phantom_token_introspection_endpoint /ask; proxy_pass @api@; }")
                .server(&format!(
                    "location = /ask {{ internal; proxy_http_version 1.1; {extra} proxy_pass {}; }}",
                    server.url()
                ))
                .allow_log("upstream prematurely closed connection")
                .allow_log("introspection of token")
                .start();
            assert_eq!(http::get(nginx.addr(), "/", &[("Authorization", "Bearer any")]).status, 502, "{extra}");
            nginx.finish();
        }
    }
}

/// There is no such location; it is `/` itself; it asks itself.
#[test]
fn a_name_that_leads_nowhere() {
    let (idp, api) = (Idp::start(), Api::start());
    for location in [
        "location /a { phantom_token on; phantom_token_introspection_endpoint nowhere; proxy_pass @api@; }",
        "location /a { phantom_token on; phantom_token_introspection_endpoint /nowhere; proxy_pass @api@; }",
        "location /a { phantom_token on; phantom_token_introspection_endpoint /a; return 404; }",
    ] {
        let nginx = bare(&idp, &api)
            .server("root @dir@/none;")
            .server(location)
            .server("location = /none { }")
            .allow_log("introspection of token")
            .allow_log("(2: No such file or directory)")
            .start();
        let status = http::get(nginx.addr(), "/a", &[("Authorization", "Bearer any")]).status;
        assert_eq!(status, if location.contains("return") { 404 } else { 502 }, "{location}");
        nginx.finish();
    }
}
