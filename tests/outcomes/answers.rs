//! Answers that let a request go on: every shape a JWT may come in.

use serde_json::json;

use crate::bench::{Bench, INVALID, answer_with};
use crate::support::{Answer, Idp, Shape, TokenSpec, jwt};

#[test]
fn the_shapes_of_real_servers() {
    for shape in [Shape::CurityRaw, Shape::CurityProcedure, Shape::Keycloak] {
        let bench = Bench::of(Idp::builder().shape(shape).start(), "phantom_token_ignore_cache_control on;");
        let token = bench.idp.issue();
        for cache in ["MISS", "HIT"] {
            let response = bench.get(&token.opaque);
            assert_eq!(response.header("x-cache-status"), Some(cache), "{shape:?}");
            bench.assert_forwarded(&format!("{shape:?}"), &token.opaque, &token.jwt);
        }
        assert_eq!(bench.idp.introspection_count(), 1, "{shape:?}");
        assert!(bench.idp.signer().verifies(&token.jwt));
        bench.assert_not_logged(&format!("{shape:?}"));
        bench.finish();
    }
}

#[test]
fn servers_without_a_jwt_do_not_do() {
    for (shape, text) in [(Shape::Plain, "phantom_token_jwt_member"), (Shape::Rfc9701, "RFC 9701")] {
        let bench = Bench::of(Idp::builder().shape(shape).start(), "");
        let token = bench.idp.issue();
        bench.assert_token_refused(&format!("{shape:?}"), &token.opaque, INVALID, 2);
        bench.assert_logged(&format!("{shape:?}"), 2, "[error]", text);
        bench.finish();
    }
    // Keycloak puts the JWT in only where `Accept` is the very string
    let bench = Bench::of(Idp::builder().shape(Shape::Keycloak).start(), "phantom_token_accept application/json;");
    let token = bench.idp.issue();
    bench.assert_token_refused("Keycloak", &token.opaque, INVALID, 2);
    bench.assert_logged("Keycloak", 2, "[error]", "phantom_token_accept");
    bench.finish();
}

#[test]
fn content_types() {
    let bench = Bench::start();
    let good = bench.idp.issue();
    let json = answer_with(&good, json!({})).to_string();
    for (content_type, body) in [
        ("application/jwt", &good.jwt),
        ("application/at+jwt", &good.jwt),
        ("application/token-introspection+jwt", &good.jwt),
        ("Application/JWT", &good.jwt),
        ("APPLICATION/AT+JWT;charset=utf-8", &good.jwt),
        ("application/jwt; charset=UTF-8; x=\"a,b\"", &good.jwt),
        ("application/json", &json),
        ("application/json;charset=UTF-8", &json),
        ("Application/JSON ; Charset=utf-8", &json),
        ("application/token-introspection+json", &json),
        ("application/vnd.example.v1+json", &json),
        ("APPLICATION/X+JSON;a=b", &json),
    ] {
        for answer in [Answer::ok(content_type, body.as_str()), Answer::ok(content_type, body.as_str()).chunked()] {
            let token = bench.token_answered(answer);
            bench.assert_forwarded(content_type, &token, &good.jwt);
        }
    }
    bench.assert_not_logged("good answers");
    bench.finish();
}

#[test]
fn the_jwt_itself() {
    let bench = Bench::start();
    let signer = bench.idp.signer();
    let payload = json!({"sub": "jane", "exp": crate::support::idp::now() + 300});
    let header = |header: serde_json::Value| format!("{}.c2ln", jwt::unsigned(&header, &payload));
    let table = [
        ("typ JWT", signer.sign("JWT", &payload)),
        ("typ at+jwt", signer.sign("at+jwt", &payload)),
        ("typ application/at+jwt", signer.sign("application/at+jwt", &payload)),
        ("no typ", header(json!({"alg": "RS256"}))),
        ("unknown alg", header(json!({"alg": "ML-DSA-65", "kid": "x"}))),
        ("no exp", signer.sign("at+jwt", &json!({"sub": "jane"}))),
        ("empty payload", signer.sign("at+jwt", &json!({}))),
        ("exp of a float", signer.sign("at+jwt", &json!({"exp": crate::support::idp::now() as f64 + 300.5}))),
        ("active deeper", signer.sign("at+jwt", &json!({"x": {"active": false}}))),
        ("cnf of a certificate", signer.sign("at+jwt", &json!({"cnf": {"x5t#S256": "abc"}}))),
        ("large", signer.sign("at+jwt", &json!({"padding": "p".repeat(16 << 10)}))),
        ("64 KiB", of_length(64 << 10)),
    ];
    for (what, jwt) in table {
        let token = bench.token_answered(Answer::jwt(&jwt));
        bench.assert_forwarded(what, &token, &jwt);
        bench.assert_forwarded(what, &token, &jwt);
        assert_eq!(bench.idp.introspections_of(&token), 1, "{what}: second request");
    }
    bench.assert_not_logged("good JWTs");
    bench.finish();
}

