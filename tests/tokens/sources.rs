//! Tokens from other headers, cookies and WebSocket subprotocols.

use super::support::gateway::{PROTECT, PROTECT_BY_LOCATION, PROTECT2, asked_by_location, bare, wait_for_in_progress};
use super::support::http::{Client, request_bytes};
use super::support::nginx::Builder;
use super::support::{Answer, Api, Echo, Gate, Idp, Nginx, RawServer, http, wire};

fn gateway(idp: &Idp, api: &Api, sources: &str) -> Builder {
    bare(idp, api).server(&format!("location / {{ {PROTECT} phantom_token_source {sources}; proxy_pass @api@; }}"))
}

/// What supplied the token is gone, everything else is as it came, in its order.
#[test]
fn what_supplied_the_token_is_removed() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api, "authorization header=X-Token cookie=token subprotocol=bearer.").start();
    let token = idp.issue();
    let opaque = token.opaque.as_str();
    let (bearer, cookie, protocol) =
        (token.bearer(), format!("a=b; token={opaque}; c=d"), format!("chat, bearer.{opaque}, v2"));
    let only_cookie = format!("token=\"{opaque}\"");
    let only_protocol = format!("bearer.{opaque}");
    let with_scheme = format!("bearer {opaque}");
    for (name, value, left) in [
        ("Authorization", bearer.as_str(), None),
        ("X-Token", opaque, None),
        ("X-Token", &with_scheme, None),
        ("Cookie", &cookie, Some("a=b; c=d")),
        ("Cookie", &only_cookie, None),
        ("Sec-WebSocket-Protocol", &protocol, Some("chat, v2")),
        ("Sec-WebSocket-Protocol", &only_protocol, None),
    ] {
        // NGINX keeps headers in parts of 20: first, last and in the middle of one, and alone in one
        for (others, place) in [(30, 0), (30, 3), (30, 18), (30, 19), (30, 20), (30, 30), (18, 18), (19, 19), (20, 20)]
        {
            let mut headers: Vec<(String, String)> = (0..others).map(|i| (format!("X-{i}"), i.to_string())).collect();
            headers.insert(place, (name.to_owned(), value.to_owned()));
            if place == 0 {
                // or it would come first
                headers.push(("Host".to_owned(), "localhost".to_owned()));
            }
            let sent: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let echo = Echo::of(&http::get(nginx.addr(), "/", &sent));
            assert_eq!(echo.all("Authorization"), [token.jwt_bearer()], "{name}: {value}");
            let got: Vec<_> =
                echo.headers.iter().filter(|(name, _)| name.starts_with("X-") && name != "X-Token").collect();
            let expected: Vec<_> =
                headers.iter().filter(|(name, _)| name.starts_with("X-") && name != "X-Token").collect();
            assert_eq!(got, expected, "{name} at {place}");
            if name != "Authorization" {
                assert_eq!(echo.all(name), left.into_iter().collect::<Vec<_>>(), "{name}: {value}");
            }
            assert!(!format!("{echo:?}").contains(opaque));
        }
    }
    nginx.finish();
}

#[test]
fn order_absence_and_difference() {
    for protect in [PROTECT, PROTECT_BY_LOCATION] {
        let (idp, api) = (Idp::start(), Api::start());
        let nginx = asked_by_location(bare(&idp, &api), &idp)
            .server(&format!(
                "location / {{ {protect} phantom_token_source header=X-Token authorization cookie=token; proxy_pass @api@; }}"
            ))
            .server("add_header X-Status $phantom_token_status always;")
            .start();
        check_order_absence_and_difference(&idp, &nginx);
        nginx.finish();
    }
}

