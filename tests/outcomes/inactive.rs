//! Tokens the authorization server does not vouch for, or not as bearer tokens.

use serde_json::json;

use crate::bench::{Bench, INACTIVE, answer_with};
use crate::support::idp::now;
use crate::support::{Answer, Idp, Shape};

#[test]
fn inactive_answers_refuse_and_are_remembered() {
    let bench = Bench::start();
    let jwt = bench.idp.issue().jwt;
    let signer = bench.idp.signer();
    let nested = json!({"iss": "as", "aud": "gateway", "token_introspection": {"active": false}});
    let table = [
        ("204", Answer::status(204)),
        ("204 with a type", Answer::status(204).header("Content-Type", "text/html")),
        ("204, no-store", Answer::status(204).header("Cache-Control", "no-store")),
        ("active false", Answer::json(&json!({"active": false}))),
        ("active false, no-store", Answer::json(&json!({"active": false})).header("Cache-Control", "no-store")),
        ("active false, type", Answer::ok("application/vnd.x+json; charset=utf-8", "{\"active\":false}")),
        ("active false and white space", Answer::ok("application/json", " \r\n{ \"active\" :\tfalse }\n")),
        ("active false, chunked", Answer::json(&json!({"active": false})).chunked()),
        (
            "active false, odd members",
            Answer::json(&json!({
                "active": false, "exp": "x", "token_type": 5, "cnf": [], "phantom_token": 1, "jwt": {}, "scope": 1.5
            })),
        ),
        ("active false, with a JWT", Answer::json(&json!({"active": false, "phantom_token": jwt, "jwt": jwt}))),
        ("active false, exp past", Answer::json(&json!({"active": false, "exp": 1}))),
        (
            "RFC 9701",
            Answer::ok("application/token-introspection+jwt", signer.sign("token-introspection+jwt", &nested)),
        ),
        ("RFC 9701 as application/jwt", Answer::jwt(&signer.sign("token-introspection+jwt", &nested))),
        ("its drafts", Answer::jwt(&signer.sign("JWT", &json!({"iss": "as", "active": false})))),
    ];
    for (what, answer) in table {
        let token = bench.token_answered(answer);
        // GET and HEAD: the second is answered from the cache
        let first = bench.assert_token_refused(what, &token, INACTIVE, 1);
        assert_eq!(first.header("x-cache-status"), Some("MISS"), "{what}");
        let again = bench.assert_token_refused(what, &token, INACTIVE, 1);
        assert_eq!(again.header("x-cache-status"), Some("HIT"), "{what}");
    }
    bench.assert_not_logged("the client's fault");
    bench.assert_healthy();
    bench.finish();
}

#[test]
fn every_server_shape_says_inactive() {
    for shape in [Shape::CurityRaw, Shape::CurityProcedure, Shape::Keycloak, Shape::Plain, Shape::Rfc9701] {
        let bench = Bench::of(Idp::builder().shape(shape).start(), "");
        let token = bench.idp.issue();
        bench.idp.revoke(&token.opaque);
        bench.assert_token_refused(&format!("{shape:?}"), &token.opaque, INACTIVE, 1);
        bench.assert_not_logged(&format!("{shape:?}"));
        bench.finish();
    }
}

#[test]
fn without_inactive_ttl_every_request_asks() {
    let bench = Bench::with("phantom_token_cache_inactive_ttl 0;");
    let token = bench.token_answered(Answer::status(204));
    bench.assert_token_refused("first two", &token, INACTIVE, 2);
    bench.assert_token_refused("next two", &token, INACTIVE, 4);
    bench.finish();
}

#[test]
fn other_kinds_of_token_are_not_bearer_tokens() {
    let bench = Bench::start();
    let good = bench.idp.issue();
    for changes in [
        json!({"token_type": "DPoP"}),
        json!({"token_type": "dpop"}),
        json!({"token_type": "mac"}),
        json!({"token_type": "N_A"}),
        json!({"token_type": ""}),
        json!({"token_type": "Bearer "}),
        json!({"token_type": 1}),
        json!({"token_type": "refresh_token"}),
        json!({"token_type": "id_token"}),
        json!({"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}),
        json!({"cnf": {"jkt": "x", "x5t#S256": "y"}}),
        json!({"token_type": "Bearer", "cnf": {"jkt": "x"}}),
    ] {
        let token = bench.token_answered(Answer::json(&answer_with(&good, changes.clone())));
        bench.assert_refused(&changes.to_string(), &[("Authorization", &format!("Bearer {token}"))], INACTIVE);
    }
    // Curity: only the JWT itself can say so
    let bound = bench.idp.signer().sign("at+jwt", &json!({"exp": now() + 300, "cnf": {"jkt": "x"}}));
    for answer in [Answer::jwt(&bound), Answer::json(&json!({"active": true, "phantom_token": bound}))] {
        let token = bench.token_answered(answer);
        bench.assert_refused("cnf in the JWT", &[("Authorization", &format!("Bearer {token}"))], INACTIVE);
    }
    bench.assert_not_logged("the client's fault");
    bench.finish();
}

#[test]
fn expired_although_active_hints_at_the_clocks() {
    let bench = Bench::start();
    let signer = bench.idp.signer();
    let (past, future) = (now() - 30, now() + 300);
    let jwt = |exp: i64| signer.sign("at+jwt", &json!({"sub": "jane", "exp": exp}));
    let table = [
        ("raw", Answer::jwt(&jwt(past))),
        ("now", Answer::jwt(&jwt(now()))),
        ("negative", Answer::jwt(&jwt(-1))),
        ("JSON", Answer::json(&json!({"active": true, "exp": past, "jwt": jwt(past)}))),
        ("JSON member only", Answer::json(&json!({"active": true, "exp": past, "jwt": jwt(future)}))),
        ("JWT only", Answer::json(&json!({"active": true, "jwt": jwt(past)}))),
        ("with max-age", Answer::jwt(&jwt(past)).header("Cache-Control", "max-age=100")),
    ];
    for (what, answer) in table {
        let token = bench.token_answered(answer);
        bench.assert_refused(what, &[("Authorization", &format!("Bearer {token}"))], INACTIVE);
        // one for each fresh answer, however many requests it refuses
        bench.assert_logged(what, bench.idp.introspections_of(&token), "[warn]", "clocks");
    }
    bench.finish();
}
