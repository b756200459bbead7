//! What the client sends as its credential.

use crate::bench::{ABSENT, Bench, MALFORMED};
use crate::support::idp::random;
use crate::support::{Answer, Echo, TokenSpec, http};

#[test]
fn no_bearer_credential_is_a_plain_challenge() {
    let bench = Bench::start();
    bench.assert_refused("no field", &[], ABSENT);
    for value in [
        "Bearer",
        "bearer",
        "Bearer ",
        "Bearer    ",
        "Basic x",
        "Basic Bearer x",
        "DPoP x",
        "Digest username=\"Bearer x\"",
        "xyzBearer x",
        "Bearerx",
        "Bearerx y",
        "Beare x",
        "x",
        "",
    ] {
        bench.assert_refused(&format!("{value:?}"), &[("Authorization", value)], ABSENT);
    }
    // a token elsewhere is none; not one of the watched, for the client itself puts it into the access log
    let elsewhere = format!("/?access_token={}", random(32));
    ABSENT.check("in the query", &http::get(bench.addr(), &elsewhere, &[]));
    bench.assert_not_logged("the client's fault");
    assert_eq!(bench.idp.introspection_count(), 0);
    assert_eq!(bench.api.request_count(), 0);
    bench.finish();
}

#[test]
fn a_malformed_token_is_refused_without_asking() {
    let bench = Bench::start();
    let long = "a".repeat(8 * 1024 + 1);
    let padded = format!("{}=", "a".repeat(8 * 1024));
    for token in [
        "two tokens",
        "token, Basic x",
        "token,token",
        "token;x",
        "token Bearer token",
        "a=b",
        "=",
        "==a",
        "to\tken",
        "token\tx",
        "\ttoken",
        "\"token\"",
        "token&client_id=x",
        "inactive%26token",
        "token%20",
        "<token>",
        "a:b",
        "a@b",
        "a\\b",
        "{token}",
        "tok\x7fen",
        &long,
        &padded,
    ] {
        let value = format!("Bearer {token}");
        let shown = &value[..value.len().min(30)];
        bench.assert_refused(&format!("{shown:?}"), &[("Authorization", &value)], MALFORMED);
        bench.assert_refused(&format!("{shown:?} again"), &[("Authorization", &value)], MALFORMED);
    }
    bench.assert_refused("tab after the scheme", &[("Authorization", "Bearer\ttoken")], MALFORMED);
    for bytes in [&b"t\xc3\xb6ken"[..], b"token\xff", b"\x80"] {
        let request = [b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer ", bytes, b"\r\n\r\n"];
        MALFORMED.check(&format!("{bytes:?}"), &http::send(bench.addr(), &request.concat()));
    }
    bench.assert_not_logged("the client's fault");
    assert_eq!(bench.idp.introspection_count(), 0);
    assert_eq!(bench.api.request_count(), 0);
    bench.assert_healthy();
    bench.finish();
}

#[test]
fn every_way_to_write_a_token() {
    let bench = Bench::start();
    let longest = "b".repeat(8 * 1024);
    let bounded = format!("{}=", "a".repeat(8 * 1024 - 1));
    for opaque in ["x", "0", "a.b.c", "-._~+/", "abc=", "abc==", "a====", "..", "~", longest.as_str(), &bounded] {
        let token = bench.idp.issue_token(TokenSpec::new().opaque(opaque));
        bench.assert_forwarded(&opaque[..opaque.len().min(30)], opaque, &token.jwt);
        assert_eq!(bench.idp.introspections_of(opaque), 1, "{opaque}: asked about exactly as sent");
    }
    for (i, value) in ["Bearer @", "bearer @", "BEARER @", "bEaReR @", "Bearer    @", "Bearer @  "].iter().enumerate() {
        let token = bench.idp.issue();
        let value = value.replace('@', &token.opaque);
        let echo = Echo::of(&http::get(bench.addr(), "/", &[("Authorization", &value)]));
        assert_eq!(echo.all("authorization"), [token.jwt_bearer()], "spelling {i}");
    }
    bench.finish();
}

#[test]
fn tokens_are_told_apart_to_the_last_byte() {
    let bench = Bench::start();
    for opaque in ["token-of-someone", "token-of-someonE", "token-of-someone=", "token-of-someone.", "oken-of-someone"]
    {
        let token = bench.idp.issue_token(TokenSpec::new().opaque(opaque));
        bench.assert_forwarded(opaque, opaque, &token.jwt);
        bench.assert_forwarded(opaque, opaque, &token.jwt);
        assert_eq!(bench.idp.introspections_of(opaque), 1, "{opaque}");
    }
    bench.finish();
}

#[test]
fn a_second_field_reaches_nobody() {
    let bench = Bench::start();
    // not watched: NGINX itself may log a field it does not like
    let tokens = [random(32), random(32)];
    for token in &tokens {
        bench.idp.answer_for(token, Answer::jwt(&bench.idp.issue().jwt));
    }
    let [first, second] = tokens.each_ref().map(|token| format!("Bearer {token}"));
    for values in [[&first, &second], [&second, &first]] {
        let headers = values.map(|value| ("Authorization", value.as_str()));
        let response = http::get(bench.addr(), "/", &headers);
        assert!([200, 400, 401].contains(&response.status), "{response:?}");
        assert_eq!(response.status == 200, bench.api.request_count() > 0);
    }
    for request in bench.api.requests() {
        let sent = request.all("authorization");
        assert!(sent.len() == 1 && sent[0].starts_with("Bearer eyJ"), "{} fields at the API", sent.len());
    }
    bench.finish();
}
