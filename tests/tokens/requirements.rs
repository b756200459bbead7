//! Scope, audience and issuer, per location and request.

use super::support::gateway::{PROTECT, PROTECT_BY_LOCATION, asked_by_location, bare, publish};
use super::support::{Api, Echo, Idp, Nginx, Shape, TokenSpec, http};

/// (directives, claims of the token, status, `error`)
#[test]
fn each_requirement() {
    let (idp, api) = (Idp::start(), Api::start());
    let reads = || TokenSpec::new().scope("read list");
    let without = |name: &str| TokenSpec::new().claim(name, serde_json::Value::Null);
    let list = |values: &[&str]| serde_json::json!(values);
    let cases = [
        ("phantom_token_require_scopes read;", reads(), 200, None),
        ("phantom_token_require_scopes read list;", reads(), 200, None),
        ("phantom_token_require_scopes read write;", reads(), 403, Some("insufficient_scope")),
        ("phantom_token_require_scopes rea;", reads(), 403, Some("insufficient_scope")),
        ("phantom_token_require_audience other api;", TokenSpec::new().audience("api"), 200, None),
        ("phantom_token_require_audience other;", TokenSpec::new().audience("api"), 401, Some("invalid_token")),
        ("phantom_token_require_issuer @as@;", TokenSpec::new(), 200, None),
        ("phantom_token_require_issuer @as@/;", TokenSpec::new(), 401, Some("invalid_token")),
        ("phantom_token_require_scopes read;", without("scope"), 403, Some("insufficient_scope")),
        ("phantom_token_require_scopes read list;", without("scope").claim("scp", "list read"), 200, None),
        ("phantom_token_require_scopes read list;", without("scope").claim("scp", list(&["list", "read"])), 200, None),
        (
            "phantom_token_require_scopes read list;",
            TokenSpec::new().claim("scope", list(&["list", "read"])),
            200,
            None,
        ),
        (
            "phantom_token_require_scopes write;",
            without("scope").claim("scp", list(&["read"])),
            403,
            Some("insufficient_scope"),
        ),
        ("phantom_token_require_audience api;", TokenSpec::new().claim("aud", list(&["x", "api"])), 200, None),
        ("phantom_token_require_audience api;", without("aud"), 401, Some("invalid_token")),
        ("phantom_token_require_issuer @as@;", without("iss"), 401, Some("invalid_token")),
        (
            "phantom_token_require_scopes write; phantom_token_require_audience other;",
            reads(),
            401,
            Some("invalid_token"),
        ),
    ];
    for protect in [PROTECT, PROTECT_BY_LOCATION] {
        let mut builder = asked_by_location(bare(&idp, &api), &idp).workers(1).var("as", idp.url());
        for (i, (directives, ..)) in cases.iter().enumerate() {
            builder = builder.server(&format!("location /{i} {{ {protect} {directives} proxy_pass @api@; }}"));
        }
        let nginx = builder.server("add_header X-Status $phantom_token_status always;").start();
        for (i, (directives, spec, status, error)) in cases.iter().enumerate() {
            let token = idp.issue_token(spec.clone());
            for _ in ["asked", "cached"] {
                let response = http::get(nginx.addr(), &format!("/{i}"), &[("Authorization", &token.bearer())]);
                assert_eq!(response.status, *status, "{directives}");
                let word = if *status == 200 { "ACTIVE" } else { "FORBIDDEN" };
                assert_eq!(response.header("X-Status"), Some(word), "{directives}");
                let challenge = response.header("WWW-Authenticate").unwrap_or_default();
                match error {
                    Some(error) => {
                        assert!(challenge.contains(&format!("error=\"{error}\"")), "{directives}: {challenge}")
                    }
                    None => assert_eq!(challenge, "", "{directives}"),
                }
                if *status == 403 {
                    assert_eq!(response.json()["code"], "insufficient_scope");
                }
            }
        }
        nginx.finish();
    }
}

