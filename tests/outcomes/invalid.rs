//! 200s that are no answer: 502, nothing forwarded, nothing cached, and the log says what was wrong.

use serde_json::{Value, json};

use crate::answers::of_length;
use crate::bench::{Bench, INVALID, answer_with};
use crate::support::idp::{Idp, now};
use crate::support::{Answer, jwt};

/// What is wrong, the answer, a word of the log line that says so.
type Case = (&'static str, Answer, &'static str);

#[track_caller]
fn assert_invalid(bench: &Bench, table: Vec<Case>) {
    for (what, answer, text) in table {
        let token = bench.token_answered(answer);
        let response = bench.assert_token_refused(what, &token, INVALID, 2);
        assert_eq!(response.header("x-cache-status"), Some("MISS"), "{what}");
        bench.assert_logged(what, 2, "[error]", text);
    }
    bench.assert_healthy();
}

#[test]
fn content_that_is_neither_json_nor_a_jwt() {
    let bench = Bench::start();
    let jwt = bench.idp.issue().jwt;
    let json = json!({"active": true, "jwt": jwt}).to_string();
    let html = "<!DOCTYPE html><title>Sign in</title>";
    let big = json!({"active": true, "jwt": jwt, "padding": "p".repeat(2 << 20)}).to_string();
    assert_invalid(
        &bench,
        vec![
            ("HTML", Answer::ok("text/html", html), "text/html"),
            ("JWT as HTML", Answer::ok("text/html; charset=utf-8", jwt.as_str()), "text/html"),
            ("JWT as text", Answer::ok("text/plain", jwt.as_str()), "text/plain"),
            ("JSON as text", Answer::ok("text/json", json.as_str()), "text/json"),
            ("a longer type", Answer::ok("application/jwtx", jwt.as_str()), "application/jwtx"),
            ("a shorter type", Answer::ok("application/jw", jwt.as_str()), "application/jw"),
            ("+jwt of another kind", Answer::ok("application/secevent+jwt", jwt.as_str()), "application/secevent+jwt"),
            ("json without +", Answer::ok("application/xjson", json.as_str()), "application/xjson"),
            ("binary", Answer::ok("application/octet-stream", vec![0, 255]), "application/octet-stream"),
            ("no type", Answer::status(200).body(json.as_str()), "content type"),
            ("JWT without type", Answer::status(200).body(jwt.as_str()), "content type"),
            ("empty type", Answer::ok("", jwt.as_str()), "content type"),
            ("empty 200", Answer::status(200), "empty"),
            ("empty JSON", Answer::ok("application/json", ""), "empty"),
            ("empty JWT", Answer::ok("application/jwt", ""), "empty"),
            ("HTML as JSON", Answer::ok("application/json", html), "JSON"),
            ("HTML as JWT", Answer::ok("application/jwt", html), "JWT"),
            ("JWT as JSON", Answer::ok("application/json", jwt.as_str()), "JSON"),
            ("JSON as JWT", Answer::ok("application/jwt", json.as_str()), "JWT"),
            ("over the cap", Answer::ok("application/json", big.as_str()), "longer"),
            ("over the cap, chunked", Answer::ok("application/json", big.as_str()).chunked(), "longer"),
            ("over the cap, JWT", Answer::jwt(&"a".repeat(2 << 20)), "longer"),
            ("gzip", Answer::ok("application/json", vec![31, 139, 8]).header("Content-Encoding", "gzip"), "gzip"),
        ],
    );
    bench.finish();
}

