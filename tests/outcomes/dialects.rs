//! How servers put their answers, whoever asks them: the module's own client, or a location of NGINX.

use std::io::Write;

use serde_json::{Value, json};

use crate::bench::{Bench, INACTIVE, INVALID, answer_with};
use crate::support::idp::now;
use crate::support::{Answer, Echo, Idp, RawServer, Shape, jwt};

fn gzip(text: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_ref()).expect("compress");
    encoder.finish().expect("compress")
}

#[test]
fn shapes() {
    for shape in [Shape::CurityRaw, Shape::CurityProcedure, Shape::Keycloak] {
        let idp = || Idp::builder().shape(shape).start();
        for (kind, bench) in Bench::of_both_kinds(idp, "phantom_token_ignore_cache_control on;") {
            let what = format!("{shape:?}, {kind}");
            let (good, revoked) = (bench.idp.issue(), bench.idp.issue());
            bench.idp.revoke(&revoked.opaque);
            for _ in ["asked", "cached"] {
                bench.assert_forwarded(&what, &good.opaque, &good.jwt);
            }
            bench.assert_token_refused(&what, &revoked.opaque, INACTIVE, 1);
            assert_eq!(bench.idp.introspections_of(&good.opaque), 1, "{what}");
            assert_eq!(bench.idp.introspections()[0].header("accept"), Some("application/jwt"), "{what}");
            bench.finish();
        }
    }
}

#[test]
fn rfc_9701() {
    const TYPE: &str = "application/token-introspection+jwt";
    let idp = || Idp::builder().shape(Shape::Rfc9701).start();
    for treatment in ["reject", "forward"] {
        let directives = format!("phantom_token_accept {TYPE}; phantom_token_introspection_jwt {treatment};");
        for (kind, bench) in Bench::of_both_kinds(idp, &directives) {
            let what = format!("{treatment}, {kind}");
            let (good, revoked) = (bench.idp.issue(), bench.idp.issue());
            bench.idp.revoke(&revoked.opaque);
            bench.assert_token_refused(&what, &revoked.opaque, INACTIVE, 1);
            bench.assert_not_logged(&what);
            // drafts have the answer at the top level, and `application/jwt`
            let payload = json!({"iss": "as", "active": true, "exp": now() + 300});
            let draft = bench.idp.signer().sign("JWT", &payload);
            let of_draft = bench.token_answered(Answer::jwt(&draft));
            if treatment == "forward" {
                let (header, claims) = Echo::of(&bench.get(&good.opaque)).jwt().expect("a JWT");
                assert_eq!(header["typ"], "token-introspection+jwt", "{what}");
                assert_eq!(claims["token_introspection"]["sub"], "jane", "{what}");
                bench.assert_forwarded(&what, &of_draft, &draft);
            } else {
                for token in [&good.opaque, &of_draft] {
                    bench.assert_token_refused(&what, token, INVALID, 2);
                    bench.assert_logged(&what, 2, "[error]", "set \"phantom_token_introspection_jwt forward\"");
                }
            }
            assert_eq!(bench.idp.introspections()[0].header("accept"), Some(TYPE), "{what}");
            bench.finish();
        }
    }
}