fn check_order_absence_and_difference(idp: &Idp, nginx: &Nginx) {
    let (token, other) = (idp.issue(), idp.issue());
    let (bearer, opaque, cookie) = (token.bearer(), token.opaque.clone(), format!("token={}", token.opaque));
    let other_cookie = format!("token={}", other.opaque);
    let twice = format!("token={}; token={}", token.opaque, other.opaque);
    // headers, status, what the variable says
    type Case<'a> = (Vec<(&'a str, &'a str)>, u16, &'a str);
    let cases: Vec<Case> = vec![
        (vec![], 401, "ABSENT"),
        (vec![("X-Token", "")], 401, "ABSENT"),
        (vec![("Cookie", "token=")], 401, "ABSENT"),
        (vec![("X-Token", "a b")], 401, "MALFORMED"),
        (vec![("Authorization", "Basic eA=="), ("Cookie", &cookie)], 200, "ACTIVE"),
        (vec![("X-Token", &opaque), ("Authorization", &bearer), ("Cookie", &cookie)], 200, "ACTIVE"),
        (vec![("X-Token", &opaque), ("X-Token", &opaque)], 200, "ACTIVE"),
        (vec![("Authorization", &bearer), ("Cookie", &other_cookie)], 400, "MALFORMED"),
        (vec![("X-Token", &opaque), ("X-Token", &other.opaque)], 400, "MALFORMED"),
        (vec![("Cookie", &twice)], 400, "MALFORMED"),
        (vec![("Cookie", &cookie), ("Cookie", &other_cookie)], 400, "MALFORMED"),
        (vec![("Cookie", &cookie), ("Cookie", "a=b"), ("Cookie", &cookie)], 200, "ACTIVE"),
        (vec![("X-Token", "a b"), ("Authorization", &bearer)], 400, "MALFORMED"),
        // no source here
        (vec![("X-Other", &opaque)], 401, "ABSENT"),
    ];
    for (headers, status, word) in cases {
        let response = http::get(nginx.addr(), "/", &headers);
        assert_eq!((response.status, response.header("X-Status")), (status, Some(word)), "{word} {}", headers.len());
        if status == 400 {
            assert_eq!(response.json()["code"], "invalid_request");
            let challenge = response.header("WWW-Authenticate").expect("a challenge");
            assert!(challenge.contains("error=\"invalid_request\""), "{challenge}");
        }
        if status == 200 {
            let echo = Echo::of(&response);
            assert_eq!(echo.all("Authorization"), [token.jwt_bearer()]);
            assert!(!format!("{echo:?}").contains(&token.opaque));
        }
    }
    assert_eq!(idp.introspections_of(&other.opaque), 0);
}

/// `authorization` counts only where it is configured; the JWT takes its place all the same.
#[test]
fn an_authorization_header_that_is_no_source() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api, "cookie=token").start();
    let token = idp.issue();
    assert_eq!(http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]).status, 401);
    let cookie = format!("token={}", token.opaque);
    let echo = Echo::of(&http::get(nginx.addr(), "/", &[("Authorization", "Basic eA=="), ("Cookie", &cookie)]));
    assert_eq!(echo.all("Authorization"), [token.jwt_bearer()]);
    nginx.finish();
}

/// Over HTTP/2, where cookies may come in pieces.
#[test]
fn cookies_in_pieces() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api, "cookie=token").listen_h2().start();
    let token = idp.issue();
    let cookie = format!("token={}", token.opaque);
    let connection = super::support::http2::Connection::open(nginx.addr_of("h2"));
    let echo = Echo::of(&connection.get("/", &[("cookie", "a=b"), ("cookie", &cookie), ("cookie", "c=d")]));
    assert_eq!((echo.bearer(), echo.all("Cookie")), (Some(token.jwt.as_str()), vec!["a=b; c=d"]));
    nginx.finish();
}

/// Two `Authorization` fields over HTTP/2: NGINX refuses, or one counts and the other goes nowhere.
#[test]
fn two_fields_over_http2() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = bare(&idp, &api).listen_h2().server(&format!("location / {{ {PROTECT} proxy_pass @api@; }}")).start();
    // not watched: NGINX itself may log a field it does not like
    let tokens = ["first-of-two", "second-of-two"];
    for token in tokens {
        idp.answer_for(token, Answer::jwt(&idp.issue().jwt));
    }
    let [first, second] = tokens.map(|token| format!("Bearer {token}"));
    let connection = super::support::http2::Connection::open(nginx.addr_of("h2"));
    for fields in [
        [("authorization", &*first), ("authorization", &second)],
        [("authorization", "Basic eA=="), ("authorization", &first)],
    ] {
        let response = connection.get("/", &fields);
        assert!([200, 400, 401].contains(&response.status), "{response:?}");
        assert_eq!(response.status == 200, api.request_count() > 0);
    }
    for request in api.requests() {
        assert_eq!(request.all("authorization").len(), 1);
        assert!(
            request.bearer().is_some_and(|bearer| bearer.starts_with("eyJ"))
                && !format!("{request:?}").contains("of-two")
        );
    }
    nginx.finish();
}

