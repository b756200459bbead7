//! What the error log says: whose fault it is, what to do about it, once, and never a secret.

mod support;

use support::http::{self, Client};
use support::nginx::Builder;
use support::{Answer, Api, Gate, Idp, Nginx, RawServer, TokenSpec, ports, wait};

/// One worker. The log of level `info` must not hold a token, JWT or secret: `finish` looks.
fn builder(idp: &Idp, api: &Api) -> Builder {
    Nginx::builder()
        .idp(idp)
        .workers(1)
        .var("api", api.url())
        .var("down", format!("http://{}/", ports::reserve().addr()))
        .http("phantom_token_introspection_endpoint @introspect@;")
        .http("phantom_token_client_id @id@; phantom_token_client_secret @secret@;")
        .http("add_header X-Fingerprint $phantom_token_fingerprint always;")
        .server("phantom_token on;")
        .server("location = /status { phantom_token off; stub_status; }")
        .server("location / { proxy_pass @api@; }")
}

/// Lines of the module, without the first `skip`, and without what becomes of an exchange after the last waiter's
/// deadline.
fn lines(nginx: &Nginx, skip: usize) -> Vec<String> {
    let log = nginx.error_log();
    log.lines()
        .filter(|line| line.contains("phantom token: ") && !line.contains("nobody waits for"))
        .skip(skip)
        .map(str::to_owned)
        .collect()
}

/// Asks, waits for the one line that follows from it, and checks level and parts.
#[track_caller]
fn check(nginx: &Nginx, path: &str, credential: &str, status: u16, level: &str, parts: &[&str]) {
    let before = lines(nginx, 0).len();
    let response = http::get(nginx.addr(), path, &[("Authorization", credential)]);
    assert_eq!(response.status, status, "{path} {credential}");
    let new = wait::for_value("a line in the error log", || Some(lines(nginx, before)).filter(|new| !new.is_empty()));
    assert_eq!(new.len(), 1, "{new:#?}");
    let line = &new[0];
    assert!(line.contains(&format!("[{level}]")), "not [{level}]: {line}");
    for part in parts {
        assert!(line.contains(part), "no {part:?} in {line}");
    }
    // it is no request of NGINX's own that has been doing something
    assert!(!line.contains(" while sending") && !line.contains("subrequest: "), "{line}");
    let fingerprint = response.header("x-fingerprint").unwrap_or_default();
    assert!(line.contains(fingerprint), "no fingerprint {fingerprint}: {line}");
    let token = credential.strip_prefix("Bearer ").filter(|token| token.len() > 5);
    assert!(token.is_none_or(|token| !line.contains(token)), "the token: {line}");
}

#[test]
fn faults_of_the_client() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = builder(&idp, &api).start();
    for (credential, parts) in [
        ("", &["no access token"][..]),
        ("Basic eDp5", &["no access token"]),
        ("Bearer", &["no access token"]),
        ("Bearer secret-text another-text", &["malformed access token"]),
        ("Bearer unknown-token", &["not active"]),
        // from the cache
        ("Bearer unknown-token", &["not active"]),
    ] {
        check(&nginx, "/", credential, 401, "info", parts);
    }
    for type_of_token in ["DPoP", "refresh_token"] {
        let token = idp.issue_token(TokenSpec::new());
        let answer = serde_json::json!({"active": true, "token_type": type_of_token, "jwt": token.jwt});
        idp.answer_for(&token.opaque, Answer::json(&answer));
        check(&nginx, "/", &token.bearer(), 401, "info", &["not a bearer access token"]);
    }
    // Nothing is said of a token that is fine.
    let (before, token) = (lines(&nginx, 0).len(), idp.issue());
    for _ in 0..2 {
        assert_eq!(http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]).status, 200);
    }
    check(&nginx, "/", "", 401, "info", &[]);
    assert_eq!(lines(&nginx, before).len(), 1);
    assert!(!nginx.error_log().contains("secret-text"));
    nginx.finish();
}

#[test]
fn clocks_that_differ() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = builder(&idp, &api).start();
    let token = idp.issue_token(TokenSpec::new().expires_in(-3).active_after_exp());
    check(&nginx, "/", &token.bearer(), 401, "warn", &["exp", "check clocks"]);
    // Not again for what is known.
    check(&nginx, "/", &token.bearer(), 401, "info", &["exp"]);
    assert_eq!(nginx.log_count("[warn]"), 1);
    nginx.finish();
}

