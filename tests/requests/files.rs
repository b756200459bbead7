//! NGINX's own content behind the gateway, and headers it treats in a way of its own.

use super::support::gateway::{either, for_both_endpoints, gateway_that, publish, wait_for_in_progress};
use super::support::http::{Client, request_bytes};
use super::support::{Answer, Api, Echo, Gate, Idp, http};

for_both_endpoints![ranges_and_conditions, many_headers, underscores_in_headers, client_header_timeout_while_parked,];

/// Ranges and conditions apply to the file, not to a refusal.
fn ranges_and_conditions(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = either(&idp, &api).server(&format!("location / {{ {protect} root @dir@; }}")).start();
    publish(&nginx, "file.txt", "0123456789");
    let token = idp.issue();
    let get = |more: &[(&str, &str)]| {
        let bearer = token.bearer();
        let headers = [&[("Authorization", bearer.as_str())], more].concat();
        (http::get(nginx.addr(), "/file.txt", &headers), http::get(nginx.addr(), "/file.txt", more))
    };
    let (whole, refused) = get(&[]);
    assert_eq!((whole.status, whole.text().as_str()), (200, "0123456789"));
    let (etag, modified) = (whole.header("etag").expect("an ETag"), whole.header("last-modified").expect("a date"));
    for (name, value, status, content) in [
        ("Range", "bytes=2-4", 206, "234"),
        ("Range", "bytes=20-", 416, ""),
        ("If-None-Match", etag, 304, ""),
        ("If-Modified-Since", modified, 304, ""),
        ("If-Match", "\"other\"", 412, ""),
    ] {
        let (response, without_token) = get(&[(name, value)]);
        assert_eq!(response.status, status, "{name}: {value}");
        if status == 206 || status == 304 {
            assert_eq!(response.text(), content, "{name}: {value}");
        }
        assert_eq!((without_token.status, &without_token.body), (401, &refused.body), "{name}: {value}");
        for leaked in ["etag", "last-modified", "content-range", "accept-ranges"] {
            assert_eq!(without_token.header(leaked), None, "{name}: {value}");
        }
    }
    nginx.finish();
}

/// Two hundred fields, 32 KiB of them, with the token among them.
fn many_headers(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = gateway_that(protect, &idp, &api).server("large_client_header_buffers 8 16k;").start();
    let token = idp.issue();
    let mut headers: Vec<_> = (0..200).map(|i| (format!("X-Field-{i}"), format!("{i}-{}", "x".repeat(150)))).collect();
    headers.insert(137, ("Authorization".to_owned(), token.bearer()));
    let sent: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for _ in ["asked", "cached"] {
        let echo = Echo::of(&http::get(nginx.addr(), "/", &sent));
        for (name, value) in &headers {
            let expected = if name == "Authorization" { token.jwt_bearer() } else { value.clone() };
            assert_eq!(echo.all(name), [expected], "{name}");
        }
    }
    nginx.finish();
}

/// `X_Authorization` and `Author_ization` are no credentials, whatever NGINX makes of underscores.
fn underscores_in_headers(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    for (setting, seen) in [("on", Some("1")), ("off", None)] {
        let nginx = gateway_that(protect, &idp, &api).http(&format!("underscores_in_headers {setting};")).start();
        let token = idp.issue();
        let bearer = token.bearer();
        // NGINX logs such a line whole where it ignores it, so this is not the token
        assert_eq!(http::get(nginx.addr(), "/", &[("Author_ization", "Bearer other")]).status, 401);
        let echo = Echo::of(&http::get(nginx.addr(), "/", &[("X_Custom", "1"), ("Authorization", &bearer)]));
        assert_eq!((echo.header("X_Custom"), echo.bearer()), (seen, Some(token.jwt.as_str())));
        nginx.finish();
    }
}

/// The time limits on reading a request do not run while it waits for its answer.
fn client_header_timeout_while_parked(protect: &str) {
    let (idp, api, gate) = (Idp::start(), Api::start(), Gate::closed());
    idp.answer_all(Answer::normal().gated(&gate));
    let nginx = gateway_that(protect, &idp, &api)
        .listen_h2()
        .http("client_header_timeout 1s; client_body_timeout 1s; keepalive_timeout 1s; phantom_token_timeout 60s;")
        .start();
    let token = idp.issue();
    let mut client = Client::connect(nginx.addr());
    client.send(&request_bytes("GET", "/", &[("Authorization", &token.bearer())], b""));
    let connection = super::support::http2::Connection::open(nginx.addr_of("h2"));
    let stream = connection.start("GET", "/", &[("authorization", &token.bearer())], b"");
    wait_for_in_progress(&nginx, 2);
    assert!(!client.closes_within(std::time::Duration::from_millis(2500)));
    gate.open();
    assert_eq!(Echo::of(&client.read_response()).bearer(), Some(token.jwt.as_str()));
    assert_eq!(Echo::of(&stream.response()).bearer(), Some(token.jwt.as_str()));
    nginx.finish();
}