/// After a redirect into another profile the original token is asked about, wherever it was.
#[test]
fn the_original_counts_after_redirects() {
    let (idp, other, api) = (Idp::start(), Idp::start(), Api::start());
    let token = idp.issue();
    other.answer_all(Answer::jwt(&other.issue().jwt));
    for (source, header, value) in [
        ("header=X-Token", "X-Token", token.opaque.clone()),
        ("cookie=token", "Cookie", format!("token={}", token.opaque)),
        ("subprotocol=bearer.", "Sec-WebSocket-Protocol", format!("bearer.{}", token.opaque)),
    ] {
        other.forget_introspections();
        let nginx = bare(&idp, &api)
            .var("introspect2", other.introspection_url())
            .server(&format!("phantom_token_source {source};"))
            .server(&format!("location / {{ {PROTECT} try_files /.none @other; }}"))
            .server(&format!("location @other {{ {PROTECT2} proxy_pass @api@; }}"))
            .start();
        let echo = Echo::of(&http::get(nginx.addr(), "/", &[(header, &value)]));
        assert!(echo.bearer().is_some_and(|jwt| jwt != token.jwt), "{source}");
        let asked: Vec<_> = other.introspections().iter().map(|asked| asked.token().map(str::to_owned)).collect();
        assert_eq!(asked, [Some(token.opaque.clone())], "{source}");
        nginx.finish();
    }
}

/// A browser's handshake: the token is one of the subprotocols, the API chooses among the others; then both talk.
#[test]
fn websocket_handshake() {
    for protect in [PROTECT, PROTECT_BY_LOCATION] {
        let (idp, api, gate) = (Idp::start(), Api::start(), Gate::closed());
        let server = RawServer::start(|connection| {
            if connection.read_request().is_none() {
                return;
            }
            connection.send(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                  Sec-WebSocket-Protocol: chat\r\n\r\nhello",
            );
            // what the client says is read as one more request, and answered in kind
            if connection.read_request().is_some() {
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nthere");
            }
        });
        let nginx = asked_by_location(bare(&idp, &api), &idp)
            .server(&format!(
                "location / {{ {protect} phantom_token_source subprotocol=bearer.; proxy_http_version 1.1; \
                 proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_pass {}; }}",
                server.url()
            ))
            .start();
        let token = idp.issue();
        idp.answer_all(Answer::normal().gated(&gate));
        let mut client = Client::connect(nginx.addr());
        let protocols = format!("chat, bearer.{}", token.opaque);
        let headers = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("Sec-WebSocket-Protocol", &protocols),
        ];
        client.send(&request_bytes("GET", "/socket", &headers, b""));
        wait_for_in_progress(&nginx, 1);
        gate.open();
        let response = client.read_response();
        assert_eq!((response.status, response.header("Sec-WebSocket-Protocol")), (101, Some("chat")), "{protect}");
        assert_eq!(client.read_exact(5), b"hello", "{protect}");
        client.send(b"GET /spoken HTTP/1.1\r\nHost: b\r\n\r\n");
        assert_eq!(client.read_response().text(), "there", "{protect}");
        let [handshake, spoken] = &server.requests()[..] else { panic!("not two requests: {protect}") };
        let all = |name| wire::values(&handshake.head.headers, name).collect::<Vec<_>>();
        assert_eq!((all("sec-websocket-protocol"), all("authorization")), (vec!["chat"], vec![&*token.jwt_bearer()]));
        assert!(!String::from_utf8_lossy(&handshake.head.raw).contains(&token.opaque), "{protect}");
        // not a byte of the conversation is touched
        assert_eq!(spoken.head.raw, b"GET /spoken HTTP/1.1\r\nHost: b\r\n\r\n", "{protect}");
        nginx.finish();
    }
}

