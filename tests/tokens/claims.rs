//! `$phantom_token_claim_NAME`: from the answer, safe in headers, and nobody else's.

use super::support::gateway::{PROTECT, PROTECT_BY_LOCATION, PROTECT2, asked_by_location, bare, publish};
use super::support::http::Client;
use super::support::nginx::Nginx;
use super::support::{Answer, Api, Echo, Gate, Idp, Shape, TokenSpec, http, http2};

const HEADERS: &str = "proxy_set_header X-Sub $phantom_token_claim_sub; proxy_set_header X-Groups $phantom_token_claim_groups; \
     proxy_set_header X-Level $phantom_token_claim_level; proxy_set_header X-User $phantom_token_claim_username; \
     proxy_set_header X-Evil $phantom_token_claim_evil; proxy_set_header X-None $phantom_token_claim_none; \
     proxy_set_header X-Number $phantom_token_claim_number; proxy_set_header X-Huge $phantom_token_claim_huge;";

#[test]
fn to_the_api() {
    for (shape, protect) in [
        (Shape::CurityRaw, PROTECT),
        (Shape::CurityRaw, PROTECT_BY_LOCATION),
        (Shape::CurityProcedure, PROTECT),
        (Shape::CurityProcedure, PROTECT_BY_LOCATION),
    ] {
        let (idp, api) = (Idp::builder().shape(shape).start(), Api::start());
        let nginx = asked_by_location(bare(&idp, &api), &idp)
            .workers(1)
            .server(&format!("location / {{ {protect} {HEADERS} proxy_pass @api@; }}"))
            .start();
        check_headers(&idp, &nginx);
        assert_eq!(idp.introspection_count(), 1);
        nginx.finish();
    }
}

fn check_headers(idp: &Idp, nginx: &Nginx) {
    let token = idp.issue_token(
        TokenSpec::new()
            .subject("jane")
            .claim("groups", serde_json::json!(["a", "b"]))
            .claim("level", 7)
            .claim("userName", "Zoë")
            .claim("evil", "x\r\nX-Admin: 1\0")
            // beyond 2^53, where floating-point numbers have gaps
            .claim("number", 9_007_199_254_740_993_i64)
            .claim("huge", u64::MAX),
    );
    for _ in ["asked", "cached"] {
        let headers = [("Authorization", token.bearer()), ("X-Sub", "root".to_owned()), ("X-None", "1".to_owned())];
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let echo = Echo::of(&http::get(nginx.addr(), "/", &headers));
        for (name, expected) in [
            ("X-Sub", Some("jane")),
            ("X-Groups", Some(r#"["a","b"]"#)),
            ("X-Level", Some("7")),
            ("X-User", Some("Zoë")),
            ("X-Evil", Some(r#""x\r\nX-Admin: 1\u0000""#)),
            ("X-Admin", None),
            ("X-None", None),
            ("X-Number", Some("9007199254740993")),
            ("X-Huge", Some("18446744073709551615")),
        ] {
            assert_eq!(echo.all(name), expected.into_iter().collect::<Vec<_>>(), "{name}");
        }
    }
}

/// A page asks by a name that the configuration does not have.
#[test]
fn by_a_name_that_only_a_page_knows() {
    let (idp, api) = (Idp::start(), Api::start());
    let page = "<!--# echo var=\"phantom_token_claim_sub\" -->/<!--# echo var=\"phantom_token_claim_username\" -->/\
                <!--# echo var=\"phantom_token_claim_none\" default=\"-\" -->";
    let nginx = bare(&idp, &api)
        .server(&format!(
            "location / {{ {PROTECT} root @dir@; ssi on; add_header X-Level $phantom_token_claim_level; }}"
        ))
        .start();
    publish(&nginx, "page.html", page);
    let token = idp.issue_token(TokenSpec::new().subject("jane").claim("level", 7).claim("userName", "joe"));
    let response = http::get(nginx.addr(), "/page.html", &[("Authorization", &token.bearer())]);
    assert_eq!((response.text().as_str(), response.all("X-Level")), ("jane/joe/-", vec!["7"]));
    nginx.finish();
}

/// On one connection: a claim of one request is not seen in the next, with another token, none, or a refused one.
#[test]
fn never_of_an_earlier_request() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = bare(&idp, &api)
        .workers(1)
        .server(
            "add_header X-Sub $phantom_token_claim_sub always; add_header X-Admin $phantom_token_claim_admin always;",
        )
        .server(&format!("location / {{ {PROTECT} proxy_pass @api@; }}"))
        .server("location /open { proxy_pass @api@; }")
        .start();
    let admin = idp.issue_token(TokenSpec::new().subject("root").claim("admin", true));
    let user = idp.issue_token(TokenSpec::new().subject("jane"));
    let revoked = idp.issue_token(TokenSpec::new().subject("joe"));
    idp.revoke(&revoked.opaque);
    let mut client = Client::connect(nginx.addr());
    for (path, token, sub, is_admin) in [
        ("/", Some(&admin), Some("root"), Some("true")),
        ("/", Some(&user), Some("jane"), None),
        ("/", Some(&admin), Some("root"), Some("true")),
        ("/", None, None, None),
        ("/", Some(&admin), Some("root"), Some("true")),
        ("/", Some(&revoked), None, None),
        ("/open", Some(&admin), None, None),
        ("/", Some(&user), Some("jane"), None),
    ] {
        let bearer = token.map(super::support::Token::bearer);
        let headers: Vec<_> = bearer.iter().map(|bearer| ("Authorization", bearer.as_str())).collect();
        let response = client.request("GET", path, &headers, b"");
        assert_eq!((response.header("X-Sub"), response.header("X-Admin")), (sub, is_admin), "{path}");
    }
    nginx.finish();
}

/// The same with HTTP/2, where requests of one connection wait at the same time.
#[test]
fn never_of_a_request_beside_it() {
    for protect in [PROTECT, PROTECT_BY_LOCATION] {
        let (idp, api, gate) = (Idp::start(), Api::start(), Gate::closed());
        let nginx = asked_by_location(bare(&idp, &api), &idp)
            .workers(1)
            .listen_h2()
            .server("add_header X-Sub $phantom_token_claim_sub always; add_header X-Admin $phantom_token_claim_admin always;")
            .server(&format!("location / {{ {protect} proxy_pass @api@; }}"))
            .start();
        let admin = idp.issue_token(TokenSpec::new().subject("root").claim("admin", true));
        let user = idp.issue_token(TokenSpec::new().subject("jane"));
        idp.answer_all(Answer::normal().gated(&gate));
        let connection = http2::Connection::open(nginx.addr_of("h2"));
        let begin =
            |token: &super::support::Token| connection.start("GET", "/", &[("authorization", &token.bearer())], b"");
        let waiting = [begin(&admin), begin(&user), begin(&admin)];
        idp.wait_for_introspections(2);
        let none = connection.get("/", &[]);
        gate.open();
        let [first, second, third] = waiting.map(http2::Pending::response);
        for (response, status, sub, is_admin) in [
            (&none, 401, None, None),
            (&first, 200, Some("root"), Some("true")),
            (&second, 200, Some("jane"), None),
            (&third, 200, Some("root"), Some("true")),
        ] {
            assert_eq!(
                (response.status, response.header("X-Sub"), response.header("X-Admin")),
                (status, sub, is_admin),
                "{protect}"
            );
        }
        nginx.finish();
    }
}

/// What one server says of a token is gone when another is asked about it.
#[test]
fn of_the_last_answer() {
    let (idp, other, api) = (Idp::start(), Idp::start(), Api::start());
    let nginx = bare(&idp, &api)
        .workers(1)
        .var("introspect2", other.introspection_url())
        .server("add_header X-Sub $phantom_token_claim_sub always;")
        .server(&format!("location / {{ {PROTECT} try_files /.none @other; }}"))
        .server(&format!("location @other {{ {PROTECT2} proxy_pass @api@; }}"))
        .start();
    let token = idp.issue_token(TokenSpec::new().subject("jane"));
    let twin = other.issue_token(TokenSpec::new().subject("joe"));
    other.answer_next(Answer::jwt(&twin.jwt));
    for (status, sub) in [(200, Some("joe")), (200, Some("joe"))] {
        let response = http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]);
        assert_eq!((response.status, response.header("X-Sub")), (status, sub));
    }
    let token = idp.issue_token(TokenSpec::new().subject("jane"));
    other.answer_all(Answer::status(204));
    let response = http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]);
    assert_eq!((response.status, response.header("X-Sub")), (401, None));
    nginx.finish();
}