#[test]
fn bodies_and_types() {
    for (kind, bench) in Bench::of_both_kinds(Idp::start, "") {
        let good = bench.idp.issue();
        let jwt = good.jwt.as_str();
        let json = answer_with(&good, json!({})).to_string();
        let zipped = |content_type, text: &str, encoding| {
            Answer::ok(content_type, gzip(text)).header("Content-Encoding", encoding)
        };
        for (what, answer) in [
            ("JWT, gzip", zipped("application/jwt", jwt, "gzip")),
            ("JWT, gzip, no length", zipped("application/jwt", jwt, "GZIP").chunked()),
            ("JSON, gzip", zipped("application/json", &json, "gzip")),
            ("JSON, x-gzip, no length", zipped("application/json", &json, "x-gzip").chunked()),
            ("JWT, newline", Answer::jwt(&format!("{jwt}\n"))),
            ("JWT, CR LF, no length", Answer::jwt(&format!("{jwt}\r\n")).chunked()),
            ("JWT, byte order mark", Answer::jwt(&format!("\u{feff}{jwt}"))),
            ("JSON, newline", Answer::ok("application/json", format!("{json}\n"))),
            ("JSON, byte order mark", Answer::ok("application/json", format!("\u{feff}{json}\r\n"))),
            ("JSON, mark and gzip", zipped("application/json", &format!("\u{feff}{json}\n"), "gzip")),
            ("a type in capitals", Answer::ok("APPLICATION/JWT", jwt)),
            ("a type with parameters", Answer::ok("application/JSON ; charset=\"utf-8\"; x=y", json.as_str())),
            ("a type with a suffix", Answer::ok("application/Token-Introspection+JSON;charset=utf-8", json.as_str())),
        ] {
            let token = bench.token_answered(answer);
            bench.assert_forwarded(&format!("{what}, {kind}"), &token, jwt);
        }
        for (what, answer, text) in [
            ("gzip cut short", Answer::jwt("").body(&gzip(jwt)[..30]).header("Content-Encoding", "gzip"), "gzip"),
            ("another encoding", Answer::jwt(jwt).header("Content-Encoding", "br"), "br"),
            ("another type", Answer::ok("text/plain; application/jwt", jwt), "text/plain"),
            ("another suffix", Answer::ok("application/x+jwt", jwt), "application/x+jwt"),
        ] {
            let token = bench.token_answered(answer);
            bench.assert_token_refused(&format!("{what}, {kind}"), &token, INVALID, 2);
            bench.assert_logged(&format!("{what}, {kind}"), 2, "[error]", text);
        }
        bench.finish();
    }
}

