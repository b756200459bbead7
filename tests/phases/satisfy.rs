//! `satisfy all` and `satisfy any` with addresses, Basic authentication and tokens.

use super::support::gateway::{PROTECT, PROTECT_BY_LOCATION, asked_by_location, bare, publish};
use super::support::{Answer, Api, Idp, RawServer, http};

const BASIC: &str = "auth_basic staff; auth_basic_user_file @dir@/users;";

/// Configuration, credential → status, schemes of the challenges, introspections, what the API received.
type Case = (&'static str, &'static str, u16, &'static str, usize, &'static str);

const NONE: &str = "Bearer realm=\"api\"";
const INVALID: &str = "Bearer realm=\"api\", error=\"invalid_token\"";
const BASIC_NONE: &str = "Basic realm=\"staff\"; Bearer realm=\"api\"";
const BASIC_INVALID: &str = "Basic realm=\"staff\"; Bearer realm=\"api\", error=\"invalid_token\"";
const REQUEST: &str = "Digest realm=\"of auth_request\"";
const REQUEST_BEARER: &str = "Digest realm=\"of auth_request\"; Bearer realm=\"api\", error=\"invalid_token\"";
const ALL_THREE: &str =
    "Basic realm=\"staff\"; Digest realm=\"of auth_request\"; Bearer realm=\"api\", error=\"invalid_token\"";
const STAFF: &str = "Basic realm=\"staff\"";

#[rustfmt::skip]
const CASES: &[Case] = &[
    // rules           credential   status challenges      asked  forwarded
    ("all allow",       "good",      200,   "",             1,     "jwt"),
    ("all allow",       "bad",       401,   INVALID,        1,     "-"),
    ("all allow",       "none",      401,   NONE,           0,     "-"),
    ("all deny",        "good",      403,   "",             0,     "-"),
    ("all deny",        "bad",       403,   "",             0,     "-"),
    ("all deny",        "none",      403,   "",             0,     "-"),
    ("all basic",       "good",      401,   STAFF,          0,     "-"),
    ("all basic",       "staff",     401,   NONE,           0,     "-"),
    ("all basic",       "none",      401,   STAFF,          0,     "-"),
    ("all allow basic", "staff",     401,   NONE,           0,     "-"),
    ("all deny basic",  "staff",     403,   "",             0,     "-"),
    ("any",             "good",      200,   "",             1,     "jwt"),
    ("any",             "bad",       401,   INVALID,        1,     "-"),
    ("any",             "none",      401,   NONE,           0,     "-"),
    ("any allow",       "good",      200,   "",             0,     "token"),
    ("any allow",       "bad",       200,   "",             0,     "token"),
    ("any allow",       "none",      200,   "",             0,     "nothing"),
    ("any deny",        "good",      200,   "",             1,     "jwt"),
    ("any deny",        "bad",       401,   INVALID,        1,     "-"),
    ("any deny",        "none",      401,   NONE,           0,     "-"),
    ("any deny",        "broken",    502,   "",             1,     "-"),
    ("any basic",       "good",      200,   "",             1,     "jwt"),
    ("any basic",       "staff",     200,   "",             0,     "staff"),
    ("any basic",       "stranger",  401,   BASIC_NONE,     0,     "-"),
    ("any basic",       "bad",       401,   BASIC_INVALID,  1,     "-"),
    ("any basic",       "none",      401,   BASIC_NONE,     0,     "-"),
    ("any deny basic",  "good",      200,   "",             1,     "jwt"),
    ("any deny basic",  "staff",     200,   "",             0,     "staff"),
    ("any deny basic",  "bad",       401,   BASIC_INVALID,  1,     "-"),
    ("any allow basic", "bad",       200,   "",             0,     "token"),
    ("any request403",  "good",      200,   "",             1,     "jwt"),
    ("any request403",  "none",      401,   NONE,           0,     "-"),
    ("any request204",  "none",      200,   "",             0,     "nothing"),
    ("any request204",  "good",      200,   "",             0,     "token"),
    ("all request204",  "good",      200,   "",             1,     "jwt"),
    ("all request204",  "bad",       401,   INVALID,        1,     "-"),
    ("all request204",  "none",      401,   NONE,           0,     "-"),
    ("all request403",  "good",      403,   "",             0,     "-"),
    ("all request403",  "none",      403,   "",             0,     "-"),
    ("all request401",  "good",      401,   REQUEST,        0,     "-"),
    ("all request401",  "none",      401,   REQUEST,        0,     "-"),
    ("all request500",  "good",      500,   "",             0,     "-"),
    ("any request401",  "good",      200,   "",             1,     "jwt"),
    ("any request401",  "bad",       401,   REQUEST_BEARER, 1,     "-"),
    ("any request500",  "good",      500,   "",             0,     "-"),
    ("all allow request204",       "good",  200, "",        1,     "jwt"),
    ("all allow request403",       "good",  403, "",        0,     "-"),
    ("all deny request204",        "good",  403, "",        0,     "-"),
    ("all deny request403",        "none",  403, "",        0,     "-"),
    ("all basic request204",       "staff", 401, NONE,      0,     "-"),
    ("all basic request204",       "good",  401, STAFF,     0,     "-"),
    ("any allow request403",       "bad",   200, "",        0,     "token"),
    ("any deny request204",        "bad",   200, "",        0,     "token"),
    ("any deny request403",        "good",  200, "",        1,     "jwt"),
    ("any deny request403",        "bad",   401, INVALID,   1,     "-"),
    ("any deny request403",        "none",  401, NONE,      0,     "-"),
    ("any basic request403",       "staff", 200, "",        0,     "staff"),
    ("any basic request403",       "good",  200, "",        1,     "jwt"),
    ("any basic request403",       "none",  401, BASIC_NONE, 0,    "-"),
    ("any basic request204",       "bad",   200, "",        0,     "token"),
    ("any deny basic request403",  "good",  200, "",        1,     "jwt"),
    ("any deny basic request403",  "staff", 200, "",        0,     "staff"),
    ("any deny basic request403",  "bad",   401, BASIC_INVALID, 1, "-"),
    ("any deny basic request403",  "none",  401, BASIC_NONE, 0,    "-"),
    ("any deny basic request403",  "broken", 502, "",       1,     "-"),
    ("any basic request401",       "good",  200, "",        1,     "jwt"),
    ("any basic request401",       "staff", 200, "",        0,     "staff"),
    ("any basic request401",       "broken", 502, "",       1,     "-"),
    ("any basic request401",       "bad",   401, ALL_THREE, 1,     "-"),
    ("any deny basic request401",  "good",  200, "",        1,     "jwt"),
    ("any allow basic request401", "bad",   200, "",        0,     "token"),
    ("all basic request401",       "staff", 401, REQUEST,   0,     "-"),
];