/// What the rewrite phase has read of a header is not what goes upstream.
#[test]
fn variables_read_before_the_exchange() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = bare(&idp, &api)
        .server(&format!(
            "location / {{ {PROTECT} phantom_token_source header=X-Token cookie=Token subprotocol=bearer.; \
             set $early $http_authorization$http_cookie$cookie_token$http_x_token$http_sec_websocket_protocol; \
             proxy_set_header Authorization $http_authorization; proxy_set_header Cookie $http_cookie; \
             proxy_set_header X-Cookie-Token $cookie_token; proxy_set_header X-Token $http_x_token; \
             proxy_set_header Sec-WebSocket-Protocol $http_sec_websocket_protocol; proxy_pass @api@; }}"
        ))
        .start();
    let token = idp.issue();
    let (cookie, protocols) = (format!("Token={}", token.opaque), format!("chat, bearer.{}", token.opaque));
    let among_others = format!("a=b; {cookie}; c=d");
    for (sent, name, left) in [
        (vec![("X-Token", token.opaque.as_str())], "X-Token", None),
        (vec![("Cookie", cookie.as_str())], "Cookie", None),
        (vec![("Cookie", &among_others)], "Cookie", Some("a=b; c=d")),
        (vec![("Cookie", &cookie), ("Cookie", "a=b")], "Cookie", Some("a=b")),
        (vec![("Cookie", "a=b"), ("Cookie", &cookie)], "Cookie", Some("a=b")),
        (vec![("Sec-WebSocket-Protocol", &protocols)], "Sec-WebSocket-Protocol", Some("chat")),
    ] {
        // NGINX keeps headers in parts of 20, and pointers to some of them
        for others in [0, 5, 17, 18, 19, 20, 39] {
            let fillers: Vec<_> = (0..others).map(|i| format!("X-Filler-{i}")).collect();
            let lines: Vec<_> = fillers.iter().map(|name| (name.as_str(), "x")).collect();
            for headers in [[&lines[..], &sent].concat(), [&sent[..], &lines].concat()] {
                let head: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
                // without a Host there may be no other header
                for request in [
                    format!("GET / HTTP/1.0\r\n{head}\r\n"),
                    format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{head}\r\n"),
                ] {
                    let echo = Echo::of(&http::send(nginx.addr(), request.as_bytes()));
                    assert_eq!(echo.all("Authorization"), [token.jwt_bearer()], "{name}, {others} others");
                    assert_eq!(echo.all(name), left.into_iter().collect::<Vec<_>>(), "{name}, {others} others");
                    assert!(!format!("{echo:?}").contains(&token.opaque), "{name}: the token went upstream");
                    assert_eq!(echo.headers.iter().filter(|(name, _)| name.starts_with("X-Filler")).count(), others);
                }
            }
        }
    }
    nginx.finish();
}

/// A preflight carries no credential in any source.
#[test]
fn preflights() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway(&idp, &api, "cookie=token header=X-Token").start();
    let preflight = [("Origin", "https://app.example"), ("Access-Control-Request-Method", "GET")];
    let options =
        |more: &[(&str, &str)]| http::request(nginx.addr(), "OPTIONS", "/", &[&preflight, more].concat(), b"").status;
    assert_eq!([options(&[]), options(&[("Cookie", "a=b")])], [204, 204]);
    assert_eq!([options(&[("Cookie", "token=x")]), options(&[("X-Token", "x")])], [401, 401]);
    nginx.finish();
}

/// `resource_metadata` in every challenge.
#[test]
fn resource_metadata() {
    let (idp, api) = (Idp::start(), Api::start());
    let url = "https://api.example/.well-known/oauth-protected-resource";
    let nginx = bare(&idp, &api)
        .server(&format!(
            "location / {{ {PROTECT} phantom_token_resource_metadata {url}; phantom_token_require_scopes admin; proxy_pass @api@; }}"
        ))
        .start();
    let token = idp.issue();
    for (headers, status) in [
        (vec![], 401),
        (vec![("Authorization", "Bearer a b".to_owned())], 401),
        (vec![("Authorization", token.bearer())], 403),
    ] {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let response = http::get(nginx.addr(), "/", &headers);
        assert_eq!(response.status, status);
        let challenge = response.header("WWW-Authenticate").expect("a challenge");
        assert!(challenge.ends_with(&format!(", resource_metadata=\"{url}\"")), "{challenge}");
    }
    nginx.finish();
}