/// What a lax location has put into the cache a strict one does not let pass, nor the other way round.
#[test]
fn locations_decide_for_themselves() {
    for protect in [PROTECT, PROTECT_BY_LOCATION] {
        let (idp, api) = (Idp::start(), Api::start());
        let nginx = asked_by_location(bare(&idp, &api), &idp)
            .workers(1)
            .server("add_header X-Cache $phantom_token_cache_status always;")
            .server(&format!("location /lax {{ {protect} proxy_pass @api@; }}"))
            .server(&format!(
                "location /strict {{ {protect} phantom_token_scopes \"read write\"; \
                 phantom_token_require_scopes admin root; proxy_pass @api@; }}"
            ))
            .server(&format!("location /aud {{ {protect} phantom_token_require_audience other; proxy_pass @api@; }}"))
            .server(&format!(
                "location /iss {{ {protect} phantom_token_require_issuer https://other; proxy_pass @api@; }}"
            ))
            .start();
        check_locations(&idp, &nginx);
        nginx.finish();
    }
}

fn check_locations(idp: &Idp, nginx: &Nginx) {
    let (user, admin) =
        (idp.issue_token(TokenSpec::new().scope("read")), idp.issue_token(TokenSpec::new().scope("root admin")));
    let get =
        |path, token: &super::support::Token| http::get(nginx.addr(), path, &[("Authorization", &token.bearer())]);
    assert_eq!(get("/lax", &user).status, 200);
    let refused = get("/strict", &user);
    assert_eq!((refused.status, refused.header("X-Cache")), (403, Some("HIT")));
    assert_eq!(
        refused.header("WWW-Authenticate"),
        Some("Bearer realm=\"api\", scope=\"admin root\", error=\"insufficient_scope\"")
    );
    for path in ["/aud", "/iss"] {
        let refused = get(path, &user);
        assert_eq!((refused.status, refused.header("X-Cache")), (401, Some("HIT")), "{path}");
        assert_eq!(refused.header("WWW-Authenticate"), Some("Bearer realm=\"api\", error=\"invalid_token\""));
    }
    assert_eq!(get("/strict", &admin).status, 200);
    assert_eq!((get("/lax", &user).status, get("/lax", &admin).status), (200, 200));
    // what is advertised is what is configured
    let absent = http::get(nginx.addr(), "/strict", &[]);
    assert_eq!(absent.header("WWW-Authenticate"), Some("Bearer realm=\"api\", scope=\"read write\""));
    assert_eq!(idp.introspection_count(), 2);
}

/// From the JSON around the JWT, or from the JWT where that says nothing.
#[test]
fn claims_of_json_come_first() {
    let (idp, api) = (Idp::builder().shape(Shape::CurityProcedure).start(), Api::start());
    let nginx = bare(&idp, &api)
        .server(&format!(
            "location / {{ {PROTECT} phantom_token_require_scopes admin; phantom_token_require_audience inner; proxy_pass @api@; }}"
        ))
        .start();
    let spec =
        |outer: &str| TokenSpec::new().scope("read").audience("inner").member("scope", outer).member("aud", "inner");
    for (outer, status) in [("admin", 200), ("read", 403)] {
        let token = idp.issue_token(spec(outer));
        let response = http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]);
        assert_eq!(response.status, status, "{outer}");
    }
    nginx.finish();
}

/// Redirects: each location's own requirements, one introspection, and `error_page` for 403.
#[test]
fn after_redirects() {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = bare(&idp, &api)
        .server(&format!("location /a {{ {PROTECT} error_page 403 = @lax; phantom_token_require_scopes admin; proxy_pass @api@; }}"))
        .server(&format!("location @lax {{ {PROTECT} proxy_pass @api@; }}"))
        .server(&format!("location /b {{ {PROTECT} try_files /.none @strict; }}"))
        .server(&format!("location @strict {{ {PROTECT} phantom_token_require_scopes admin; proxy_pass @api@; }}"))
        .server(&format!("location /c {{ {PROTECT} error_page 403 /page.html; phantom_token_require_scopes admin; proxy_pass @api@; }}"))
        .server("location = /page.html { root @dir@; }")
        .start();
    publish(&nginx, "page.html", "our page");
    let token = idp.issue_token(TokenSpec::new().scope("read"));
    let get = |path| http::get(nginx.addr(), path, &[("Authorization", &token.bearer())]);
    let lax = get("/a");
    assert_eq!((Echo::of(&lax).bearer(), lax.header("WWW-Authenticate")), (Some(token.jwt.as_str()), None));
    let strict = get("/b");
    assert_eq!((strict.status, strict.all("WWW-Authenticate").len()), (403, 1));
    let page = get("/c");
    assert_eq!((page.status, page.text().as_str()), (403, "our page"));
    assert_eq!(idp.introspections_of(&token.jwt), 0);
    nginx.finish();
}