/// A JWT of exactly so many bytes.
pub fn of_length(bytes: usize) -> String {
    let start = format!("{}.", jwt::unsigned(&json!({"alg": "RS256"}), &json!({"sub": "jane"})));
    // a length of base64url that decodes: not 1 modulo 4
    let payload = |pad: usize| jwt::unsigned(&json!({"alg": "RS256"}), &json!({"sub": "jane", "pad": "p".repeat(pad)}));
    let mut pad = bytes - start.len();
    while payload(pad).len() + 2 + 64 > bytes {
        pad -= 16;
    }
    let mut start = payload(pad) + ".";
    while (bytes - start.len()) % 4 == 1 {
        pad -= 1;
        start = payload(pad) + ".";
    }
    let signature = "A".repeat(bytes - start.len());
    start + &signature
}

#[test]
fn members_that_carry_the_jwt() {
    let (first, second) = ("first", "second");
    // directive, members of the answer, the one that counts
    for (directive, members, expected) in [
        ("", &["phantom_token", "jwt"][..], Some("phantom_token")),
        ("", &["jwt", "phantom_token"], Some("phantom_token")),
        ("", &["jwt"], Some("jwt")),
        ("", &["access_token"], None),
        ("", &["JWT"], None),
        ("phantom_token_jwt_member second first;", &[first, second], Some(second)),
        ("phantom_token_jwt_member first second;", &[first, second], Some(first)),
        ("phantom_token_jwt_member first second;", &[second], Some(second)),
        ("phantom_token_jwt_member only;", &["jwt", "phantom_token"], None),
        ("phantom_token_jwt_member jwt;", &["jwt", "phantom_token"], Some("jwt")),
        ("phantom_token_jwt_member 'with space';", &["with space"], Some("with space")),
    ] {
        let bench = Bench::with(directive);
        let mut answer = json!({"active": true});
        for member in members {
            answer[*member] = bench.idp.signer().sign("at+jwt", &json!({"from": member})).into();
        }
        let token = bench.token_answered(Answer::json(&answer));
        let what = format!("{directive} {members:?}");
        match expected {
            Some(member) => bench.assert_forwarded(&what, &token, answer[member].as_str().unwrap()),
            None => {
                bench.assert_token_refused(&what, &token, INVALID, 2);
            }
        }
        bench.finish();
    }
}

#[test]
fn kinds_of_token_that_go_on() {
    let bench = Bench::start();
    let good = bench.idp.issue();
    for changes in [
        json!({"token_type": null}),
        json!({"token_type": "Bearer"}),
        json!({"token_type": "bearer"}),
        json!({"token_type": "BEARER"}),
        json!({"token_type": "access_token"}),
        json!({"token_type": "Access_Token"}),
        json!({"cnf": {"x5t#S256": "abc"}}),
        json!({"unknown": [1, {"a": null}], "username": "jane", "nbf": 1}),
    ] {
        let token = bench.token_answered(Answer::json(&answer_with(&good, changes.clone())));
        bench.assert_forwarded(&changes.to_string(), &token, &good.jwt);
    }
    bench.finish();
}

#[test]
fn a_jwt_of_one_token_never_serves_another() {
    let bench = Bench::start();
    let tokens: Vec<_> =
        (0..20).map(|i| bench.idp.issue_token(TokenSpec::new().subject(&format!("user-{i}")))).collect();
    for _ in 0..2 {
        for token in &tokens {
            bench.assert_forwarded("of many", &token.opaque, &token.jwt);
        }
    }
    assert_eq!(bench.idp.introspection_count(), tokens.len());
    bench.finish();
}
