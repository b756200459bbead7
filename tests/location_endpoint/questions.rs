//! What the location is asked, and what of the client's request it can see.

use super::support::gateway::bare;
use super::support::{Answer, Api, Echo, Idp, RawServer, http};

const ON: &str = "phantom_token on; phantom_token_introspection_endpoint /ask;";

/// With `proxy_pass_request_headers` at its default: our four headers and nothing else.
#[test]
fn its_own_headers_and_body() {
    let (idp, api) = (Idp::start(), Api::start());
    let token = idp.issue();
    idp.answer_all(Answer::jwt(&token.jwt));
    let nginx = bare(&idp, &api)
        .var("basic", idp.client_authorization())
        // what has been read of the client's request before must not be taken for the location's
        .server(&format!(
            "location / {{ set $early \"$http_cookie|$content_length|$content_type|$http_accept\"; {ON} \
             phantom_token_accept \"a/b;q=1\"; proxy_pass @api@; }}"
        ))
        .server(
            "location = /ask { internal; proxy_set_header Authorization \"@basic@\"; \
             proxy_set_header X-Seen \"$host|$http_host|$http_cookie|$request_method|$content_length|$content_type|$http_accept|$request_uri\"; \
             proxy_pass @introspect@; }",
        )
        .start();
    let bearer = token.bearer();
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Host", "api.example:8080"),
        ("Cookie", "a=b"),
        ("Accept", "text/html"),
        ("Accept-Encoding", "gzip"),
        ("Range", "bytes=0-1"),
        ("If-None-Match", "\"x\""),
        ("Content-Type", "text/plain"),
        ("X-Forwarded-For", "10.0.0.1"),
    ];
    let echo = Echo::of(&http::request(nginx.addr(), "PATCH", "/a?b=c", &headers, b"content of the client"));
    assert_eq!((echo.bearer(), echo.body_length), (Some(token.jwt.as_str()), 21));
    let asked = &idp.introspections()[0];
    assert_eq!(asked.body, format!("token={}&token_type_hint=access_token", token.opaque));
    let length = asked.body.len().to_string();
    let mut seen: Vec<_> = asked.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    // NGINX keeps the connection from 1.29.7 on
    seen.retain(|(name, _)| *name != "connection");
    seen.sort_unstable();
    let host = idp.addr().to_string();
    let variables =
        format!("api.example|api.example:8080||PATCH|{length}|application/x-www-form-urlencoded|a/b;q=1|/a?b=c");
    let basic = idp.client_authorization();
    assert_eq!(
        seen,
        [
            ("accept", "a/b;q=1"),
            ("authorization", basic.as_str()),
            ("content-length", length.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
            ("host", host.as_str()),
            ("x-seen", variables.as_str()),
        ]
    );
    nginx.finish();
}

/// `set` of the protected location reaches the internal one, the arguments of the endpoint too; what was read of the
/// client's body does not.
#[test]
fn variables() {
    let (idp, api) = (Idp::start(), Api::start());
    let token = idp.issue();
    let nginx = bare(&idp, &api)
        .var("as", idp.url())
        .var("basic", idp.client_authorization())
        .server(
            "location / { set $where introspect; phantom_token on; \
             phantom_token_introspection_endpoint /ask?realm=a; proxy_pass @api@; }",
        )
        .server(
            "location = /ask { internal; proxy_set_header Authorization \"@basic@\"; \
             proxy_pass @as@/oauth/$where?$args; }",
        )
        .start();
    let response = http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]);
    assert_eq!(Echo::of(&response).bearer(), Some(token.jwt.as_str()));
    assert_eq!(idp.introspections()[0].path, "/oauth/introspect?realm=a");
    nginx.finish();
}