#[test]
fn json_that_is_no_answer() {
    let bench = Bench::start();
    let jwt = bench.idp.issue().jwt;
    let with = |active: Value| Answer::json(&json!({"active": active, "jwt": jwt}));
    let text = |body: String| Answer::ok("application/json", body);
    let deep = format!("{{\"active\":true,\"jwt\":\"{jwt}\",\"x\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    assert_invalid(
        &bench,
        vec![
            ("no active", Answer::json(&json!({"jwt": jwt, "sub": "jane"})), "active"),
            ("Active", Answer::json(&json!({"Active": true, "jwt": jwt})), "active"),
            ("empty object", Answer::json(&json!({})), "active"),
            ("\"true\"", with(json!("true")), "active"),
            ("\"false\"", with(json!("false")), "active"),
            ("1", with(json!(1)), "active"),
            ("0", with(json!(0)), "active"),
            ("null", with(json!(null)), "active"),
            ("[true]", with(json!([true])), "active"),
            ("{}", with(json!({})), "active"),
            ("active inside", Answer::json(&json!({"data": {"active": true}, "jwt": jwt})), "active"),
            ("array", text(format!("[{{\"active\":true,\"jwt\":\"{jwt}\"}}]")), "object"),
            ("string", text(format!("\"{jwt}\"")), "object"),
            ("true", text("true".into()), "object"),
            ("null", text("null".into()), "object"),
            ("cut off", text(format!("{{\"active\":true,\"jwt\":\"{jwt}\"")), "JSON"),
            ("text after it", text(format!("{{\"active\":true,\"jwt\":\"{jwt}\"}}x")), "JSON"),
            ("two objects", text(format!("{{\"active\":true,\"jwt\":\"{jwt}\"}}{{}}")), "JSON"),
            ("comment", text(format!("/**/{{\"active\":true,\"jwt\":\"{jwt}\"}}")), "JSON"),
            ("single quotes", text("{'active':true}".into()), "JSON"),
            ("trailing comma", text(format!("{{\"active\":true,\"jwt\":\"{jwt}\",}}")), "JSON"),
            ("not UTF-8", Answer::ok("application/json", b"{\"active\":false,\"a\":\"\xff\"}".to_vec()), "UTF-8"),
            ("active twice", text(format!("{{\"active\":false,\"active\":true,\"jwt\":\"{jwt}\"}}")), "active"),
            (
                "active twice, escaped",
                text(format!("{{\"active\":true,\"\\u0061ctive\":false,\"jwt\":\"{jwt}\"}}")),
                "active",
            ),
            ("active twice alike", text(format!("{{\"active\":true,\"active\":true,\"jwt\":\"{jwt}\"}}")), "active"),
            ("inactive twice", text("{\"active\":false,\"active\":false}".into()), "active"),
            ("JWT twice", text(format!("{{\"active\":true,\"jwt\":\"{jwt}\",\"jwt\":\"x\"}}")), "jwt"),
            ("exp twice", text(format!("{{\"active\":true,\"exp\":1,\"exp\":9999999999,\"jwt\":\"{jwt}\"}}")), "exp"),
            ("deep", text(deep), "nested"),
        ],
    );
    bench.finish();
}

#[test]
fn jwts_that_cannot_be_forwarded() {
    let bench = Bench::start();
    let payload = json!({"sub": "jane", "exp": now() + 300});
    let valid = bench.idp.issue().jwt;
    let (head, _) = valid.split_once('.').unwrap();
    let parts: Vec<&str> = valid.split('.').collect();
    let header = |header: Value| format!("{}.c2ln", jwt::unsigned(&header, &payload));
    let decoded = |header: &str, payload: &str| {
        use base64::Engine;
        let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.c2ln", encode(header), encode(payload))
    };
    let alg = "{\"alg\":\"RS256\"}";
    let table = [
        ("JWE", "a.b.c.d.e".to_owned()),
        (
            "JWE with a header",
            format!(
                "{}.x.x.x.x",
                jwt::unsigned(&json!({"alg": "RSA-OAEP", "enc": "A256GCM"}), &json!({})).split('.').next().unwrap()
            ),
        ),
        ("alg none", header(json!({"alg": "none"}))),
        ("alg none, unsigned", format!("{}.", jwt::unsigned(&json!({"alg": "none"}), &payload))),
        ("alg NONE", header(json!({"alg": "NONE"}))),
        ("alg null", header(json!({"alg": null}))),
        ("alg a number", header(json!({"alg": 256}))),
        ("alg empty", header(json!({"alg": ""}))),
        ("no alg", header(json!({"typ": "JWT"}))),
        ("one part", "abc".to_owned()),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{valid}.x")),
        ("empty header", format!(".{}.{}", parts[1], parts[2])),
        ("empty payload", format!("{head}..{}", parts[2])),
        ("empty signature", format!("{}.{}.", parts[0], parts[1])),
        ("only dots", "..".to_owned()),
        ("standard base64", format!("{}.{}.+/+/", parts[0], parts[1])),
        ("padded", format!("{}.{}.c2k=", parts[0], parts[1])),
        ("not base64 in the header", format!("a*b.{}.{}", parts[1], parts[2])),
        ("not base64 in the signature", format!("{}.{}.a!b", parts[0], parts[1])),
        ("a length of no base64", format!("{}.{}.abcde", parts[0], parts[1])),
        ("header no JSON", decoded("alg", "{}")),
        ("header no object", decoded("[\"alg\"]", "{}")),
        ("payload no JSON", decoded(alg, "{")),
        ("payload no object", decoded(alg, "\"x\"")),
        ("payload null", decoded(alg, "null")),
        ("alg twice", decoded("{\"alg\":\"none\",\"alg\":\"RS256\"}", "{}")),
        ("CR LF inside", format!("{}.{}\r\nX-Injected: 1\r\n.{}", parts[0], parts[1], parts[2])),
        ("CR LF after it", format!("{valid}\r\nX-Injected: 1")),
        ("LF between", format!("{}.\n{}.{}", parts[0], parts[1], parts[2])),
        ("a space inside", format!("{}.{} .{}", parts[0], parts[1], parts[2])),
        ("NUL inside", format!("{}.{}\0.{}", parts[0], parts[1], parts[2])),
        ("with a scheme", format!("Bearer {valid}")),
        ("in quotes", format!("\"{valid}\"")),
        ("a list", format!("{valid},{valid}")),
        ("64 KiB and a byte", of_length((64 << 10) + 1)),
    ];
    let cases = table.into_iter().flat_map(|(what, jwt)| {
        let in_json = Answer::json(&json!({"active": true, "phantom_token": jwt}));
        // the word of the line is looked at elsewhere: here it is one of two
        [(what, Answer::jwt(&jwt), "invalid introspection answer"), (what, in_json, "invalid introspection answer")]
    });
    assert_invalid(&bench, cases.collect());
    bench.finish();
}

