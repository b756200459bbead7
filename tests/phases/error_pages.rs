//! `error_page` covers refusals, and what it leads to is a pass of its own.

use super::support::gateway::{
    ELSEWHERE, PROTECT, PROTECT_BY_LOCATION, either, elsewhere, for_both_endpoints, publish,
};
use super::support::{Answer, Api, Echo, Idp, Nginx, Token, TokenSpec, http};

for_both_endpoints![
    a_file_replaces_the_refusal,
    a_page_that_is_protected_too_is_refused_once_more,
    recursive_error_pages,
    a_named_location_that_is_not_protected_serves_the_refused,
    what_is_denied_before_is_introspected_where_it_ends,
    another_profile_is_asked_about_the_original_token,
];

fn get(nginx: &Nginx, path: &str, token: &Token) -> http::Response {
    http::get(nginx.addr(), path, &[("Authorization", &token.bearer())])
}

fn a_file_replaces_the_refusal(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = either(&idp, &api)
        .server(&format!("{protect} phantom_token_cache off; phantom_token_timeout 200ms;"))
        .server("error_page 401 /page.html; error_page 502 504 =503 /page.html;")
        .server("location / { proxy_pass @api@; }")
        .server("location = /page.html { phantom_token off; root @dir@; }")
        .start();
    publish(&nginx, "page.html", "<p>our page</p>");
    let (bad, broken, hung) = (idp.issue(), idp.issue(), idp.issue());
    idp.revoke(&bad.opaque);
    idp.answer_for(&broken.opaque, Answer::status(500));
    idp.answer_for(&hung.opaque, Answer::hang());
    for (token, status, challenge) in
        [(&bad, 401, Some("Bearer realm=\"api\", error=\"invalid_token\"")), (&broken, 503, None), (&hung, 503, None)]
    {
        let response = get(&nginx, "/", token);
        assert_eq!((response.status, response.text().as_str()), (status, "<p>our page</p>"));
        assert_eq!(response.header("content-type"), Some("text/html"));
        assert_eq!(response.all("www-authenticate"), challenge.into_iter().collect::<Vec<_>>());
        assert_eq!(idp.introspections_of(&token.opaque), 1);
    }
    assert_eq!(api.request_count(), 0);
    nginx.finish();
}

fn a_page_that_is_protected_too_is_refused_once_more(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    for recursive in ["off", "on"] {
        let nginx = either(&idp, &api)
            .server(&format!("{protect} phantom_token_cache off; recursive_error_pages {recursive};"))
            .server("error_page 401 /page.html;")
            .server("location / { proxy_pass @api@; }")
            .server("location = /page.html { root @dir@; }")
            .start();
        publish(&nginx, "page.html", "<p>our page</p>");
        let bad = idp.issue();
        idp.revoke(&bad.opaque);
        let response = get(&nginx, "/", &bad);
        assert_eq!(idp.introspections_of(&bad.opaque), 1, "the verdict is that of the first pass");
        if recursive == "off" {
            assert_eq!((response.status, &response.json()["code"]), (401, &"unauthorized_request".into()));
            assert_eq!(response.all("www-authenticate"), ["Bearer realm=\"api\", error=\"invalid_token\""]);
        } else {
            // NGINX ends a loop of internal redirects
            assert_eq!(response.status, 500);
        }
        nginx.finish();
    }
}

/// Every status of a refusal, and 403 of `deny`, to everything that an `error_page` can lead to.
#[test]
fn every_status_to_every_target() {
    let (idp, api) = (Idp::start(), Api::start());
    // how it is written, the status that the client sees (0: the refusal's), the content
    let targets = [
        ("/page.html", 0, "our page"),
        ("=200 /page.html", 200, "our page"),
        ("@named", 0, "named"),
        ("= @named", 418, "named"),
        ("/uri", 0, "uri"),
        ("= /uri", 419, "uri"),
        ("=203 @proxied", 203, "\"uri\""),
    ];
    let statuses = [401, 403, 502, 503, 504];
    for (protect, recursive) in [(PROTECT, "off"), (PROTECT, "on"), (PROTECT_BY_LOCATION, "off")] {
        let mut builder = either(&idp, &api)
            .server(&format!("recursive_error_pages {recursive}; phantom_token_cache off;"))
            .server("location = /page.html { root @dir@; }")
            .server("location @named { return 418 named; }")
            .server("location = /uri { return 419 uri; }")
            .server("location @proxied { proxy_set_header Authorization \"\"; proxy_pass @api@; }")
            .allow_log("access forbidden by rule");
        for (i, (target, ..)) in targets.iter().enumerate() {
            builder = builder.server(&format!(
                "location /{i} {{ {protect} phantom_token_timeout 200ms; error_page 401 403 502 503 504 {target}; \
                 proxy_pass @api@; location ~ 403$ {{ deny all; proxy_pass @api@; }} }}"
            ));
        }
        let nginx = builder.start();
        publish(&nginx, "page.html", "our page");
        for status in statuses {
            let token = idp.issue();
            match status {
                401 => idp.revoke(&token.opaque),
                502 => idp.answer_for(&token.opaque, Answer::status(500)),
                503 => idp.answer_for(&token.opaque, Answer::status(429).header("Retry-After", "3")),
                504 => idp.answer_for(&token.opaque, Answer::hang()),
                _ => {}
            }
            for (i, (target, seen, content)) in targets.iter().enumerate() {
                let served = api.request_count();
                let response = get(&nginx, &format!("/{i}/{status}"), &token);
                let expected = if *seen == 0 { status } else { *seen };
                assert_eq!(response.status, expected, "{status} to {target}: {response:?}");
                assert!(response.text().contains(content), "{status} to {target}: {}", response.text());
                assert_eq!(response.all("www-authenticate").len(), usize::from(status == 401), "{status} to {target}");
                assert_eq!(response.all("retry-after").len(), usize::from(status == 503), "{status} to {target}");
                assert_eq!(
                    api.request_count() - served,
                    usize::from(target.contains("@proxied")),
                    "{status} to {target}"
                );
            }
            let asked = if status == 403 { 0 } else { targets.len() };
            assert_eq!(idp.introspections_of(&token.opaque), asked, "{status}");
        }
        nginx.finish();
    }
}