#[test]
fn faults_of_the_endpoint() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = builder(&idp, &api)
        .server("location /down { phantom_token_introspection_endpoint @down@; proxy_pass @api@; }")
        .server("location /timeout { phantom_token_timeout 200ms; proxy_pass @api@; }")
        .server("location /full { phantom_token_max_pending 1; proxy_pass @api@; }")
        .server(
            "location /credentials { phantom_token_client_id other; phantom_token_client_secret o; proxy_pass @api@; }",
        )
        .start();
    let json = |body: &str| Answer::ok("application/json", body.to_owned());
    let error = |status, code: &str| {
        let body = format!(r#"{{"error":"{code}"}}"#);
        Answer::status(status).header("Content-Type", "application/json").body(body)
    };
    const ENDPOINT: &str = "phantom_token_introspection_endpoint";
    let table: Vec<(&str, Answer, u16, &[&str])> = vec![
        ("/", Answer::status(500), 502, &["status 500"]),
        ("/", Answer::status(503), 503, &["overloaded"]),
        ("/", Answer::status(429).header("Retry-After", "9"), 503, &["overloaded", "9s"]),
        ("/", Answer::reset(), 502, &["cannot be reached"]),
        ("/down", Answer::normal(), 502, &["cannot be reached"]),
        ("/timeout", Answer::hang(), 504, &["timed out"]),
        ("/", Answer::status(401), 502, &["status 401", "credentials", "phantom_token_client_id"]),
        ("/credentials", Answer::normal(), 502, &["status 401", "invalid_client", "credentials"]),
        ("/", error(400, "invalid_client"), 502, &["status 400", "invalid_client", "credentials"]),
        ("/", error(400, "invalid_request"), 502, &["status 400", "invalid_request"]),
        ("/", Answer::status(403), 502, &["status 403"]),
        ("/", Answer::status(404), 502, &["status 404", ENDPOINT]),
        ("/", Answer::status(302).header("Location", "/login"), 502, &["status 302", ENDPOINT]),
        ("/", Answer::status(201), 502, &["status 201"]),
        ("/", Answer::ok("text/html", "<html>"), 502, &["\"text/html\"", ENDPOINT, "phantom_token_accept"]),
        ("/", Answer::status(200).body("x"), 502, &["content type"]),
        ("/", Answer::ok("application/jwt", ""), 502, &["empty"]),
        ("/", Answer::ok("application/jwt", "no-jwt"), 502, &["JWT", "cannot be forwarded"]),
        ("/", json("{"), 502, &["JSON"]),
        ("/", json("{}"), 502, &["\"active\""]),
        ("/", json(r#"{"active":"true"}"#), 502, &["\"active\"", "boolean"]),
        ("/", json(r#"{"active":true}"#), 502, &["no member holds a JWT", "phantom_token_jwt_member"]),
        ("/", json(r#"{"active":true,"active":false}"#), 502, &["active"]),
        ("/", Answer::jwt(&"x".repeat(3 << 20)), 502, &["longer than"]),
    ];
    for (i, (path, answer, status, parts)) in table.into_iter().enumerate() {
        let token = format!("opaque-token-{i}");
        idp.answer_for(&token, answer);
        let url = if path == "/down" { "\"http://127.0.0.1:".to_owned() } else { idp.introspection_url() };
        let parts: Vec<&str> = parts.iter().copied().chain([url.as_str()]).collect();
        check(&nginx, path, &format!("Bearer {token}"), status, "error", &parts);
    }
    let gate = Gate::closed();
    idp.answer_all(Answer::normal().gated(&gate));
    let mut client = Client::connect(nginx.addr());
    client.send(&http::request_bytes("GET", "/full", &[("Authorization", &idp.issue().bearer())], b""));
    wait::until("a held answer", || {
        idp.introspections().last().is_some_and(|last| !last.body.contains("opaque-token"))
    });
    check(&nginx, "/full", "Bearer another-token", 503, "error", &["phantom_token_max_pending"]);
    gate.open();
    assert_eq!(client.read_response().status, 200);
    nginx.finish();
}

/// The same messages where the endpoint is a location: they name it, and what is to be mended in it.
#[test]
fn faults_of_a_location() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = Nginx::builder()
        .idp(&idp)
        .workers(1)
        .var("api", api.url())
        .var("down", format!("http://{}/", ports::reserve().addr()))
        .server("phantom_token on; phantom_token_introspection_endpoint /ask;")
        .server("add_header X-Fingerprint $phantom_token_fingerprint always;")
        .server("location = /ask { internal; proxy_pass @introspect@; }")
        .server("location = /ask-down { internal; proxy_pass @down@; }")
        .server("location / { proxy_pass @api@; }")
        .server("location /timeout { phantom_token_timeout 200ms; proxy_pass @api@; }")
        .server("location /down { phantom_token_introspection_endpoint /ask-down; proxy_pass @api@; }")
        .server("location /nowhere { phantom_token_introspection_endpoint /-/; proxy_pass @api@; }")
        .server("location = /-/ { return 404; }")
        .start();
    const ASK: &str = "at \"/ask\" failed";
    let table: Vec<(&str, Answer, u16, &str, &[&str])> = vec![
        ("/", Answer::normal(), 502, "error", &["status 401", "credentials", "proxy_set_header Authorization", ASK]),
        ("/", Answer::status(500), 502, "error", &["status 500", ASK]),
        ("/", Answer::status(429).header("Retry-After", "9"), 503, "error", &["overloaded", "9s", ASK]),
        ("/", Answer::status(404), 502, "error", &["status 404", "phantom_token_introspection_endpoint", ASK]),
        ("/", Answer::ok("text/html", "<html>"), 502, "error", &["\"text/html\"", "phantom_token_accept", ASK]),
        ("/", Answer::ok("application/json", "{}"), 502, "error", &["\"active\"", ASK]),
        ("/", Answer::status(204), 401, "info", &["not active"]),
        ("/timeout", Answer::hang(), 504, "error", &["timed out", ASK]),
        ("/down", Answer::normal(), 502, "error", &["cannot be reached", "the lines before say why", "\"/ask-down\""]),
        ("/nowhere", Answer::normal(), 502, "error", &["status 404", "\"/-/\""]),
    ];
    for (i, (path, answer, status, level, parts)) in table.into_iter().enumerate() {
        let token = format!("opaque-token-{i}");
        idp.answer_for(&token, answer);
        check(&nginx, path, &format!("Bearer {token}"), status, level, parts);
    }
    check(&nginx, "/", "", 401, "info", &["no access token"]);
    check(&nginx, "/", "Bearer secret-text another-text", 401, "info", &["malformed access token"]);
    nginx.finish();
}

#[test]
fn one_error_for_an_exchange() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = builder(&idp, &api).start();
    for (answer, level) in [(Answer::status(500), "[error]"), (Answer::status(401), "[error]")] {
        let (before, errors) = (lines(&nginx, 0).len(), nginx.log_count(level));
        let (gate, token) = (Gate::closed(), idp.issue());
        idp.answer_for(&token.opaque, answer.gated(&gate));
        let mut clients: Vec<_> = (0..20).map(|_| Client::connect(nginx.addr())).collect();
        for client in &mut clients {
            client.send(&http::request_bytes("GET", "/", &[("Authorization", &token.bearer())], b""));
        }
        wait::until("20 requests at NGINX", || http::get(nginx.addr(), "/status", &[]).text().contains("Writing: 21 "));
        gate.open();
        for client in &mut clients {
            assert_eq!(client.read_response().status, 502);
        }
        let new = wait::for_value("20 lines", || Some(lines(&nginx, before)).filter(|new| new.len() >= 20));
        assert_eq!(new.len(), 20, "{new:#?}");
        assert_eq!(new.iter().filter(|line| line.contains("[info]")).count(), 19, "{new:#?}");
        assert_eq!(nginx.log_count(level) - errors, 1);
        assert_eq!(idp.introspections_of(&token.opaque), 1);
    }
    nginx.finish();
}

#[test]
fn text_of_others_is_escaped() {
    let (idp, api) = (Idp::start(), Api::start());
    let escape = "\\u001b[31m\\n2026/01/01 00:00:00 [error] forged\\u0000\\u007f";
    let body = format!(r#"{{"error":"a{escape}"}}"#);
    let long = "x".repeat(5000);
    let answer = |head: &str, body: &str| format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    // What the endpoint sends, what the log makes of it.
    let table: Vec<(Vec<u8>, &str)> = vec![
        (answer("400 Bad\r\nContent-Type: application/json", &body).into(), "\\x1b"),
        (answer("200 OK\r\nContent-Type: text/\u{e9}\"quoted\"", "x").into(), "\\\"quoted\\\""),
        (answer("200 OK\r\nContent-Type: a\tb", "x").into(), "\\x09"),
        (answer("200 OK\r\nContent-Type: text/html\u{9b}31m", "x").into(), "\\x9b"),
        (answer(&format!("200 OK\r\nContent-Type: text/{long}"), "x").into(), "text/xxx"),
        (answer("400 Bad\r\nContent-Type: application/json", &format!(r#"{{"error":"{long}"}}"#)).into(), "status 400"),
    ];
    for (bytes, expected) in table {
        let case = String::from_utf8_lossy(&bytes[..bytes.len().min(120)]).into_owned();
        let server = RawServer::answering(bytes);
        let nginx = builder(&idp, &api)
            .var("raw", server.url())
            .server("location /raw { phantom_token_introspection_endpoint @raw@/; proxy_pass @api@; }")
            .start();
        assert_eq!(http::get(nginx.addr(), "/raw", &[("Authorization", "Bearer some-token")]).status, 502, "{case}");
        let line = nginx.wait_for_log("introspection of token");
        assert!(line.contains("[error]") && line.contains(expected), "no {expected} for {case}: {line}");
        assert!(line.len() < 700, "not shortened: {line}");
        let log = nginx.error_log();
        let forged = log.lines().any(|line| line.starts_with("2026/01/01") || line.is_empty());
        let controls = log.chars().any(|c| c.is_control() && c != '\n');
        assert!(!forged && !controls, "{case}: {log:?}");
        nginx.finish();
    }
}