#[test]
fn jwt_members_of_other_types() {
    let bench = Bench::start();
    let good = bench.idp.issue();
    let cases = [json!(1), json!(true), json!({"jwt": good.jwt}), json!([good.jwt]), json!("")];
    for value in cases {
        let answer = answer_with(&good, json!({"jwt": value}));
        assert_invalid(&bench, vec![("another type", Answer::json(&answer), "invalid introspection answer")]);
    }
    // an unusable first member is no reason to take the second
    let answer = answer_with(&good, json!({"phantom_token": "x"}));
    assert_invalid(&bench, vec![("first of two", Answer::json(&answer), "JWT")]);
    bench.finish();
}

#[test]
fn answers_to_the_gateway_are_not_for_the_api() {
    let bench = Bench::start();
    let signer = bench.idp.signer();
    let nested = json!({"aud": "gateway", "token_introspection": {"active": true, "sub": "jane"}});
    let raw = "application/token-introspection+jwt";
    let typ = "token-introspection+jwt";
    let payload = json!({"sub": "jane"});
    assert_invalid(
        &bench,
        vec![
            ("RFC 9701", Answer::ok(raw, signer.sign(typ, &nested)), "RFC 9701"),
            ("as application/jwt", Answer::jwt(&signer.sign(typ, &nested)), "RFC 9701"),
            ("by its member", Answer::jwt(&signer.sign("JWT", &nested)), "RFC 9701"),
            ("by its typ", Answer::jwt(&signer.sign(typ, &payload)), "RFC 9701"),
            ("typ in capitals", Answer::jwt(&signer.sign("Token-Introspection+JWT", &payload)), "RFC 9701"),
            ("typ in full", Answer::jwt(&signer.sign("application/token-introspection+jwt", &payload)), "RFC 9701"),
            ("drafts", Answer::jwt(&signer.sign("JWT", &json!({"active": true, "sub": "jane"}))), "RFC 9701"),
            ("in JSON", Answer::json(&json!({"active": true, "jwt": signer.sign(typ, &nested)})), "RFC 9701"),
        ],
    );
    bench.finish();
}

#[test]
fn exp_that_is_no_number() {
    let bench = Bench::of(Idp::start(), "");
    let good = bench.idp.issue();
    for exp in [json!("9999999999"), json!(true), json!([1])] {
        let answer = Answer::json(&answer_with(&good, json!({"exp": exp})));
        assert_invalid(&bench, vec![("exp", answer, "exp")]);
    }
    bench.finish();
}