fn recursive_error_pages(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = either(&idp, &api)
        .server("recursive_error_pages on;")
        .server(&format!("location / {{ {protect} error_page 401 = /second; proxy_pass @api@; }}"))
        .server(&format!("location /second {{ {protect} error_page 401 = @third; proxy_pass @api@; }}"))
        .server("location @third { error_page 418 /page.html; return 418; }")
        .server("location = /page.html { root @dir@; }")
        .start();
    publish(&nginx, "page.html", "<p>our page</p>");
    let bad = idp.issue();
    idp.revoke(&bad.opaque);
    let response = get(&nginx, "/", &bad);
    assert_eq!((response.status, response.text().as_str()), (418, "<p>our page</p>"));
    assert_eq!(idp.introspection_count(), 1);
    assert!(response.all("www-authenticate").len() <= 1, "{response:?}");
    nginx.finish();
}

fn a_named_location_that_is_not_protected_serves_the_refused(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = either(&idp, &api)
        .server(&format!("location / {{ {protect} error_page 401 502 = @login; proxy_pass @api@; }}"))
        .server("location @login { proxy_pass @api@; }")
        .start();
    let (bad, broken) = (idp.issue(), idp.issue());
    idp.revoke(&bad.opaque);
    idp.answer_for(&broken.opaque, Answer::status(500));
    for token in [&bad, &broken] {
        let echo = Echo::of(&get(&nginx, "/", token));
        assert_eq!(echo.all("authorization"), [token.bearer()], "the header is left as it is");
    }
    assert_eq!(idp.introspection_count(), 2);
    nginx.finish();
}

fn what_is_denied_before_is_introspected_where_it_ends(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = either(&idp, &api)
        .server(&format!("{protect} phantom_token_cache off;"))
        .server("location / { deny all; error_page 403 = /other; }")
        .server("location /other { proxy_pass @api@; }")
        .start();
    let token = idp.issue();
    assert_eq!(Echo::of(&get(&nginx, "/", &token)).bearer(), Some(token.jwt.as_str()));
    assert_eq!(idp.introspection_count(), 1);
    nginx.finish();
}

fn another_profile_is_asked_about_the_original_token(protect: &str) {
    let protect2 = elsewhere(protect);
    let idp = Idp::start();
    let other = Idp::builder().client(idp.client_id(), idp.client_secret()).start();
    let api = Api::start();
    api.answer("/absent", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    let nginx = either(&idp, &api)
        .var("introspect2", other.introspection_url())
        .server(ELSEWHERE)
        .server(&format!(
            "location /absent {{ {protect} error_page 404 = /other; proxy_intercept_errors on; proxy_pass @api@; }}"
        ))
        .server(&format!("location /refused {{ {protect} error_page 401 = /other; proxy_pass @api@; }}"))
        .server(&format!("location /other {{ {protect2} proxy_pass @api@; }}"))
        .start();
    let here = idp.issue();
    let there = other.issue_token(TokenSpec::new().opaque(&here.opaque));
    for round in 0..2 {
        // forwarded here with our JWT, then sent on: the other server knows the token, not the JWT
        let echo = Echo::of(&get(&nginx, "/absent", &here));
        assert_eq!(echo.all("authorization"), [there.jwt_bearer()], "round {round}");
        let first = &api.requests()[2 * round];
        assert_eq!((first.uri.as_str(), first.bearer()), ("/absent", Some(here.jwt.as_str())));
    }
    let tokens =
        |idp: &Idp| idp.introspections().iter().map(|asked| asked.token().map(str::to_owned)).collect::<Vec<_>>();
    for idp in [&idp, &other] {
        let tokens = tokens(idp);
        assert!(!tokens.is_empty() && tokens.len() <= 2, "at most one a worker: {}", tokens.len());
        assert!(tokens.iter().all(|token| token.as_ref() == Some(&here.opaque)), "{tokens:?}");
    }
    // refused here, allowed there
    let only_there = other.issue();
    let response = get(&nginx, "/refused", &only_there);
    assert_eq!(Echo::of(&response).all("authorization"), [only_there.jwt_bearer()]);
    // allowed nowhere
    let nowhere = idp.issue();
    idp.revoke(&nowhere.opaque);
    let response = get(&nginx, "/refused", &nowhere);
    assert_eq!((response.status, response.all("www-authenticate").len()), (401, 1), "{response:?}");
    assert_eq!((idp.introspections_of(&nowhere.opaque), other.introspections_of(&nowhere.opaque)), (1, 1));
    nginx.finish();
}