/// In the access log, of refused requests too where the token is active; and behind the access phase in a limit.
#[test]
fn logs_and_limits() {
    let (idp, api) = (Idp::builder().shape(Shape::CurityProcedure).start(), Api::start());
    let nginx = bare(&idp, &api)
        .http("log_format who '$status sub=$phantom_token_claim_sub'; limit_req_zone $phantom_token_claim_sub zone=user:1m rate=1r/m;")
        .server("access_log @dir@/who.log who; limit_req_status 429;")
        .server(&format!("location /admin {{ {PROTECT} phantom_token_require_scopes admin; proxy_pass @api@; }}"))
        .server(&format!("location / {{ {PROTECT} try_files /.none @by_user; }}"))
        .server(&format!("location @by_user {{ {PROTECT} limit_req zone=user; proxy_pass @api@; }}"))
        .allow_log("limiting requests")
        .start();
    let spec = |name: &str| TokenSpec::new().subject(name).scope("read").member("sub", name);
    let (jane, joe) = (idp.issue_token(spec("jane")), idp.issue_token(spec("joe")));
    let other = idp.issue_token(spec("jane"));
    let status = |path, token: &super::support::Token| {
        http::get(nginx.addr(), path, &[("Authorization", &token.bearer())]).status
    };
    assert_eq!(
        [status("/", &jane), status("/", &other), status("/", &joe), status("/admin", &joe)],
        [200, 429, 200, 403]
    );
    super::support::wait::until("four lines", || {
        let log = std::fs::read_to_string(nginx.dir().join("who.log")).unwrap_or_default();
        // each worker writes its own when it comes to it
        let mut lines: Vec<_> = log.lines().filter(|line| line.contains("sub=j")).collect();
        lines.sort_unstable();
        lines == ["200 sub=jane", "200 sub=joe", "403 sub=joe", "429 sub=jane"]
    });
    nginx.finish();
}
