//! The outcome table, a line for each situation: what the client gets, what the log says, and that nothing reaches the
//! API that should not.

mod support;

use serde_json::{Value, json};
use support::http::{self, Response};
use support::idp::now;
use support::nginx::Builder;
use support::{Answer, Api, Idp, Nginx, RawServer, TokenSpec};

const INVALID: Option<&str> = Some(r#"Bearer realm="api", error="invalid_token""#);
const BARE: Option<&str> = Some(r#"Bearer realm="api""#);

fn builder(endpoint: &str, api: &Api) -> Builder {
    Nginx::builder().workers(1).var("endpoint", endpoint).var("api", api.url()).server(
        "add_header X-Status $phantom_token_status always;
             add_header X-Cache $phantom_token_cache_status always;
             location / {
                 phantom_token on;
                 phantom_token_introspection_endpoint @endpoint@;
                 phantom_token_client_id gateway;
                 phantom_token_client_secret secret;
                 phantom_token_timeout 500ms;
                 proxy_pass @api@;
             }",
    )
}

/// A JWT with a signature that nobody here verifies.
fn jws(header: &Value, claims: &Value) -> String {
    format!("{}.c2lnbmF0dXJl", support::jwt::unsigned(header, claims).trim_end_matches('.'))
}

fn idp() -> Idp {
    Idp::builder().client("gateway", "secret").start()
}

fn get(nginx: &Nginx, authorization: &str) -> Response {
    http::get(nginx.addr(), "/", &[("Authorization", authorization)])
}

/// A refusal: status, challenge, variable and JSON.
#[track_caller]
fn assert_refused(response: &Response, status: u16, challenge: Option<&str>, variable: &str, what: &str) {
    assert_eq!(response.status, status, "{what}: {response:?}");
    assert_eq!(response.header("WWW-Authenticate"), challenge, "{what}");
    assert_eq!(response.header("X-Status"), Some(variable), "{what}");
    assert_eq!(response.header("Content-Type"), Some("application/json"), "{what}");
    let code = if status == 401 { "unauthorized_request" } else { "server_error" };
    let body = response.json();
    assert_eq!(body["code"], code, "{what}");
    assert!(body["message"].is_string() && body.as_object().is_some_and(|body| body.len() == 2), "{what}");
}

#[test]
fn credentials() {
    let (idp, api) = (idp(), Api::start());
    let nginx = builder(&idp.introspection_url(), &api).idp(&idp).start();
    let lines: &[(&str, &str, Option<&str>)] = &[
        ("Bearer", "ABSENT", BARE),
        ("Bearer  ", "ABSENT", BARE),
        ("Basic eDp5", "ABSENT", BARE),
        ("DPoP token", "ABSENT", BARE),
        ("Basic Bearer token", "ABSENT", BARE),
        ("xyzBearer token", "ABSENT", BARE),
        ("Bearertoken", "ABSENT", BARE),
        ("Bearer to ken", "MALFORMED", INVALID),
        ("Bearer token, Basic eDp5", "MALFORMED", INVALID),
        ("Bearer a=b", "MALFORMED", INVALID),
        ("Bearer a&client_id=x", "MALFORMED", INVALID),
        ("Bearer a%20b", "MALFORMED", INVALID),
        ("Bearer \u{e9}", "MALFORMED", INVALID),
        ("Bearer \"token\"", "MALFORMED", INVALID),
    ];
    for (authorization, variable, challenge) in lines {
        assert_refused(&get(&nginx, authorization), 401, *challenge, variable, authorization);
    }
    let none = http::get(nginx.addr(), "/", &[]);
    assert_refused(&none, 401, BARE, "ABSENT", "no header");
    assert_eq!((idp.introspection_count(), api.request_count()), (0, 0));

    for scheme in ["Bearer ", "bearer ", "BEARER ", "bEaReR   "] {
        let token = idp.issue();
        assert_eq!(get(&nginx, &format!("{scheme}{}", token.opaque)).status, 200, "{scheme}");
    }
    let token = idp.issue_token(TokenSpec::new().opaque("Az09-._~+/=="));
    assert_eq!(get(&nginx, &token.bearer()).status, 200);
    assert_eq!(idp.introspections_of("Az09-._~+/=="), 1);
    nginx.finish();
}

#[test]
fn a_token_over_8_kib() {
    let (idp, api) = (idp(), Api::start());
    let nginx = builder(&idp.introspection_url(), &api).http("large_client_header_buffers 4 32k;").idp(&idp).start();
    let token = idp.issue_token(TokenSpec::new().opaque("x".repeat(8 * 1024)));
    assert_eq!(get(&nginx, &token.bearer()).status, 200);
    assert_refused(&get(&nginx, &format!("{}x", token.bearer())), 401, INVALID, "MALFORMED", "one byte more");
    assert_eq!(idp.introspection_count(), 1);
    nginx.finish();
}

#[test]
fn the_request_has_nothing_but_what_it_needs() {
    let (idp, api) = (Idp::builder().client("gate way", "s+e&c:ret%").start(), Api::start());
    let nginx = Nginx::builder()
        .idp(&idp)
        .var("api", api.url())
        .server(
            "location / { phantom_token on; phantom_token_introspection_endpoint @introspect@;
             phantom_token_client_id \"@id@\"; phantom_token_client_secret @secret@; proxy_pass @api@; }",
        )
        .start();
    let token = idp.issue_token(TokenSpec::new().opaque("a+b/c=="));
    let headers = [("Authorization", token.bearer()), ("Cookie", "a=b".to_owned()), ("X-Other", "y".to_owned())];
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(http::request(nginx.addr(), "POST", "/", &headers, b"client's body").status, 200);
    let asked = idp.introspections().remove(0);
    assert_eq!(asked.body, "token=a%2Bb%2Fc%3D%3D&token_type_hint=access_token");
    let mut names: Vec<String> = asked.headers.iter().map(|(name, _)| name.to_lowercase()).collect();
    names.sort();
    assert_eq!(names, ["accept", "authorization", "content-length", "content-type", "host"]);
    assert_eq!(asked.header("accept"), Some("application/jwt"));
    assert_eq!(asked.header("content-type"), Some("application/x-www-form-urlencoded"));
    nginx.finish();
}

#[test]
fn answers_that_let_the_request_go_on() {
    let (idp, api) = (idp(), Api::start());
    let nginx = builder(&idp.introspection_url(), &api).idp(&idp).start();
    let jwt = jws(&json!({"alg": "ES256"}), &json!({"sub": "jane", "exp": now() + 100}));
    let json = |extra: Value| {
        let mut answer = json!({"active": true});
        answer.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        Answer::json(&answer)
    };
    let lines = [
        ("application/jwt", Answer::jwt(&jwt)),
        ("parameters and case", Answer::ok("Application/JWT; charset=UTF-8", jwt.clone())),
        ("at+jwt", Answer::ok("application/at+jwt", jwt.clone())),
        ("trailing newline", Answer::ok("application/jwt", format!("{jwt}\r\n"))),
        ("phantom_token", json(json!({"phantom_token": jwt}))),
        ("jwt", json(json!({"jwt": jwt}))),
        ("first member wins", json(json!({"jwt": "x", "phantom_token": jwt}))),
        ("+json", Answer::ok("application/token+json", json!({"active": true, "jwt": jwt}).to_string())),
        ("token_type Bearer", json(json!({"jwt": jwt, "token_type": "bearer"}))),
        ("token_type access_token", json(json!({"jwt": jwt, "token_type": "ACCESS_TOKEN"}))),
        ("chunked", Answer::jwt(&jwt).chunked()),
    ];
    for (what, answer) in lines {
        let token = idp.issue();
        idp.answer_for(&token.opaque, answer);
        let response = get(&nginx, &token.bearer());
        assert_eq!((response.status, response.header("X-Status")), (200, Some("ACTIVE")), "{what}");
        assert_eq!(support::Echo::of(&response).bearer(), Some(jwt.as_str()), "{what}");
        assert_eq!(get(&nginx, &token.bearer()).header("X-Cache"), Some("HIT"), "{what}");
    }
    nginx.finish();
}

#[test]
fn answers_that_refuse_the_token() {
    let (idp, api) = (idp(), Api::start());
    let nginx = builder(&idp.introspection_url(), &api).idp(&idp).start();
    let jwt = |claims: Value| jws(&json!({"alg": "ES256"}), &claims);
    let good = jwt(json!({"sub": "jane"}));
    let rfc9701 = jws(
        &json!({"alg": "ES256", "typ": "token-introspection+jwt"}),
        &json!({"token_introspection": {"active": false}}),
    );
    let lines = [
        ("204", Answer::status(204)),
        ("active false", Answer::json(&json!({"active": false}))),
        ("active false with the rest odd", Answer::json(&json!({"active": false, "exp": "x", "jwt": 1}))),
        ("RFC 9701", Answer::ok("application/token-introspection+jwt", rfc9701.clone())),
        ("RFC 9701 as application/jwt", Answer::jwt(&rfc9701)),
        ("draft of RFC 9701", Answer::jwt(&jwt(json!({"active": false})))),
        ("exp in the past", Answer::jwt(&jwt(json!({"exp": now() - 1})))),
        ("exp of the JSON in the past", Answer::json(&json!({"active": true, "jwt": good, "exp": now() - 1}))),
        ("DPoP", Answer::json(&json!({"active": true, "jwt": good, "token_type": "DPoP"}))),
        ("refresh token", Answer::json(&json!({"active": true, "jwt": good, "token_type": "refresh_token"}))),
        ("Hydra's refresh token", Answer::json(&json!({"active": true, "jwt": good, "token_use": "refresh_token"}))),
        ("Keycloak's ID token", Answer::json(&json!({"active": true, "jwt": good, "typ": "ID"}))),
        ("cnf.jkt", Answer::json(&json!({"active": true, "jwt": good, "cnf": {"jkt": "x"}}))),
        ("cnf.jkt in the JWT", Answer::jwt(&jwt(json!({"cnf": {"jkt": "x"}})))),
    ];
    for (what, answer) in lines {
        let token = idp.issue();
        idp.answer_for(&token.opaque, answer);
        assert_refused(&get(&nginx, &token.bearer()), 401, INVALID, "INACTIVE", what);
        let again = get(&nginx, &token.bearer());
        assert_refused(&again, 401, INVALID, "INACTIVE", what);
        assert_eq!(again.header("X-Cache"), Some("HIT"), "{what}");
        assert_eq!(idp.introspections_of(&token.opaque), 1, "{what}");
    }
    assert_eq!(nginx.log_count("check clocks"), 4, "two answers, once as a warning and once from the cache");
    assert_eq!(nginx.error_log().lines().filter(|l| l.contains("check clocks") && l.contains("[warn]")).count(), 2);
    assert_eq!(api.request_count(), 0);
    nginx.finish();
}

#[test]
fn answers_that_are_none() {
    let (idp, api) = (idp(), Api::start());
    let nginx = builder(&idp.introspection_url(), &api).idp(&idp).start();
    let alg = json!({"alg": "ES256"});
    let good = jws(&alg, &json!({"sub": "jane"}));
    let introspection = jws(
        &json!({"alg": "ES256", "typ": "token-introspection+jwt"}),
        &json!({"token_introspection": {"active": true}}),
    );
    let with = |jwt: &str| Answer::json(&json!({"active": true, "jwt": jwt}));
    let text = |body: &str| Answer::ok("application/json", body.to_owned());
    let lines = [
        ("HTML", Answer::ok("text/html", "<html></html>"), "text/html"),
        ("no type", Answer::status(200).body(good.clone()), "content type"),
        ("JSON without a JWT", Answer::json(&json!({"active": true})), "phantom_token_jwt_member"),
        ("JWT member that is no string", Answer::json(&json!({"active": true, "jwt": {}})), "not a string"),
        ("empty", Answer::ok("application/jwt", ""), "empty"),
        ("bad JSON", text("{\"active\":true"), "JSON"),
        ("an array", text("[]"), "JSON"),
        ("duplicate members", text("{\"active\":true,\"active\":false}"), "active"),
        ("active absent", Answer::json(&json!({"jwt": good})), "active"),
        ("active a string", Answer::json(&json!({"active": "true", "jwt": good})), "active"),
        ("active a number", Answer::json(&json!({"active": 1, "jwt": good})), "active"),
        ("two parts", with("a.b"), "cannot be forwarded"),
        ("JWE", with("a.b.c.d.e"), "cannot be forwarded"),
        ("empty part", with(&format!("{}.", good.rsplit_once('.').expect("parts").0)), "cannot be forwarded"),
        ("alg none", with(&jws(&json!({"alg": "none"}), &json!({}))), "cannot be forwarded"),
        ("no alg", with(&jws(&json!({"typ": "JWT"}), &json!({}))), "cannot be forwarded"),
        ("CR LF", with(&format!("{good}\r\nX-Evil: 1")), "cannot be forwarded"),
        ("opaque", Answer::jwt("opaque"), "cannot be forwarded"),
        ("over the cap", Answer::jwt(&"x".repeat(70_000)), "longer than"),
        ("exp a string", Answer::json(&json!({"active": true, "jwt": good, "exp": "1"})), "exp"),
        ("RFC 9701", Answer::jwt(&introspection), "RFC 9701"),
        ("RFC 9701 in JSON", with(&introspection), "RFC 9701"),
    ];
    for (what, answer, reason) in lines {
        assert_fault(&idp, &nginx, answer, (502, "INVALID_RESPONSE"), reason, what);
    }
    for status in [201, 206, 301, 302, 307, 304] {
        let answer = Answer::status(status).header("location", "/elsewhere");
        assert_fault(&idp, &nginx, answer, (502, "INVALID_RESPONSE"), &status.to_string(), "unexpected status");
    }
    assert_eq!(api.request_count(), idp.introspection_count() / 2, "each line's second answer, and no other");
    nginx.finish();
}

/// A fault of the endpoint: refused as said, not cached, one line at `error` that names the reason.
#[track_caller]
fn assert_fault(idp: &Idp, nginx: &Nginx, answer: Answer, expected: (u16, &str), reason: &str, what: &str) -> Response {
    let token = idp.issue();
    idp.answer_for(&token.opaque, answer);
    let before = nginx.error_log().len();
    let response = get(nginx, &token.bearer());
    assert_refused(&response, expected.0, None, expected.1, what);
    let log = nginx.error_log();
    let lines: Vec<_> = log[before..].lines().filter(|line| line.contains("phantom token:")).collect();
    assert_eq!(lines.len(), 1, "{what}: {lines:?}");
    assert!(lines[0].contains("[error]") && lines[0].contains(reason), "{what}: {}", lines[0]);
    idp.answer_for(&token.opaque, Answer::normal());
    assert_eq!(get(nginx, &token.bearer()).header("X-Cache"), Some("MISS"), "{what}: cached");
    response
}

#[test]
fn the_endpoint_refuses_or_fails() {
    let (idp, api) = (idp(), Api::start());
    let nginx = builder(&idp.introspection_url(), &api).idp(&idp).start();
    for status in [400, 401, 403, 404, 405, 415] {
        let answer = Answer::status(status);
        assert_fault(&idp, &nginx, answer, (502, "REFUSED"), &status.to_string(), "4xx");
    }
    for status in [500, 502, 504] {
        assert_fault(&idp, &nginx, Answer::status(status), (502, "UNREACHABLE"), &status.to_string(), "5xx");
    }
    for (after, expected) in [
        (None, "1"),
        (Some("7"), "7"),
        (Some("3600"), "3600"),
        (Some("3601"), "1"),
        (Some("0"), "1"),
        (Some("soon"), "1"),
    ] {
        for status in [429, 503] {
            let answer = Answer::status(status);
            let answer = after.map_or(answer.clone(), |after| answer.header("retry-after", after));
            let response = assert_fault(&idp, &nginx, answer, (503, "OVERLOADED"), "overloaded", "overloaded");
            assert_eq!(response.header("Retry-After"), Some(expected), "{after:?}");
        }
    }
    assert_fault(&idp, &nginx, Answer::hang(), (504, "TIMEOUT"), "timed out", "hangs");
    nginx.finish();
}

#[test]
fn the_endpoint_cannot_be_reached() {
    let api = Api::start();
    let free = support::ports::reserve();
    let dead = format!("http://{}/", free.addr());
    let resets = RawServer::start(|connection| {
        connection.read_request();
        connection.reset();
    });
    let closes = RawServer::start(|connection| {
        connection.read_request();
    });
    let nonsense = RawServer::start(|connection| {
        connection.send(b"220 SMTP ready\r\n\r\n");
    });
    let short =
        RawServer::answering("HTTP/1.1 200 OK\r\nContent-Type: application/jwt\r\nContent-Length: 100\r\n\r\nabc");
    for (what, endpoint) in [
        ("refused", dead),
        ("reset", resets.url()),
        ("closed", closes.url()),
        ("no HTTP", nonsense.url()),
        ("short", short.url()),
        ("no such name", "http://no-such-name.invalid/".to_owned()),
        ("no TLS", nonsense.url().replace("http:", "https:")),
    ] {
        let nginx = builder(&endpoint, &api).start();
        let response = get(&nginx, "Bearer opaque");
        assert_refused(&response, 502, None, "UNREACHABLE", what);
        let line = nginx.wait_for_log("phantom token: introspection");
        assert!(line.contains("[error]") && line.contains("cannot be reached"), "{what}: {line}");
        nginx.finish();
    }
    assert_eq!((resets.requests().len(), closes.requests().len()), (1, 1), "asked again over a fresh connection");
    assert_eq!(api.request_count(), 0);
}

#[test]
fn head_is_get_without_the_body() {
    let (idp, api) = (idp(), Api::start());
    let nginx = builder(&idp.introspection_url(), &api).idp(&idp).start();
    let get = http::get(nginx.addr(), "/", &[]);
    let mut client = http::Client::connect(nginx.addr());
    client.send(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    let head = client.read_response_to("HEAD");
    assert_eq!((head.status, head.header("Content-Length")), (get.status, get.header("Content-Length")));
    assert_eq!(head.header("Content-Type"), get.header("Content-Type"));
    assert_eq!(head.header("WWW-Authenticate"), get.header("WWW-Authenticate"));
    // the connection goes on: no body was sent
    assert_eq!(client.request("GET", "/", &[], b"").status, 401);
    nginx.finish();
}

#[test]
fn preflights() {
    let (idp, api) = (idp(), Api::start());
    let nginx = builder(&idp.introspection_url(), &api).idp(&idp).start();
    const PREFLIGHT: [(&str, &str); 2] = [("Origin", "https://app.example"), ("Access-Control-Request-Method", "GET")];
    let options = |more: &[(&str, &str)], body: &[u8]| {
        let headers: Vec<_> = PREFLIGHT.iter().chain(more).copied().collect();
        http::request(nginx.addr(), "OPTIONS", "/", &headers, body)
    };
    let response = options(&[], b"");
    assert_eq!((response.status, response.header("X-Status")), (204, Some("PREFLIGHT")));
    assert_eq!(options(&[("Authorization", "Bearer x y")], b"").status, 401);
    assert_eq!(options(&[], b"body").status, 401);
    assert_eq!(http::request(nginx.addr(), "OPTIONS", "/", &PREFLIGHT[..1], b"").status, 401);
    let token = idp.issue();
    assert_eq!(options(&[("Authorization", &token.bearer())], b"").status, 200);
    assert_eq!(api.request_count(), 1);
    nginx.finish();
}
