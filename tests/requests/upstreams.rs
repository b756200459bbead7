//! Ways to the API: named locations, kept connections.

use super::support::gateway::{either, for_both_endpoints};
use super::support::{Api, Echo, Idp, http};

for_both_endpoints![try_files_to_a_named_location, kept_connections_to_the_api_mix_no_tokens,];

fn try_files_to_a_named_location(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    // nothing is cached: what is known on the second pass is known from the first
    let nginx = either(&idp, &api)
        .workers(1)
        .server(&format!("{protect} phantom_token_cache off;"))
        .server("location / { try_files /.none @protected; }")
        .server("location /open { try_files /.none @open; }")
        .server("location @protected { proxy_pass @api@; }")
        .server("location @open { phantom_token off; proxy_pass @api@; }")
        .start();
    for (n, path) in ["/", "/open"].into_iter().enumerate() {
        let token = idp.issue();
        let echo = Echo::of(&http::get(nginx.addr(), path, &[("Authorization", &token.bearer())]));
        assert_eq!(echo.all("authorization"), [token.jwt_bearer()], "{path}");
        assert_eq!(idp.introspection_count(), n + 1, "{path}");
        assert_eq!(idp.introspections_of(&token.opaque), 1, "{path}");
        assert_eq!(idp.introspections_of(&token.jwt), 0, "{path}");
    }
    nginx.finish();
}

fn kept_connections_to_the_api_mix_no_tokens(protect: &str) {
    let (idp, api) = (Idp::start(), Api::start());
    let nginx = either(&idp, &api)
        .var("apiaddr", api.addr())
        .http("upstream backend { server @apiaddr@; keepalive 4; }")
        .server(&format!(
            "location / {{ {protect} proxy_pass http://backend; proxy_http_version 1.1; \
             proxy_set_header Connection \"\"; }}"
        ))
        .start();
    let tokens: Vec<_> = (0..4).map(|_| idp.issue()).collect();
    std::thread::scope(|scope| {
        for first in 0..4 {
            let (tokens, nginx) = (&tokens, &nginx);
            scope.spawn(move || {
                for i in 0..25 {
                    let token = &tokens[(first + i) % tokens.len()];
                    let response = http::get(nginx.addr(), "/", &[("Authorization", &token.bearer())]);
                    assert_eq!(Echo::of(&response).all("authorization"), [token.jwt_bearer()]);
                }
            });
        }
    });
    assert_eq!(api.request_count(), 100);
    assert!(idp.introspection_count() <= 8, "{} introspections by 2 workers", idp.introspection_count());
    nginx.finish();
}