/// An upstream group: the first server is dead, and the form goes whole to the second.
#[test]
fn the_next_upstream_gets_the_whole_form() {
    let (idp, api) = (Idp::start(), Api::start());
    let token = idp.issue();
    let dead = RawServer::start(|connection| {
        connection.read_request();
        connection.reset();
    });
    let nginx = bare(&idp, &api)
        .var("basic", idp.client_authorization())
        .http(&format!(
            "upstream as {{ server {} max_fails=0; server {} backup; keepalive 4; }}",
            dead.addr(),
            idp.addr()
        ))
        .server(&format!("location / {{ {ON} proxy_pass @api@; }}"))
        .server(
            "location = /ask { internal; proxy_set_header Authorization \"@basic@\"; proxy_http_version 1.1; \
             proxy_set_header Connection \"\"; proxy_next_upstream error timeout non_idempotent; \
             proxy_pass http://as/oauth/introspect; }",
        )
        .allow_log("while reading response header from upstream")
        .start();
    let response = http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]);
    assert_eq!(Echo::of(&response).bearer(), Some(token.jwt.as_str()));
    let form = format!("token={}&token_type_hint=access_token", token.opaque);
    assert_eq!(
        (idp.introspections()[0].body.as_str(), dead.requests()[0].body.as_slice()),
        (form.as_str(), form.as_bytes())
    );
    nginx.finish();
}

/// A client that is still sending its body does not disturb, nor does its body get lost.
#[test]
fn while_the_client_still_sends() {
    let (idp, api) = (Idp::start(), Api::start());
    let token = idp.issue();
    let nginx = bare(&idp, &api)
        .var("basic", idp.client_authorization())
        .server(&format!("location / {{ {ON} proxy_pass @api@; }}"))
        .server("location = /ask { internal; proxy_set_header Authorization \"@basic@\"; proxy_pass @introspect@; }")
        .start();
    let mut client = http::Client::connect(nginx.addr());
    let head =
        format!("POST / HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\nContent-Length: 10\r\n\r\n12345", token.bearer());
    client.send(head.as_bytes());
    idp.wait_for_answers(1);
    client.send(b"67890");
    assert_eq!(Echo::of(&client.read_response()).body_length, 10);
    nginx.finish();
}

/// A limit on what clients may send is none on what the module asks, whichever way it takes.
#[test]
fn the_limit_on_bodies_is_for_clients() {
    let (idp, api) = (Idp::start(), Api::start());
    let length = format!("token={}&token_type_hint=access_token", idp.issue().opaque).len();
    let nginx = bare(&idp, &api)
        .var("basic", idp.client_authorization())
        .server("client_max_body_size 10; proxy_set_header Authorization \"@basic@\"; root @dir@;")
        .server("location = /asked { internal; proxy_pass @introspect@; }")
        .server("location = /ask-1 { internal; proxy_pass @introspect@; }")
        .server("location = /ask-2 { internal; try_files /.none /asked; }")
        .server("location = /ask-3 { internal; error_page 418 = /asked-3; return 418; }")
        // NGINX makes GET of what an error_page leads to
        .server("location = /asked-3 { internal; proxy_method POST; proxy_pass @introspect@; }")
        .server("location = /ask-4 { internal; rewrite ^ /asked last; }")
        .server("location = /ask-5/ { internal; index .none /asked; }")
        .server(&format!(
            "location / {{ phantom_token on; proxy_set_header Authorization $http_authorization; proxy_pass @api@; {} }}",
            [1, 2, 3, 4]
                .map(|i| format!("location /{i} {{ phantom_token_introspection_endpoint /ask-{i}; proxy_pass @api@; }}"))
                .concat()
        ))
        .server("phantom_token_introspection_endpoint /ask-5/;")
        .allow_log("client intended to send too large body: 11 bytes")
        .start();
    std::fs::create_dir(nginx.dir().join("ask-5")).expect("create a directory");
    for path in ["/1", "/2", "/3", "/4", "/5"] {
        let token = idp.issue();
        let response = http::request(nginx.addr(), "POST", path, &[("Authorization", &token.bearer())], b"0123456789");
        assert_eq!(Echo::of(&response).bearer(), Some(token.jwt.as_str()), "{path}");
        let asked = idp.introspections();
        assert_eq!(
            asked.last().expect("a question").header("content-length"),
            Some(length.to_string().as_str()),
            "{path}"
        );
    }
    let asked = idp.introspection_count();
    let token = idp.issue();
    let response = http::request(nginx.addr(), "POST", "/1", &[("Authorization", &token.bearer())], b"0123456789a");
    assert_eq!((response.status, idp.introspection_count()), (413, asked));
    nginx.finish();
}
