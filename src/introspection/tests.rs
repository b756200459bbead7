//! One table per kind of answer.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use http::HeaderValue;

use super::*;
use crate::json::JsonError;
use crate::jwt::tests::compact;
use crate::settings::{ClientAuth, Endpoint, EndpointUrl, Tls};

const HEADER: &str = r#"{"alg":"RS256","typ":"at+jwt"}"#;
const STATED: Result<Answer, Failure> = Ok(Answer::Inactive(Inactive::Stated));
const NOT_BEARER: Result<Answer, Failure> = Ok(Answer::Inactive(Inactive::NotBearer));

fn profile() -> Profile {
    Profile {
        endpoint: Endpoint::Url(EndpointUrl::parse("http://localhost/introspect").unwrap()),
        client_auth: ClientAuth::None,
        accept: "application/jwt".to_owned(),
        jwt_members: vec!["phantom_token".to_owned(), "jwt".to_owned()],
        introspection_jwt: IntrospectionJwt::Reject,
        tls: Tls::new(),
        ignore_cache_control: false,
        max_ttl: Duration::from_secs(60),
        inactive_ttl: Duration::from_secs(5),
    }
}

fn response(status: u16, fields: &[(&'static str, &str)], body: &[u8]) -> Response {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    Response { status, headers, body: Bytes::copy_from_slice(body) }
}

fn respond(status: u16, fields: &[(&'static str, &str)], body: &[u8]) -> Result<Answer, Failure> {
    interpret(&response(status, fields, body), &profile(), &claims::Wanted::default())
}

fn raw(body: &str) -> Result<Answer, Failure> {
    respond(200, &[("content-type", "application/jwt")], body.as_bytes())
}

fn json(body: &str) -> Result<Answer, Failure> {
    respond(200, &[("content-type", "application/json")], body.as_bytes())
}

/// `{"active":true` with these members added and a JWT with these claims.
fn json_with(members: &str, claims: &str) -> Result<Answer, Failure> {
    let jwt = compact(HEADER, claims);
    json(&format!(r#"{{"active":true,"jwt":"{jwt}"{members}}}"#))
}

fn active(jwt: &str, exp: Option<i64>) -> Result<Answer, Failure> {
    Ok(Answer::Active(Active::new(jwt, exp, "")))
}

fn invalid(why: impl Into<InvalidAnswer>) -> Result<Answer, Failure> {
    Err(Failure::Invalid(why.into()))
}

#[test]
fn form() {
    let table = [
        ("abc-._", "abc-._"),
        ("a+b/c~d==", "a%2Bb%2Fc%7Ed%3D%3D"),
        ("a&client_id=x", "a%26client_id%3Dx"),
        ("a%26 é", "a%2526+%C3%A9"),
    ];
    for (token, encoded) in table {
        let form = request_form(token.as_bytes(), "");
        assert_eq!(*form, format!("token={encoded}&token_type_hint=access_token"));
        let pairs: Vec<_> = form_urlencoded::parse(form.as_bytes()).into_owned().collect();
        assert_eq!(pairs[0], ("token".to_owned(), token.to_owned()));
    }
}

#[test]
fn statuses() {
    let jwt = compact(HEADER, "{}");
    let with = |status| respond(status, &[("content-type", "application/jwt")], jwt.as_bytes());
    assert_eq!(with(200), active(&jwt, None));
    assert_eq!(respond(204, &[], b""), STATED);
    for status in [100, 101, 201, 202, 203, 205, 206, 301, 302, 304, 307, 399, 600, 999, 0] {
        assert_eq!(with(status), Err(Failure::UnexpectedStatus { status }));
    }
    for status in [400, 401, 403, 404, 405, 408, 418, 451, 499] {
        assert_eq!(with(status), Err(Failure::Refused { status, error: None }));
    }
    for status in [500, 501, 502, 504, 599] {
        assert_eq!(with(status), Err(Failure::ServerError { status }));
    }
}

#[test]
fn oauth_errors() {
    let fields = [("content-type", "application/json;charset=utf-8")];
    let table: &[(u16, &str, Option<&str>)] = &[
        (400, r#"{"error":"invalid_request","error_description":"x"}"#, Some("invalid_request")),
        (401, "\u{feff}{\"error\":\"invalid_client\"}\r\n", Some("invalid_client")),
        (403, r#"{"error":"a\nb"}"#, Some("a\\x0ab")),
        (404, r#"{"error":"invalid_client"}"#, None),
        (401, r#"{"error":1}"#, None),
        (401, r#"{"error":"a","error":"b"}"#, None),
        (401, r#"{"active":false}"#, None),
        (401, "<html>", None),
        (401, "", None),
    ];
    for &(status, body, error) in table {
        let error = error.map(str::to_owned);
        let expected = Err(Failure::Refused { status, error });
        assert_eq!(respond(status, &fields, body.as_bytes()), expected, "{body}");
    }
    let html = respond(401, &[("content-type", "text/html")], br#"{"error":"invalid_client"}"#);
    assert_eq!(html, Err(Failure::Refused { status: 401, error: None }));
}

#[test]
fn overloaded() {
    let table = [
        (Some("1"), 1),
        (Some("30"), 30),
        (Some("3600"), 3600),
        (Some("3601"), 1),
        (Some("0"), 1),
        (Some("-5"), 1),
        (Some("+5"), 1),
        (Some("1.5"), 1),
        (Some("99999999999999999999"), 1),
        (Some("Wed, 21 Oct 2026 07:28:00 GMT"), 1),
        (Some(""), 1),
        (None, 1),
    ];
    for (value, retry_after) in table {
        let fields: Vec<_> = value.map(|value| ("retry-after", value)).into_iter().collect();
        for status in [429, 503] {
            let expected = Err(Failure::Overloaded { retry_after });
            assert_eq!(respond(status, &fields, b""), expected, "{value:?}");
        }
    }
}

#[test]
fn content_types() {
    let jwt = compact(HEADER, "{}");
    let object = format!(r#"{{"active":true,"jwt":"{jwt}"}}"#);
    for (bodies, types) in [
        (
            (&jwt, &object),
            [
                "application/jwt",
                "Application/JWT; charset=utf-8",
                "application/at+jwt",
                "application/token-introspection+jwt ;a=b",
            ],
        ),
        (
            (&object, &jwt),
            [
                "application/json",
                "APPLICATION/JSON;charset=UTF-8",
                "application/introspection+json",
                "application/vnd.x.y-z+json; v=1",
            ],
        ),
    ] {
        for content_type in types {
            let fields = [("content-type", content_type)];
            assert_eq!(respond(200, &fields, bodies.0.as_bytes()), active(&jwt, None));
            assert!(respond(200, &fields, bodies.1.as_bytes()).is_err());
        }
    }
    let long = "x/".repeat(100);
    let table = [
        ("text/html;charset=utf-8", "text/html"),
        ("text/json", "text/json"),
        ("application/json, text/html", "application/json, text/html"),
        ("application/+json", "application/+json"),
        ("application/a b+json", "application/a b+json"),
        ("application/json+x", "application/json+x"),
        ("", ""),
        ("é", "\\xc3\\xa9"),
        (&long, &format!("{}...", "x/".repeat(32))),
    ];
    for (content_type, named) in table {
        let expected = InvalidAnswer::ContentType { content_type: named.to_owned() };
        let fields = [("content-type", content_type)];
        assert_eq!(respond(200, &fields, object.as_bytes()), invalid(expected));
    }
    let twice = [("content-type", "application/json"), ("content-type", "application/jwt")];
    for fields in [&twice[..], &[]] {
        assert_eq!(respond(200, fields, jwt.as_bytes()), invalid(InvalidAnswer::NoContentType));
    }
}

#[test]
fn content_around_the_answer() {
    let jwt = compact(HEADER, "{}");
    let object = format!(r#"{{"active":true,"jwt":"{jwt}"}}"#);
    for (before, after) in [("", "\n"), ("\u{feff}", ""), ("\u{feff}", "\r\n"), ("\r\n ", " \t\n")] {
        assert_eq!(raw(&format!("{before}{jwt}{after}")), active(&jwt, None));
        assert_eq!(json(&format!("{before}{object}{after}")), active(&jwt, None));
    }
    for empty in ["", "\n", "\u{feff} \r\n"] {
        assert_eq!(raw(empty), invalid(InvalidAnswer::Empty));
        assert_eq!(json(empty), invalid(InvalidAnswer::Empty));
    }
    let padded = |length: usize| json(&format!("{object}{}", " ".repeat(length - object.len())));
    assert_eq!(padded(MAX_BODY), active(&jwt, None));
    assert_eq!(padded(MAX_BODY + 1), invalid(InvalidAnswer::TooLong));

    for (encoding, ok) in [
        ("identity", true),
        ("", true),
        ("Identity, identity", true),
        ("br", false),
        ("identity, br", false),
        ("gzip, gzip", false),
    ] {
        let fields = [("content-type", "application/json"), ("content-encoding", encoding)];
        assert_eq!(respond(200, &fields, object.as_bytes()).is_ok(), ok, "{encoding}");
    }
}

#[test]
fn active_comes_first() {
    let table = [
        (r#"{"active":false}"#, STATED),
        (r#"{"exp":"x","token_type":7,"jwt":[],"active":false}"#, STATED),
        (r#"{"active":false,"cnf":{"jkt":"x"}}"#, STATED),
        ("{}", invalid(InvalidAnswer::NoActive)),
        (r#"{"jwt":"a.b.c","Active":true}"#, invalid(InvalidAnswer::NoActive)),
        (r#"{"active":"true"}"#, invalid(InvalidAnswer::ActiveNotBoolean)),
        (r#"{"active":"false"}"#, invalid(InvalidAnswer::ActiveNotBoolean)),
        (r#"{"active":null}"#, invalid(InvalidAnswer::ActiveNotBoolean)),
        (r#"{"active":1}"#, invalid(InvalidAnswer::ActiveNotBoolean)),
        (r#"{"active":0,"exp":"x"}"#, invalid(InvalidAnswer::ActiveNotBoolean)),
        ("[]", invalid(JsonError::NotObject)),
        ("true", invalid(JsonError::NotObject)),
        ("<html>", invalid(JsonError::Syntax { line: 1, column: 1 })),
        (r#"{"active":false,"active":true}"#, invalid(JsonError::Duplicate { name: "active".to_owned() })),
        (r#"{"active":true,"x":{"y":1,"y":1}}"#, invalid(JsonError::Duplicate { name: "y".to_owned() })),
    ];
    for (body, expected) in table {
        assert_eq!(json(body), expected, "{body}");
    }
    let fields = [("content-type", "application/json")];
    let latin1 = respond(200, &fields, b"{\"active\":false,\"x\":\"\xe9\"}");
    assert_eq!(latin1, invalid(JsonError::NotUtf8));
}

#[test]
fn gzip() {
    use std::io::Write as _;
    let compressed = |text: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    };
    let answer = |encoding, body: &[u8]| {
        respond(200, &[("content-type", "application/jwt"), ("content-encoding", encoding)], body)
    };
    let jwt = compact(HEADER, "{}");
    for encoding in ["gzip", "x-gzip", "GZIP", "identity, gzip"] {
        assert_eq!(answer(encoding, &compressed(jwt.as_bytes())), active(&jwt, None), "{encoding}");
    }
    let whole = compressed(jwt.as_bytes());
    for broken in [&whole[..whole.len() - 1], &whole[..5], jwt.as_bytes(), b""] {
        assert_eq!(answer("gzip", broken), invalid(InvalidAnswer::BrokenEncoding));
    }
    // a small answer that grows without end
    let bomb = compressed(&vec![b'a'; 40 << 20]);
    assert!(bomb.len() < 1 << 20);
    for bomb in [&bomb[..MAX_BODY.min(bomb.len())], &compressed(&vec![b'a'; MAX_BODY + 1])] {
        assert_eq!(answer("gzip", bomb), invalid(InvalidAnswer::TooLong));
    }
}

#[test]
fn introspection_jwts_that_may_be_forwarded() {
    let profile = Profile { introspection_jwt: IntrospectionJwt::Forward, ..profile() };
    let typed = r#"{"alg":"RS256","typ":"token-introspection+jwt"}"#;
    for (header, payload, expected) in [
        (typed, r#"{"token_introspection":{"active":true}}"#, Ok(None)),
        (typed, r#"{"exp":1,"token_introspection":{"active":true,"exp":7}}"#, Ok(Some(7))),
        (HEADER, r#"{"active":true,"exp":8}"#, Ok(Some(8))),
        (typed, r#"{"token_introspection":{"active":false}}"#, Err(STATED)),
        (typed, r#"{"token_introspection":{"active":"true"}}"#, Err(invalid(InvalidAnswer::ActiveNotBoolean))),
        (typed, r#"{"token_introspection":{}}"#, Err(invalid(InvalidAnswer::NoActive))),
        // what is beside the answer is none
        (typed, r#"{"active":true,"token_introspection":null}"#, Err(invalid(InvalidAnswer::NoActive))),
        (HEADER, r#"{"active":true,"token_introspection":"x"}"#, Err(invalid(InvalidAnswer::NoActive))),
        (HEADER, r#"{"active":false,"token_introspection":{"active":true}}"#, Err(STATED)),
        (typed, r#"{"token_introspection":{"active":true,"token_type":"DPoP"}}"#, Err(NOT_BEARER)),
        (
            r#"{"alg":"none","typ":"token-introspection+jwt"}"#,
            r#"{"token_introspection":{"active":true}}"#,
            Err(invalid(JwtError::NotSigned)),
        ),
    ] {
        let jwt = compact(header, payload);
        let response = response(200, &[("content-type", "application/token-introspection+jwt")], jwt.as_bytes());
        let expected = match expected {
            Ok(exp) => active(&jwt, exp),
            Err(expected) => expected,
        };
        assert_eq!(interpret(&response, &profile, &claims::Wanted::default()), expected, "{payload}");
    }
}

/// Why the gateway was refused is of use however it is packed.
#[test]
fn oauth_errors_in_gzip() {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(br#"{"error":"invalid_client"}"#).unwrap();
    let body = encoder.finish().unwrap();
    let fields = [("content-type", "application/json"), ("content-encoding", "gzip")];
    for (body, error) in [(&body[..], Some("invalid_client".to_owned())), (&body[..12], None)] {
        assert_eq!(respond(400, &fields, body), Err(Failure::Refused { status: 400, error }));
    }
}

/// What requirements and variables are read from: all of the JSON but what is known already.
#[test]
fn members_are_kept() {
    let jwt = compact(HEADER, "{}");
    let body = format!(r#"{{"active":true,"jwt":"{jwt}","phantom_token":"x.y.z","scope":"read","sub":"jane"}}"#);
    let body = body.replace("x.y.z", &jwt);
    let Ok(Answer::Active(active)) = json(&body) else { panic!("not active") };
    assert_eq!(active.members(), r#"{"scope":"read","sub":"jane"}"#);
    assert_eq!((active.jwt(), active.authorization()), (jwt.as_str(), format!("Bearer {jwt}").as_str()));
    let Ok(Answer::Active(active)) = raw(&jwt) else { panic!("not active") };
    assert_eq!(active.members(), "");
}

#[test]
fn jwt_members() {
    let (one, two) = (compact(HEADER, r#"{"n":1}"#), compact(HEADER, r#"{"n":2}"#));
    let table = [
        (format!(r#""phantom_token":"{one}""#), active(&one, None)),
        (format!(r#""jwt":"{two}","phantom_token":"{one}""#), active(&one, None)),
        // the first one found counts, usable or not
        (format!(r#""phantom_token":null,"jwt":"{two}""#), invalid(InvalidAnswer::JwtMemberNotString)),
        (format!(r#""phantom_token":"","jwt":"{two}""#), invalid(JwtError::Parts(1))),
        (format!(r#""jwt":["{one}"]"#), invalid(InvalidAnswer::JwtMemberNotString)),
        (format!(r#""access_token":"{one}""#), invalid(InvalidAnswer::NoJwtMember)),
        (format!(r#""jwt":"{one} ""#), invalid(JwtError::NotBase64url("signature"))),
        (format!(r#""jwt":"{one}\r\nX: y""#), invalid(JwtError::NotBase64url("signature"))),
        (r#""jwt":"a.b.c.d.e""#.to_owned(), invalid(JwtError::Encrypted)),
    ];
    for (members, expected) in table {
        assert_eq!(json(&format!(r#"{{"active":true,{members}}}"#)), expected, "{members}");
    }
}

#[test]
fn raw_jwts() {
    let duplicate = JsonError::Duplicate { name: "active".to_owned() };
    let table = [
        (compact(r#"{"alg":"none"}"#, "{}"), invalid(JwtError::NotSigned)),
        (compact("{}", "{}"), invalid(JwtError::NoAlgorithm)),
        ("a.b.c.d.e".to_owned(), invalid(JwtError::Encrypted)),
        ("opaque".to_owned(), invalid(JwtError::Parts(1))),
        ("<html>".to_owned(), invalid(JwtError::Parts(1))),
        (r#"{"active":true}"#.to_owned(), invalid(JwtError::Parts(1))),
        (compact(HEADER, r#"{"active":false,"active":true}"#), invalid(JwtError::Payload(duplicate))),
    ];
    for (body, expected) in table {
        assert_eq!(raw(&body), expected, "{body}");
    }
}

#[test]
fn introspection_jwts() {
    let typed = r#"{"alg":"RS256","typ":"Application/Token-Introspection+JWT"}"#;
    let unsigned = r#"{"alg":"none"}"#;
    let rejected = invalid(InvalidAnswer::IntrospectionJwt);
    let table = [
        (typed, r#"{"token_introspection":{"active":false,"exp":"x"}}"#, STATED),
        (typed, r#"{"token_introspection":{"active":true}}"#, rejected.clone()),
        (typed, r#"{"token_introspection":{}}"#, rejected.clone()),
        (typed, "{}", rejected.clone()),
        (HEADER, r#"{"token_introspection":{"active":true}}"#, rejected.clone()),
        (HEADER, r#"{"token_introspection":{"active":false}}"#, STATED),
        (HEADER, r#"{"token_introspection":null}"#, rejected.clone()),
        (HEADER, r#"{"active":false}"#, STATED),
        (HEADER, r#"{"active":true}"#, rejected.clone()),
        (HEADER, r#"{"active":"false"}"#, rejected.clone()),
        // `active` comes before `alg`
        (unsigned, r#"{"active":false}"#, STATED),
        (unsigned, r#"{"active":true}"#, rejected),
    ];
    for (header, payload, expected) in table {
        let jwt = compact(header, payload);
        assert_eq!(raw(&jwt), expected, "{header} {payload}");
        let member = json(&format!(r#"{{"active":true,"jwt":"{jwt}"}}"#));
        assert_eq!(member, expected, "{header} {payload}");
    }
}

#[test]
fn kinds_of_token() {
    let table = [
        ("", true),
        (r#""token_type":"Bearer""#, true),
        (r#""token_type":"bEARER""#, true),
        (r#""token_type":"access_token""#, true),
        (r#""token_type":"Access_Token""#, true),
        (r#""token_type":"DPoP""#, false),
        (r#""token_type":"refresh_token""#, false),
        (r#""token_type":"N_A""#, false),
        (r#""token_type":"""#, false),
        (r#""token_type":null"#, false),
        (r#""token_type":["Bearer"]"#, false),
        (r#""typ":"Bearer""#, true),
        (r#""typ":"Refresh""#, false),
        (r#""typ":"ID""#, false),
        (r#""typ":"Offline""#, false),
        (r#""typ":"DPoP""#, false),
        (r#""token_use":"access""#, true),
        (r#""token_use":"access_token""#, true),
        (r#""token_use":"refresh_token""#, false),
        (r#""token_use":"id_token""#, false),
        (r#""token_use":"id""#, false),
        (r#""token_usage":"access_token""#, true),
        (r#""token_usage":"refresh_token""#, false),
        (r#""cnf":{"jkt":"x"}"#, false),
        (r#""cnf":{"x5t#S256":"x"}"#, true),
    ];
    for (member, bearer) in table {
        let comma = if member.is_empty() { "" } else { "," };
        let claims = format!("{{{member}}}");
        for result in
            [json_with(&format!("{comma}{member}"), "{}"), json_with("", &claims), raw(&compact(HEADER, &claims))]
        {
            assert_eq!(matches!(result, Ok(Answer::Active(_))), bearer, "{member}");
            assert_eq!(result == NOT_BEARER, !bearer, "{member}");
        }
    }
    // the kind of token is looked at before what else the answer lacks
    assert_eq!(json(r#"{"active":true,"token_type":"DPoP","exp":"x"}"#), NOT_BEARER);
}

#[test]
fn exp_values() {
    let table = [
        ("1700000000", Some(1_700_000_000)),
        ("1700000000.999", Some(1_700_000_000)),
        ("1.7e9", Some(1_700_000_000)),
        ("0", Some(0)),
        ("-1", Some(-1)),
        ("-0.5", Some(-1)),
        ("9223372036854775807", Some(i64::MAX - 1)),
        ("9223372036854775808", Some(i64::MAX - 1)),
        ("1e300", Some(i64::MAX - 1)),
        ("-1e300", Some(i64::MIN)),
        ("\"1700000000\"", None),
        ("\"\"", None),
        ("null", None),
        ("true", None),
        ("[1]", None),
    ];
    for (value, expected) in table {
        let claims = format!(r#"{{"exp":{value}}}"#);
        for result in
            [json_with(&format!(r#","exp":{value}"#), "{}"), json_with("", &claims), raw(&compact(HEADER, &claims))]
        {
            match (result, expected) {
                (Ok(Answer::Active(active)), Some(_)) => {
                    assert_eq!(active.exp(), expected, "{value}")
                }
                (result, _) => {
                    assert_eq!(result, invalid(InvalidAnswer::ExpNotNumber), "{value}");
                    assert_eq!(expected, None, "{value}");
                }
            }
        }
    }
    // beyond 2^53 to the last digit, in what is kept too
    let members = r#","exp":9007199254740993,"id":9007199254740993,"max":18446744073709551615"#;
    let Ok(Answer::Active(kept)) = json_with(members, "{}") else { panic!("not active") };
    assert_eq!(kept.exp(), Some(9_007_199_254_740_993));
    assert_eq!(kept.members(), format!("{{{}}}", &members[1..]));
    for (member, claims, earliest) in [
        (r#","exp":10"#, r#"{"exp":20}"#, Some(10)),
        (r#","exp":30"#, r#"{"exp":20}"#, Some(20)),
        ("", r#"{"exp":20}"#, Some(20)),
        (r#","exp":10"#, "{}", Some(10)),
        ("", "{}", None),
    ] {
        assert!(matches!(json_with(member, claims), Ok(Answer::Active(a)) if a.exp() == earliest));
    }
}

#[test]
fn nothing_secret_is_printed() {
    let jwt = compact(HEADER, r#"{"sub":"hush"}"#);
    let body = Bytes::copy_from_slice(jwt.as_bytes());
    let response = Response { status: 200, headers: HeaderMap::new(), body };
    assert_eq!(format!("{response:?}"), format!("Response {{ status: 200, length: {}, .. }}", jwt.len()));
    assert_eq!(format!("{:?}", raw(&jwt)), "Ok(Active(Active { exp: None, .. }))");
}