#[test]
fn matrix_with_a_url() {
    matrix(PROTECT);
}

#[test]
fn matrix_with_a_location() {
    matrix(PROTECT_BY_LOCATION);
}

fn matrix(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let says_401 =
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"of auth_request\"\r\nContent-Length: 0\r\n\r\n";
    let says_401 = RawServer::answering(says_401);
    let mut builder = asked_by_location(bare(&idp, &api), &idp)
        .server("location = /-/204 { internal; return 204; }")
        .server("location = /-/403 { internal; return 403; }")
        .server("location = /-/500 { internal; return 500; }")
        .server(&format!("location = /-/401 {{ internal; proxy_pass {}; }}", says_401.url()))
        .allow_log("auth request unexpected status: 500");
    let path = |rules: &str| format!("/{}", rules.replace(' ', "-"));
    let mut configured: Vec<&str> = CASES.iter().map(|case| case.0).collect();
    configured.dedup();
    for rules in configured {
        let directives = rules.split(' ').map(|rule| match rule {
            "all" => "satisfy all;",
            "any" => "satisfy any;",
            "allow" => "allow all;",
            "deny" => "deny all;",
            "basic" => BASIC,
            "request204" => "auth_request /-/204;",
            "request401" => "auth_request /-/401;",
            "request403" => "auth_request /-/403;",
            "request500" => "auth_request /-/500;",
            other => panic!("{other}"),
        });
        let location = format!(
            "location = {} {{ {protect} phantom_token_cache off; {} proxy_pass @api@; }}",
            path(rules),
            directives.collect::<String>()
        );
        builder = builder.server(&location);
    }
    let nginx = builder.start();
    publish(&nginx, "users", "jane:{PLAIN}secret\n");
    let (good, bad) = (idp.issue(), idp.issue());
    idp.revoke(&bad.opaque);
    idp.answer_for("broken", Answer::status(500));
    let mut wrong = Vec::new();
    for (rules, credential, status, challenges, introspections, forwarded) in CASES {
        let value = match *credential {
            "good" => good.bearer(),
            "bad" => bad.bearer(),
            "broken" => "Bearer broken".to_owned(),
            "staff" => "Basic amFuZTpzZWNyZXQ=".to_owned(),
            "stranger" => "Basic am9lOnNlY3JldA==".to_owned(),
            _ => String::new(),
        };
        let headers: Vec<_> = (!value.is_empty()).then_some(("Authorization", value.as_str())).into_iter().collect();
        let (asked, served) = (idp.introspection_count(), api.request_count());
        let response = http::get(nginx.addr(), &path(rules), &headers);
        let received = api.requests().get(served).map(|request| request.header("authorization").map(str::to_owned));
        let received = match received {
            None => "-",
            Some(None) => "nothing",
            Some(Some(value)) if value == good.jwt_bearer() => "jwt",
            Some(Some(value)) if value == good.bearer() || value == bad.bearer() => "token",
            Some(Some(_)) => "staff",
        };
        let got =
            (response.status, response.all("www-authenticate").join("; "), idp.introspection_count() - asked, received);
        let expected = (*status, (*challenges).to_owned(), *introspections, *forwarded);
        if got != expected {
            wrong.push(format!("{rules}, {credential}: expected {expected:?}, got {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    nginx.finish();
}