/// RFC 9112 §6.3: a length, chunks, or the end of the connection.
#[test]
fn framings() {
    let jwt = format!("{}.c2ln", jwt::unsigned(&json!({"alg": "ES256"}), &json!({"sub": "jane"})));
    let head = |version: &str, fields: &str| {
        format!("HTTP/{version} 200 OK\r\nContent-Type: application/jwt\r\n{fields}\r\n").into_bytes()
    };
    let chunks = |text: &[u8]| {
        let (first, rest) = text.split_at(7);
        let chunk = |part: &[u8]| [format!("{:X};x=y\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
        [chunk(first), chunk(rest), b"0\r\nX-Trailer: 1\r\n\r\n".to_vec()].concat()
    };
    let zipped = gzip(&jwt);
    for (what, bytes) in [
        ("a length", [head("1.1", &format!("Content-Length: {}\r\n", jwt.len())), jwt.clone().into()].concat()),
        ("the end", [head("1.1", ""), jwt.clone().into()].concat()),
        ("the end, announced", [head("1.1", "Connection: close\r\n"), jwt.clone().into()].concat()),
        ("the end, HTTP/1.0", [head("1.0", ""), jwt.clone().into()].concat()),
        ("chunks", [head("1.1", "Transfer-Encoding: chunked\r\n"), chunks(jwt.as_bytes())].concat()),
        ("gzip, the end", [head("1.1", "Content-Encoding: gzip\r\n"), zipped.clone()].concat()),
        (
            "gzip, chunks",
            [head("1.1", "Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"), chunks(&zipped)].concat(),
        ),
    ] {
        let server = RawServer::answering(bytes);
        for (kind, bench) in Bench::asking_in_both_ways(&format!("{}/introspect", server.url())) {
            bench.assert_forwarded(&format!("{what}, {kind}"), "opaque", &jwt);
            bench.finish();
        }
    }
}

/// RFC 7519 §2: NumericDate is a number, of any size and with or without a fraction; a string is none.
#[test]
fn numbers() {
    for (kind, bench) in Bench::of_both_kinds(Idp::start, "") {
        let good = bench.idp.issue();
        let with_exp = |exp: &str| {
            let json = answer_with(&good, json!({"exp": "@"})).to_string();
            Answer::ok("application/json", json.replace("\"@\"", exp))
        };
        let jwt_with = |exp: Value| bench.idp.signer().sign("at+jwt", &json!({"sub": "jane", "exp": exp}));
        let (later, past) = (now() + 300, now() - 300);
        for exp in [
            format!("{later}.5"),
            format!("{later}.0"),
            format!("{:e}", later as f64),
            "9007199254740993".to_owned(),
            "9223372036854775808".to_owned(),
            "18446744073709551616".to_owned(),
            "1e300".to_owned(),
        ] {
            let token = bench.token_answered(with_exp(&exp));
            bench.assert_forwarded(&format!("{exp}, {kind}"), &token, &good.jwt);
        }
        let float = jwt_with(json!(later as f64 + 0.5));
        let token = bench.token_answered(Answer::jwt(&float));
        bench.assert_forwarded(&format!("a float in the JWT, {kind}"), &token, &float);
        for exp in [format!("{past}.9"), "0".to_owned(), "-1e300".to_owned(), "-9223372036854775809".to_owned()] {
            let token = bench.token_answered(with_exp(&exp));
            bench.assert_refused(&format!("{exp}, {kind}"), &[("Authorization", &format!("Bearer {token}"))], INACTIVE);
            bench.assert_logged(&exp, bench.idp.introspections_of(&token), "[warn]", "check clocks");
        }
        for (what, answer, text) in [
            ("string", with_exp(&format!("\"{later}\"")), "its \"exp\" is not a number"),
            ("null", with_exp("null"), "its \"exp\" is not a number"),
            ("string in the JWT", Answer::jwt(&jwt_with(json!(later.to_string()))), "its \"exp\" is not a number"),
            ("infinite", with_exp("1e999"), "not valid JSON"),
        ] {
            let token = bench.token_answered(answer);
            bench.assert_token_refused(&format!("{what}, {kind}"), &token, INVALID, 2);
            bench.assert_logged(&format!("{what}, {kind}"), 2, "[error]", text);
        }
        bench.finish();
    }
}

#[test]
fn repeated_members() {
    for (kind, bench) in Bench::of_both_kinds(Idp::start, "") {
        let good = bench.idp.issue();
        let encoded = |text: &str| {
            use base64::Engine;
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
        };
        let json = |members: &str| Answer::ok("application/json", format!("{{{members},\"jwt\":\"{}\"}}", good.jwt));
        let jwt = |header, payload| Answer::jwt(&format!("{}.{}.c2ln", encoded(header), encoded(payload)));
        for (what, answer, name) in [
            ("JSON", json(r#""active":false,"active":true"#), "active"),
            ("escaped", json(r#""active":true,"\u0061ctive":false"#), "active"),
            ("deeper", json(r#""active":true,"cnf":{"jkt":"x","jkt":"y"}"#), "jkt"),
            ("the JWT twice", json(r#""active":true,"jwt":"x""#), "jwt"),
            ("the JWT's header", jwt(r#"{"alg":"none","alg":"ES256"}"#, "{}"), "alg"),
            ("the JWT's payload", jwt(r#"{"alg":"ES256"}"#, r#"{"sub":"a","sub":"b"}"#), "sub"),
        ] {
            let token = bench.token_answered(answer);
            bench.assert_token_refused(&format!("{what}, {kind}"), &token, INVALID, 2);
            let text = format!("member \"{name}\" occurs more than once");
            bench.assert_logged(&format!("{what}, {kind}"), 2, "[error]", &text);
        }
        bench.finish();
    }
}

#[test]
fn other_kinds_of_token() {
    for (kind, bench) in Bench::of_both_kinds(Idp::start, "") {
        let good = bench.idp.issue();
        for members in [
            json!({"token_type": "refresh_token"}),
            json!({"token_type": "DPoP"}),
            json!({"typ": "Refresh"}),
            json!({"typ": "Offline"}),
            json!({"typ": "ID"}),
            json!({"typ": "DPoP"}),
            json!({"token_use": "refresh_token"}),
            json!({"token_use": "id"}),
            json!({"token_usage": "refresh_token"}),
            json!({"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}),
        ] {
            // in the JSON, and in the JWT
            let jwt = bench.idp.signer().sign("JWT", &members);
            for answer in [Answer::json(&answer_with(&good, members.clone())), Answer::jwt(&jwt)] {
                let token = bench.token_answered(answer);
                bench.assert_token_refused(&format!("{members}, {kind}"), &token, INACTIVE, 1);
            }
        }
        bench.assert_not_logged("the client's fault");
        bench.finish();
    }
}
